"""`PatchStore`: prepared cases on disk, memory-mapped, from which training patches are cut."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.case import Case
from striate.core.errors import DataError, FormatError, UsageError, expected
from striate.core.files import filling, read_json, write_json
from striate.core.image import Grid
from striate.core.in_threads import in_threads
from striate.core.names import did_you_mean
from striate.core.progress import Progress, Silent, each
from striate.core.targets import Targets
from striate.data.prepare import Preparation, Prepared, prepare, preparing_bytes, uncut_shape

VERSION = 1
INDEX = "store.json"
FOREGROUND_VOXELS = 10_000
HALF_LIMIT = 3e4
HEADERS_BYTES = 4096
"""Of the three files of a case, and of its entry in the index."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One case in a store.

    Attributes
    ----------
    images
        (C, *spatial) float16 (float32 where the values need it), memory-mapped.
    classes
        (*spatial) uint8, memory-mapped.
    foreground
        Class index → flat voxel indices of up to 10,000 of its voxels, for each class that occurs.
    spacing_mm
        Voxel size.
    """

    images: NDArray[Any]
    classes: NDArray[np.uint8]
    foreground: dict[int, NDArray[np.int64]]
    spacing_mm: tuple[float, ...]


class PatchStore:
    """Prepared cases in a folder; picklable, so that worker processes can open it too.

    Attributes
    ----------
    folder
        Where it lies.
    cases
        Names of its cases, in order.
    inputs
        File → SHA-256 of every file that was read.
    keep_zero
        For each channel, whether 0 is background that augmentation must keep (``zscore_nonzero``).
    """

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self._index = index
        self._open: dict[str, Stored] = {}
        self.cases: tuple[str, ...] = tuple(index["cases"])
        self.inputs: dict[str, str] = index["inputs"]
        self.keep_zero: tuple[bool, ...] = tuple(index["keep_zero"])
        self.notes: tuple[str, ...] = tuple(n for case in index["cases"].values() for n in case["notes"])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the folder, not the maps."""
        return (PatchStore, (self.folder, self._index))

    @property
    def channels(self) -> int:
        """Channels of the images, as a network sees them."""
        return len(self.keep_zero)

    def shape(self, case: str) -> tuple[int, ...]:
        """Spatial shape of a prepared case."""
        return tuple(self._entry(case)["shape"])

    def spacing_mm(self, case: str) -> tuple[float, ...]:
        """Voxel size of a prepared case."""
        return tuple(self._entry(case)["spacing_mm"])

    def _entry(self, case: str) -> dict[str, Any]:
        if case not in self._index["cases"]:
            raise UsageError(f"case '{case}' is not in the store {self.folder}. {did_you_mean(case, self.cases)}")
        entry: dict[str, Any] = self._index["cases"][case]
        return entry

    def __getitem__(self, case: str) -> Stored:
        """Open a case; the arrays are read-only maps of files.

        Raises
        ------
        UsageError
            When the store has no such case.
        FormatError
            When its files are broken.
        """
        if case not in self._open:
            entry = self._entry(case)
            stem = self.folder / entry["files"]
            try:
                images = np.load(f"{stem}.images.npy", mmap_mode="r")
                classes = np.load(f"{stem}.classes.npy", mmap_mode="r")
                flat = np.load(f"{stem}.foreground.npy")
            except (OSError, ValueError) as error:
                raise FormatError(
                    expected(stem, f"broken file of the patch store ({error})", "the whole store is needed",
                             "Remove the folder; it is made anew."), case=case, path=stem,
                ) from error  # fmt: skip
            ends = np.cumsum(list(entry["foreground"].values()))
            parts = np.split(flat, ends[:-1]) if len(ends) else []
            foreground = {int(c): part for c, part in zip(entry["foreground"], parts, strict=True)}
            self._open[case] = Stored(images, classes, foreground, tuple(entry["spacing_mm"]))
        return self._open[case]

    @classmethod
    def open(cls, folder: Path) -> PatchStore:
        """Open a store.

        Raises
        ------
        FormatError
            When there is none in `folder`, or one of a newer version.
        """
        return cls(Path(folder), read_json(Path(folder) / INDEX, "striate-store", VERSION))

    @classmethod
    def build(
        cls,
        cases: Sequence[Case],
        preparation: Preparation,
        targets: Targets,
        folder: Path,
        progress: Progress | None = None,
    ) -> PatchStore:
        """Prepare `cases` into `folder`, or open what is there when it was made of the same files in the same way.

        Parameters
        ----------
        cases
            Each with a label map.
        preparation, targets
            What is done with them.
        folder
            Made whole or not at all. A store made of other files, or otherwise, is replaced; anything else is refused.
        progress
            Hears of each case.

        Raises
        ------
        DataError
            When a case has no label map or cannot be prepared, or `folder` holds something else.
        DiskFullError
            When the disk is full.
        """
        from striate.io.read import hash_image  # reading is not needed to open a store

        progress = progress or Silent()
        folder = Path(folder)
        inputs = {str(p): hash_image(p) for case in cases for p in _files(case)}
        key = _key(cases, preparation, targets, inputs)
        with suppress(FormatError):
            there = cls.open(folder)
            if there._index["key"] == key:
                return there
            shutil.rmtree(folder)
        with filling(folder) as beside:
            job = _BuildJob(preparation, targets, beside)
            tasks = [(f"{i:04d}", case) for i, case in enumerate(cases)]
            with closing(in_threads(job, tasks, preparing_bytes(cases, preparation.spacing_mm))) as results:
                entries = dict(each(progress, "prepare", results, len(tasks)))
            keep = next(iter(entries.values()))["keep_zero"] if entries else []
            index = {
                "kind": "striate-store",
                "schema_version": VERSION,
                "key": key,
                "keep_zero": keep,
                "inputs": inputs,
                "cases": entries,
            }
            write_json(beside / INDEX, index)
        return cls.open(folder)


