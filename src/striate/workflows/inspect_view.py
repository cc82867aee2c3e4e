"""What of one case is inspected: one window as `predict` gives it to the network, and one point in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import DataError, UsageError, expected
from striate.core.names import lookup
from striate.core.progress import Progress, each
from striate.data.prepare import Prepared
from striate.data.samples import CaseSamples, prepare_samples
from striate.explaining.target import class_target
from striate.inference.engines import open_engine
from striate.inference.predict import predict_case
from striate.inference.sliding_window import blank, cut_window
from striate.inference.tiling import Tiling
from striate.inference.whole import form_of, predict_samples
from striate.networks.network import Network
from striate.networks.surrounded import surrounded
from striate.planning.plan import Plan
from striate.workflows.explain_case import Opened
from striate.workflows.inspect_place import Place, check_place, file_at, middle_of_largest, seen_at, to_turned


@dataclass(frozen=True, slots=True)
class Ask:
    """What of a case is to be inspected; see `striate.workflows.inspect.inspect`."""

    at: Place | None = None
    label: str | None = None
    plane: int | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """The number of the output that is followed.

    Attributes
    ----------
    what
        ``label``, ``class`` or ``channel``.
    name, unit
        Of the label, class or channel, and which channel of the network's output it is.
    at
        Its place there: in the output's map; of a sequence the number of the image; empty for one number per class.
    blended
        The probability that `predict` gives there, of all windows together; None of reconstructions.
    """

    what: str
    name: str
    unit: int
    at: Place
    blended: float | None


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One window of one case, and a point in it.

    Attributes
    ----------
    case, prepared, network
        Which, as the network sees it, and the network.
    tile
        What is given to it: (1, C, *S), or (1, T, C, *S) of a sequence; with what is mirrored around it.
    channels
        Names of C.
    corner
        Voxel of the working grid at which the window begins, per axis of the network; negative where it reaches over the border.
    flat
        Axis of the working grid that a 2D network does not see; None where there is none.
    at, seen, inside
        The point: a voxel of the files, of the working grid, of the tile.
    step
        Image of the sequence that the point lies in; None where there is no sequence.
    output
        What is followed.
    notes
        What a reader should know, as sentences.
    """

    case: Case
    prepared: Prepared
    network: nn.Module
    tile: Tensor
    channels: tuple[str, ...]
    corner: Place
    flat: int | None
    at: Place
    seen: Place
    inside: Place
    step: int | None
    output: Output
    notes: list[str]

    @property
    def oriented(self) -> bool:
        """Whether the first two axes of the tile grow to the right and to the front."""
        ras = len(self.prepared.grid.shape) == 3 and self.prepared.grid.axes == "RAS"
        return ras and self.flat in (None, 2)


def look_into(opened: Opened, case: Case, ask: Ask, history: Sequence[Case], progress: Progress) -> View:
    """Prepare a case and choose window, point and output.

    Raises
    ------
    UsageError
        When there is no such voxel, label, class, channel or slice.
    DataError
        When the case cannot be read, or the voxel lies where the network does not look.
    """
    if opened.plan.task.kind == "segmentation":
        return _of_mask(opened, case, ask, progress)
    return _of_whole(opened, case, ask, history, progress)


