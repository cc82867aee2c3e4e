"""`striate`: the table of verbs, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import keyword
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from striate.core.errors import DataError, Interrupted, StriateError, UsageError

VERBS = {
    "check": "Find what is wrong with a cohort before it is learned from.",
    "plan": "Decide how to train on a cohort within a time and memory budget, with reasons.",
    "train": "Train a model on a cohort; resumable.",
    "import": "Turn a model that nnU-Net v2 trained into one of Striate.",
    "predict": "Predict masks with their numbers, or classes, with a trained model.",
    "explain": "Show why a model said what it said, with checks that a map can fail.",
    "inspect": "Show what every part of a network computes on one scan, down to each sum.",
    "evaluate": "Compare predicted masks or classes with the truth.",
    "calibrate": "Measure on cases with masks how far a model can be trusted.",
    "update": "Learn from a further cohort, and measure what is forgotten; exit 1 when nothing can be kept.",
    "audit": "One report of a model's weaknesses, measured; exit 1 when a required limit is broken.",
    "change": "Compare two examinations of a subject: what is new, enlarged, shrunken, vanished.",
    "export": "Write a model for machines without torch.",
    "compare": "Train several networks within one budget and compare what they reach and cost.",
    "report": "Write one self-contained HTML page about what another command made.",
    "phantom": "Make a cohort of FLAIR-like scans with known lesions.",
    "digits": "Make a cohort of handwritten digits, to try classification.",
    "toy": "Gradient descent on y = a·x + b, step by step.",
    "networks": "The networks: what each is, costs, takes as options, and looks like.",
    "demo": "The whole path on a phantom cohort, from check to report.",
}


MISTAKE = 70
"""Exit code of what nobody foresaw; not 1, which means that problems were found in the data."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the design's exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that are not UTF-8
    code = 0
    # the last to run at exit: where Ctrl-C came while a package ran `exec`, Python would end itself by the signal
    atexit.register(lambda: os._exit(code) if code == Interrupted.exit_code else None)
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
        _leave_stdout()
    except KeyboardInterrupt:  # once more, while the first was told
        code = Interrupted.exit_code
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))  # all is done but to leave
    gc.freeze()  # at exit Python looks through all there is for garbage, with torch for half a second
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; prints, never raises for what a user can mend."""
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    verb = next((a for a in arguments if not a.startswith("-")), None)
    if verb is None:
        return _show_top(arguments)
    stopped = list[int]()
    try:
        with _stops(stopped):
            return _run_verb(verb, arguments)
    except StriateError as error:
        if debug:
            raise
        return _fail(error, error.exit_code, error.code, as_json="--json" in arguments)
    except KeyboardInterrupt as error:
        if debug:
            raise
        return _fail(error, Interrupted.exit_code, "interrupted", as_json="--json" in arguments)
    except MemoryError:
        if debug:
            raise
        text = "memory ran out; give less with --memory, or make patch or batch smaller in plan.yaml"
        return _fail(text, 5, "memory_limit", as_json="--json" in arguments)
    except BrokenPipeError:
        return 0
    except Exception as error:
        if debug:
            raise
        known = Interrupted("interrupted") if stopped else _known(error)  # some packages make an ImportError of Ctrl-C
        if known is not None:
            return _fail(known, known.exit_code, known.code, as_json="--json" in arguments)
        text = f"{type(error).__name__}: {error}. This is a mistake in Striate; run again with --debug and report what it shows."
        return _fail(text, MISTAKE, "mistake", as_json="--json" in arguments)


def _known(error: Exception) -> StriateError | None:
    """Return the sentence for an error of the operating system or of a package that is missing; None for a mistake of ours."""
    if isinstance(error, OSError):
        from striate.core.files import explain_writing

        told = explain_writing(error, Path(str(error.filename or "the output")))
        return told if isinstance(told, StriateError) else DataError(str(error), path=error.filename)
    module = str(error.name or "striate").split(".")[0] if isinstance(error, ModuleNotFoundError) else "striate"
    if module == "striate":
        return None
    package = {"PIL": "pillow", "yaml": "pyyaml"}.get(module, module)
    exported = " Models that striate export wrote where it is predict without it." if package == "torch" else ""
    return UsageError(
        f"the package {package} is not installed, and this needs it. Install it: pip install {package}.{exported}"
    )


def _run_verb(verb: str, arguments: list[str]) -> int:
    from striate.cli.optional_value import optional_value
    from striate.cli.regions import NUMBER, repeat_option
    from striate.core.names import did_you_mean

    if verb not in VERBS:
        raise UsageError(f"unknown command '{verb}'. {did_you_mean(verb, VERBS)}")
    import typer

    module = importlib.import_module(f"striate.cli.{verb}{'_' if keyword.iskeyword(verb) else ''}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=verb, help=VERBS[verb], context_settings={"help_option_names": ["-h", "--help"]})(module.command)
    position = arguments.index(verb)
    command, given = typer.main.get_command(app), arguments[:position] + arguments[position + 1 :]
    try:
        code = command.main(
            optional_value(repeat_option(repeat_option(given), "--spacing", NUMBER)),
            prog_name=f"striate {verb}",
            standalone_mode=False,
        )
    except SystemExit as left:  # typer's way to leave when the reader of stdout has gone
        if isinstance(left.__context__, BrokenPipeError):
            return 0
        raise
    except Exception as error:
        _usage_failure(error)
    if code == Interrupted.exit_code:  # typer's way to return from Ctrl-C, without a word
        raise KeyboardInterrupt
    return int(code or 0)


def _usage_failure(error: Exception) -> NoReturn:
    """Turn a parser's complaint into a usage error; anything else goes on."""
    if type(error).__name__ == "Abort":
        raise KeyboardInterrupt from error
    show = getattr(error, "format_message", None)
    if show is None:
        raise error
    raise UsageError(f"{show()} See --help.") from error


