"""`SampleStore`: whole images (cases, or axial slices of them) of one size, on disk, with their truth.

Classifiers, autoencoders and networks for sequences learn from it; networks that draw masks learn from `PatchStore`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.case import Case
from striate.core.class_set import ClassSet
from striate.core.config import Config
from striate.core.errors import DataError, FormatError, GeometryError, UsageError, expected
from striate.core.files import filling, read_json, write_json
from striate.core.image import Grid, to_ras
from striate.core.in_threads import in_threads
from striate.core.progress import Progress, Silent, each
from striate.data.derive import slices_containing
from striate.data.prepare import Preparation, Prepared, describe_grid, prepare_images, preparing_bytes

VERSION = 1
INDEX, IMAGES, TRUTH = "samples.json", "images.raw", "truth.npy"


class SampleForm(Config):
    """What one sample is.

    Attributes
    ----------
    size
        Voxels along each spatial axis of the network's input, without an axis for slices.
    slices
        True: each axial slice of a 3D scan is a sample of its own.
    length
        Images of a sequence: consecutive axial slices or, without `slices`, the examinations of a subject up to a case; 0
        where samples are single images.
    classes, exclusive
        Names of the classes, see `ClassSet`; no names where nothing but the image is learned.
    contains
        Label values whose presence in a slice makes it one of the second class; empty where cases bring their classes.
    """

    size: tuple[int, ...]
    slices: bool = False
    length: int = 0
    classes: tuple[str, ...] = ()
    exclusive: bool = True
    contains: tuple[int, ...] = ()

    @property
    def times(self) -> bool:
        """Whether a sample is the sequence of a subject's examinations up to one case, the last of which is asked about."""
        return bool(self.length) and not self.slices

    @property
    def class_set(self) -> ClassSet | None:
        """The classes, or None where there are none."""
        return ClassSet(self.classes, self.exclusive) if self.classes else None

    @property
    def truth_shape(self) -> tuple[int, ...]:
        """Shape of the truth of one sample."""
        inner = self.class_set.truth_shape if self.class_set else ()
        return (self.length, *inner) if self.length else inner

    def image_shape(self, channels: int) -> tuple[int, ...]:
        """Shape of one sample as a network takes it: (C, *size), or (T, C, *size) of a sequence."""
        return (*((self.length,) if self.length else ()), channels, *self.size)


@dataclass(frozen=True, slots=True)
class CaseSamples:
    """The samples of one case, in order.

    Attributes
    ----------
    images
        (N, C, *size) float32, or (N, T, C, *size).
    slices
        For each sample the axial slices that it shows, counted from the lowest of the scan; empty for whole cases.
    prepared
        The way back to the files, without the voxels; None for sequences, and where samples come from a store.
    """

    images: NDArray[np.float32]
    slices: tuple[tuple[int, ...], ...]
    prepared: Prepared | None = None


def prepare_samples(
    case: Case,
    preparation: Preparation,
    form: SampleForm,
    history: Sequence[Case] = (),
    look: Callable[[Prepared], None] = lambda prepared: None,
) -> CaseSamples:
    """Read a case and cut it into samples.

    Parameters
    ----------
    case, preparation, form
        What is read, and how.
    history
        The examinations of its subject up to the case (`striate.data.time_points.histories`), for a form of `times`. The
        latest that fit are taken; where there are fewer, the oldest stands for what was before.
    look
        Is shown the prepared images of the case itself, before they are cut into samples.

    Slices keep the scan's own distance; within the slice, `preparation` decides. What lies outside of the size is cut
    off, what is missing is filled with the value at the border.

    Raises
    ------
    DataError
        When the files cannot be read or do not fit together.
    """
    from striate.io.read import read_channels

    if form.times:
        single = form.changed(length=0)
        shown = {case.name: (look,)}
        seen = {
            c.name: prepare_samples(c, preparation, single, (), *shown.get(c.name, ())).images
            for c in _latest(case, history, form.length)
        }
        order = [c.name for c in _filled(case, history, form.length)]
        return CaseSamples(np.stack([seen[name][0] for name in order])[None], ((),))
    images = list(read_channels(case).values())
    _, turned = to_ras(images[0].grid)
    if form.slices and len(turned.shape) == 3:
        spacing = (*preparation.spacing_mm[:2], turned.spacing_mm[2])
        preparation = preparation.changed(spacing_mm=spacing)
    prepared = prepare_images(images, preparation, case.name, channels=tuple(case.channels))
    look(prepared)
    way = None if form.length else replace(prepared, array=np.empty((0,) * prepared.array.ndim, np.float32))
    if not form.slices:
        return CaseSamples(fit(prepared.array, form.size)[None], ((),), way)
    return replace(_slices(prepared, form), prepared=way)


