"""`in_turn`: one process at a time reads, changes and writes a file; one that dies in the middle stops nobody for long.

The lock is a file beside it that only one process can make, on network disks and on Windows too, where `striate.core.lock` may
know nothing of others.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE_S, PAUSE_S = 10.0, 0.02
"""So long a lock of one process may lie there before it counts as left behind by a dead one; between two looks at it."""


@contextlib.contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Be the only one that changes `path`, for as long as reading and writing it takes; where no file can be made, just go on."""
    lock, name = path.with_name(f".{path.name}.lock"), secrets.token_hex(8)
    made = _made(lock, name)
    try:
        yield
    finally:
        if made and _owner(lock) == name:  # not of another that was too impatient
            with contextlib.suppress(OSError):
                lock.unlink()


def _made(lock: Path, name: str) -> bool:
    """Make the lock, of owner `name`, as soon as others let it go; tell whether it could be made."""
    seen, since = None, time.monotonic()
    while True:
        try:
            with lock.open("x", encoding="utf-8") as stream:
                stream.write(name)
            return True
        except FileExistsError:
            pass
        except OSError as error:
            being_removed = isinstance(error, PermissionError) and os.name == "nt"  # by another, just now
            if not being_removed:
                return False
        owner = _owner(lock)
        if owner != seen:
            seen, since = owner, time.monotonic()
        elif time.monotonic() - since > PATIENCE_S:
            try:
                lock.unlink()
            except OSError as error:
                quicker = owner is not None and isinstance(error, FileNotFoundError)  # another, as patient
                if not quicker:
                    return False
        time.sleep(PAUSE_S)


def _owner(lock: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return lock.read_text(encoding="utf-8")
    return None
