"""Which engine computes a model's network on this machine: what is there, agrees, and was measured to be faster.

What OpenVINO needs is made once per model and processor and lies in the model's folder, ``openvino/``: the converted
network, what was compiled of it, and ``parity.json``: how fast it is, and how far its probabilities and PyTorch's lie from
those in single precision. Making it takes as long as some predictions, so that small work does not begin it.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.metadata
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.errors import DataError, Interrupted, ResourceError, StriateError, UsageError
from striate.core.files import filling, read_json, write_json
from striate.core.image import Grid, to_ras
from striate.core.machine import native_precision, processor
from striate.core.names import lookup
from striate.data.resample import new_shape
from striate.inference.engines import ENGINES, Engine, open_engine
from striate.inference.engines.openvino import COMPILED, NETWORK, PARITY, OpenVINOEngine
from striate.inference.tiling import Tiling
from striate.model.model import EXPORTED, Model
from striate.planning.cost import network_cost

FOLDER = "openvino"
AUTO = "auto"
WORTH_MACS = 3e12
"""Multiply-accumulates of a call from which on converting the network pays within that call: that and comparing took 67 s
for 30.8 million parameters, and PyTorch does 6e10 to 9e10 of it in a second on two cores."""
NEAR, LEAST = 2.0, 0.01
"""In the mean over a window, probabilities of a converted network may lie `LEAST` from those in single precision, or `NEAR` times
as far as PyTorch's in the same precision do. In bf16 it is 0.0003 to 0.007 (measured,
network of nnU-Net with weights drawn at random)."""
FASTER = 1.1
"""How many times faster than PyTorch OpenVINO must be to be taken."""
SECONDS = 900
"""Time that converting and comparing may take."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An engine, and why it is this one.

    Attributes
    ----------
    engine
        Ready.
    reason
        One sentence.
    parity
        What was measured of the converted network; empty where nothing was.
    """

    engine: Engine
    reason: str
    parity: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return it for a record."""
        engine = {"name": self.engine.name, "precision": self.engine.precision, "reason": self.reason}
        return {**engine, **({"parity": self.parity} if self.parity else {})}


def choose(
    model: Model,
    case: Case,
    name: str = AUTO,
    *,
    macs: Callable[[], float] = lambda: 0.0,
    tell: Callable[[str], None] = lambda note: None,
) -> Chosen:
    """Return the engine for `model`.

    Parameters
    ----------
    model
        One that draws masks.
    case
        Engines are compared on its middle, where that was not done yet.
    name
        ``auto``, or one of `ENGINES`, which is then taken whether it is faster or not.
    macs
        Gives the multiply-accumulates of the work to come; see `WORTH_MACS`.
    tell
        Called before something that takes long.

    Raises
    ------
    UsageError
        When `name` is unknown, or the engine asked for cannot be had here.
    """
    if name != AUTO:
        lookup("engine", name, ENGINES)
    if model.exported:
        return _exported(model, name)
    if name == "torch":
        return _torch(model, "it was asked for")
    try:
        importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return _else_torch(model, name, "OpenVINO is not installed")
    folder, parity = model.folder / FOLDER / _key(model), dict[str, Any]()
    try:
        parity = _read(folder)
        if not parity:
            if name == AUTO and macs() < WORTH_MACS:
                return _torch(model, "the work is too small for preparing another engine")
            tell("preparing OpenVINO for this model, once: converting the network and comparing it with PyTorch")
            folder, parity = _make(model, case, folder)
        problem = doubt_of(parity)
        if not problem:
            times = parity["seconds"]["torch"] / parity["seconds"]["openvino"]
            if name == AUTO and times < FASTER:
                return _torch(model, f"OpenVINO was measured {times:.1f} times as fast here", parity)
            engine = OpenVINOEngine(folder / NETWORK, parity["precision"], folder / COMPILED)
            return Chosen(engine, f"measured {times:.1f} times as fast as PyTorch here; {_told(parity)}", parity)
    except Interrupted:
        raise
    except StriateError as error:
        problem = str(error)
    return _else_torch(model, name, problem, parity)


def macs_of(model: Model, grids: Iterable[Grid]) -> float:
    """Return the multiply-accumulates of predicting images on these grids; an upper estimate, as if nothing were cut away."""
    plan = model.plan
    per_voxel = model.facts.get("macs_per_voxel")
    if per_voxel is None:
        cost = network_cost(plan.task, plan.network, plan.inference.patch)
        per_voxel = cost.macs / math.prod(plan.inference.patch)
    voxels = 0
    for grid in grids:
        turned = to_ras(grid)[1]
        shape = new_shape(turned.shape, turned.spacing_mm, plan.preparation.spacing_mm)
        voxels += Tiling.of(shape, plan.inference.patch, plan.inference.overlap).count * math.prod(plan.inference.patch)
    return float(per_voxel) * voxels


