"""`states`: what a cohort's cases are made of, so that a result of the checks is not taken for that of other files."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from striate.core.errors import DataError
from striate.io.read import files_of

if TYPE_CHECKING:
    from striate.core.case import Case
    from striate.data.cohort import Cohort


def states(cohort: Cohort) -> dict[str, str]:
    """Return case → a short hash of what is known of it, and of place, size and time of change of each of its files.

    No voxels are read. A file that is missing has a state, too.
    """
    names = sorted(cohort.label_names.items())
    return {case.name: _state(case, names) for case in cohort.cases}


def _state(case: Case, label_names: list[tuple[int, str]]) -> str:
    files = [*case.channels.items(), *case.raters.items(), *(() if case.label is None else (("", case.label),))]
    known = (case.subject, case.split, case.classes, label_names, [(role, *_of(path)) for role, path in files])
    return hashlib.sha256(repr(known).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _of(path: Path) -> tuple[str, int, int]:
    place = path.resolve()
    try:
        found = place.stat()
    except OSError:
        return str(place), -1, -1
    inside = [
        (p.name, s.st_size, s.st_mtime_ns) for p in _slices(place) for s in (p.stat() if p.exists() else p.lstat(),)
    ]
    return f"{place} {inside}" if inside else str(place), found.st_size, found.st_mtime_ns


def _slices(place: Path) -> list[Path]:
    """Return the files of a series of slices, or what lies in its folder; nothing where an image is one file."""
    with suppress(OSError, DataError):
        if place.is_dir():
            return sorted(place.iterdir())
        files = files_of(place)
        return sorted(files) if len(files) > 1 else []
    return []
