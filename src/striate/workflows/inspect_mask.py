"""The view of a model that draws masks: the middle of a lesion, and the window that counts most there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.names import lookup
from striate.core.progress import Progress, each
from striate.data.prepare import Prepared
from striate.inference.engines import open_engine
from striate.inference.engines.choose import choose
from striate.inference.predict import predict_case
from striate.inference.sliding_window import blank, cut_window
from striate.inference.tiling import Tiling
from striate.networks.network import Network
from striate.networks.surrounded import surrounded
from striate.planning.plan import Plan
from striate.workflows.explain_case import Opened
from striate.workflows.inspect_place import Place, check_place, file_at, middle_of_largest, seen_at
from striate.workflows.inspect_view import Ask, Output, View, unseen

LEFT = 5e-4
"""Windows over a point that weigh less than this there, together, are left out of what is blended."""


def view_of_mask(opened: Opened, case: Case, ask: Ask, progress: Progress) -> View:
    """Prepare a case, and predict it where no voxel is asked for; choose window, point and label.

    Raises
    ------
    UsageError
        When there is no such voxel or label.
    DataError
        When the case cannot be read, or the voxel lies where the network does not look.
    """
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
        raise unseen(case, at, prepared)
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
    window = cut_window(prepared.array, tiling, where)
    if blank(window):
        notes.append(
            "All of the window is alike: predict draws nothing in it and does not ask the network, as is done here."
        )
    cut = torch.from_numpy(np.ascontiguousarray(window))[None]
    given = cut if flat is None else cut.squeeze(2 + flat)
    margin = network.margin if isinstance(network, Network) else (0,) * len(kept)
    count = math.prod(len(ws) for ws in around)
    if tiling.count > 1:
        told = f"The window is one of {tiling.count}"
        notes.append(told + (f", and of {count} over the point the one that counts most there." if count > 1 else "."))
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
    engine = choose(opened.model, case, tell=progress.note).engine  # a converted network where `predict` has made one
    with progress.bar(f"predict {case.name}", count) as bar:
        mask = predict_case(
            plan, case, network=engine, prepared=prepared, tell=lambda done, total: bar.update(done)
        ).label
    names = [name for name in plan.targets.names if label in (None, name)]
    places: list[tuple[int, str, Place]] = []
    for name in names:
        found = plan.targets.mask(mask.array, name)
        if found.any():
            at, voxels = middle_of_largest(found, mask)
            places.append((voxels, name, at))
    if places:
        voxels, name, at = max(places)
        notes.append(
            f"The point is the middle of the largest lesion that was predicted ({name}, {counted(voxels, 'voxel')})."
        )
        return at, name
    if names:  # the background is not looked for
        told = f"No voxel of {', '.join(names)} was predicted"
        notes.append(f"{told}; the middle of what the network sees is looked at.")
    middle = tuple(n // 2 for n in prepared.grid.shape)
    return file_at(middle, prepared), label


def _covering(tiling: Tiling, axis: int, i: int) -> list[int]:
    """Return the windows along an axis that hold voxel `i`."""
    starts, length = tiling.starts[axis], tiling.patch[axis]
    return [w for w, start in enumerate(starts) if start <= i < start + length]


def _blended(
    plan: Plan, network: nn.Module, prepared: Prepared, tiling: Tiling, around: Sequence[Sequence[int]], seen: Place,
    progress: Progress,
) -> NDArray[np.float32]:  # fmt: skip
    """Return the probabilities (K,) that `predict` blends at a voxel of the working grid, to within `LEFT`.

    Over a voxel the weights of the windows that hold it add up to one; those are computed, the heaviest first, that decide it.
    """
    engine, exclusive = open_engine(network, exclusive=plan.targets.exclusive, precision="fp32"), plan.targets.exclusive
    flat, found = _flat(plan, tiling), np.zeros(plan.targets.out_channels, dtype=np.float32)
    weights = [tiling.weights(axis) for axis in range(len(seen))]
    every = {
        where: math.prod(float(weights[axis][w][seen[axis] - tiling.starts[axis][w]]) for axis, w in enumerate(where))
        for where in itertools.product(*around)
    }
    ordered = sorted(every, key=lambda where: -every[where])
    least = next(n for n in range(1, len(ordered) + 1) if sum(every[w] for w in ordered[n:]) < LEFT)
    for where in each(progress, f"blend {prepared.case}", ordered[:least], least):
        within = [i - tiling.starts[axis][w] for axis, (i, w) in enumerate(zip(seen, where, strict=True))]
        cut = cut_window(prepared.array, tiling, where)
        if blank(cut):  # is not computed, and counts as background
            found[0] += every[where] * exclusive
            continue
        said = engine(np.ascontiguousarray(cut[None] if flat is None else cut[None].squeeze(2 + flat)))[0]
        found += every[where] * said[(slice(None), *(i for axis, i in enumerate(within) if axis != flat))]
    return found / np.float32(sum(every[where] for where in ordered[:least]))


def _flat(plan: Plan, tiling: Tiling) -> int | None:
    """Return the axis of one voxel that a 2D network does not see; None where it sees all."""
    return tiling.patch.index(1) if plan.network.spatial_dims < len(tiling.patch) else None
