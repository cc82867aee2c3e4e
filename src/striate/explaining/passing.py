"""One pass through a network, operation by operation: who asked for each, what it takes, and where that comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakIdKeyDictionary

from striate.explaining.places import CONSTANT, Copied, Ints, Layout, Memory, Origin, Written, numbers
from striate.networks.following import Seen, follow
from striate.networks.receptive_field import Axis

COPIES = frozenset({"clone", "_unsafe_view", "_to_copy", "lift_fresh_copy", "copy_"})
"""Operations that only copy; they are followed through."""
VIEWS = frozenset(
    {"unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk", "transpose_", "t_", "squeeze_", "unsqueeze_"}
)
"""Operations that look at memory in another way, though torch does not declare it; they are followed through."""


@dataclass
class Operand:
    """A tensor that an operation takes.

    Attributes
    ----------
    shape
        With the batch axis.
    origin
        Where its numbers come from; None where they do not depend on the image: weights.
    tensor
        While the operation runs, and for weights; None afterwards.
    """

    shape: tuple[int, ...]
    origin: Origin | None
    tensor: Tensor | None

    def read(self, index: Ints) -> NDArray[np.float64]:
        """Return the numbers (N,) at `index` (N, axes)."""
        if self.tensor is None:
            raise LookupError("the numbers of this operation are gone")
        return numbers(self.tensor, index)


@dataclass
class Call:
    """One operation as torch runs it.

    Attributes
    ----------
    func, name
        The operation and its name without the underscore of those that write in place, for instance ``convolution``.
    args, kwargs
        What it takes, with an `Operand` in place of each tensor.
    operands
        All of these.
    dims
        Spatial axes of the network.
    parameters
        Learned numbers that it uses.
    """

    func: Any
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    operands: list[Operand]
    dims: int
    parameters: int = 0

    @classmethod
    def of(cls, func: Any, args: Any, kwargs: Any, memory: Memory, dims: int) -> Call:
        """Return the call of `func`, its tensors found in `memory`."""
        operands: list[Operand] = []

        def replaced(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            operands.append(Operand(tuple(value.shape), memory.origin(value), value))
            return operands[-1]

        given, named = tree_map(replaced, tuple(args)), tree_map(replaced, dict(kwargs))
        name = func.overloadpacket.__name__
        bare = name if name.startswith("_") or not name.endswith("_") else name[:-1]
        return cls(func, bare, given, named, operands, dims)

    @property
    def tracked(self) -> list[Operand]:
        """Operands that depend on the image."""
        return [o for o in self.operands if o.origin is not None]

    @property
    def sources(self) -> tuple[int, ...]:
        """Operations whose outputs it takes, in the order in which it takes them."""
        found: dict[int, None] = {}
        for operand in self.tracked:
            found.update(dict.fromkeys(sorted(operand.origin.nodes() if operand.origin is not None else ())))
        return tuple(found)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return the argument at `place` or called `name`."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def release(self) -> None:
        """Forget the numbers that depend on the image."""
        for operand in self.tracked:
            operand.tensor = None


class Watcher(Protocol):
    """What is told of every operation whose output depends on the image."""

    def before(self, node: int, call: Call) -> None:
        """Operation number `node` is about to run; `CONSTANT` stands for a copy that is written over other numbers."""

    def after(self, node: int, call: Call, out: Tensor, layer: str, seen: Seen) -> None:
        """It has put out `out`; `seen` is what that sees of the image."""


class Passing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Numbers the operations of a pass, from 1 on, and tells `watcher` of them."""

    def __init__(self, network: nn.Module, tile: Tensor, dims: int, watcher: Watcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dims, self.watcher = dims, watcher
        self.learned = {p.untyped_storage()._cdata: p.numel() for p in network.parameters()}
        self.made_of_learned: Any = WeakIdKeyDictionary()
        self.count = 1
        self.memory = Memory()
        self.seen: Any = WeakIdKeyDictionary()
        self.layers: list[str] = [""]
        self.memory.write(tile, Written(Layout.of(tile), 0))
        self.seen[tile] = (Axis(),) * dims

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Tell torch not to load its compiler for this mode, which takes it seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        call = Call.of(func, args, kwargs, self.memory, self.dims)
        if not call.tracked or _is_blank(call.name):
            out = func(*args, **kwargs)
            if isinstance(out, Tensor):
                self.made_of_learned[out] = self._learned(call)  # weights that were repeated, transposed …
            return out
        if _is_view(func):
            out = func(*args, **kwargs)
            self._follow(func, args, out)
            return out
        if func.overloadpacket.__name__ in COPIES and not _cuts(kwargs):
            if func._schema.is_mutable:
                self.watcher.before(CONSTANT, call)
            out = func(*args, **kwargs)
            source = call.operands[1 if call.name == "copy" else 0]
            self.memory.write(_first(out), self._copied(_first(out), source))
            self._follow(func, args, out)
            return out
        return self._node(call, func, args, kwargs)

    def _copied(self, out: Tensor, source: Operand) -> Any:
        if source.origin is None:
            return Written(Layout.of(out), CONSTANT)
        if tuple(out.shape) != source.shape:  # the same numbers in the same order, as _unsafe_view has them
            inner = source.origin
            if out.numel() == int(np.prod(source.shape)):
                base = Layout(source.shape, _row_major(source.shape), 0)
                flat = Origin(Layout(tuple(out.shape), _row_major(tuple(out.shape)), 0), (Copied(base, inner),))
                return Copied(Layout.of(out), flat)
        return Copied(Layout.of(out), source.origin)

    def _node(self, call: Call, func: Any, args: Any, kwargs: Any) -> Any:
        node = self.count
        self.count += 1
        call.parameters = sum(self.learned[storage] for storage in self._learned(call))
        self.watcher.before(node, call)
        out = func(*args, **kwargs)
        first = _first(out)
        self.memory.write(first, Written(Layout.of(first), node))
        seen = self._follow(func, args, out)
        self.watcher.after(node, call, first, self.layers[-1], seen)
        return out

    def _learned(self, call: Call) -> frozenset[int]:
        """Return the learned arrays that the weights of a call are, or are made of."""
        found: set[int] = set()
        for operand in call.operands:
            if operand.origin is None and operand.tensor is not None:
                storage = operand.tensor.untyped_storage()._cdata
                found |= {storage} if storage in self.learned else self.made_of_learned.get(operand.tensor, frozenset())
        return frozenset(found)

    def _follow(self, func: Any, args: Any, out: Any) -> Seen:
        first = _first(out)
        seen = follow(func.overloadpacket.__name__, args, first, self.seen, self.dims)
        for tensor in out if isinstance(out, (list, tuple)) else (out,):
            if seen is not None and isinstance(tensor, Tensor):
                self.seen[tensor] = seen
        return seen if seen is not None else (None,) * self.dims


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))


