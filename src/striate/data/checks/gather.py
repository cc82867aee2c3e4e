"""Reading a case once and measuring all that the checks need; nothing of the voxels is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import DataError, MemoryLimitError, StriateError, expected
from striate.core.image import Grid, Image, LabelMap, to_ras
from striate.data.checks.facts import LEAST_VOXELS, CaseFacts, ChannelFacts, Failure, LabelFacts, RaterFacts
from striate.data.checks.foreground import Foreground, Mask, Volume, all_of, find_foreground
from striate.data.checks.forms import compare_forms
from striate.data.checks.in_parts import deviation
from striate.data.checks.labels import agreement, measure_label, outside
from striate.data.checks.quality import Quality, measure_quality
from striate.data.checks.signature import MOST_SAMPLES, joint_histograms, signature_of
from striate.io.read import read_image, read_label

Tell = Callable[[float, str], None]
"""Is told which share of the work is done, and what comes next."""


class _Head:
    """Union of what the channels show, on the coarse grid; and the coarse channels of one grid."""

    def __init__(self) -> None:
        self.grid: Grid | None = None
        self.found: Foreground | None = None
        self.mask: Mask | None = None
        self.coarse: dict[str, Volume] = {}

    def add(self, name: str, grid: Grid, found: Foreground) -> None:
        if self.grid is None or self.mask is None:
            self.grid, self.found, self.mask = grid, found, found.coarse_mask.copy()
        elif grid.matches(self.grid) and found.coarse.shape == self.mask.shape:
            self.mask |= found.coarse_mask
        else:
            return
        self.coarse[name] = found.coarse


def gather(case: Case, tell: Tell = lambda done, doing: None) -> CaseFacts:
    """Read the files of `case`, each once, one in memory at a time beside the label map, and return its facts.

    Files that cannot be read, or for which memory does not suffice, become `Failure`; they do not stop the others. `tell` hears
    of the share of the channels and the label map that is done.
    """
    failures: list[Failure] = []
    head = _Head()
    channels: dict[str, ChannelFacts] = {}
    parts = len(case.channels) + (case.label is not None)

    def tell_of(first: int, done: float, doing: str) -> None:
        tell((first + done) / parts, doing)

    seen = 0
    for path in dict.fromkeys(case.channels.values()):
        names = [n for n, p in case.channels.items() if p == path]
        channels.update(_channels_of(case, names, path, head, failures, partial(tell_of, seen)))
        seen += len(names)
    tell_of(len(case.channels), 0.0, "label map")
    label, raters = _gather_labels(case, head, failures)
    joint = {}
    if head.mask is not None and len(head.coarse) > 1:
        joint = joint_histograms(head.coarse, head.mask)
    return CaseFacts(
        case.name, case.subject, {n: channels[n] for n in case.channels if n in channels}, label, raters,
        tuple(failures), case.split, case.label is not None, joint, case.classes,
    )  # fmt: skip


def _channels_of(
    case: Case, names: list[str], path: Path, head: _Head, failures: list[Failure], tell: Tell
) -> Iterator[tuple[str, ChannelFacts]]:
    tell(0.0, f"reading {' and '.join(names)}")
    try:
        image = read_image(path, stack=len(names) if len(names) > 1 else 0)
        if image.channels != len(names):
            raise DataError(
                expected(
                    path,
                    f"the file holds {counted(image.channels, 'channel')}",
                    f"{len(names)} are needed ({', '.join(names)})",
                )
            )
    except (DataError, MemoryLimitError) as error:
        failures.append(_failure(" and ".join(names), path, error))
        return
    for index, name in enumerate(names):
        try:
            facts = measure_channel(name, image, index, head, path, lambda done, doing, i=index: tell(i + done, doing))  # type: ignore[misc]
        except MemoryError:  # its file fitted, what is made of it does not
            short = expected(
                path, f"shape {image.grid.shape}", "more memory than is free is needed to measure it",
                "Cut it to the part that matters, leave it out, or close other programs.",
            )  # fmt: skip
            failures.append(_failure(name, path, MemoryLimitError(short)))
        else:
            yield name, facts


def measure_channel(name: str, image: Image, index: int, head: _Head, path: Path, tell: Tell) -> ChannelFacts:
    """Measure channel `index` of `image`; what it shows of the head is added to `head`. Shares of the work are as measured."""
    grid, notes = image.grid, tuple(image.meta.get("notes", ()))
    spacing_mm = (*grid.spacing_mm, 1.0)[:3]
    tell(0.1, f"{name}: what is not background")
    volume, broken = finite(image.array[index])
    forms = compare_forms(path)
    small = volume.size < LEAST_VOXELS
    found = all_of(volume) if small else find_foreground(volume, spacing_mm)
    inside = volume[found.box][found.mask]
    head.add(name, grid, found)
    low, high = float(inside.min()), float(inside.max())
    sample = inside[:: max(1, inside.size // MOST_SAMPLES)]
    p01, p99 = (float(v) for v in np.percentile(sample, (1, 99)))
    flat = not high > low
    tell(0.4, f"{name}: quality")
    quality = (
        Quality.none(f"image too small ({counted(volume.size, 'voxel')})")
        if small
        else measure_quality(volume, spacing_mm, found)
    )
    tell(0.9, f"{name}: likeness")
    return ChannelFacts(
        grid, low, high, float(inside.mean(dtype=np.float64)), deviation(inside), p01, p99,
        not_finite=broken, background=found.background, stripped=found.stripped,
        at_maximum=_share(inside, high), at_minimum=_share(inside, low),
        top_excess=_excess(inside, high, p99), bottom_excess=_excess(inside, low, p01),
        levels=min(1000, int(np.unique(sample[:20_000]).size)),
        quality=quality.values, unmeasured=quality.unmeasured, forms=forms, notes=notes,
        signature=None if flat else signature_of(volume, found, to_ras(grid)[0]),
    )  # fmt: skip


def finite(array: NDArray[np.generic]) -> tuple[Volume, int]:
    """Return `array` as float32 (I, J, K) with what is not finite set to 0, and how many voxels that were."""
    volume = np.ascontiguousarray(array, dtype=np.float32)
    if volume.ndim == 2:
        volume = volume[..., None]
    broken = 0
    if array.dtype.kind == "f" and not np.isfinite(float(np.add.reduce(volume, axis=None, dtype=np.float64))):
        bad = ~np.isfinite(volume)
        broken = int(bad.sum())
        volume = np.where(bad, np.float32(0), volume)
    return volume, broken


def _gather_labels(case: Case, head: _Head, failures: list[Failure]) -> tuple[LabelFacts | None, dict[str, RaterFacts]]:
    if case.label is None:
        return None, {}
    label = _label(case.label, "label map", failures)
    if label is None:
        return None, {}
    beyond = None
    if head.found is not None and head.mask is not None and head.grid is not None and head.grid.matches(label.grid):
        beyond = outside(label, head.found, head.mask)
    facts = measure_label(label, beyond, compare_forms(case.label))
    raters = {}
    for name, path in case.raters.items():
        other = _label(path, f"label map of rater {name}", failures)
        if other is not None:
            raters[name] = agreement(label, other)
    return facts, raters


def _label(path: Path, role: str, failures: list[Failure]) -> LabelMap | None:
    try:
        return read_label(path)
    except (DataError, MemoryLimitError) as error:
        failures.append(_failure(role, path, error))
        return None


def _failure(role: str, path: Path, error: StriateError) -> Failure:
    return Failure(role, str(path), error.code, error.message)


def _share(inside: NDArray[np.float32], value: float) -> float:
    return float(np.count_nonzero(inside == np.float32(value)) / inside.size)


def _excess(inside: NDArray[np.float32], end: float, percentile: float) -> float:
    """Return voxels at the very end over the mean count in the nine neighbouring bins of 1 % of the last percentile's range."""
    width = (end - percentile) / 100
    if width == 0:
        return float("inf") if np.count_nonzero(inside == np.float32(end)) > 0.005 * inside.size else 0.0
    at = int(np.count_nonzero(inside == np.float32(end)))
    first, last = sorted((end - 10 * width, end - width / 1000))
    near = int(np.count_nonzero((inside >= first) & (inside <= last) & (inside != np.float32(end))))
    return at / max(near / 9, 1.0)
