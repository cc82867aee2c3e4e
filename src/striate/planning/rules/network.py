"""Which network at which resolution: a trade between what a voxel size keeps and what the time can learn.

A candidate is a network at a voxel size. What it can learn in the time is told by its *passes*: voxels that training shows,
over voxels of the training images. What its voxel size keeps is told by its *ceiling*: the Dice of the truth with itself
after it was stored that coarsely (measured in the fingerprint). Large objects are learned sooner from coarser images, small
ones need the full resolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from striate import networks
from striate.core.counted import counted
from striate.planning.fingerprint import Fingerprint, coarser
from striate.planning.plan import NetworkChoice
from striate.planning.rules import Decision
from striate.planning.rules.patch import fit_patch
from striate.planning.rules.topology import Topology

FACTORS = (1.0, 1.5, 2.0, 3.0)
"""How much coarser than the target spacing a network may work."""

LEAST_CEILING = 0.90
"""A voxel size at which the truth itself would keep less than this Dice is not considered."""

UNET_VOXELS, SMALL_VOXELS, LEAST_VOXELS = 128**3, 96**3, 48**3
"""Largest patch of each network, and the smallest that is ever taken (where the image is not smaller)."""
FEW_SUBJECTS, FEW_SHARE, FEW_VOXELS = 20, 0.3, 32**3
"""With fewer subjects a patch shows at most this share of the median image (but may have this many voxels). Measured on one
held-out glioma patient and three to learn from: Dice 0.92 after 5 minutes with 64³ voxels of 1.5 mm, 0.76 after 10 with 96³,
which is the whole head: then three images are all there is to see."""

FEW_REASON = "; at most a third of the image, because there are few subjects and patches differ by where they lie"
FEATURES = (16, 32, 64, 128, 160)
NNUNET = ("unet", "residual_unet")
"""Networks whose features, strides and kernels follow nnU-Net's rule."""

UNET_PASSES = 150
"""How often the full U-Net must see every voxel before it is preferred."""

COARSE_WEIGHT, UNSEEN_WEIGHT, UNSEEN_POWER = 0.4, 0.5, 0.6


@dataclass(frozen=True)
class Candidate:
    """A network at a voxel size, with a patch that fits the images.

    Attributes
    ----------
    factor
        How much coarser than the target spacing.
    shape
        Median image in voxels at `spacing_mm`.
    ceiling
        Dice that the truth itself keeps at this voxel size (mean over labels), 1 at the target spacing.
    """

    choice: NetworkChoice
    factor: float
    spacing_mm: tuple[float, ...]
    shape: tuple[int, ...]
    patch: tuple[int, ...]
    patch_reason: str
    ceiling: float

    @property
    def title(self) -> str:
        """Network and voxel size, for people."""
        size = " × ".join(f"{v:.3g}" for v in self.spacing_mm)
        return f"{self.choice.name} at {size} mm"


def candidates(
    facts: Fingerprint, spacing_mm: tuple[float, ...], *, name: str | None, dims: int
) -> Iterator[Candidate]:
    """Yield candidates from the most to the least demanding; `name` keeps only that network."""
    if name in (None, "unet"):
        yield candidate(facts, spacing_mm, "unet", 1.0, UNET_VOXELS, dims)
    for factor in FACTORS:
        if ceiling(facts, factor) >= LEAST_CEILING and name in (None, "small_unet"):
            yield candidate(facts, spacing_mm, "small_unet", factor, SMALL_VOXELS, dims)


def candidate(
    facts: Fingerprint,
    spacing_mm: tuple[float, ...],
    name: str,
    factor: float,
    most_voxels: float,
    dims: int,
) -> Candidate:
    """Build one candidate with a patch of at most about `most_voxels`."""
    at = coarser(spacing_mm, factor)
    shape = median_shape(facts, at)
    thin = int(max(range(len(at)), key=lambda a: at[a])) if dims < len(at) else None
    if thin is not None:
        most_voxels = 4 * most_voxels ** (2 / 3)
    few = dims == 3 and subjects(facts) < FEW_SUBJECTS
    if few:
        most_voxels = min(most_voxels, max(FEW_VOXELS, FEW_SHARE * math.prod(shape)))
    min_edge = 4 if name in NNUNET else 3
    fitted = fit_patch(shape, at, most_voxels, most_poolings=5, min_edge=min_edge, thin_axis=thin)
    options = _options(name, fitted.value)
    patch = list(_taken(name, options, fitted.value.patch))
    if thin is not None:
        patch.insert(thin, 1)
    return Candidate(
        NetworkChoice(name=name, spatial_dims=dims, options=options),
        factor, at, shape, tuple(patch), fitted.reason + (FEW_REASON if few else ""), ceiling(facts, factor),
    )  # fmt: skip


