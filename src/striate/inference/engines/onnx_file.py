"""A model's network as an ONNX file, the form that ONNX Runtime and other programs read.

Input ``image`` (1, C, *patch) float32, prepared as ``plan.yaml`` says. Outputs: ``probabilities`` (1, K, *patch), over the
classes, background first, or one per region; and ``first_layer`` (1, 2 F), mean, then standard deviation over space of the maps
of the first convolution, which the likeness of a scan rests on. Preparing, windows, blending and the way back stay Striate's.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from striate.core.optional import require
from striate.inference.engines.answering import Answering

OPSET = 18


def write_onnx(network: nn.Module, exclusive: bool, tile: NDArray[np.float32], path: Path) -> None:
    """Write `network` for windows of the shape of `tile` (1, C, *patch).

    Raises
    ------
    UsageError
        When ``onnx`` is not installed.
    """
    require("onnx", "export", "writing ONNX")
    given = torch.from_numpy(tile)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a tracer: sizes are fixed, and meant to be
        torch.onnx.export(
            Answering(network, exclusive, given), (given,), str(path), dynamo=False, opset_version=OPSET,
            input_names=["image"], output_names=["probabilities", "first_layer"],
        )  # fmt: skip
