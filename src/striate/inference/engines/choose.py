"""Which engine computes a model's network on this machine: what is there, agrees, and was measured to be faster.

Where a GPU computes the network (`place`), that is PyTorch, and nothing is converted.

What OpenVINO needs is made once per model and processor and lies in the model's folder, ``openvino/``: the converted
network, what was compiled of it, and ``parity.json``: how fast it is, and how far its probabilities and PyTorch's lie from
those in single precision; ``parity-8.json`` where that was measured again on 8 cores. A verdict that its rounds leave open
is asked again, a few times (`striate.inference.engines.verdict`). Likewise for ONNX Runtime, where it is
asked for or OpenVINO is not installed, in ``onnx/``. Making it takes as long as some predictions, so that small work does not
begin it.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.metadata
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.core.case import Case
from striate.core.errors import (
    DataError,
    FormatError,
    Interrupted,
    ModelError,
    ResourceError,
    StriateError,
    UsageError,
    expected,
)
from striate.core.files import filling, read_json, write_json
from striate.core.image import Grid
from striate.core.in_turn import in_turn
from striate.core.machine import cores, may_have_gpu, native_precision, processor
from striate.core.names import lookup
from striate.data.prepare import uncut_shape
from striate.inference.engines import ENGINES, TITLES, Engine, child, open_engine
from striate.inference.engines.chosen import Chosen
from striate.inference.engines.fastest import LEAST, NEAR, answers_nan, fastest, lacks, measured, unclear
from striate.inference.engines.folder import folder_of
from striate.inference.engines.int8 import FOLDER as INT8
from striate.inference.engines.int8 import Int8, int8_of
from striate.inference.engines.onnx import OnnxEngine
from striate.inference.engines.openvino import COMPILED, MADE, NETWORK, PARITY, OpenVINOEngine, precision_here
from striate.inference.engines.race import BASE
from striate.inference.engines.unchanged import refuse_changed
from striate.inference.engines.verdict import outdated, stale, verdicts, with_failure
from striate.inference.tiling import Tiling
from striate.model.model import EXPORTED, ONNX, Model
from striate.planning.cost import window_cost

if TYPE_CHECKING:
    from striate.inference.engines.place import Placed

AUTO = "auto"
PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime"}
"""Form of a converted network, also the name of its folder → the package that computes it; the first that is there is taken."""
WORTH_MACS = 3e12
"""Multiply-accumulates of a call from which on converting the network pays within that call: that and comparing took 67 s
for 30.8 million parameters, and PyTorch does 6e10 to 9e10 of it in a second on two cores."""
FITTED = "limits_engine"
"""Where the facts of a model say which engine, in which precision, its limits were fitted with."""
SECONDS = 900
"""Time that converting and comparing may take."""


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
    ModelError
        When another engine than PyTorch is asked for, and PyTorch itself answers NaN.
    """
    if name != AUTO:
        lookup("engine", name, ENGINES)
    if model.exported:
        return _exported(model, name)
    if name == "torch":
        return _torch(model, "it was asked for")
    there = _tried(model, tell) if name == AUTO else None
    if there is not None and there.gpu:
        return _torch(model, "", there=there)
    found, problem, parity = _converted(model, case, name, macs, tell)
    if found is not None:
        problem = "" if there is None else there.problem
        return replace(found, reason=f"{found.reason}; {problem}") if problem else found
    if name != AUTO and answers_nan(parity):
        raise ModelError(f"model {model.folder}: {problem}. Train or import it again.", path=model.folder)
    if name != AUTO:
        raise UsageError(f"--engine {name}: {problem.rstrip('.')}. Leave --engine away, or give --engine torch.")
    return _torch(model, problem, parity, there)


