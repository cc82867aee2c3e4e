"""What a network costs: parameters, multiply-accumulates (MACs), activations and receptive field, layer by layer.

The network runs once on torch's ``meta`` device, where tensors have shapes but no numbers, and every operation that
torch dispatches is counted under the layer that asked for it. One MAC is one multiplication with one addition in a
convolution, transposed convolution or matrix product; biases, normalisation, pooling and activation functions are not
counted (the convention of nnU-Net's and torchvision's published figures). FLOPs are 2 × MACs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from striate.networks.following import Seen, follow
from striate.networks.receptive_field import Axis


@dataclass(frozen=True)
class LayerCost:
    """One layer, in the order of execution.

    Attributes
    ----------
    name, kind
        Path of the layer in the network, and its class.
    output_shape
        Without the batch axis; images of a sequence that pass as a batch come first.
    parameters
        Trainable numbers of this layer alone; 0 when it runs a second time.
    macs
        Multiply-accumulates per image.
    activations
        Numbers in the output, per image.
    receptive_field
        Input voxels seen by one output voxel, per axis, the image taken as endless.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    activations: int
    receptive_field: tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Layers and totals.

    Attributes
    ----------
    parameters
        All that are learned, those of heads that only training needs included; see `parameters_run`.
    activations
        Sum over the layers that multiply (convolutions and matrix products): nnU-Net's proxy for GPU memory.
    receptive_field
        Of the (finest) output. A normalisation over the whole map is not counted as seeing it.
    blocks
        Modules that hold others, in the order in which they begin, with all that is in them.
    """

    layers: tuple[LayerCost, ...]
    parameters: int
    macs: int
    activations: int
    receptive_field: tuple[int, ...]
    blocks: tuple[LayerCost, ...] = ()

    @property
    def parameters_run(self) -> int:
        """Parameters of the layers that ran: counted while predicting, those that predict, to which `macs` belongs."""
        return sum(layer.parameters for layer in self.layers)


@dataclass
class _Row:
    module: nn.Module
    name: str
    macs: int = 0
    output_shape: tuple[int, ...] = ()
    receptive_field: tuple[int, ...] = ()
    end: int = 0


@dataclass
class _Count:
    """The rows so far, the layers that are running (innermost last), and what each tensor sees."""

    input_size: tuple[int, ...]
    rows: list[_Row] = field(default_factory=list)
    running: list[_Row] = field(default_factory=list)
    seen: Any = field(default_factory=WeakIdKeyDictionary)

    def sees(self, tensor: torch.Tensor) -> tuple[int, ...]:
        """Input voxels per axis."""
        whole: Seen = (None,) * len(self.input_size)
        known: Seen = self.seen.get(tensor, whole)
        return tuple(n if axis is None else axis.size for axis, n in zip(known, self.input_size, strict=True))


def count(network: nn.Module, input_shape: tuple[int, ...], *, training: bool = False) -> Cost:
    """Count one pass of one image.

    Parameters
    ----------
    network
        On the ``meta`` device. It is left in the mode (training or not) that it came in.
    input_shape
        (C, *S), without the batch axis; (T, C, *S) for sequences.
    training
        Count what runs while training.

    Raises
    ------
    UsageError
        When the network refuses the input's size.
    """
    counted = _Count(input_shape[-getattr(network, "spatial_dims", len(input_shape) - 1) :])
    x = torch.empty((1, *input_shape), device="meta")
    counted.seen[x] = (Axis(),) * len(counted.input_size)
    was_training = network.training
    hooks = [hook for name, module in network.named_modules() for hook in _watch(module, name, counted)]
    try:
        with torch.no_grad(), _usual_algorithms(), _Operations(counted):
            out = network.train(training)(x)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    return _total(network, counted, out[0] if isinstance(out, (list, tuple)) else out)


@contextlib.contextmanager
def _usual_algorithms() -> Iterator[None]:
    """Count the operations of prediction: deterministic algorithms take some of them apart, so that none is recognised."""
    before, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def _watch(module: nn.Module, name: str, counted: _Count) -> Iterable[Any]:
    def enter(_module: nn.Module, _args: Any) -> None:
        row = _Row(module, name)
        counted.rows.append(row)
        counted.running.append(row)

    def leave(_module: nn.Module, _args: Any, output: Any) -> None:
        row = counted.running.pop()
        row.end = len(counted.rows)
        first = output[0] if isinstance(output, (list, tuple)) else output
        if isinstance(first, torch.Tensor):
            shape = tuple(first.shape)
            row.output_shape, row.receptive_field = shape[1:] if shape[0] == 1 else shape, counted.sees(first)

    return module.register_forward_pre_hook(enter), module.register_forward_hook(leave)


def _total(network: nn.Module, counted: _Count, out: torch.Tensor) -> Cost:
    layers = []
    before: set[nn.Module] = set()
    for row in counted.rows:
        leaf = not any(True for _ in row.module.children())
        own = 0 if row.module in before else _trainable(row.module.parameters(recurse=False))
        if not row.output_shape or not (leaf or row.macs or own):
            continue
        before.add(row.module)
        size = math.prod(row.output_shape)
        kind = type(row.module).__name__
        layers.append(LayerCost(row.name, kind, row.output_shape, own, row.macs, size, row.receptive_field))
    return Cost(
        tuple(layers),
        parameters=_trainable(network.parameters()),
        macs=sum(row.macs for row in counted.rows),
        activations=sum(layer.activations for layer in layers if layer.macs),
        receptive_field=counted.sees(out),
        blocks=tuple(_blocks(counted.rows)),
    )


def _blocks(rows: list[_Row]) -> Iterable[LayerCost]:
    for index, row in enumerate(rows):
        if row.name and row.output_shape and any(True for _ in row.module.children()):
            inside = _trainable(row.module.parameters())
            macs = sum(inner.macs for inner in rows[index : row.end])
            shape, kind = row.output_shape, type(row.module).__name__
            yield LayerCost(row.name, kind, shape, inside, macs, math.prod(shape), row.receptive_field)


def _trainable(parameters: Iterable[nn.Parameter]) -> int:
    return sum(p.numel() for p in parameters if p.requires_grad)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts each operation's MACs under the running layer and follows what its outputs see."""

    def __init__(self, counted: _Count) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted = counted

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        first = out[0] if isinstance(out, (list, tuple)) else out
        if not isinstance(first, torch.Tensor):
            return out
        if name in _MACS and self.counted.running:
            self.counted.running[-1].macs += _MACS[name](args, first)
        seen = follow(name, args, first, self.counted.seen, len(self.counted.input_size))
        for tensor in out if isinstance(out, (list, tuple)) else (out,):
            if seen is not None and isinstance(tensor, torch.Tensor):
                self.counted.seen[tensor] = seen
        return out


def _convolution_macs(args: Any, out: torch.Tensor) -> int:
    x, weight, transposed = args[0], args[1], args[6]
    places = x.shape[2:] if transposed else out.shape[2:]
    return int(x.shape[0] * math.prod(places) * weight.numel())


def _product_macs(left: int) -> Callable[[Any, torch.Tensor], int]:
    """Return the count for a matrix product whose left factor is argument number `left`."""
    return lambda args, out: int(out.numel() * args[left].shape[-1])


_MACS: dict[str, Callable[[Any, torch.Tensor], int]] = {
    "convolution": _convolution_macs,
    "mm": _product_macs(0),
    "bmm": _product_macs(0),
    "addmm": _product_macs(1),
    "baddbmm": _product_macs(1),
}

MULTIPLYING = frozenset(_MACS)
"""Operations of torch that multiply."""
