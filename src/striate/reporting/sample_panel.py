"""``panels/samples.npz``: small pictures of whole images with what was said of them, or of images and their reconstructions.

Tiles are 8-bit, at most `LONGEST` pixels along a side, and lie in the middle of black squares where their sizes differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.core.errors import DataError, expected
from striate.measure.class_rows import joined
from striate.measure.class_table import ClassTable
from striate.reporting.arrays import facts_of, reading, write_arrays
from striate.reporting.shrink import Bytes, average, window

KIND = "striate-samples"
VERSION = 1
FILE = Path("panels") / "samples.npz"
MOST = 48
"""Tiles at most; half of them are kept for right ones."""
LONGEST = 128
"""Pixels along a side at most."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was said of one image.

    Attributes
    ----------
    caption
        Whose image it is.
    truth, predicted
        Names of classes joined by ``;``; the truth is empty where it is unknown.
    probability
        How sure the prediction is, 0 … 1.
    """

    caption: str
    truth: str = ""
    predicted: str = ""
    probability: float | None = None

    @property
    def right(self) -> bool | None:
        """Whether truth and prediction agree; None where the truth is unknown."""
        return self.truth == self.predicted if self.truth else None


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Pictures for a gallery.

    Attributes
    ----------
    form
        ``classes``: images with what was said of them; ``triples``: images with their reconstructions.
    samples
        One per image, in the order in which they are shown.
    images
        (N, H, W) uint8, rows from top to bottom.
    reconstructions
        (N, H, W) uint8 in the same window, of triples; else None.
    differences
        (N, H, W) uint8, |image − reconstruction| over the image's window, of triples; else None.
    total, wrong
        How many images there were, and how many of them were called something else than the truth.
    """

    form: Literal["classes", "triples"]
    samples: tuple[Sample, ...]
    images: Bytes
    reconstructions: Bytes | None
    differences: Bytes | None
    total: int
    wrong: int

    @classmethod
    def read(cls, path: Path) -> Samples:
        """Read the file.

        Raises
        ------
        FormatError
            When it is missing, broken or of a newer version.
        """
        with reading(path, "pictures written by striate train or predict are") as stored:
            facts = facts_of(stored, path, KIND, VERSION)
            return cls(
                facts["form"],
                tuple(Sample(**one) for one in facts["samples"]),
                stored["images"],
                stored.get("reconstructions"),
                stored.get("differences"),
                facts["total"],
                facts["wrong"],
            )


