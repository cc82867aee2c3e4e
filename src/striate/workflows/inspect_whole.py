"""The view of a model of whole images: classes of images and slices, sequences, reconstructions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from striate.core.case import Case
from striate.core.errors import UsageError
from striate.core.names import lookup
from striate.data.prepare import Prepared
from striate.data.samples import CaseSamples, prepare_samples
from striate.explaining.target import class_target
from striate.inference.whole import form_of, predict_samples
from striate.planning.plan import Plan
from striate.workflows.explain_case import Opened
from striate.workflows.inspect_place import check_place, file_at, seen_at, to_turned
from striate.workflows.inspect_view import Ask, Output, View, unseen


def view_of_whole(opened: Opened, case: Case, ask: Ask, history: Sequence[Case]) -> View:
    """Prepare and predict a case; choose image or slice, point, and class or channel.

    Parameters
    ----------
    opened, case, ask
        Model, case, what is wanted.
    history
        Examinations of the case's subject up to it, where the model reads them in order.

    Raises
    ------
    UsageError
        When there is no such voxel, slice, class or channel.
    DataError
        When the case cannot be read, or the voxel lies where the network does not look.
    """
    plan, network, kind = opened.plan, opened.network, opened.plan.task.kind
    seen_by: list[Prepared] = []
    samples = prepare_samples(case, plan.preparation, form_of(plan), history, seen_by.append)
    prepared, plane = seen_by[0], ask.plane
    at = None if ask.at is None else check_place(ask.at, prepared.source.shape, case.name)
    if at is not None and seen_at(at, prepared) is None:
        raise unseen(case, at, prepared)
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
            raise unseen(case, at, prepared)
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
