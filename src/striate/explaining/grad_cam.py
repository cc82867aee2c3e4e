"""Grad-CAM: where the maps of a layer light up that raise the score.

R. R. Selvaraju et al., ICCV 2017, eq. 1 and 2; the score of a region instead of a class as in K. Vinogradova et al., AAAI
2020 (Seg-Grad-CAM). Several windows are blended as `predict` blends them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from striate.core.errors import ModelError, expected
from striate.core.optional import require
from striate.explaining.effort import Effort
from striate.explaining.held_norms import held_norms
from striate.explaining.layers import deepest, layer_named
from striate.explaining.scene import Scene
from striate.explaining.score import Tile, need_gradient
from striate.inference.tiling import bell


def layer_of(scene: Scene) -> str:
    """Return the path of the layer that is looked at."""
    return scene.layer or deepest(scene.score.network, scene.first_tile)


def attribute(scene: Scene, effort: Effort) -> NDArray[np.float32]:
    """Return ReLU(Σ_k α_k A_k) (1, *region), enlarged linearly to the size of the image.

    Raises
    ------
    ModelError
        When no gradient reaches the layer.
    """
    LayerGradCam = require("captum.attr", "trust", "striate explain").LayerGradCam

    need_gradient(scene.score, scene.image, "grad_cam")
    name = layer_of(scene)
    layer = layer_named(scene.score.network, name, scene.first_tile)
    total, weights = torch.zeros(scene.size), torch.zeros(scene.size)
    with held_norms(scene.score, scene.image):
        for tile in scene.score.tiles:
            try:
                found = (
                    LayerGradCam(_of_tile(scene, tile), layer).attribute(scene.image, relu_attributions=True).detach()
                )
            except RuntimeError as error:
                if "grad" not in str(error):
                    raise
                raise ModelError(
                    expected(f"layer '{name}'", "no gradient reaches it", "grad_cam is made of gradients",
                             "Name another --layer, or leave grad_cam out of --method.")
                ) from error  # fmt: skip
            cam, weight = _enlarged(found, tile)
            total[tile.place] += cam * weight
            weights[tile.place] += weight
    return np.asarray((total / weights.clamp_min(1e-12)).numpy()[None], dtype=np.float32)


def _of_tile(scene: Scene, tile: Tile) -> Callable[[Tensor], Tensor]:
    """Return what `tile` alone adds to the score."""
    return lambda images: scene.score.of_tile(images, tile)


def _enlarged(found: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
    """Return the map (1, 1, *coarse) enlarged linearly to the tile, and the blending weights of the tile."""
    seen = [p.stop - p.start for p in tile.place]
    flat = [n for a, n in enumerate(seen) if a != tile.flat]
    mode = "trilinear" if len(flat) == 3 else "bilinear"
    cam, weight = interpolate(found, size=flat, mode=mode, align_corners=False)[0, 0], _weights(flat)
    return (cam, weight) if tile.flat is None else (cam.unsqueeze(tile.flat), weight.unsqueeze(tile.flat))


def _weights(size: list[int]) -> Tensor:
    """Return the blending weights (*size) of one window, see `striate.inference.tiling`."""
    return torch.from_numpy(functools.reduce(np.multiply.outer, (bell(n).astype(np.float32) for n in size)))
