"""How much an output changes when the object in the image is moved, enlarged, or gets a neighbour.

Source: M. Riesenhuber, T. Poggio: Hierarchical models of object recognition in cortex. Nature Neuroscience 2:1019-1025,
1999: cells that take the maximum of their inputs keep their answer under shift, scale and clutter, cells that take the
sum do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from striate.core.errors import UsageError, expected

Output = Callable[[Tensor], Tensor]
"""From images (B, C, *S) to one vector or map each (B, …)."""


@dataclass(frozen=True)
class Change:
    """How an output differs from that of the unchanged image, as means over the images.

    Attributes
    ----------
    amount
        Shift in voxels per axis; scale as a factor; clutter as the shift in voxels per axis between object and neighbour.
    cosine
        Cosine between the two outputs: 1 where only their strength differs.
    relative_l2
        ‖changed − unchanged‖ / ‖unchanged‖: 0 where nothing changes.
    of_difference
        ‖changed − unchanged‖ / mean distance between the outputs of two different unchanged images: what counts, as an
        output that is nearly the same for every image hardly changes either. None for one image, or where that distance
        is 0.
    recognised
        Share of the images whose changed output is nearest to their own unchanged one.
    """

    amount: tuple[float, ...]
    cosine: float
    relative_l2: float
    of_difference: float | None
    recognised: float


@dataclass(frozen=True)
class Invariance:
    """Changes of the output, in the order of the amounts that were asked for."""

    images: int
    shift: tuple[Change, ...]
    scale: tuple[Change, ...]
    clutter: tuple[Change, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain numbers, lists and mappings, for JSON."""
        found: Mapping[str, Any] = asdict(self)
        kinds = ("shift", "scale", "clutter")
        return {
            "images": self.images,
            **{kind: [{**change, "amount": list(change["amount"])} for change in found[kind]] for kind in kinds},
        }


@torch.inference_mode()
def invariance(
    output: Output,
    images: Tensor,
    *,
    shifts: Sequence[tuple[int, ...]] = (),
    scales: Sequence[float] = (),
    clutter: Sequence[tuple[int, ...]] = (),
    neighbours: Tensor | None = None,
) -> Invariance:
    """Measure how much `output` changes.

    Parameters
    ----------
    output
        The network, its ``features``, or any other function; it is called once per change with all images.
    images
        Objects (B, C, *S) in the middle of an even background, which is the value of each image's first voxel per channel.
    shifts
        Voxels per axis by which the images are moved.
    scales
        Factors above 0 by which the images are enlarged around their middle, by linear interpolation.
    clutter
        Voxels per axis by which a neighbour is moved before it is added beside the object.
    neighbours
        Where the second objects come from, of the shape of `images`; by default the images themselves in reverse order.

    Raises
    ------
    UsageError
        When the images are not 2D or 3D, shifts have another number of axes, a factor is not above 0, or the neighbours are
        of another shape.
    """
    dims = images.ndim - 2
    if dims not in (2, 3):
        raise UsageError(
            expected("invariance", f"images of shape {tuple(images.shape)}", "(B, C, *S) is needed, 2D or 3D")
        )
    for name, amounts in (("shifts", shifts), ("clutter", clutter)):
        for amount in amounts:
            if len(amount) != dims:
                want = f"one number of voxels for each of {dims} axes is needed"
                raise UsageError(expected(f"invariance, {name}", f"{tuple(amount)}", want))
    for factor in scales:
        if factor <= 0:
            raise UsageError(expected("invariance, scales", f"{factor}", "a factor above 0 is needed"))
    beside = images.flip(0) if neighbours is None else neighbours
    if beside.shape != images.shape:
        want = f"{tuple(images.shape)} is needed, the shape of the images"
        raise UsageError(expected("invariance, neighbours", f"shape {tuple(beside.shape)}", want))
    before = output(images).flatten(1)

    def change(amount: tuple[float, ...], changed: Tensor) -> Change:
        return compare(amount, before, output(changed).flatten(1))

    return Invariance(
        images=len(images),
        shift=tuple(change(tuple(s), shifted(images, s)) for s in shifts),
        scale=tuple(change((s,), enlarged(images, s)) for s in scales),
        clutter=tuple(change(tuple(s), images + shifted(beside, s) - background(beside)) for s in clutter),
    )


def compare(amount: tuple[float, ...], before: Tensor, after: Tensor) -> Change:
    """Compare the outputs (B, F) of the unchanged and of the changed images."""
    moved = (after - before).norm(dim=1)
    count = len(before)
    apart = float(_distances(before, before).sum()) / max(1, count * (count - 1))
    nearest = _distances(after, before).argmin(dim=1)
    return Change(
        amount,
        cosine=float(F.cosine_similarity(before, after, dim=1).mean()),
        relative_l2=float((moved / before.norm(dim=1).clamp(min=1e-12)).mean()),
        of_difference=float(moved.mean()) / apart if apart > 0 else None,
        recognised=float((nearest == torch.arange(count, device=nearest.device)).float().mean()),
    )


def _distances(one: Tensor, other: Tensor) -> Tensor:
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


def background(images: Tensor) -> Tensor:
    """Return the first voxel of each channel, for every voxel's subtraction (B, C, 1, …)."""
    return images.flatten(2)[:, :, 0].reshape(*images.shape[:2], *(1,) * (images.ndim - 2))


def shifted(images: Tensor, voxels: Sequence[int]) -> Tensor:
    """Return the images moved by whole voxels per axis; what comes in from outside is background."""
    moved = background(images).expand_as(images).clone()
    into, out_of = [slice(None)] * 2, [slice(None)] * 2
    for n, by in zip(images.shape[2:], voxels, strict=True):
        into.append(slice(max(by, 0), max(n + min(by, 0), 0)))
        out_of.append(slice(max(-by, 0), max(n - max(by, 0), 0)))
    moved[tuple(into)] = images[tuple(out_of)]
    return moved


def enlarged(images: Tensor, factor: float) -> Tensor:
    """Return the images enlarged around their middle, on the same grid; what comes in from outside is background."""
    dims = images.ndim - 2
    ground = background(images)
    matrix = torch.cat((torch.eye(dims) / factor, torch.zeros(dims, 1)), dim=1).to(images)
    grid = F.affine_grid(matrix.expand(len(images), dims, dims + 1), list(images.shape), align_corners=False)
    return F.grid_sample(images - ground, grid, mode="bilinear", align_corners=False) + ground
