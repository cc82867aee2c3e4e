"""Layers whose maps can be looked at: by name, and the deepest of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from striate.core.errors import UsageError
from striate.core.names import did_you_mean

LEAST = 2
"""Voxels along each axis that a map needs to say where."""


def maps_of(network: nn.Module, tile: Tensor) -> dict[str, tuple[int, ...]]:
    """Return path → shape (F, *map) of the layers that put out one map each, in the order in which they finish.

    Parameters
    ----------
    network
        In evaluation mode.
    tile
        (1, C, *patch), as the network takes it.
    """
    found: dict[str, tuple[int, ...]] = {}
    several: set[str] = set()
    handles = []

    def listen(name: str, out: object) -> None:
        if name in found:
            several.add(name)
        elif isinstance(out, Tensor) and out.ndim == tile.ndim and min(out.shape[2:]) >= LEAST:
            found[name] = tuple(out.shape[1:])

    for name, layer in network.named_modules():
        if name:
            handles.append(layer.register_forward_hook(lambda _, __, out, n=name: listen(n, out)))
    try:
        with torch.no_grad():
            network(tile)
    finally:
        for handle in handles:
            handle.remove()
    return {name: shape for name, shape in found.items() if name not in several}


def deepest(network: nn.Module, tile: Tensor) -> str:
    """Return the layer with the coarsest map of at least `LEAST` voxels along each axis, the last one before the maps grow again.

    That is the last convolutional stage of a classifier (Selvaraju et al., ICCV 2017), the bottom of a U-Net.

    Raises
    ------
    UsageError
        When the network has no map.
    """
    maps = maps_of(network, tile)
    if not maps:
        raise UsageError(f"{type(network).__name__}: it has no layer with maps; leave grad_cam out of --method.")
    voxels = {name: int(torch.Size(shape[1:]).numel()) for name, shape in maps.items()}
    least = min(voxels.values())
    chosen = ""
    for name, count in voxels.items():
        if count == least:
            chosen = name
        elif chosen and not chosen.startswith(f"{name}."):
            break
    return chosen


def layer_named(network: nn.Module, name: str, tile: Tensor) -> nn.Module:
    """Return the layer `name`.

    Raises
    ------
    UsageError
        When there is none, or it puts out no map, or several.
    """
    maps = maps_of(network, tile)
    if name not in maps:
        known = dict(network.named_modules())
        if name in known:
            raise UsageError(
                f"layer '{name}': it does not put out exactly one map; one of these is needed: {', '.join(maps)}."
            )
        raise UsageError(f"unknown layer '{name}'. {did_you_mean(name, maps)}")
    return network.get_submodule(name)


@contextmanager
def output_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Give a list that holds what `layer` put out last, (B, F, *map)."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, out: Tensor) -> None:
        kept[:] = [out]

    handle = layer.register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()