def _of_mask(opened: Opened, case: Case, ask: Ask, progress: Progress) -> View:
    plan, network = opened.plan, opened.network
    names = (*(("background",) if plan.targets.exclusive else ()), *plan.targets.names)
    if ask.label is not None:
        lookup("label", ask.label, {name: name for name in names})
    prepared = opened.prepared(case)
    notes, label = list(prepared.notes), ask.label
    if ask.at is not None:
        at = check_place(ask.at, prepared.source.shape, case.name)
    else:
        at, label = _found_in(opened, case, prepared, label, notes, progress)
    seen = seen_at(at, prepared)
    if seen is None:
        raise _unseen(case, at, prepared)
    tiling = Tiling.of(prepared.array.shape[1:], plan.inference.patch, plan.inference.overlap)
    around = [_covering(tiling, axis, i) for axis, i in enumerate(seen)]
    chances = _blended(plan, network, prepared, tiling, around, seen, progress)
    where = tuple(
        max(ws, key=lambda w, a=axis: tiling.weights(a)[w][seen[a] - tiling.starts[a][w]])  # type: ignore[misc]
        for axis, ws in enumerate(around)
    )
    unit = int(chances.argmax()) if label is None else names.index(label)
    flat = _flat(plan, tiling)
    kept = [axis for axis in range(len(seen)) if axis != flat]
    start = [tiling.starts[axis][w] for axis, w in enumerate(where)]
    within = tuple(seen[a] - start[a] for a in kept)
    cut = torch.from_numpy(np.ascontiguousarray(cut_window(prepared.array, tiling, where)))[None]
    given = cut if flat is None else cut.squeeze(2 + flat)
    margin = network.margin if isinstance(network, Network) else (0,) * len(kept)
    count = math.prod(len(ws) for ws in around)
    notes.append(
        f"The window is one of {counted(tiling.count, 'window')}, and of {counted(count, 'window')} over the point the one that"
        " counts most there."
    )
    masks = tuple(f"previous label {value}" for value in plan.preparation.previous_labels)
    return View(
        case, prepared, network, surrounded(network, given), (*case.channels, *masks),
        tuple(start[a] - m for a, m in zip(kept, margin, strict=True)), flat, at, seen,
        tuple(i + m for i, m in zip(within, margin, strict=True)), None,
        Output("label", names[unit], unit, within, float(chances[unit])), notes,
    )  # fmt: skip