def _show_top(arguments: list[str]) -> int:
    from striate import __version__

    if "--version" in arguments:
        sys.stdout.write(f"striate {__version__}\n")
        return 0
    unknown = [a for a in arguments if a not in ("--help", "-h")]
    if unknown:
        sys.stderr.write(f"striate: unknown option {unknown[0]}; a command is needed first. See striate --help.\n")
        return 2
    rows = "\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items())
    sys.stdout.write(
        "Usage: striate COMMAND [OPTIONS]\n\nConvolutional networks for medical images: from a folder of scans to a number"
        f" that one can trust.\n\nCommands, in the order of the work:\n{rows}\n\n"
        "Options of every command: --help, --json (one JSON document on stdout), --debug (show tracebacks).\n"
        "Text and progress go to stderr: a bar in a terminal, else, as in a batch system's log, a line now and then.\n"
        "Exit codes: 0 done; 1 done, and problems were found; 2 wrong usage; 3 bad data; 4 bad model or plan;\n"
        "            5 memory, disk or time ran out; 130 interrupted;\n            70 a mistake in Striate.\n"
    )
    return 0


def _fail(error: object, exit_code: int, code: str, *, as_json: bool) -> int:
    text = str(error) or ("interrupted" if exit_code == Interrupted.exit_code else type(error).__name__)
    sys.stderr.write(f"striate: {text}\n")
    if as_json:
        from striate.cli.screen import show_json

        case, path = getattr(error, "case", None), getattr(error, "path", None)
        document = {"error": {"code": code, "message": text, "case": case, "path": path, "exit_code": exit_code}}
        with contextlib.suppress(OSError):  # a full or closed stdout may be the error itself
            show_json(document)
    return exit_code


def _leave_stdout() -> None:
    """Send what a closed or full stdout did not take to nowhere, else Python complains of it at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _stops(stopped: list[int]) -> Iterator[None]:
    """Treat SIGTERM as an interruption, so that what is half-written is cleaned up; `stopped` gets the numbers of signals.

    It comes as Ctrl-C does, which is no `Exception`: one that arrives while Python starts a thread would be taken there for a
    thread that could not be started. Ctrl-C that is ignored stays so.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, *[signal.SIGINT] * (signal.getsignal(signal.SIGINT) is signal.default_int_handler)]
    try:
        before = {number: signal.signal(number, stop) for number in numbers}
    except ValueError:
        yield
        return
    try:
        yield
    except KeyboardInterrupt as error:
        if signal.SIGTERM in stopped:
            raise Interrupted("stopped by SIGTERM; nothing half-written was left") from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
