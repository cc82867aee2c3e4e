"""`striate` and ``python -m striate``: the command line; Ctrl-C ends it in silence even while Python still imports it."""

from __future__ import annotations

import os

try:
    import signal
except KeyboardInterrupt:
    os._exit(130)


def main() -> None:
    """Run the command line and exit with its exit code."""
    stops = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where the shell said to ignore it
    if stops:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # nothing has been begun
    from striate.cli.main import main as command

    if stops:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


if __name__ == "__main__":
    main()
