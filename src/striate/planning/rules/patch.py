"""Patch size: the shape of the images, as large as the wanted number of voxels allows, in multiples the network can take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from striate.planning.rules import Decision
from striate.planning.rules.topology import Topology, topology

LEAST = 8
"""Voxels that a patch has at least along each axis."""


def fit_patch(
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    most_voxels: float,
    *,
    most_poolings: int,
    min_edge: int,
    thin_axis: int | None = None,
) -> Decision[Topology]:
    """Return the topology whose patch has about the proportions of `shape` (voxels) and at most about `most_voxels`.

    Parameters
    ----------
    shape, spacing_mm
        Median image after cropping, in voxels of `spacing_mm`.
    most_voxels
        Voxels that a patch may have.
    most_poolings, min_edge
        Number of poolings at most, and voxels that every axis keeps after the last.
    thin_axis
        Axis along which the patch is one voxel (a 2D network on slices of 3D scans).
    """
    axes = [a for a in range(len(shape)) if a != thin_axis]
    size = [shape[a] for a in axes]
    whole = math.prod(size) <= most_voxels
    wanted = tuple(max(LEAST, n) for n in size) if whole else _scaled(size, most_voxels)
    found = topology(tuple(spacing_mm[a] for a in axes), wanted, min_edge)
    strides = found.strides[: most_poolings + 1]
    cut = Topology(found.kernels[: len(strides)], strides, wanted)
    patch = tuple(max(d, _nearest(n, d, up=whole)) for n, d in zip(wanted, cut.divisor, strict=True))
    reason = (
        f"the median image ({_show(shape)} voxels) whole"
        if whole
        else f"proportions of the median image ({_show(shape)}), {math.prod(patch):,} voxels so that a step is short"
    )
    return Decision(Topology(cut.kernels, cut.strides, patch), f"{reason}; multiples of {_show(cut.divisor)}")


def _scaled(shape: Sequence[int], most_voxels: float) -> tuple[int, ...]:
    """Return `shape` made smaller in proportion, to about `most_voxels`; of axes held at `LEAST` the others bear the rest."""
    held: list[int] = []
    while True:
        free = [a for a in range(len(shape)) if a not in held]
        room = most_voxels / LEAST ** len(held) / math.prod(shape[a] for a in free)
        scale = min(1.0, room ** (1 / max(1, len(free))))
        short = [a for a in free if round(shape[a] * scale) < LEAST]
        if not short:
            return tuple(LEAST if a in held else round(n * scale) for a, n in enumerate(shape))
        held += short


def _nearest(size: int, divisor: int, *, up: bool) -> int:
    """Return the multiple of `divisor` nearest to `size`, or the next one up."""
    return (-(-size // divisor) if up else round(size / divisor)) * divisor


def _show(values: tuple[int, ...]) -> str:
    return "×".join(str(v) for v in values)
