"""A GPU that is played by the processor: its numbers are computed for real, and what a GPU would refuse is refused.

Inside of `played_gpu` tensors lie on ``cuda`` or ``mps`` where they were sent there (their memory is marked), torch says that
such a GPU is there, and every operation, those of backpropagation too, is looked at before it is computed:

- operands on two devices are an error, but for what PyTorch allows: copies, single numbers, indices on the processor;
- NumPy sees nothing of what lies on the device, and a generator of the processor draws nothing there;
- Apple's GPU knows no double precision.

What cannot be seen: inside of functions of ``torch.nn.functional`` tensors say that they lie on the processor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from striate.training.gpu import problem

NAME = "Played GPU"
FREE_BYTES, ALL_BYTES = 6_000_000_000, 8_000_000_000

ACROSS = ("copy_", "_to_copy")
"""Operations whose operands may lie on two devices."""
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put")
"""Operations whose indices may lie on the processor."""
DOUBLE = (torch.float64, torch.complex128)
GETTERS = {name: getattr(Tensor, name).__get__ for name in ("device", "is_cuda", "is_mps", "is_cpu")}


@dataclass
class Device:
    """A device that is played, and which memory lies on it."""

    kind: str
    marked: dict[int, StorageWeakRef] = field(default_factory=dict)

    def holds(self, tensor: Tensor) -> bool:
        """Tell whether a tensor lies on the device."""
        with torch._C.DisableTorchFunction():
            return tensor.untyped_storage()._cdata in self.marked

    def take(self, tensor: Tensor) -> Tensor:
        """Let the memory of a tensor lie on the device; the weak reference keeps its number from being given away again."""
        with torch._C.DisableTorchFunction():
            if self.kind == "mps" and tensor.dtype in DOUBLE:
                raise TypeError("Cannot convert a MPS Tensor to float64: the MPS framework doesn't support float64.")
            storage = tensor.untyped_storage()
            self.marked[storage._cdata] = StorageWeakRef(storage)
        return tensor

    def leave(self, tensor: Tensor) -> Tensor:
        """Let the memory of a tensor lie on the processor."""
        with torch._C.DisableTorchFunction():
            self.marked.pop(tensor.untyped_storage()._cdata, None)
        return tensor

    def means(self, device: Any) -> bool:
        """Tell whether an argument names the device."""
        return device is not None and torch.device(device).type == self.kind


class Watch(TorchDispatchMode):
    """Looks at every operation on tensors."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # it would be loaded for that, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute an operation whose operands lie together; what it makes lies there too."""
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        here = [value for value in given if not self.device.holds(value)]
        if len(given) > len(here) > 0 and name not in ACROSS:
            self._refuse_mixed(func, name, args, here)
        there = self.device.holds(args[0]) if name == "copy_" else len(given) > len(here)
        found = func(*args, **kwargs)
        if there:
            for value in tree_leaves(found):
                if isinstance(value, Tensor):
                    self.device.take(value)
        return found

    def _refuse_mixed(self, func: Any, name: str, args: Any, here: list[Tensor]) -> None:
        if (torch.Tag.pointwise in func.tags or name == "fill_") and all(value.ndim == 0 for value in here):
            return
        if name in INDEXING and self.device.holds(args[0]):
            here = [value for value in here if not any(value is index for index in args[1])]
            if all(value.ndim == 0 for value in here):
                return
        shapes = ", ".join(str(tuple(value.shape)) for value in here)
        raise RuntimeError(
            f"Expected all tensors to be on the same device: {name} got {self.device.kind}, and cpu for {shapes}"
        )