def ceiling(facts: Fingerprint, factor: float) -> float:
    """Return the mean over labels of the Dice that a truth `factor` coarser keeps; 1 for the target spacing."""
    if factor <= 1:
        return 1.0
    known = {1.0: 1.0, **{float(f): 0.0 for o in facts.objects.values() for f in o.ceiling}}
    for f in known:
        if f > 1:
            known[f] = sum(o.ceiling[int(f)] for o in facts.objects.values()) / len(facts.objects)
    below = max(f for f in known if f <= factor)
    above = min((f for f in known if f >= factor), default=below)
    if above == below:
        return known[below]
    part = (factor - below) / (above - below)
    return known[below] * (1 - part) + known[above] * part


def median_shape(facts: Fingerprint, spacing_mm: tuple[float, ...]) -> tuple[int, ...]:
    """Return the median cropped image in voxels of `spacing_mm`."""
    columns = []
    for axis, target in enumerate(spacing_mm):
        sizes = sorted(c.cropped[axis] * c.spacing_mm[axis] / target for c in facts.cases)
        columns.append(max(1, round(sizes[len(sizes) // 2])))
    return tuple(columns)


def subjects(facts: Fingerprint) -> int:
    """Return the number of different subjects."""
    return len({c.subject for c in facts.cases})


def image_voxels(facts: Fingerprint, spacing_mm: tuple[float, ...]) -> float:
    """Return the voxels of all cropped images together at `spacing_mm`."""
    return sum(
        math.prod(n * s / t for n, s, t in zip(c.cropped, c.spacing_mm, spacing_mm, strict=True)) for c in facts.cases
    )


def loss_of_dice(found: Candidate, passes: float) -> float:
    """Return how much Dice a candidate is expected to lose: to its voxel size, and to having seen too little.

    ``0.4·(1 − ceiling) + 0.5·passes^−0.6``; the numbers were fitted by hand to six runs of 80 to 230 s at 1, 1.5, 2 and
    3 mm on one held-out glioma patient, so they rank candidates and promise nothing. With a power law, more time never
    makes a coarser candidate better.
    """
    return COARSE_WEIGHT * (1 - found.ceiling) + UNSEEN_WEIGHT * math.pow(max(passes, 1e-9), -UNSEEN_POWER)


def choose(offered: list[Candidate], passes: list[float]) -> Decision[Candidate]:
    """Return the full U-Net where it sees enough, else the candidate that is expected to lose the least Dice."""
    told = [
        f"{c.title} ({counted(round(n), 'pass', 'passes')}, keeps Dice {c.ceiling:.3f}, expected loss {loss_of_dice(c, n):.3f})"
        for c, n in zip(offered, passes, strict=True)
    ]
    best = min(range(len(offered)), key=lambda k: loss_of_dice(offered[k], passes[k]))
    for index, (found, count) in enumerate(zip(offered, passes, strict=True)):
        if found.choice.name == "unet" and count >= UNET_PASSES:
            best = index
    others = "; ".join(t for k, t in enumerate(told) if k != best)
    return Decision(offered[best], f"{told[best]}" + (f", against {others}" if others else ""))


def _options(name: str, form: Topology) -> dict[str, Any]:
    """Return what the patch decides of a network's options."""
    if name in NNUNET:
        return _unet(form)
    if name == "small_unet":
        return _small_unet(form)
    return {"padding": "same"} if "padding" in networks.load(name).config_type.model_fields else {}


def _taken(name: str, options: dict[str, Any], patch: tuple[int, ...]) -> tuple[int, ...]:
    """Return the size nearest to `patch` that the network takes."""
    import torch

    if name in NNUNET or name == "small_unet":
        return patch
    with torch.device("meta"):
        return networks.create(name, spatial_dims=len(patch), **options).fitting(patch)


def _unet(form: Topology) -> dict[str, object]:
    """nnU-Net's features: 32 doubled per stage, at most 320 (3D) or 512 (2D)."""
    most = 320 if len(form.patch) == 3 else 512
    return {
        "features": [min(32 * 2**i, most) for i in range(len(form.strides))],
        "strides": [list(s) for s in form.strides],
        "kernels": [list(k) for k in form.kernels],
    }


def _small_unet(form: Topology) -> dict[str, object]:
    """The stem takes the first pooling, each later pooling is a stage."""
    ones = tuple(1 for _ in form.patch)
    strides = [*form.strides[1:], ones, ones][: max(2, len(form.strides) - 1)]
    kernels = [*form.kernels[1:], tuple(3 for _ in form.patch)]
    kernels = [*kernels, kernels[-1]][: len(strides)]
    return {
        "features": list(FEATURES[: len(strides)]),
        "stem": list(strides[0]),
        "strides": [list(s) for s in strides[1:]],
        "kernels": [list(k) for k in kernels],
    }