def _converted(
    model: Model, case: Case, name: str, macs: Callable[[], float], tell: Callable[[str], None]
) -> tuple[Chosen | None, str, dict[str, Any]]:
    """Return the engine of a converted network; or None, why PyTorch is to compute instead, and what was measured."""
    if name == "int8" and (problem := _without_int8(int8_of(model))):
        return None, problem, {}
    form = _form(name)
    if not form:
        return None, f"{TITLES.get(name, TITLES['openvino'])} is not installed", {}
    folder, parity = place_of(model, form), dict[str, Any]()
    try:
        parity = _read(folder)
        if not parity:
            if name == AUTO and macs() < WORTH_MACS:
                return None, "the work is too small for preparing another engine", {}
            kept = (
                "" if model.folder in folder.parents else f"; {model.folder} takes no files, they go to {folder.parent}"
            )
            tell(
                f"preparing {TITLES[form]} for this model, once: converting the network and comparing it with PyTorch{kept}"
            )
            folder, parity = _make(model, case, folder, form, tell)
        elif name == AUTO and (before := _due(parity, folder)) and macs() >= WORTH_MACS:
            tell(f"comparing {TITLES[form]} with PyTorch again: before, {before}")
            parity = _again(model, case, folder, form, parity)
        found, problem = fastest(parity, None if name == AUTO else name)
        yet = _provisional(parity, folder, name)
        problem += yet
        if found:
            engine = _opened_or_removed(model, found, folder, parity["precision"])
            reason = f"{measured(parity, found)}{lacks(found, engine.precision)}{yet}; {_told(model, parity, found)}"
            return Chosen(engine, reason, parity, _caution(model, engine, found, parity)), "", parity
    except Interrupted:
        raise
    except StriateError as error:
        problem = str(error)
    return None, problem, parity


def _form(name: str) -> str:
    """Return the form of network that the engine `name` computes; empty where its package is not installed."""
    forms = {AUTO: list(PACKAGES), "int8": ["openvino"]}.get(name, [name])
    return next((form for form in forms if _version(PACKAGES[form])), "")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _due(parity: dict[str, Any], folder: Path) -> str:
    """Return why engines are to be compared again, where a new verdict can be kept; empty where the one that is there stands."""
    if not os.access(folder, os.W_OK):
        return ""
    if parity.get("cores") in (None, cores()):
        return unclear(parity)
    due = not (folder / _here()).is_file() or stale(parity.get("again", {}))
    return f"it was on {parity['cores']} cores" if due else ""


def _provisional(parity: dict[str, Any], folder: Path, name: str) -> str:
    """Say that the verdict is not clear and will be asked again, where that is so."""
    if name != AUTO or parity.get("cores") != cores() or not _due(parity, folder):
        return ""
    return "; this is provisional: not all windows agree on it, and the next call with enough work compares again"


def _here() -> str:
    """Return the name of the verdict for this number of cores, where the first one is of another."""
    return f"{Path(PARITY).stem}-{cores()}.json"


def _again(model: Model, case: Case, folder: Path, form: str, parity: dict[str, Any]) -> dict[str, Any]:
    """Compare on this number of cores. Where that fails, what was found before serves; see `with_failure`."""
    verdict = PARITY if parity["cores"] == cores() and not (folder / _here()).is_file() else _here()
    try:
        convert(model, folder, case.channels, form, verdict)
        return read_json(folder / verdict)
    except (DataError, ResourceError):  # of this case or disk; another time it may go well
        return parity


def _opened(model: Model, name: str, folder: Path, precision: str, compiled: str = COMPILED) -> Engine:
    """Return the engine `name` of a network that was converted into `folder`."""
    if name == "onnx":
        return OnnxEngine(folder / ONNX)
    if name == "int8" and (int8 := int8_of(model)) is not None:
        return OpenVINOEngine(int8.network, "int8", folder / compiled)
    return OpenVINOEngine(folder / NETWORK, precision, folder / compiled)


def _opened_or_removed(model: Model, name: str, folder: Path, precision: str) -> Engine:
    """Return the engine; where what was converted is broken, remove it: what is asked next makes it again.

    Raises
    ------
    ModelError
        When it is broken.
    """
    try:
        return _opened(model, name, folder, precision)
    except ModelError as error:
        if name == "int8":
            raise
        shutil.rmtree(folder, ignore_errors=True)
        then = f"Remove the folder {folder}" if folder.exists() else "It was removed"
        raise ModelError(f"{error} {then}; the next call makes it again.", path=folder) from error


def _without_int8(int8: Int8 | None) -> str:
    """Return why a model's network is not to be computed in int8; empty where it may be."""
    if int8 is None:
        return "the model has no network in int8; striate calibrate MODEL COHORT --out NEW --int8 makes one"
    return "" if int8.allowed else int8.reason


