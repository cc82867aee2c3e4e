"""The patches of a cohort that excite one unit of a layer most: what the unit looks for.

R. Girshick et al., CVPR 2014, and M. D. Zeiler and R. Fergus, ECCV 2014, show units in this way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.core.counted import counted
from striate.core.errors import UsageError
from striate.data.prepare import Prepared
from striate.explaining.layers import layer_named, output_of
from striate.explaining.scene import cut
from striate.inference.tiling import Tiling

MOST = 12
PER_CASE = 3
"""Patches kept at most, and of one case at most."""
SIDE = 32
"""Voxels of the working grid along a side of the picture of a patch."""


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One place that excites the unit.

    Attributes
    ----------
    case
        Whose image it is.
    activation
        What the unit answered.
    voxel
        The place on the working grid, per axis.
    centre_mm
        The same in mm, RAS+; (x, y) in 2D.
    picture
        (`SIDE`, `SIDE`) float32, the first two axes of the first channel around the place (axial in 3D).
    """

    case: str
    activation: float
    voxel: tuple[int, ...]
    centre_mm: tuple[float, ...]
    picture: NDArray[np.float32]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the picture."""
        return {"case": self.case, "activation": self.activation, "voxel": self.voxel, "centre_mm": self.centre_mm}


def unit_of(text: str) -> tuple[str, int]:
    """Read ``LAYER:K``.

    Raises
    ------
    UsageError
        When the text has another form.
    """
    layer, _, number = text.rpartition(":")
    if not layer or not number.isdecimal() or len(number) > 9:
        raise UsageError(f"unit '{text[:80]}': LAYER:NUMBER is needed, for instance encoder.2:5.")
    return layer, int(number)


def activating_patches(
    network: nn.Module, layer: str, unit: int, cases: Iterable[Prepared], patch: tuple[int, ...], spatial_dims: int
) -> list[Patch]:
    """Return the `MOST` patches of all `cases` that excite `unit` most, the strongest first.

    Parameters
    ----------
    network
        In evaluation mode.
    layer, unit
        The map that is meant.
    cases
        Prepared one after the other.
    patch
        Windows of this size are laid side by side; one axis of 1 for a 2D network on slices.
    spatial_dims
        Of the network.

    Raises
    ------
    UsageError
        When there is no such layer or unit.
    """
    best: list[Patch] = []
    module: nn.Module | None = None
    for prepared in cases:
        if module is None:
            tile, _ = next(_tiles(prepared, patch, spatial_dims))
            module = layer_named(network, layer, tile)
            _check_unit(network, module, layer, unit, tile)
        found = [_strongest(network, module, unit, prepared, tile, start, patch)
                 for tile, start in _tiles(prepared, patch, spatial_dims)]  # fmt: skip
        found.sort(key=lambda p: -p.activation)
        best = sorted([*best, *found[:PER_CASE]], key=lambda p: -p.activation)[:MOST]
    return best


def _tiles(prepared: Prepared, patch: tuple[int, ...], spatial_dims: int) -> Iterator[tuple[Tensor, tuple[int, ...]]]:
    shape = prepared.array.shape[1:]
    tiling = Tiling.of(shape, patch, 0.0)
    flat = patch.index(1) if spatial_dims < len(patch) else None
    for where in np.ndindex(*(len(s) for s in tiling.starts)):
        start = tuple(tiling.starts[a][w] for a, w in enumerate(where))
        tile = torch.from_numpy(np.ascontiguousarray(cut(prepared.array, start, patch)))[None]
        yield tile if flat is None else tile.squeeze(2 + flat), start


def _check_unit(network: nn.Module, module: nn.Module, layer: str, unit: int, tile: Tensor) -> None:
    with torch.inference_mode(), output_of(module) as kept:
        network(tile)
    count = kept[0].shape[1]
    if unit >= count:
        units = "0 is" if count == 1 else f"0 to {count - 1} are"
        raise UsageError(f"unit '{layer}:{unit}': the layer has {counted(count, 'unit')}, {units} needed.")


def _strongest(
    network: nn.Module,
    module: nn.Module,
    unit: int,
    prepared: Prepared,
    tile: Tensor,
    start: tuple[int, ...],
    patch: tuple[int, ...],
) -> Patch:
    """Return the place in one tile where the unit answers most."""
    with torch.inference_mode(), output_of(module) as kept:
        network(tile)
        answers = kept[0][0, unit].float().numpy()
    top = np.unravel_index(int(answers.argmax()), answers.shape)
    places = [(float(t) + 0.5) * p / n for t, p, n in zip(top, tile.shape[2:], answers.shape, strict=True)]
    if len(places) < len(patch):
        places.insert(patch.index(1), 0.5)
    shape = prepared.array.shape[1:]
    voxel = tuple(min(max(int(s + p), 0), n - 1) for s, p, n in zip(start, places, shape, strict=True))
    world = prepared.grid.affine @ [*voxel, *(0,) * (3 - len(voxel)), 1]
    plane = prepared.array[:1] if len(shape) == 2 else prepared.array[:1, :, :, voxel[2]]
    picture = cut(plane, [v - SIDE // 2 for v in voxel[:2]], (SIDE, SIDE))[0]
    centre = tuple(round(float(v), 2) for v in world[: len(voxel)])
    return Patch(prepared.case, float(answers.max()), voxel, centre, picture)
