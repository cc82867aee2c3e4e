"""A model's network as an ONNX file, the form that other programs read, compared with PyTorch by ONNX Runtime.

Input ``image`` (1, C, *patch) float32, prepared as ``plan.yaml`` says; output ``probabilities`` (1, K, *patch): over the classes,
background first, or one per region. Everything around the network (preparing, windows, blending, the way back) stays Striate's.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.core.optional import require

OPSET = 18


class Probabilities(nn.Module):
    """The network and its last step."""

    def __init__(self, network: nn.Module, exclusive: bool) -> None:
        super().__init__()
        self.network, self.exclusive = network, exclusive

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities (1, K, *patch)."""
        logits: Tensor = self.network(image)
        return logits.softmax(1) if self.exclusive else logits.sigmoid()


def write_onnx(network: nn.Module, exclusive: bool, tile: NDArray[np.float32], path: Path) -> float:
    """Write `network` for windows of the shape of `tile`; return the largest difference from PyTorch on it, in probabilities.

    Raises
    ------
    UsageError
        When ``onnx`` or ``onnxruntime`` is not installed.
    """
    require("onnx", "export", "writing ONNX")
    runtime = require("onnxruntime", "export", "comparing ONNX with PyTorch")
    given, whole = torch.from_numpy(tile), Probabilities(network, exclusive).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a tracer: sizes are fixed, and meant to be
        torch.onnx.export(
            whole, (given,), str(path), dynamo=False, opset_version=OPSET, input_names=["image"],
            output_names=["probabilities"],
        )  # fmt: skip
        wanted = whole(given).numpy()
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": tile})[0]
    return float(np.abs(found - wanted).max())