def macs_of(model: Model, grids: Iterable[Grid]) -> float:
    """Return the multiply-accumulates of predicting images on these grids; an upper estimate, as if nothing were cut away."""
    plan = model.plan
    per_voxel = model.facts.get("macs_per_voxel")
    if per_voxel is None:
        per_voxel = window_cost(plan).macs / math.prod(plan.inference.patch)
    voxels = 0
    for grid in grids:
        shape = uncut_shape(plan.preparation, grid)
        voxels += Tiling.of(shape, plan.inference.patch, plan.inference.overlap).count * math.prod(plan.inference.patch)
    return float(per_voxel) * voxels


def exported_as(model: Model, name: str) -> tuple[str, Path, dict[str, Any]]:
    """Return which engine computes a model that holds no weights, the folder of its network, and what was measured of it there.

    Raises
    ------
    UsageError
        When another engine is asked for.
    ModelError
        When a file is not as it was exported.
    """
    form = "onnx" if (model.folder / ONNX).is_file() else "openvino"
    if name not in (AUTO, form) and not (name == "int8" and form == "openvino"):
        raise UsageError(
            f"--engine {name}: {model.folder} was exported for {TITLES[form]} and holds no weights; leave it away."
        )
    folder = model.folder if form == "onnx" else model.folder / EXPORTED
    refuse_changed(model)
    parity, problem = read_json(folder / PARITY), _without_int8(int8_of(model))
    if name == "int8" and problem:
        raise UsageError(f"--engine int8: {problem}.")
    faster = parity["processor"] == processor() and fastest(parity)[0] == "int8"  # it was measured there
    return "int8" if name == "int8" or (name == AUTO and faster and not problem) else form, folder, parity


def _exported(model: Model, name: str) -> Chosen:
    """Return the engine of a model that holds no weights; it was compared with PyTorch where it was exported."""
    found, folder, parity = exported_as(model, name)
    if found != "onnx":
        _refuse_old(model, found, folder)
    compiled = f"{COMPILED}-{hashlib.sha256(processor().encode()).hexdigest()[:8]}"
    try:
        engine = _opened(model, found, folder, native_precision(), compiled)
    except ModelError as error:
        raise ModelError(f"{error} Export the model again, or copy the folder again.", path=model.folder) from error
    reason = f"the model was exported for it; there, {_told(model, parity, found)}{lacks(found, engine.precision)}"
    return Chosen(engine, reason, parity, _caution(model, engine, found, parity))


def _refuse_old(model: Model, name: str, folder: Path) -> None:
    """Refuse an exported network that ends the process: group normalisation as it came before `normalise`, not in bf16."""
    file = model.folder / INT8 / NETWORK if name == "int8" else folder / NETWORK
    if precision_here() == "bf16" or not file.is_file() or b'type="GroupNormalization"' not in file.read_bytes():
        return
    before = "calibrate MODEL COHORT --out NEW --int8, then export NEW" if name == "int8" else "export MODEL"
    raise ModelError(
        expected(file, "an older Striate wrote it, in a form on which OpenVINO crashes in single precision",
                 "this processor needs that precision", f"Make it again: striate {before} --out FOLDER"), path=file,
    )  # fmt: skip


def _torch(model: Model, reason: str, parity: dict[str, Any] | None = None, there: Placed | None = None) -> Chosen:
    """Return PyTorch, on a GPU where one computes the network; `there` is where it was placed already."""
    if there is None:
        from striate.inference.engines.place import placed

        there = placed(model)
    reason = "; ".join(filter(None, (reason, there.gpu and f"{there.gpu} computes it", there.problem)))
    return Chosen(open_engine(there.network, exclusive=model.plan.targets.exclusive), reason, parity or {})


def _tried(model: Model, tell: Callable[[str], None]) -> Placed | None:
    """Return the network as a GPU computes it, or why it cannot, which is told; None where none is there."""
    if not may_have_gpu():
        return None
    from striate.inference.engines.place import placed

    return placed(model, tell=tell)


def place_of(model: Model, form: str) -> Path:
    """Return the folder of what is converted of `model` for this processor; it need not be there."""
    return folder_of(model, form, _key(model, form), _read)


