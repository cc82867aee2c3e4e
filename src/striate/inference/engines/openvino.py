"""OpenVINO on the processor: a network converted once, compiled for windows of one shape.

The file that it reads (`striate.inference.engines.convert`) has two outputs: the probabilities, and the pooled answer of
the first layer that the likeness of a scan rests on (`striate.inference.features`). The precision is always given: left to
itself, OpenVINO takes bf16 on some processors and fp32 on others.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import ModelError, UsageError, expected
from striate.core.machine import cores, native_precision
from striate.inference.pooled import Pooled

NETWORK, PARITY, COMPILED = "network.xml", "parity.json", "compiled"
"""What lies in the folder of a converted network."""
MADE = 5
"""Version of how networks are converted and compared; those of another version are made again."""
HINTS = {"bf16": "bf16", "fp32": "f32"}
"""Precision → what OpenVINO calls it."""


def runtime() -> ModuleType:
    """Import OpenVINO without what it would report to its makers.

    Raises
    ------
    UsageError
        When it is not installed or cannot be loaded.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # its own stub is used instead
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise UsageError(
            f"the engine openvino could not be loaded ({error}). Install it: pip install openvino"
        ) from error


def offers_bf16() -> bool:
    """Tell whether this OpenVINO computes in bf16 here; asked for what it does not have, it refuses the network."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def precision_here() -> str:
    """Return ``bf16`` where the processor and OpenVINO have it, else ``fp32``."""
    return "bf16" if native_precision() == "bf16" and offers_bf16() else "fp32"


class OpenVINOEngine:
    """Computes a converted network by OpenVINO.

    Parameters
    ----------
    network
        ``network.xml``, its weights beside it.
    precision
        ``bf16`` (``fp32`` where OpenVINO does not offer it), ``fp32``, or ``int8`` for a network that was quantised, of which
        what is not computed in int8 is in `precision_here`.
    compiled
        Folder for what was compiled, so that the next start is quick; not used where it cannot be written.

    Attributes
    ----------
    pooled
        What the first layer answered since it was last asked.

    Raises
    ------
    UsageError
        When OpenVINO is not installed, or the precision is unknown.
    ModelError
        When OpenVINO cannot read or compile the file.
    """

    name = "openvino"

    def __init__(self, network: Path, precision: str, compiled: Path | None = None) -> None:
        if precision not in (*HINTS, "int8"):
            raise UsageError(f"precision '{precision}': one of {', '.join(HINTS)}, int8 is needed.")
        if precision == "bf16" and not offers_bf16():
            precision = "fp32"
        self.precision, self.pooled = precision, Pooled()
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[precision_here() if precision == "int8" else precision],
            "INFERENCE_NUM_THREADS": str(cores()),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._request = _compile(network, options, compiled).create_infer_request()

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (B, K, *patch) float32 of `tiles` (B, C, *patch) float32, B windows one by one."""
        return self.pooled.hearing(tiles, lambda tile: self._request.infer([tile], share_inputs=True))

    def lend(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (1, K, *patch) of one window (1, C, *patch) in memory that the next call fills again."""
        return self.pooled.hearing(tile, lambda t: self._request.infer([t], share_inputs=True, share_outputs=True))


@functools.cache
def _core() -> Any:
    """Return the one core of this process, which lives as long as it.

    On Linux each core sets up a stack for signal handlers and, when it goes, puts back the one that it found. Of two that go in
    the order in which they came, the second puts back the stack of the first, which is gone, and the next signal that Python
    handles ends the process (seen with OpenVINO 2026.4).
    """
    return runtime().Core()


def _compile(network: Path, options: dict[str, str], compiled: Path | None) -> Any:
    """Compile with a cache on disk; without one where the disk does not take it."""
    core = _core()
    if compiled is not None and os.access(compiled.parent, os.W_OK):
        with contextlib.suppress(RuntimeError, OSError):
            return core.compile_model(network, "CPU", {**options, "CACHE_DIR": str(compiled)})
    try:
        return core.compile_model(network, "CPU", options)
    except RuntimeError as error:
        raise ModelError(
            expected(network, " ".join(str(error).split())[:200], "a network that OpenVINO can compile is needed"),
            path=network,
        ) from error