def choose(table: ClassTable, rows: NDArray[Any] | None = None, most: int = MOST) -> NDArray[np.intp]:
    """Return the rows worth a look, at most `most` of them.

    First the mistakes, the most confident first; then typical right ones: of each class in turn those nearest to the middle
    confidence of their class. Rows of unknown truth come last, the least confident first. Mistakes take at most half of
    the room unless there is nothing else to show.

    Parameters
    ----------
    table
        What was said.
    rows
        Those to choose from; all where it is not given.
    most
        How many at most.
    """
    of = np.arange(len(table)) if rows is None else np.asarray(rows, dtype=np.intp)
    known = np.array([table.truth[row] is not None for row in of], dtype=bool)
    right = np.array([_right(table, int(row)) for row in of], dtype=bool)
    wrong, unknown = of[known & ~right], of[~known]
    wrong = wrong[np.argsort(-table.confidence[wrong], kind="stable")]
    unknown = unknown[np.argsort(table.confidence[unknown], kind="stable")]
    others = np.concatenate([_typical(table, of[right]), unknown])
    kept = wrong[: most - min(len(others), most // 2)]
    return np.concatenate([kept, others[: most - len(kept)]])


def _right(table: ClassTable, row: int) -> bool:
    truth = table.truth[row]
    return truth is not None and set(truth) == set(table.predicted_of(row))


def _typical(table: ClassTable, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows of each predicted class in turn, those nearest to the class's middle confidence first."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        groups.setdefault(table.predicted_of(int(row)), []).append(int(row))
    ranked: list[tuple[int, int]] = []
    for members in groups.values():
        sure = table.confidence[members]
        order = np.argsort(np.abs(sure - np.median(sure)), kind="stable")
        ranked.extend((rank, members[n]) for rank, n in enumerate(order))
    return np.array([row for _, row in sorted(ranked)], dtype=np.intp)


def upright(plane: NDArray[Any], *, oriented: bool) -> NDArray[Any]:
    """Return a picture (H, W) from the first two axes of an image.

    Parameters
    ----------
    plane
        (I, J): an axial slice of a scan in RAS+, or a 2D image as (columns, rows).
    oriented
        True for scans: shown as radiologists look at them, the patient's right on the left, anterior on top.
    """
    return np.asarray(plane[::-1, ::-1].T if oriented else plane.T)


def write_samples(
    path: Path,
    images: Sequence[NDArray[Any]] | NDArray[Any],
    table: ClassTable,
    rows: Sequence[int] | NDArray[Any] | None = None,
    *,
    chosen: bool = False,
) -> None:
    """Store pictures with what was said of them, whole or not at all.

    Parameters
    ----------
    path
        The file, or the folder whose ``panels/samples.npz`` it becomes.
    images
        One (H, W) for each of `rows`, rows of pixels from top to bottom (see `upright`), any numeric type; sizes may differ.
    table
        What was said of all images.
    rows
        Which row of `table` each image belongs to; all of them where it is not given. They are shown in the order of
        `choose`, which keeps `MOST`.
    chosen
        True: `rows` are what `choose` gave, so that no other picture need be made.

    Raises
    ------
    DataError
        When there is no image, one is not two-dimensional, or their number is not that of the rows.
    """
    of = np.arange(len(table)) if rows is None else np.asarray(rows, dtype=np.intp)
    place = {int(row): n for n, row in enumerate(of)}
    _check(images, len(of))
    kept = [int(row) for row in (of if chosen else choose(table, of))]
    samples = [_sample(table, row) for row in kept]
    tiles = _tiles([window(np.asarray(images[place[row]])) for row in kept])
    wrong = [row for row, truth in enumerate(table.truth) if truth is not None and not _right(table, row)]
    _write(path, "classes", samples, {"images": tiles}, len(table), len(wrong))


def write_triples(
    path: Path,
    images: Sequence[NDArray[Any]] | NDArray[Any],
    reconstructions: Sequence[NDArray[Any]] | NDArray[Any],
    captions: Sequence[str] = (),
    *,
    total: int | None = None,
) -> None:
    """Store images beside their reconstructions, whole or not at all; at most `MOST` / 3, evenly spread.

    Both are shown in the window of the image, so that a reconstruction which is too dark looks too dark. The
    difference is its absolute value over the width of that window: black is equal, white a difference as large as the window.

    Parameters
    ----------
    path
        The file, or the folder whose ``panels/samples.npz`` it becomes.
    images, reconstructions
        One (H, W) each, rows of pixels from top to bottom; any numeric type.
    captions
        Whose image it is; numbers from 1 where they are not given.
    total
        How many images there are, where those of `spread` alone are given.

    Raises
    ------
    DataError
        When there is no image, one is not two-dimensional, or numbers or sizes differ.
    """
    _check(images, len(captions) or len(images))
    shapes = [np.shape(i) for i in images], [np.shape(r) for r in reconstructions]
    if shapes[0] != shapes[1]:
        got = f"images of {shapes[0][:3]} and reconstructions of {shapes[1][:3]}"
        raise DataError(expected("reconstructions", got, "one of the same size per image is needed"))
    kept = spread(len(images)) if total is None else np.arange(len(images))
    shown: dict[str, list[Bytes]] = {"images": [], "reconstructions": [], "differences": []}
    for n in kept:
        for name, tile in zip(shown, _triple(np.asarray(images[n]), np.asarray(reconstructions[n])), strict=True):
            shown[name].append(tile)
    samples = [Sample(str(captions[n]) if len(captions) else str(n + 1)) for n in kept]
    _write(path, "triples", samples, {name: _tiles(tiles) for name, tiles in shown.items()}, total or len(images), 0)


def spread(total: int) -> NDArray[np.intp]:
    """Return the numbers of at most `MOST` / 3 of `total` images, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(total, MOST // 3)).round().astype(np.intp))


def _triple(image: NDArray[Any], made: NDArray[Any]) -> tuple[Bytes, Bytes, Bytes]:
    first, second = (np.nan_to_num(np.asarray(v, dtype=np.float32)) for v in (image, made))
    low, high = np.percentile(first, (0.5, 99.5))
    width = max(float(high - low), 1e-6)

    def grey(values: NDArray[Any]) -> Bytes:
        return np.asarray((np.clip(values, 0, 1) * 255).round().astype(np.uint8))

    return grey((first - low) / width), grey((second - low) / width), grey(np.abs(first - second) / width)


def _sample(table: ClassTable, row: int) -> Sample:
    number, truth = table.slices[row], table.truth[row]
    caption = table.cases[row] if number is None else f"{table.cases[row]}, slice {number}"
    ordered = None if truth is None else tuple(name for name in table.classes if name in truth)
    sure = round(float(table.confidence[row]), 6)
    return Sample(caption, joined(ordered), joined(table.predicted_of(row)), sure)


def _check(images: Sequence[NDArray[Any]] | NDArray[Any], wanted: int) -> None:
    shapes = [np.shape(image) for image in images]
    wrong = next((s for s in shapes if len(s) != 2 or 0 in s), None)
    if not shapes or len(shapes) != wanted or wrong is not None:
        got = f"{counted(len(shapes), 'image')} for {counted(wanted, 'row')}" + (
            f", one of shape {wrong}" if wrong is not None else ""
        )
        raise DataError(expected("pictures", got, "one image (H, W) for each row, and at least one, is needed"))


def _tiles(pictures: list[Bytes]) -> Bytes:
    """Shrink each to at most `LONGEST` pixels along a side and put all in the middle of tiles of one size."""
    small = []
    for picture in pictures:
        height, width = picture.shape
        share = min(1.0, LONGEST / max(height, width))
        bins = [1, max(1, round(height * share)), max(1, round(width * share))]
        small.append(average(picture[None], bins)[0])
    size = max(s.shape[0] for s in small), max(s.shape[1] for s in small)
    tiles = np.zeros((len(small), *size), dtype=np.uint8)
    for tile, picture in zip(tiles, small, strict=True):
        top, left = ((a - b) // 2 for a, b in zip(size, picture.shape, strict=True))
        tile[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return tiles


def _write(path: Path, form: str, samples: list[Sample], arrays: dict[str, Bytes], total: int, wrong: int) -> None:
    path = Path(path)
    path = path if path.suffix == ".npz" else path / FILE
    said = [
        {"caption": s.caption, "truth": s.truth, "predicted": s.predicted, "probability": s.probability}
        for s in samples
    ]
    facts = {"form": form, "samples": said, "total": total, "wrong": wrong}
    write_arrays(path, KIND, VERSION, facts, arrays)