def _files(case: Case) -> list[Path]:
    if case.label is None:
        raise DataError(
            expected(f"case {case.name}", "no label map", "one is needed to train",
                     "Leave the case out, or give it split test."), case=case.name,
        )  # fmt: skip
    return [*case.channels.values(), case.label]


def _key(cases: Sequence[Case], preparation: Preparation, targets: Targets, inputs: dict[str, str]) -> str:
    document = {
        "version": VERSION,
        "preparation": preparation.model_dump(mode="json"),
        "targets": [[n, list(v)] for n, v in targets.sets.items()],
        "exclusive": targets.exclusive,
        "cases": [[case.name, *(inputs[str(p)] for p in _files(case))] for case in cases],
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _BuildJob:
    preparation: Preparation
    targets: Targets
    folder: Path

    def __call__(self, item: tuple[str, Case]) -> tuple[str, dict[str, Any]]:
        """Prepare one case and write its files."""
        stem, case = item
        prepared = prepare(case, self.preparation, self.targets)
        return case.name, write_case(self.folder / stem, prepared, self.preparation)


def write_case(stem: Path, prepared: Prepared, preparation: Preparation) -> dict[str, Any]:
    """Write a prepared case beside `stem`; return its entry in the index."""
    classes = prepared.classes
    if classes is None:
        raise DataError(expected(f"case {prepared.case}", "no label map", "one is needed to train"), case=prepared.case)
    schemes = preparation.normalisation
    limit = max(float(prepared.array.max()), -float(prepared.array.min()))
    half = limit < HALF_LIMIT and "none" not in schemes
    np.save(f"{stem}.images.npy", np.ascontiguousarray(prepared.array, dtype=np.float16 if half else np.float32))
    np.save(f"{stem}.classes.npy", np.ascontiguousarray(classes))
    foreground = sample_foreground(classes, prepared.case)
    flat = np.concatenate([*foreground.values(), np.empty(0, dtype=np.int64)])
    np.save(f"{stem}.foreground.npy", flat)
    return {
        "files": stem.name,
        "shape": list(classes.shape),
        "spacing_mm": list(prepared.grid.spacing_mm),
        "foreground": {str(c): len(v) for c, v in foreground.items()},
        "keep_zero": [s == "zscore_nonzero" for s in schemes],
        "notes": list(prepared.notes),
    }


def stored_bytes(preparation: Preparation, targets: Targets, grid: Grid, channels: int, left: float = 1.0) -> int:
    """Return what a case takes in a store, but for rounding the most: a share `left` of its `grid` stays, classes are large."""
    each = 4 if "none" in preparation.normalisation else 2
    voxels = math.ceil(left * math.prod(uncut_shape(preparation, grid)))
    foreground = 8 * min(FOREGROUND_VOXELS * len(targets.sets), voxels)
    return (each * channels + 1) * voxels + foreground + HEADERS_BYTES


def sample_foreground(
    classes: NDArray[np.uint8], case: str, most: int = FOREGROUND_VOXELS
) -> dict[int, NDArray[np.int64]]:
    """Return up to `most` flat voxel indices of each class but background, the same ones for the same case."""
    seed = int.from_bytes(hashlib.sha256(case.encode("utf-8", "surrogateescape")).digest()[:8], "big")
    rng = np.random.Generator(np.random.Philox(seed))
    where = np.flatnonzero(classes)
    values = classes.ravel()[where]
    found = {}
    for index in np.flatnonzero(np.bincount(values, minlength=1)):
        voxels = where[values == index]
        if len(voxels) > most:
            voxels = np.sort(rng.choice(voxels, most, replace=False))
        found[int(index)] = voxels.astype(np.int64)
    return found
