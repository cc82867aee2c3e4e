"""`in_turn`: one process at a time reads, changes and writes a file; one that dies in the middle stops nobody.

The lock is a file beside it, locked by its owner (`striate.core.lock`), so that it ends with that process and nobody has to guess
whether it lives. Where there are no such locks (Windows, some network disks) each goes on: files are written whole, and at worst
one change is lost.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from striate.core.lock import take

PATIENCE_S, PAUSE_S = 10.0, 0.02
"""So long another process is waited for, which may have been halted; between two looks at its lock."""


@contextlib.contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Be the only one that changes `path`, as long as reading and writing it takes; where nothing can be locked, just go on."""
    lock = path.with_name(f".{path.name}.lock")
    held = _taken(lock)
    try:
        yield
    finally:
        if held is not None:
            with contextlib.suppress(OSError):
                lock.unlink()  # its own: who takes it looks whether it is still there, and only an owner removes it
            os.close(held)


def _taken(lock: Path) -> int | None:
    """Return the file `lock`, made and locked as soon as others let it go; None where that cannot be, or takes too long."""
    since = time.monotonic()
    while time.monotonic() - since <= PATIENCE_S:
        try:
            held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        taken = take(held)
        with contextlib.suppress(OSError):
            if taken and os.path.samestat(os.fstat(held), lock.stat()):
                return held
        os.close(held)
        if taken is None:
            with contextlib.suppress(OSError):
                lock.unlink()
            return None
        if not taken:
            time.sleep(PAUSE_S)
    return None