def _key(model: Model, form: str) -> str:
    """Return the name of the folder for this network and these weights and windows on this processor."""
    int8 = int8_of(model)
    parts = [
        model.facts.get("weights_sha256"), model.plan.network.model_dump(mode="json"), model.plan.targets.exclusive,
        model.plan.inference.patch, processor(), native_precision(),
        _version(PACKAGES[form]), _version("torch"), MADE,
        int8.network_sha256 if int8 is not None and int8.allowed else None,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _read(folder: Path) -> dict[str, Any]:
    """Return what was measured, on this number of cores if it was; empty where that is not there, broken, void or stale."""
    try:
        said = (found for found in verdicts(folder, (_here(), PARITY)) if found.keys() & {"failed", "tiles"})
        return next((found for found in said if not stale(found)), {})
    except FormatError:
        return {}


def _make(
    model: Model, case: Case, folder: Path, form: str, tell: Callable[[str], None]
) -> tuple[Path, dict[str, Any]]:
    """Convert and compare; where the disk takes nothing more, in a folder that goes with this process."""
    if model.folder in folder.parents:  # in the cache lies what other models of the same weights use
        for old in folder.parent.glob("[!.]*"):  # others are being filled
            if old != folder and outdated(old, (_here(), PARITY)):
                shutil.rmtree(old, ignore_errors=True)
    if folder.is_dir() and not _read(folder):  # what is there is broken
        shutil.rmtree(folder, ignore_errors=True)
    try:
        with filling(folder) as beside:
            convert(model, beside, case.channels, form)
    except ResourceError as error:
        why = str(error).split("; ")[0].rstrip(".")  # what would help, another --out, does not here
        tell(f"{why}; what is converted serves this call alone, and the next one converts again")
        folder = Path(tempfile.mkdtemp(prefix=f"striate-{form}-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        convert(model, folder, case.channels, form)
    except DataError:
        if not _read(folder):  # else another process was quicker
            raise
    return folder, _read(folder)


def convert(model: Model, into: Path, channels: Mapping[str, Path], form: str, verdict: str = PARITY) -> None:
    """Fill the folder `into` by a process of its own; that it failed is written there too, beside a verdict that is there.

    Parameters
    ----------
    model
        With its weights.
    into
        Gets `NETWORK` or `ONNX`, where it is not there yet, and `verdict`.
    channels
        Name → image of one case, in whose middle engines are compared; where empty, in an image drawn at random.
    form
        One of `PACKAGES`.
    verdict
        Name of the file for what was measured. Where it tells of races on this number of cores, one more is added to them.

    Raises
    ------
    DataError
        When an image cannot be read.
    """
    asked = {
        "model": str(model.folder.absolute()), "into": str(into.absolute()), "form": form, "verdict": verdict,
        "channels": {name: str(path.absolute()) for name, path in channels.items()},
    }  # fmt: skip
    if failed := child.run("convert", asked, SECONDS):
        failure = {"cores": cores(), "failed": failed, "tried": datetime.now(UTC).isoformat(timespec="seconds")}
        known = {"form": form, "made": MADE, "processor": processor()}
        with in_turn(into / verdict):
            before = _read(into)
            write_json(into / verdict, with_failure(before, failure) if before else {**failure, **known})


def _told(model: Model, parity: dict[str, Any], name: str) -> str:
    """Say how near the answers of the engine `name` are."""
    if name == "int8" and (int8 := int8_of(model)) is not None:
        return int8.reason
    same = next(iter(parity["tiles"].values()))["same_decision"]
    return f"the same label as single precision in {100 * same:.2f} % of the voxels of a window"


def _caution(model: Model, engine: Engine, name: str, parity: dict[str, Any]) -> str:
    """Say that limits were fitted with another engine, where the engine `name` lies further from PyTorch than is usual."""
    fitted = model.facts.get(FITTED)
    if not fitted or (fitted["name"], fitted["precision"]) == (engine.name, engine.precision):
        return ""
    far = {
        window: apart for window, apart in parity["tiles"].items()
        if not apart.get(name, 0.0) <= max(NEAR * apart[BASE], LEAST)
    }  # fmt: skip
    if not far:
        return ""
    window, apart = max(far.items(), key=lambda item: item[1][name])
    nearer = name == "int8" and apart.get("openvino", math.inf) < apart[name]
    advice = f" For the engine of the limits give --engine {fitted['name']}."
    if model.exported:  # which holds no weights for PyTorch
        advice = " Nearer to single precision lies --engine openvino." if nearer else ""
    return (
        f"Limits were fitted to probabilities of {fitted['name']} in {fitted['precision']}; those of {TITLES[name]} differ from"
        f" single precision by {apart[name]:.2g} in the mean (window '{window}'), PyTorch's by {apart[BASE]:.2g}.{advice}"
    )
