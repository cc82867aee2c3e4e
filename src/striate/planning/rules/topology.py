"""Kernels and strides of a U-Net for a patch: nnU-Net's pooling rule (Isensee et al., Nat Methods 2021).

An axis is pooled while it has at least 8 voxels and is not far finer than the others; a kernel is 3 along an axis once its
spacing is within a factor of 2 of the finest, 1 before.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_EDGE = 4
"""Voxels that every axis keeps after the last pooling (nnU-Net's)."""
LIKE = 2.0


@dataclass(frozen=True)
class Topology:
    """Kernels and strides per stage (stage 0 is full resolution), and the patch padded to what they need."""

    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    patch: tuple[int, ...]

    @property
    def divisor(self) -> tuple[int, ...]:
        """Voxels that each patch axis must be a multiple of."""
        total = [1] * len(self.patch)
        for stride in self.strides:
            total = [t * s for t, s in zip(total, stride, strict=True)]
        return tuple(total)


def topology(spacing_mm: tuple[float, ...], patch: tuple[int, ...], min_edge: int = MIN_EDGE) -> Topology:
    """Return kernels and strides for `patch` voxels of `spacing_mm`; no axis is pooled below `min_edge` voxels."""
    dims = range(len(patch))
    spacing, size = list(spacing_mm), list(patch)
    kernels: list[tuple[int, ...]] = []
    strides: list[tuple[int, ...]] = [tuple(1 for _ in dims)]
    kernel = [1 for _ in dims]
    while True:
        able = [a for a in dims if size[a] >= 2 * min_edge]
        if not able:
            break
        finest = min(spacing[a] for a in able)
        able = [a for a in able if spacing[a] / finest < LIKE]
        if len(able) == 1 and size[able[0]] < 3 * min_edge:
            break
        kernel = [3 if kernel[a] == 3 or spacing[a] / min(spacing) < LIKE else 1 for a in dims]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if a in able else 1 for a in dims))
        spacing = [spacing[a] * 2 if a in able else spacing[a] for a in dims]
        size = [-(-size[a] // 2) if a in able else size[a] for a in dims]
    kernels.append(tuple(3 for _ in dims))
    total = [1 for _ in dims]
    for stride in strides:
        total = [t * s for t, s in zip(total, stride, strict=True)]
    padded = tuple(-(-n // t) * t for n, t in zip(patch, total, strict=True))
    return Topology(tuple(kernels), tuple(strides), padded)