def _found_in(
    opened: Opened, case: Case, prepared: Prepared, label: str | None, notes: list[str], progress: Progress
) -> tuple[Place, str | None]:
    """Return the middle of the largest lesion of a case, or of one label, and whose it is; else the middle of the image."""
    plan = opened.plan
    count = Tiling.of(prepared.array.shape[1:], plan.inference.patch, plan.inference.overlap).count
    with progress.bar(f"predict {case.name}", count) as bar:
        mask = predict_case(
            plan, case, network=opened.network, prepared=prepared, tell=lambda done, total: bar.update(done)
        ).label
    names = [name for name in plan.targets.names if label in (None, name)]
    places: list[tuple[int, str, Place]] = []
    for name in names:
        found = plan.targets.mask(mask.array, name)
        if found.any():
            at, voxels = middle_of_largest(found, mask)
            places.append((voxels, name, at))
    if places:
        _, name, at = max(places)
        return at, name
    middle = tuple(n // 2 for n in prepared.grid.shape)
    notes.append(
        f"No voxel of {', '.join(names) or label} was predicted; the middle of what the network sees is looked at."
    )
    return file_at(middle, prepared), label


def _covering(tiling: Tiling, axis: int, i: int) -> list[int]:
    """Return the windows along an axis that hold voxel `i`."""
    starts, length = tiling.starts[axis], tiling.patch[axis]
    return [w for w, start in enumerate(starts) if start <= i < start + length]


def _blended(
    plan: Plan, network: nn.Module, prepared: Prepared, tiling: Tiling, around: Sequence[Sequence[int]], seen: Place,
    progress: Progress,
) -> NDArray[np.float32]:  # fmt: skip
    """Return the probabilities (K,) that `predict` blends at a voxel of the working grid, in single precision.

    Of all windows only those that hold the voxel are computed: over it their weights add up to one.
    """
    engine, exclusive = open_engine(network, exclusive=plan.targets.exclusive, precision="fp32"), plan.targets.exclusive
    flat, found = _flat(plan, tiling), np.zeros(plan.targets.out_channels, dtype=np.float32)
    weights = [tiling.weights(axis) for axis in range(len(seen))]
    every = list(itertools.product(*around))
    for where in each(progress, f"blend {prepared.case}", every, len(every)):
        within = [i - tiling.starts[axis][w] for axis, (i, w) in enumerate(zip(seen, where, strict=True))]
        weight = math.prod(float(weights[axis][w][i]) for axis, (i, w) in enumerate(zip(within, where, strict=True)))
        cut = cut_window(prepared.array, tiling, where)
        if blank(cut):  # is not computed, and counts as background
            found[0] += weight * exclusive
            continue
        said = engine(np.ascontiguousarray(cut[None] if flat is None else cut[None].squeeze(2 + flat)))[0]
        found += weight * said[(slice(None), *(i for axis, i in enumerate(within) if axis != flat))]
    return found


def _flat(plan: Plan, tiling: Tiling) -> int | None:
    """Return the axis of one voxel that a 2D network does not see; None where it sees all."""
    return tiling.patch.index(1) if plan.network.spatial_dims < len(tiling.patch) else None


def _unseen(case: Case, at: Place, prepared: Prepared) -> DataError:
    told = ",".join(map(str, at))
    low, high = (file_at(end, prepared) for end in ((0,) * len(at), tuple(n - 1 for n in prepared.grid.shape)))
    ends = " × ".join(f"{min(a, b)} to {max(a, b)}" for a, b in zip(low, high, strict=True))
    return DataError(
        expected(f"case {case.name}", f"--at {told} lies outside of what the network sees", f"a voxel of {ends} is needed"),
        case=case.name,
    )  # fmt: skip


def _of_whole(opened: Opened, case: Case, ask: Ask, history: Sequence[Case], progress: Progress) -> View:
    plan, network, kind = opened.plan, opened.network, opened.plan.task.kind
    seen_by: list[Prepared] = []
    samples = prepare_samples(case, plan.preparation, form_of(plan), history, seen_by.append)
    prepared, plane = seen_by[0], ask.plane
    at = None if ask.at is None else check_place(ask.at, prepared.source.shape, case.name)
    flat = 2 if plan.task.unit == "slice" else None
    if at is not None and flat is not None:
        plane = to_turned(at, prepared)[2]
    found = next(iter(predict_samples(plan, network, [(case, samples)])))
    blended: float | None = None
    if kind == "reconstruction":
        names = list(plan.task.channels)
        name = names[0] if ask.label is None else lookup("channel", ask.label, {n: n for n in names})
        what, unit = "channel", names.index(name)
        looked = tuple(p[0] for p in samples.slices if p)
        plane = looked[len(looked) // 2] if plane is None and looked else plane
    else:
        target = class_target(plan, found, ask.label, plane)
        what, name, unit = "class", target.label, plan.task.classes.index(target.label)
        plane, blended = target.facts["slice"], float(target.facts["probability"])
    row, step = _sample_of(samples, plan, plane, case)
    image = samples.images[row]
    size = tuple(image.shape[-plan.network.spatial_dims :])
    corner = tuple(_begin(n, p) for n, p in zip(prepared.grid.shape, size, strict=False))
    if at is None:
        ends = zip(corner, size, prepared.grid.shape, strict=False)
        seen = tuple(min(max(c + p // 2, 0), n - 1) for c, p, n in ends)
        seen = seen if flat is None or plane is None else (*seen, plane - prepared.crop[2].start)
        at = file_at(seen, prepared)
    else:
        there = seen_at(at, prepared)
        if there is None or any(not 0 <= i - c < p for i, c, p in zip(there, corner, size, strict=False)):
            raise _unseen(case, at, prepared)
        seen = there
    inside = tuple(i - c for i, c in zip(seen, corner, strict=False))
    place = inside if kind == "reconstruction" else () if step is None else (step,)
    tile = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None]
    output = Output(what, name, unit, place, blended)
    return View(
        case, prepared, network, tile, tuple(case.channels), corner, flat, at, seen, inside, step, output,
        list(prepared.notes),
    )  # fmt: skip


def _begin(have: int, want: int) -> int:
    """Return where a sample begins along an axis of `have` voxels, as `striate.data.samples.fit` cuts it."""
    return (have - want) // 2 if have >= want else -((want - have) // 2)


def _sample_of(samples: CaseSamples, plan: Plan, plane: int | None, case: Case) -> tuple[int, int | None]:
    """Return which sample shows slice `plane`, most in its middle, and which of its images it is."""
    if plan.task.unit != "slice" or plane is None:
        return 0, samples.images.shape[1] - 1 if plan.task.kind == "sequence" else None
    shown = [(row, step) for row, ks in enumerate(samples.slices) for step, k in enumerate(ks) if k == plane]
    if not shown:
        every = [k for ks in samples.slices for k in ks]
        raise UsageError(
            f"--slice {plane}: of case {case.name} the model looks at slices {min(every)} to {max(every)}.",
            case=case.name,
        )
    if plan.task.kind != "sequence":
        return shown[0][0], None
    middle = (samples.images.shape[1] - 1) / 2
    return min(shown, key=lambda one: abs(one[1] - middle))
