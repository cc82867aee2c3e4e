"""Room on the disk where a folder will lie: what is free, and the sentence where that is too little."""

from __future__ import annotations

import shutil
from pathlib import Path

from striate.core.errors import DiskFullError, expected
from striate.core.machine import show_bytes


def disk_free_bytes(folder: Path) -> int | None:
    """Return what can still be written where `folder` lies or will lie; None where the file system does not tell.

    A link is followed. Quotas, and what other programs write meanwhile, are not known.
    """
    place = Path(folder)
    try:
        place = place.resolve()
        place = next(there for there in (place, *place.parents) if there.exists())
        usage = shutil.disk_usage(place)
    except (OSError, RuntimeError, StopIteration):  # who writes there says what is wrong
        return None
    return usage.free if usage.total else None


def refuse_full(folder: Path, needed_bytes: int, what: str, hint: str) -> dict[str, int | None]:
    """Refuse to begin what needs more room than there is; return ``needed_bytes`` and ``free_bytes``.

    Parameters
    ----------
    folder
        Where it will be written.
    needed_bytes
        An upper estimate.
    what
        What needs it, for instance ``the masks of 3 cases``.
    hint
        What to do; a full sentence.

    Raises
    ------
    DiskFullError
        With what is needed, what is free, and where.
    """
    free = disk_free_bytes(folder)
    if free is not None and needed_bytes > free:
        raise DiskFullError(
            expected(folder, f"{what} may take up to {show_bytes(needed_bytes)} there",
                     f"{show_bytes(free)} are free on that disk, so nothing was begun", hint), path=folder,
        )  # fmt: skip
    return {"needed_bytes": needed_bytes, "free_bytes": free}
