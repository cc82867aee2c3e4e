"""Features: what a layer of a network answers, pooled over a case into one vector.

By default the first convolution. The deepest layer, which is the usual choice, measured far worse at telling strange scans:
instance normalisation takes mean and strength out of every map before it gets there (docs/concepts/gate.md).

The first layer is the first module that has a weight of at least three axes, else the first of all. The deepest layer is
the last module whose map is the coarsest of all maps (fewest voxels), before the network goes up again; where every map has
the size of the input, the last one before the logits. Mean and standard deviation of each channel over a window are averaged
over windows, weighted by the share of the window that is not blank.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.inference.pooled import Pooled, content
from striate.networks.surrounded import logits_of

FIRST, DEEPEST = "first", "deepest"


class Heard(Exception):  # noqa: N818 - not an error
    """The layer has answered, and what follows it is not needed."""


@contextlib.contextmanager
def pooling(network: nn.Module, layer: str = FIRST, *, alone: bool = False) -> Iterator[Pooled]:
    """Pool the maps of `layer` for all that the network computes inside the ``with`` block.

    Parameters
    ----------
    network
        Gives maps for images (B, C, *S); the one that was given to the engine.
    layer
        ``first``, ``deepest``, or the name of a module, as in ``named_modules``. The first two are found in the first pass,
        which is pooled too.
    alone
        Stop each pass by `Heard` once the layer has answered, where it is known by then.

    Yields
    ------
    Pooled
        Ask it once per case.
    """
    pooled, modules = Pooled(), dict(network.named_modules())
    open_choice = layer in (FIRST, DEEPEST)
    chosen: list[str] = [] if open_choice else [layer]
    seen: dict[str, tuple[tuple[int, ...], Tensor]] = {}
    weights: list[NDArray[np.float64]] = []

    def before(_: nn.Module, given: tuple[Any, ...]) -> None:
        weights[:] = [content(given[0].detach().cpu().numpy())]
        seen.clear()

    def keep(name: str, found: Any) -> None:
        if isinstance(found, Tensor) and found.ndim >= 3 and (not chosen or name == chosen[0]):
            if layer == FIRST and not chosen and _convolves(modules[name]):
                settle(name)
            elif layer == FIRST and not chosen and seen:
                return
            seen.pop(name, None)  # a module that runs twice counts where it ran last
            seen[name] = (tuple(found.shape), statistics(found))
            if alone and chosen:
                pooled.add(seen[name][1].numpy(), weights[0])
                raise Heard

    def settle(layer: str) -> None:
        chosen.append(layer)
        for name, handle in handles.items():
            if name != layer:
                handle.remove()

    def after(_: nn.Module, given: tuple[Any, ...], found: Any) -> None:
        if not chosen and seen:
            shapes = {name: shape for name, (shape, _) in seen.items()}
            settle(deepest(shapes) if layer == DEEPEST else next(iter(shapes)))
        if chosen and chosen[0] in seen:
            pooled.add(seen[chosen[0]][1].numpy(), weights[0])
        seen.clear()

    names = [n for n, m in modules.items() if n and not list(m.children())] if open_choice else [layer]
    handles = {n: modules[n].register_forward_hook(lambda _m, _i, out, n=n: keep(n, out)) for n in names}
    whole = (network.register_forward_pre_hook(before), network.register_forward_hook(after))
    try:
        yield pooled
    finally:
        for handle in (*handles.values(), *whole):
            handle.remove()


def first_layer(network: nn.Module, images: Tensor) -> nn.Module:
    """Return the module that `FIRST` means; `images` (B, C, *S) are computed up to it."""
    ran = list[nn.Module]()

    def note(module: nn.Module, _: tuple[Any, ...], found: Any) -> None:
        if isinstance(found, Tensor) and found.ndim >= 3:
            ran.append(module)
            if _convolves(module):
                raise Heard

    handles = [m.register_forward_hook(note) for n, m in network.named_modules() if n and not list(m.children())]
    try:
        with torch.no_grad(), contextlib.suppress(Heard):
            logits_of(network, images)
    finally:
        for handle in handles:
            handle.remove()
    return ran[-1] if _convolves(ran[-1]) else ran[0]


def _convolves(module: nn.Module) -> bool:
    """Tell whether a module has a weight of at least three axes."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim > 2


def deepest(shapes: dict[str, tuple[int, ...]]) -> str:
    """Return the last name whose map (B, F, *S) has the fewest voxels; of maps that are all alike the last but one.

    `shapes` are in the order in which the modules run.
    """
    voxels = {name: math.prod(shape[2:]) for name, shape in shapes.items()}
    names = [name for name, count in voxels.items() if count == min(voxels.values())]
    return names[-2] if len(names) == len(voxels) > 1 else names[-1]


def statistics(maps: Tensor) -> Tensor:
    """Return mean, then standard deviation over space of maps (B, F, *S): (B, 2 F) float32 on the processor."""
    variance, mean = torch.var_mean(maps.detach().flatten(2).float(), dim=2, correction=0)
    return torch.cat([mean, variance.sqrt()], dim=1).cpu()
