"""ONNX Runtime on the processor, in single precision: for machines that OpenVINO does not serve.

The file (`striate.inference.engines.onnx_file`) has the two outputs that OpenVINO's form has: the probabilities, and the
pooled answer of the first layer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import ModelError, expected
from striate.core.machine import cores
from striate.core.optional import require
from striate.inference.pooled import Pooled


class OnnxEngine:
    """Computes a network by ONNX Runtime.

    Parameters
    ----------
    network
        ``network.onnx``.

    Attributes
    ----------
    pooled
        What the first layer answered since it was last asked.

    Raises
    ------
    UsageError
        When ONNX Runtime is not installed.
    ModelError
        When it cannot read the file.
    """

    name, precision = "onnx", "fp32"

    def __init__(self, network: Path) -> None:
        runtime = require("onnxruntime", "export", "the engine onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = cores()
        options.log_severity_level = 3  # errors alone
        options.enable_mem_pattern = False  # with it memory is taken twice (1345 MB, not 744), and it is no faster
        try:
            self._session = runtime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own errors have no common base but this
            raise ModelError(
                expected(network, " ".join(str(error).split())[:200], "a network that ONNX Runtime can read is needed"),
                path=network,
            ) from error  # fmt: skip
        self.pooled = Pooled()

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (B, K, *patch) float32 of `tiles` (B, C, *patch) float32, B windows one by one."""
        return self.pooled.hearing(tiles, lambda tile: self._session.run(None, {"image": tile}))
