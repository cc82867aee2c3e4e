"""Feature maps of a layer over a whole case, slid and blended as a prediction is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from striate.explaining.layers import layer_named, output_of
from striate.explaining.scene import BASELINE, Scene, cut
from striate.inference.predict import window_of
from striate.inference.sliding_window import Window
from striate.planning.plan import Plan

MOST = 8
"""Maps kept at most: those that vary most over the scene."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMaps:
    """Maps of one layer.

    Attributes
    ----------
    layer
        Its path.
    units
        Which of its maps these are.
    total
        How many maps the layer has.
    maps
        (len(units), *region), enlarged linearly to the working grid.
    """

    layer: str
    units: tuple[int, ...]
    total: int
    maps: NDArray[np.float32]


class _Units:
    """An engine that gives some maps of a layer, enlarged to the tile, instead of probabilities."""

    name, precision = "torch", "fp32"

    def __init__(self, network: nn.Module, layer: nn.Module, units: tuple[int, ...]) -> None:
        self._network, self._layer, self._units = network, layer, units

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the maps (B, units, *patch)."""
        return np.asarray(self.maps(torch.from_numpy(tiles)).cpu().numpy())

    def maps(self, tiles: Tensor) -> Tensor:
        """Return the same as a tensor."""
        with torch.inference_mode(), output_of(self._layer) as kept:
            self._network(tiles)
            found = kept[0][:, list(self._units)].float()
            mode = "trilinear" if found.ndim == 5 else "bilinear"
            return interpolate(found, size=tiles.shape[2:], mode=mode, align_corners=False)


def feature_maps(scene: Scene, plan: Plan, layer: str) -> tuple[FeatureMaps, Scene]:
    """Return the maps of `layer`, and the scene that they lie on: the whole prepared case for masks, else `scene`.

    Parameters
    ----------
    scene
        Its first tile decides which maps are kept.
    plan
        Says how windows are slid.
    layer
        Path of the layer.

    Raises
    ------
    UsageError
        When there is no such layer, or it puts out no map.
    """
    network, tile = scene.score.network, scene.first_tile
    module = layer_named(network, layer, tile)
    with torch.inference_mode(), output_of(module) as kept:
        network(tile)
        answers = kept[0][0].flatten(1).float()
    order = torch.argsort(answers.std(dim=1), descending=True)[:MOST]
    units = tuple(sorted(int(u) for u in order))
    engine = _Units(network, module, units)
    if plan.task.kind != "segmentation":
        flat = scene.score.tiles[0].flat
        found = engine.maps(tile)[0]
        maps = (found if flat is None else found.unsqueeze(1 + flat)).numpy()
        return FeatureMaps(layer, units, len(answers), np.asarray(maps, dtype=np.float32)), scene
    array = scene.prepared.array
    plain = window_of(plan, engine, array.shape[1:])
    window = Window(engine, plain.tiling, len(units), False, plain.spatial_dims)
    rows = [part.astype(np.float32) for _, part in window.slide(array)]
    maps = np.moveaxis(np.concatenate(rows, axis=1), 1, 1 + plain.tiling.rolling_axis)
    return FeatureMaps(layer, units, len(answers), np.ascontiguousarray(maps)), whole_case(scene)


def whole_case(scene: Scene) -> Scene:
    """Return `scene` with the whole prepared case as its region; only its grids are meant to be used."""
    array = scene.prepared.array
    corner = (0,) * (array.ndim - 1)
    inside = None
    if scene.inside is not None:
        back = tuple(-c for c in scene.corner)
        inside = cut(scene.inside[None], back, array.shape[1:])[0]
    return replace(
        scene, image=torch.from_numpy(array)[None], inside=inside, tissue=(array != BASELINE).any(0), corner=corner
    )