def _first(out: Any) -> Any:
    return out[0] if isinstance(out, (list, tuple)) else out


def _is_view(func: Any) -> bool:
    alias = func._schema.returns[0].alias_info if func._schema.returns else None
    return func.overloadpacket.__name__ in VIEWS or (alias is not None and not alias.is_write)


def _cuts(kwargs: Any) -> bool:
    """Tell whether a copy makes whole numbers of fractions, so that it is none."""
    kind = kwargs.get("dtype")
    return kind is not None and not kind.is_floating_point and not kind.is_complex


def _is_blank(name: str) -> bool:
    """Tell whether an operation takes from its operand only the shape (``zeros_like``, ``new_zeros``)."""
    return name.startswith("new_") or name.endswith("_like")


class Stop(Exception):  # noqa: N818  (no error: the pass has gone as far as was asked)
    """Ends a pass."""


def run(network: nn.Module, tile: Tensor, watcher: Watcher) -> tuple[Tensor | None, Passing]:
    """Send `tile` through `network` in evaluation mode and tell `watcher` of every operation.

    Returns
    -------
    output, passing
        The output is None where the watcher ended the pass.
    """
    dims = int(getattr(network, "spatial_dims", tile.ndim - 2))
    training = [(module, module.training) for module in network.modules()]
    with torch.inference_mode(False), torch.no_grad():
        tile = tile.detach().clone()
        passing = Passing(network, tile, dims, watcher)
        try:
            with _named_layers(network, passing), sdpa_kernel(SDPBackend.MATH), passing:
                out = network.eval()(tile)
        except Stop:
            return None, passing
        finally:
            for module, mode in training:
                module.training = mode
    return (out[0] if isinstance(out, (list, tuple)) else out), passing


@contextmanager
def _named_layers(network: nn.Module, passing: Passing) -> Iterator[None]:
    """Let `passing` know which layer is running; recurrent layers run step by step, not as one operation of a library."""
    fused = torch._C._get_mkldnn_enabled()
    handles = []

    def enter(name: str, module: nn.Module) -> None:
        passing.layers.append(name)
        if isinstance(module, nn.RNNBase):
            torch._C._set_mkldnn_enabled(False)

    def leave(module: nn.Module) -> None:
        passing.layers.pop()
        if isinstance(module, nn.RNNBase):
            torch._C._set_mkldnn_enabled(fused)

    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(lambda m, _, n=name: enter(n, m)))
        handles.append(module.register_forward_hook(lambda m, _, __: leave(m)))
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(fused)
        for handle in handles:
            handle.remove()
