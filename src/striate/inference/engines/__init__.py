"""Engines: what computes a network on tiles. One file each; `striate.inference.engines.choose` says which one a model gets.

An engine is called with tiles (B, C, *patch) float32, an array, and gives probabilities (B, K, *patch) float32: over the
classes (background first) for exclusive labels, one per region for regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

ENGINES: dict[str, str] = {
    "torch": "PyTorch, on every machine: by its GPU where there is one, else by the processor",
    "openvino": "OpenVINO on the processor: most often several times faster; converted once per model",
    "int8": "OpenVINO in whole numbers of 8 bits, where striate calibrate --int8 found that Dice does not fall",
    "onnx": "ONNX Runtime on the processor, for machines that OpenVINO does not serve; converted once per model",
}

TITLES: dict[str, str] = {"openvino": "OpenVINO", "int8": "int8", "onnx": "ONNX Runtime"}
"""What those that compute a converted network are called in sentences."""

__all__ = ["ENGINES", "TITLES", "Engine", "gpu_of", "network_in", "on_gpu", "open_engine"]


@runtime_checkable
class Engine(Protocol):
    """What every engine offers; `precision` is ``fp32``, ``bf16`` or ``int8`` and goes into the record."""

    name: str
    precision: str

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (B, K, *patch) float32 of `tiles` (B, C, *patch) float32."""
        ...


def open_engine(network: nn.Module, *, exclusive: bool, precision: str | None = None) -> Engine:
    """Make `network` ready for prediction by PyTorch; its mode is left as it is.

    Parameters
    ----------
    network
        Gives logits (B, K, *patch) in ``eval()``.
    exclusive
        True: softmax over classes; False: sigmoid of each region.
    precision
        ``bf16``, ``fp32``, or None for what suits where the network lies.

    Raises
    ------
    UsageError
        When the precision is unknown.
    """
    from striate.inference.engines.pytorch import TorchEngine

    return TorchEngine(network, exclusive, precision)


def network_in(engine: Engine) -> nn.Module | None:
    """Return the network whose layers can be listened to while `engine` computes; None where there is none."""
    network: nn.Module | None = getattr(engine, "network", None)
    return network


def on_gpu(engine: object) -> bool:
    """Tell whether the network of `engine`, or of one that was foreseen, lies in memory of a GPU's own."""
    return bool(getattr(engine, "on_gpu", False))


def gpu_of(engine: Engine) -> str:
    """Return the name of the GPU on which the network of `engine`, or its first one, lies; empty where none does."""
    network = network_in(engine)
    device = None if network is None else next((p.device for p in network.parameters()), None)
    if device is None or device.type == "cpu":
        return ""
    from striate.inference.engines.place import named

    return named(device)
