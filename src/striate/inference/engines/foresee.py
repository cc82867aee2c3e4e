"""`foresee`: which engine would compute a model's network, by what is known already; nothing is made, opened or measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from striate.core.errors import UsageError
from striate.core.machine import may_have_gpu, native_precision, processor
from striate.core.names import lookup
from striate.inference.engines import ENGINES, TITLES
from striate.inference.engines import choose as choosing
from striate.inference.engines.fastest import fastest, measured
from striate.inference.engines.int8 import int8_of
from striate.inference.engines.race import BASE
from striate.model.model import Model

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Foreseen:
    """An engine that would compute.

    Attributes
    ----------
    name
        One of `ENGINES`; empty where a comparison would decide.
    reason
        One sentence.
    precision
        ``fp32``, ``bf16`` or ``int8``; None where it is not known.
    window_s
        Seconds that a window was measured to take on this machine; None where none was.
    on_gpu
        Whether the network would lie in memory of a GPU's own.
    """

    name: str
    reason: str
    precision: str | None = None
    window_s: float | None = None
    on_gpu: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it for a document."""
        return asdict(self)


def foresee(model: Model, name: str, macs: Callable[[], float]) -> Foreseen:
    """Return the engine that `striate.inference.engines.choose.choose` would take; parameters as there.

    Raises
    ------
    UsageError
        When `name` is unknown, or the engine asked for cannot be had here.
    """
    if name != choosing.AUTO:
        lookup("engine", name, ENGINES)
    if model.exported:
        return _exported(model, name)
    if name == "torch" or (name == choosing.AUTO and _on_gpu()):
        return by_torch("it was asked for" if name == "torch" else "")
    problem = choosing._without_int8(int8_of(model)) if name == "int8" else ""
    form = choosing._form(name)
    if not form:
        problem = problem or f"{TITLES.get(name, TITLES['openvino'])} is not installed"
    if problem:
        return _else_torch(name, problem)
    title, folder = TITLES[form], choosing.place_of(model, form)
    parity = choosing._read(folder)
    if not parity and name != choosing.AUTO:
        return Foreseen(name, f"{title} would be prepared for this model first")
    if not parity and macs() < choosing.WORTH_MACS:
        return by_torch("the work is too small for preparing another engine")
    if not parity:
        return Foreseen("", f"{title} would be prepared for this model first, and the faster of it and PyTorch taken")
    if name == choosing.AUTO and choosing._due(parity, folder) and macs() >= choosing.WORTH_MACS:
        return Foreseen("", f"{title} and PyTorch would be compared again first, and the faster of them taken")
    found, problem = fastest(parity, None if name == choosing.AUTO else name)
    yet = choosing._provisional(parity, folder, name)
    if not found:
        return _else_torch(name, problem + yet, parity.get("seconds", {}).get(BASE))
    precision = "int8" if found == "int8" else parity["precision"]
    return Foreseen(found, measured(parity, found) + yet, precision, parity["seconds"][found])


def compared() -> str:
    """Return the engine that would be compared with PyTorch here, where ``auto`` has to decide."""
    return choosing._form(choosing.AUTO)


def _exported(model: Model, name: str) -> Foreseen:
    """Return the engine of a model that holds no weights."""
    found, _, parity = choosing.exported_as(model, name)
    window_s = parity.get("seconds", {}).get(found) if parity.get("processor") == processor() else None
    return Foreseen(found, "the model was exported for it", "int8" if found == "int8" else None, window_s)


def _on_gpu() -> bool:
    """Tell whether there is a GPU."""
    return _gpu() is not None


def may_spare() -> bool:
    """Tell whether PyTorch would try a GPU with memory of its own, so that main memory may be spared a window."""
    if (device := _gpu()) is None:
        return False
    from striate.inference.engines.place import FAILURES, own_memory

    try:
        return own_memory(device)
    except FAILURES:  # it cannot even be asked
        return False


def _gpu() -> torch.device | None:
    if not may_have_gpu():
        return None
    from striate.inference.engines.place import gpu

    return gpu()


def by_torch(reason: str, window_s: float | None = None) -> Foreseen:
    """Return PyTorch; on a GPU where one is there, whose memory is not tried."""
    from striate.inference.engines.place import FAILURES, gpu, named, own_memory, precision_on, short

    device = gpu()
    if device is None:
        return Foreseen(BASE, reason, native_precision(), window_s)
    try:
        told, precision, spares = named(device), precision_on(device), own_memory(device)
    except FAILURES as error:
        told = f"the GPU cannot compute a window ({short(error)})"
        return Foreseen(BASE, "; ".join(filter(None, (reason, told))), native_precision(), window_s)
    told = f"{told} computes it, if its memory takes a window"
    return Foreseen(BASE, "; ".join(filter(None, (reason, told))), precision, on_gpu=spares)


def _else_torch(name: str, problem: str, window_s: float | None = None) -> Foreseen:
    """Return PyTorch, unless something else was asked for."""
    if name != choosing.AUTO:
        raise UsageError(f"--engine {name}: {problem.rstrip('.')}. Leave --engine away, or give --engine torch.")
    return by_torch(problem, window_s)