def _latest(case: Case, history: Sequence[Case], length: int) -> list[Case]:
    """Return the examinations that a sequence shows, oldest first."""
    return [*(history or (case,))][-length:]


def _filled(case: Case, history: Sequence[Case], length: int) -> list[Case]:
    """Return as many examinations as a sequence has, the oldest repeated."""
    latest = _latest(case, history, length)
    return [latest[0]] * (length - len(latest)) + latest


def _slices(prepared: Prepared, form: SampleForm) -> CaseSamples:
    if prepared.array.ndim != 4:
        shape = prepared.array.shape[1:]
        raise DataError(
            expected(f"case {prepared.case}", f"an image of shape {shape}", "slices are cut from 3D scans"),
            case=prepared.case,
        )
    first, depth = prepared.crop[2].start, prepared.array.shape[3]
    planes = np.stack([fit(prepared.array[..., k], form.size) for k in range(depth)])
    if not form.length:
        return CaseSamples(planes, tuple((first + k,) for k in range(depth)))
    starts = window_starts(depth, form.length)
    picked = [[min(s + t, depth - 1) for t in range(form.length)] for s in starts]
    return CaseSamples(np.stack([planes[p] for p in picked]), tuple(tuple(first + k for k in p) for p in picked))


def window_starts(depth: int, length: int) -> list[int]:
    """Return where windows of `length` images begin so that each of `depth` is in one and neighbours share a half."""
    if depth <= length:
        return [0]
    count = -(-(depth - length) // max(1, length // 2)) + 1
    return [round(i * (depth - length) / (count - 1)) for i in range(count)]


def sampled_bytes(form: SampleForm, grid: Grid, channels: int) -> int:
    """Return the most that the samples of a case on `grid` take in a store."""
    depth = to_ras(grid)[1].shape[-1] if form.slices else 1
    count = len(window_starts(depth, form.length)) if form.slices and form.length else depth
    slices = 8 * max(1, form.length)  # in the index
    return count * (2 * math.prod(form.image_shape(channels)) + math.prod(form.truth_shape) + slices)


def fit(array: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
    """Return (C, *size): the centre of `array` (C, *spatial), cut, or filled with the values at its border."""
    cut: list[slice] = [slice(None)]
    pads: list[tuple[int, int]] = [(0, 0)]
    for have, want in zip(array.shape[1:], size, strict=True):
        start = max(0, (have - want) // 2)
        cut.append(slice(start, start + min(have, want)))
        missing = max(0, want - have)
        pads.append((missing // 2, missing - missing // 2))
    return np.pad(array[tuple(cut)], pads, mode="edge")


def unfit(values: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Undo `fit`: return (C, *shape) from `values` (C, *size); 0 where `fit` cut off."""
    whole = np.zeros((len(values), *shape), dtype=np.float32)
    there, here = [slice(None)], [slice(None)]
    for have, want in zip(shape, values.shape[1:], strict=True):
        both = min(have, want)
        there.append(slice((have - both) // 2, (have - both) // 2 + both))
        here.append(slice((want - both) // 2, (want - both) // 2 + both))
    whole[tuple(there)] = values[tuple(here)]
    return whole


def truths_of(case: Case, samples: CaseSamples, form: SampleForm, history: Sequence[Case] = ()) -> NDArray[np.uint8]:
    """Return the truth of each sample (N, *form.truth_shape); zeros where nothing but the image is learned.

    In a sequence of examinations one without a class has that of the next: a subject's class may stand at its last only.

    Raises
    ------
    DataError
        When the case has neither the classes nor the label map that the form asks for.
    """
    result = np.zeros((len(samples.images), *form.truth_shape), dtype=np.uint8)
    known = form.class_set
    if known is None:
        return result
    if form.contains:
        there = slices_with(case, form.contains)
        for row, planes in enumerate(samples.slices):
            result[row] = there[list(planes)] if form.length else there[planes[0]]
        return result
    if case.classes is None:
        raise DataError(
            expected(f"case {case.name}", "no class", "one is needed to learn from", "Add it in the column class."),
            case=case.name,
        )
    if form.times:
        later = case
        for place, seen in reversed(list(enumerate(_filled(case, history, form.length)))):
            later = seen if seen.classes is not None else later
            result[:, place] = truths_of(later, samples, form.changed(length=0))
        return result
    try:
        encoded = known.encode(case.classes)
    except UsageError as error:
        raise DataError(f"case {case.name}: {error.message}", case=case.name) from error
    result[...] = encoded if known.truth_shape else encoded[0]
    return result


def slices_with(case: Case, values: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return for each axial slice of the scan (lowest first) whether the label map holds one of `values`.

    Raises
    ------
    GeometryError
        When the label map lies on another grid than the first channel; other axes in the file are no other grid.
    DataError
        When the case has no label map, or it cannot be read.
    """
    from striate.io.read import read_header, read_label

    if case.label is None:
        raise DataError(
            expected(f"case {case.name}", "no label map", "one is needed to know what a slice contains"), case=case.name
        )
    label, files = read_label(case.label), list(case.channels.values())
    image = read_header(files[0], stack=files.count(files[0]) > 1).grid
    turn, turned = to_ras(label.grid)
    if not turned.matches(to_ras(image)[1]):
        got = f"{case.label.name} has {describe_grid(label.grid)}, {files[0].name} has {describe_grid(image)}"
        raise GeometryError(
            expected(f"case {case.name}", got, "the label map must lie on the grid of the image",
                     "Resample it onto the image, or fix its header; see striate check."), case=case.name, path=case.label,
        )  # fmt: skip
    return slices_containing(turn.apply(label.array), values).astype(np.uint8)


class SampleStore:
    """Samples in a folder; picklable, so that worker processes can open it too.

    Attributes
    ----------
    folder
        Where it lies.
    form
        What one sample is.
    key
        SHA-256 of everything that decides what the samples are.
    inputs
        File → SHA-256 of every file that was read.
    keep_zero
        For each channel, whether 0 is background that augmentation must keep (``zscore_nonzero``).
    images
        (N, C, *size), or (N, T, C, *size) of sequences, float16, memory-mapped.
    truth
        (N, *form.truth_shape) uint8.
    rows
        Case → numbers of its samples.
    slices
        Sample → axial slices that it shows.
    case_of
        Sample → name of its case.
    """

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self._index = index
        self.form = SampleForm.parse(index["form"], folder)
        self.key: str = index["key"]
        self.inputs: dict[str, str] = index["inputs"]
        self.keep_zero: tuple[bool, ...] = tuple(index["keep_zero"])
        self.spacing_mm: tuple[float, ...] = tuple(index["spacing_mm"])
        self.notes: tuple[str, ...] = ()
        self.truth: NDArray[np.uint8] = np.load(self.folder / TRUTH)
        shape = (len(self.truth), *self.form.image_shape(self.channels))
        self.images: NDArray[np.float16] = np.memmap(self.folder / IMAGES, np.float16, "r", shape=shape)
        self.rows: dict[str, range] = {}
        self.slices: list[tuple[int, ...]] = []
        for name, planes in index["cases"].items():
            self.rows[name] = range(len(self.slices), len(self.slices) + len(planes))
            self.slices += [tuple(p) for p in planes]
        self.case_of: list[str] = [name for name, rows in self.rows.items() for _ in rows]

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the folder, not the maps."""
        return (SampleStore, (self.folder, self._index))

    @property
    def channels(self) -> int:
        """Channels of the images, as a network sees them."""
        return len(self.keep_zero)

    def of(self, cases: Sequence[str]) -> NDArray[np.int64]:
        """Return the numbers of all samples of `cases`, in order."""
        return np.array([row for case in cases for row in self.rows[case]], dtype=np.int64)

    @classmethod
    def open(cls, folder: Path) -> SampleStore:
        """Open a store.

        Raises
        ------
        FormatError
            When it is missing, damaged or of a newer version.
        """
        index = read_json(Path(folder) / INDEX, "striate-samples", VERSION)
        try:
            return cls(folder, index)
        except (OSError, ValueError, KeyError) as error:
            raise FormatError(
                expected(folder, f"broken samples ({error})", "the whole store is needed",
                         "Remove the folder; it is made anew."), path=folder,
            ) from error  # fmt: skip

    @classmethod
    def build(
        cls,
        cases: Sequence[Case],
        preparation: Preparation,
        form: SampleForm,
        folder: Path,
        progress: Progress | None = None,
        histories: Mapping[str, Sequence[Case]] = MappingProxyType({}),
    ) -> SampleStore:
        """Prepare `cases` into `folder`, whole or not at all; a store made of the same files in the same way is kept.

        `histories` tells the examinations before each case, for a form of `times`.

        Raises
        ------
        DataError
            When a case cannot be prepared, or has no truth of the kind that is learned.
        DiskFullError
            When the disk is full.
        """
        from striate.io.read import hash_image

        folder = Path(folder)
        seen = {c.name: c for case in cases for c in (*histories.get(case.name, ()), case)}
        inputs = {str(p): hash_image(p) for case in seen.values() for p in _files(case, form)}
        key = _key(cases, preparation, form, inputs, histories)
        with suppress(FormatError):
            there = cls.open(folder)
            if there.key == key:
                return there
        if (folder / INDEX).is_file():
            shutil.rmtree(folder)
        with filling(folder) as beside:
            truths, planes = [], {}
            with (beside / IMAGES).open("wb") as stream:
                bytes_each = preparing_bytes(cases, preparation.spacing_mm)
                job = functools.partial(_sampled, preparation=preparation, form=form, histories=histories)
                with closing(in_threads(job, cases, bytes_each)) as results:
                    listed = each(progress or Silent(), "prepare", results, len(cases))
                    for case, (images, truth, slices) in zip(cases, listed, strict=True):
                        truths.append(truth)
                        planes[case.name] = slices
                        images.tofile(stream)
            np.save(beside / TRUTH, np.concatenate(truths))
            index = {
                "kind": "striate-samples",
                "schema_version": VERSION,
                "key": key,
                "form": form.model_dump(mode="json"),
                "keep_zero": [s == "zscore_nonzero" for s in preparation.normalisation],
                "spacing_mm": list(preparation.spacing_mm[: len(form.size)]),
                "inputs": inputs,
                "cases": planes,
            }
            write_json(beside / INDEX, index)
        return cls.open(folder)


def _sampled(
    case: Case, preparation: Preparation, form: SampleForm, histories: Mapping[str, Sequence[Case]]
) -> tuple[NDArray[np.float16], NDArray[np.uint8], tuple[tuple[int, ...], ...]]:
    """Return a case's samples as they are stored, their truths, and of which slices they are."""
    before = histories.get(case.name, ())
    samples = prepare_samples(case, preparation, form, before)
    images = np.clip(samples.images, -6e4, 6e4).astype(np.float16)
    return images, truths_of(case, samples, form, before), samples.slices


def _files(case: Case, form: SampleForm) -> Iterator[Path]:
    yield from dict.fromkeys(case.channels.values())
    if form.contains and case.label is not None:
        yield case.label


def _key(
    cases: Sequence[Case],
    preparation: Preparation,
    form: SampleForm,
    inputs: Mapping[str, str],
    histories: Mapping[str, Sequence[Case]],
) -> str:
    document: dict[str, Any] = {
        "version": VERSION,
        "preparation": preparation.model_dump(mode="json"),
        "form": form.model_dump(mode="json"),
        "cases": [
            [case.name, list(case.classes or ()), *(inputs[str(p)] for p in _files(case, form))] for case in cases
        ],
    }
    if histories:
        document["histories"] = [
            [
                [name, seen.name, list(seen.classes or ()), *(inputs[str(p)] for p in _files(seen, form))]
                for seen in histories[name]
            ]
            for name in (case.name for case in cases)
        ]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
