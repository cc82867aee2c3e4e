"""A model of nnU-Net v2 applied as nnU-Net itself does it, number by number where that decides a voxel.

What differs from Striate's own way: logits, not probabilities, are blended; in half precision, with nnU-Net's window of
weights (a Gaussian of σ = patch / 8 cut at 4 σ, 10 at its centre); every window is computed in single precision and
averaged over the mirrored copies that the training allows; no blank window is skipped; logits are resampled by linear
splines, without smoothing, and rounded to half precision; regions are painted one over the other where p > 0.5, in the
order that the dataset gives; the first stage of a cascade is predicted so too. Behaviour of nnU-Net 2.8 on a CPU (F. Isensee
et al., Nat Methods 18:203, 2021), which is why the processor computes it, also where a GPU is: there nnU-Net lets PyTorch
choose half precision (``torch.autocast``), and its own masks may differ between the two.

Whole logits are held: 2 bytes per class and voxel of the prepared image.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.core.case import Case
from striate.core.caution import Caution
from striate.core.errors import UsageError
from striate.core.image import LabelMap
from striate.data.prepare import Prepared
from striate.data.prepare_nnunet import apart, zoom
from striate.inference.cascade import prepare_stage
from striate.inference.engines.ensemble import snapshots
from striate.inference.prediction import Prediction
from striate.inference.refuse_nan import refuse_nan
from striate.inference.warn import reasons_for_doubt
from striate.model.model import Model
from striate.planning.plan import Plan

CENTRE = 10.0
"""Weight of the voxel in the middle of a window."""


def predict_exact(
    model: Model,
    case: Case,
    *,
    mirror: bool = True,
    prepared: Prepared | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Prediction:
    """Predict one case as nnU-Net does; all folds of the model are averaged.

    Parameters
    ----------
    model
        One that ``striate import nnunet`` wrote.
    case
        Its channels are taken in their order.
    mirror
        Average over mirrored copies, nnU-Net's default; False is its ``--disable_tta``.
    prepared
        The case as prepared by the plan, where it is in memory already.
    tell
        Called with the windows done and their number.

    Raises
    ------
    UsageError
        When the model was not imported from nnU-Net.
    DataError
        When the files cannot be read or do not fit together.
    ModelError
        When the network answers NaN.
    """
    known = facts_of_nnunet(model)
    start = time.monotonic()
    ready = prepare_stage(model, case, mirror=mirror, exact=True) if prepared is None else prepared
    middle = time.monotonic()
    members, windows, total = [model.network(), *snapshots(model)], 0, torch.zeros(())
    for index, network in enumerate(members):
        logits, windows = blended_logits(
            model.plan, network, ready.array, known["axes"], mirror=mirror,
            tell=lambda done, of, i=index: tell(i * of + done, len(members) * of),  # type: ignore[misc]
        )  # fmt: skip
        total = total.add_(logits) if index else logits
    total /= len(members)
    refuse_nan(total.min().numpy(), ready.array, case.name, model.folder, "torch, exact")
    label = restored(model.plan, total, ready)
    seconds = {"prepare": round(middle - start, 3), "network": round(time.monotonic() - middle, 3)}
    facts = {
        "windows": windows, "windows_skipped": 0, "engine": "torch, exact", "precision": "fp32",
        "tta": mirror and bool(model.plan.inference.mirror_axes), "crf": False, "folds": len(members), "seconds": seconds,
    }  # fmt: skip
    doubts = (
        *(Caution("prepared", text) for text in ready.notes),
        *reasons_for_doubt(model.plan, model.facts, ready, label),
    )
    return Prediction(case, model.plan.targets, held=label, warnings=doubts, facts=facts)


def facts_of_nnunet(model: Model) -> dict[str, Any]:
    """Return what ``striate import nnunet`` wrote down of the training.

    Raises
    ------
    UsageError
        When the model was not imported from nnU-Net, or before plans held the values of regions.
    """
    known = model.facts.get("nnunet")
    if not isinstance(known, dict):
        raise UsageError(
            f"--exact: {model.folder} was not imported from nnU-Net, so there is no other way to be exact to; leave it away."
        )
    if known.get("regions_class_order") and model.plan.task.region_values is None:
        raise UsageError(
            f"--exact: the plan of {model.folder} does not tell the values of its regions, because it was imported by an earlier"
            " Striate; import the results folder again."
        )
    return known


def blended_logits(
    plan: Plan,
    network: nn.Module,
    array: NDArray[np.float32],
    axes: Sequence[int],
    *,
    mirror: bool,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Tensor, int]:
    """Return the blended logits (K, *spatial) float16 of an array (C, *spatial), and the number of windows.

    `axes` are Striate's axes in the order of nnU-Net's: windows are added up in its order, because sums in half precision
    depend on it.
    """
    patch, size = plan.inference.patch, array.shape[1:]
    across = patch.index(1) if plan.network.spatial_dims < len(patch) else None
    missing = [max(p - n, 0) for p, n in zip(patch, size, strict=True)]
    padding = [(m // 2, m - m // 2) for m in missing]
    data = torch.from_numpy(np.pad(array, [(0, 0), *padding]))
    starts = [steps(n, p, 1 - plan.inference.overlap) for n, p in zip(data.shape[1:], patch, strict=True)]
    weights = gaussian(patch)
    kinds = plan.targets.out_channels
    total = torch.zeros((kinds, *data.shape[1:]), dtype=torch.half)
    counted = torch.zeros(data.shape[1:], dtype=torch.half)
    flips = plan.inference.mirror_axes if mirror else ()
    windows = math.prod(len(s) for s in starts)
    for done, where in enumerate(_visits(starts, axes), start=1):
        place = tuple(slice(s, s + p) for s, p in zip(where, patch, strict=True))
        tile = data[(slice(None), *place)][None].contiguous()
        total[(slice(None), *place)] += _mirrored(network, tile, across, flips) * weights
        counted[place] += weights
        tell(done, windows)
    total /= counted
    inside = tuple(slice(low, low + n) for (low, _), n in zip(padding, size, strict=True))
    return total[(slice(None), *inside)], windows


def steps(size: int, patch: int, step: float) -> list[int]:
    """Return the first voxel of each window along one axis; `step` is the largest step as a share of the patch."""
    if patch == 1:  # the slices of a 2D network
        return list(range(size))
    count = math.ceil((size - patch) / (patch * step)) + 1
    if count < 2:
        return [0]
    return [round(i * ((size - patch) / (count - 1))) for i in range(count)]


def gaussian(patch: Sequence[int]) -> Tensor:
    """Return the weights of a window, (*patch) float16, none of them 0."""
    from scipy.ndimage import gaussian_filter

    point = np.zeros(tuple(patch))
    point[tuple(n // 2 for n in patch)] = 1
    spread = gaussian_filter(point, [n / 8 if n > 1 else 0 for n in patch], mode="constant")
    found = torch.from_numpy(spread / (spread.max() / CENTRE)).half()
    found[found == 0] = found[found > 0].min()
    return found


def restored(plan: Plan, logits: Tensor, prepared: Prepared) -> LabelMap:
    """Return the label map on the grid of the files; one class at a time is resampled."""
    before, after = prepared.grid, prepared.cropped
    axis = plan.preparation.native_axis
    working = list(plan.preparation.spacing_mm)
    if axis is not None:
        working[axis] = after.spacing_mm[axis]
    coarse = apart(working, after.spacing_mm)

    def channel(k: int) -> NDArray[np.float16]:
        if before.shape == after.shape:
            return logits[k].numpy()
        return zoom(logits[k].numpy(), after.shape, 1, coarse, plan.preparation.axis_order).astype(np.float16)

    found = np.zeros(after.shape, dtype=np.int64)
    if plan.targets.exclusive:
        values = [0, *(v[0] for v in plan.targets.sets.values())]
        best = channel(0)
        for k in range(1, logits.shape[0]):
            share = channel(k)
            found[share > best] = values[k]
            best = np.maximum(best, share)
    else:
        for k, value in enumerate(plan.targets.region_values or [v[0] for v in plan.targets.sets.values()]):
            found[(torch.from_numpy(channel(k)).float().sigmoid() > 0.5).numpy()] = value
    whole = np.zeros(prepared.turned_shape, dtype=np.uint8 if found.max(initial=0) < 256 else np.uint16)
    whole[prepared.crop] = found
    return LabelMap(np.ascontiguousarray(prepared.reorientation.invert(whole)), prepared.source.affine)


def _visits(starts: Sequence[list[int]], axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the first voxel of each window, nnU-Net's last axis changing fastest."""
    back = [int(a) for a in np.argsort(axes)]
    for visit in itertools.product(*(starts[a] for a in axes)):
        yield tuple(visit[b] for b in back)


def _mirrored(network: nn.Module, tile: Tensor, across: int | None, flips: Sequence[int]) -> Tensor:
    """Return the logits (K, *patch) of one window (1, C, *patch), averaged over flips."""
    flat = None if across is None else 2 + across
    total: Any = None
    with torch.no_grad():
        for count in range(len(flips) + 1):
            for chosen in itertools.combinations(flips, count):
                places = [2 + a for a in chosen]
                given = tile.flip(places) if places else tile
                found = network(given if flat is None else given.squeeze(flat))
                found = found if flat is None else found.unsqueeze(flat)
                found = found.flip(places) if places else found
                total = found.clone() if total is None else total + found
    result: Tensor = total / 2 ** len(flips) if flips else total
    return result[0]