def _exported(model: Model, name: str) -> Chosen:
    """Return the engine of a model that holds no weights; it was compared with PyTorch where it was exported."""
    if name == "torch":
        raise UsageError(
            f"--engine torch: {model.folder} was exported for OpenVINO and holds no weights; leave it away."
        )
    folder = model.folder / EXPORTED
    compiled = folder / f"{COMPILED}-{hashlib.sha256(processor().encode()).hexdigest()[:8]}"
    parity = read_json(folder / PARITY)
    reason = f"the model was exported for it; there, {_told(parity)}"
    return Chosen(OpenVINOEngine(folder / NETWORK, native_precision(), compiled), reason, parity)


def _torch(model: Model, reason: str, parity: dict[str, Any] | None = None) -> Chosen:
    return Chosen(open_engine(model.network(), exclusive=model.plan.targets.exclusive), reason, parity or {})


def _else_torch(model: Model, name: str, problem: str, parity: dict[str, Any] | None = None) -> Chosen:
    """Return PyTorch, unless something else was asked for."""
    if name != AUTO:
        raise UsageError(f"--engine {name}: {problem.rstrip('.')}. Leave --engine away, or give --engine torch.")
    return _torch(model, problem, parity)


def _key(model: Model) -> str:
    """Return the name of the folder for these weights and windows on this processor."""
    parts = [
        model.facts.get("weights_sha256"), model.plan.inference.patch, processor(), native_precision(),
        importlib.metadata.version("openvino"),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _read(folder: Path) -> dict[str, Any]:
    """Return what was measured; empty where that is not there."""
    return read_json(folder / PARITY) if (folder / PARITY).is_file() else {}


def _make(model: Model, case: Case, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Convert and compare; where the model's folder takes nothing more, in one that goes with this process."""
    for old in folder.parent.glob("*"):  # of other windows or versions
        if _read(old).get("processor") == processor():
            shutil.rmtree(old, ignore_errors=True)
    try:
        with filling(folder) as beside:
            convert(model, beside, case.channels)
    except ResourceError:
        folder = Path(tempfile.mkdtemp(prefix="striate-openvino-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        convert(model, folder, case.channels)
    except DataError:
        if not _read(folder):  # else another process was quicker
            raise
    return folder, _read(folder)


def convert(model: Model, into: Path, channels: Mapping[str, Path]) -> None:
    """Fill the folder `into` by a process of its own; that it failed is written there too.

    Parameters
    ----------
    model
        With its weights.
    into
        Gets `NETWORK` and `PARITY`.
    channels
        Name → image of one case, in whose middle engines are compared; where empty, in an image drawn at random.

    Raises
    ------
    DataError
        When an image cannot be read.
    """
    asked = {
        "model": str(model.folder.absolute()), "into": str(into.absolute()),
        "channels": {name: str(path.absolute()) for name, path in channels.items()},
    }  # fmt: skip
    command = [sys.executable, "-m", "striate.inference.engines.convert"]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked), capture_output=True, text=True, timeout=SECONDS, check=False
        )
        failed = None
        if done.returncode == DataError.exit_code:  # of the images, not of the network: another case may serve
            raise DataError(done.stderr.strip())
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"the process ended with {done.returncode}"]
            failed = last[0][:300] if done.returncode > 0 else f"the process was ended by signal {-done.returncode}"
    except subprocess.TimeoutExpired:
        failed = f"it took more than {SECONDS} s"
    if failed:
        write_json(into / PARITY, {"failed": failed, "processor": processor()})


def doubt_of(parity: dict[str, Any]) -> str:
    """Return why the converted network is not to be used; empty where it may be."""
    if "failed" in parity:
        return f"the network could not be converted for OpenVINO ({parity['failed']})"
    for name, apart in parity["tiles"].items():
        if not apart["openvino"] <= max(NEAR * apart["torch"], LEAST):
            return (
                f"OpenVINO's probabilities differ from those in single precision by {apart['openvino']:.2g} in the mean"
                f" (window '{name}'), PyTorch's by {apart['torch']:.2g}"
            )
    return ""


def _told(parity: dict[str, Any]) -> str:
    """Say how near the answers are."""
    same = next(iter(parity["tiles"].values()))["same_decision"]
    return f"the same label as single precision in {100 * same:.2f} % of the voxels of a window"