class Names(TorchFunctionMode):
    """Lets tensors be made on the device, be sent there and back, and say where they lie."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device
        where = {"device": torch.device(device.kind, 0), "is_cpu": False}
        where |= {f"is_{kind}": device.kind == kind for kind in ("cuda", "mps")}
        self.answers = {GETTERS[name]: answer for name, answer in where.items()} | {Tensor.get_device: 0}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what is about devices in the place of PyTorch."""
        kwargs, device = dict(kwargs or {}), self.device
        there = bool(args) and isinstance(args[0], Tensor) and device.holds(args[0])
        if there and func in self.answers:
            return self.answers[func]
        if there and func in (Tensor.numpy, Tensor.__array__):
            raise TypeError(f"can't convert {device.kind}:0 device type tensor to numpy. Use Tensor.cpu() first.")
        if func is Tensor.cpu or func is Tensor.cuda:
            return self._to(args[0], func.__name__)
        if func is Tensor.to:
            return self._to(*args, **kwargs)
        kwargs.pop("pin_memory", None)
        asked = kwargs.get("device")
        if not device.means(asked):
            found = func(*args, **kwargs)
            made_here = there and asked is not None and isinstance(found, Tensor)
            return device.leave(found) if made_here else found
        if (generator := kwargs.get("generator")) is not None and generator.device.type != device.kind:
            raise RuntimeError(f"Expected a '{device.kind}' device type for generator but found 'cpu'")
        return device.take(func(*args, **kwargs | {"device": "cpu"}).clone())

    def _to(self, tensor: Tensor, *args: Any, device: Any = None, dtype: Any = None, **kwargs: Any) -> Tensor:
        """Return a tensor where, and as which type, it was asked for; itself, where it is that already."""
        played, rest = self.device, list(args)
        there = wanted = played.holds(tensor)
        if rest and isinstance(rest[0], Tensor):
            wanted, dtype = played.holds(rest[0]), rest[0].dtype
        else:
            device = rest.pop(0) if rest and (rest[0] is None or isinstance(rest[0], str | torch.device)) else device
            dtype = rest[0] if rest and isinstance(rest[0], torch.dtype) else dtype
        wanted = wanted if device is None else played.means(device)
        layout = {name: kwargs[name] for name in ("memory_format", "copy") if name in kwargs}
        found = tensor.to(dtype or tensor.dtype, **layout)
        if wanted == there:
            return found
        return played.take(found.clone()) if wanted else played.leave(found.clone())


def _grouped(device: Device) -> Callable[..., Any]:
    """Return what sorts tensors by device and type, for optimisers."""
    sort = torch._C._group_tensors_by_device_and_dtype

    def grouped(lists: Any, indices: bool = False) -> Any:
        there = {device.holds(value) for values in lists for value in values if value is not None}
        if len(there) > 1:
            raise RuntimeError(f"tensors of one update lie on {device.kind} and on cpu")
        place = torch.device(device.kind, 0) if there == {True} else torch.device("cpu")
        return {(place, kind): found for (_, kind), found in sort(lists, indices).items()}

    return grouped


@contextlib.contextmanager
def played_gpu(kind: str = "cuda") -> Iterator[Device]:
    """Let a GPU be there inside of the block: ``cuda``, or Apple's ``mps``."""
    device, autocast = Device(kind), torch.autocast
    properties = SimpleNamespace(name=NAME, major=8, minor=0, total_memory=ALL_BYTES, is_integrated=0)
    cuda = {
        "is_available": True, "device_count": 1, "current_device": 0, "is_bf16_supported": True, "synchronize": None,
        "mem_get_info": (FREE_BYTES, ALL_BYTES), "memory_reserved": 0, "memory_allocated": 0, "max_memory_allocated": 123,
        "reset_peak_memory_stats": None, "get_device_name": NAME, "get_device_properties": properties,
        "get_rng_state": torch.get_rng_state(), "set_rng_state": None,
    }  # fmt: skip

    def here(of: str, *args: Any, **kwargs: Any) -> Any:
        return autocast("cpu" if of == kind else of, *args, **kwargs)

    with contextlib.ExitStack() as stack:
        problem.cache_clear()
        stack.callback(problem.cache_clear)
        for name, answer in cuda.items() if kind == "cuda" else ():
            stack.enter_context(mock.patch.object(torch.cuda, name, lambda *_, answer=answer, **__: answer))
        if kind == "mps":
            stack.enter_context(mock.patch.object(torch.backends.mps, "is_available", return_value=True))
        stack.enter_context(mock.patch.object(torch, "autocast", here))
        stack.enter_context(mock.patch.object(torch._C, "_group_tensors_by_device_and_dtype", _grouped(device)))
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=True))
        stack.enter_context(Names(device))
        stack.enter_context(Watch(device))
        yield device
