"""Start a network with what another one has learned: weights are taken where names and shapes fit.

Sources
    J. Yosinski, J. Clune, Y. Bengio, H. Lipson: How transferable are features in deep neural networks? NIPS 2014; on
    medical images H.-C. Shin et al., IEEE Transactions on Medical Imaging 35(5):1285-1298, 2016, who compare all
    fine-tuned, features kept as they are, and a random start. None of the three is always best: measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.core.counted import counted
from striate.core.errors import ModelError, expected


@dataclass(frozen=True, slots=True)
class Transfer:
    """What was taken and what was not.

    Attributes
    ----------
    taken
        Names in the network whose numbers were replaced, in its order.
    left
        Name in the network → why it kept its numbers.
    unused
        Names in the source that found no place, in its order.
    frozen
        Whether what was taken no longer learns.
    """

    taken: tuple[str, ...]
    left: Mapping[str, str]
    unused: tuple[str, ...]
    frozen: bool


def transfer(
    network: nn.Module,
    source: Mapping[str, Tensor],
    *,
    renamed: Mapping[str, str] | None = None,
    freeze: bool = False,
) -> Transfer:
    """Take tensors of `source` into `network`, in place, where names and shapes fit.

    Parameters
    ----------
    network
        Keeps its own numbers where nothing fits.
    source
        Name → tensor, as ``state_dict()`` of the trained network gives it; leave out what is not to be taken.
    renamed
        Start of a name in `source` → start of the name in `network`, for instance ``{"encoder.": "features."}``; the
        longest start that fits counts, names that none fits stay.
    freeze
        What was taken no longer learns: its parameters get no gradient, and a normalisation with running statistics
        that was taken whole uses them while training, too, and keeps them. False: everything is fine-tuned.

    Raises
    ------
    ModelError
        When nothing but counters fits, with a name and a shape of either side, or when two names of `source` become one.
    """
    given = _rename(source, renamed or {})
    own = network.state_dict(keep_vars=True)
    left = {name: reason for name, tensor in own.items() if (reason := _misfit(tensor, given.get(name)))}
    taken = tuple(name for name in own if name not in left)
    if all(own[name].ndim == 0 for name in taken):
        came = f"none of {counted(len(source), 'tensor')} fits ({_example(source)})"
        want = f"names and shapes of the network are needed ({_example(own)})"
        raise ModelError(expected("transfer", came, want, "Where only names differ, give `renamed`."))
    with torch.no_grad():
        for name in taken:
            own[name].copy_(given[name])
    if freeze:
        _freeze(network, {name: own[name] for name in taken})
    unused = tuple(old for old, new in _names(source, renamed or {}).items() if new not in taken)
    return Transfer(taken, left, unused, freeze)


def _names(source: Mapping[str, Tensor], renamed: Mapping[str, str]) -> dict[str, str]:
    """Return old name → new name."""
    starts = sorted(renamed, key=len, reverse=True)
    found = {}
    for name in source:
        start = next((s for s in starts if name.startswith(s)), "")
        found[name] = renamed.get(start, "") + name.removeprefix(start)
    return found


def _rename(source: Mapping[str, Tensor], renamed: Mapping[str, str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for old, new in _names(source, renamed).items():
        if new in found:
            raise ModelError(expected("transfer", f"two tensors are called {new}", "`renamed` must keep names apart"))
        found[new] = source[old]
    return found


def _misfit(own: Tensor, given: Tensor | None) -> str:
    """Return why `given` cannot be taken; empty where it can."""
    if given is None:
        return "not in the source"
    if own.shape != given.shape:
        return f"shape {tuple(given.shape)} in the source, {tuple(own.shape)} here"
    return ""


def _example(tensors: Mapping[str, Tensor]) -> str:
    name, tensor = next(iter(tensors.items()), ("nothing", torch.empty(0)))
    return f"first: {name} {tuple(tensor.shape)}"


def _freeze(network: nn.Module, taken: Mapping[str, Tensor]) -> None:
    for tensor in taken.values():
        if isinstance(tensor, nn.Parameter):
            tensor.requires_grad_(False)
    for path, layer in network.named_modules():
        names = [f"{path}.{name}" if path else name for name in layer.state_dict()]
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and names and all(name in taken for name in names):
            layer.register_forward_pre_hook(_as_in_prediction)


def _as_in_prediction(layer: nn.Module, _args: object) -> None:
    layer.training = False
