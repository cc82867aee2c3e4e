"""A model's network → the file of another engine, and how far its answers lie from PyTorch's; run as a process of its own.

Two reasons for the process: what converts and compares needs several times the memory of a prediction, and OpenVINO's
compiler has been seen to crash (`striate.inference.engines.normalise`). A crash of a child is a sentence.

    python -m striate.inference.engines.convert < ASKED.json

reads ``model``, ``into``, ``channels`` (name → image file of one case; none, or a cascade: an image is drawn) and ``verdict``
and writes ``network.xml``, ``network.bin`` and what was measured, as ``verdict``, into the folder ``into``; a network that lies
there is only compared, and where ``verdict`` tells of races on this number of cores one more is run and added to them.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from striate.core.case import Case
from striate.core.errors import DataError
from striate.core.files import write_json, writing
from striate.core.in_turn import in_turn
from striate.core.machine import cores, processor
from striate.data.prepare import prepare
from striate.inference.engines import Engine
from striate.inference.engines.answering import Answering
from striate.inference.engines.int8 import int8_of
from striate.inference.engines.normalise import normalise
from striate.inference.engines.openvino import MADE, NETWORK, OpenVINOEngine, precision_here, runtime
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.engines.race import BASE, race
from striate.inference.engines.separate import separate
from striate.inference.engines.verdict import joined, verdicts
from striate.model.model import ONNX, Model
from striate.planning.cost import seen_patch
from striate.planning.plan import Plan


def convert(network: nn.Module, exclusive: bool, tile: Tensor, path: Path) -> None:
    """Write `network` for windows of the shape of `tile` (1, C, *patch) to `path`, whole; weights in half precision for bf16."""
    made = converted(network, exclusive, tile)
    separate(made)
    with writing(path) as beside, writing(path.with_suffix(".bin")):  # OpenVINO writes both
        runtime().save_model(made, beside, compress_to_fp16=precision_here() == "bf16")


def converted(network: nn.Module, exclusive: bool, tile: Tensor) -> Any:
    """Return `network` as an ``openvino.Model`` for windows of the shape of `tile` (1, C, *patch)."""
    ov = runtime()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer: sizes are fixed, and meant to be
        traced = torch.jit.trace(Answering(network, exclusive, tile), tile, check_trace=False)  # type: ignore[no-untyped-call]
        made = ov.convert_model(traced, input=[tuple(tile.shape)])
    normalise(made)
    return made


def compare(
    network: nn.Module, exclusive: bool, engines: Mapping[str, Engine], tiles: Mapping[str, NDArray[np.float32]]
) -> dict[str, Any]:
    """Return how fast all engines are (`race`), and per tile how far they lie from PyTorch in single precision.

    That is the mean difference of probabilities of each engine, and of the first also the largest and the share of voxels with
    the same decision; ``torch_nan`` where PyTorch itself answers NaN.

    Parameters
    ----------
    network, exclusive
        As for `TorchEngine`.
    engines
        Name → a converted network; PyTorch, as it would be used here, is measured beside them.
    tiles
        Name → (1, C, *patch); the first is also what they are timed on.
    """
    first = next(iter(engines))
    exact = TorchEngine(network, exclusive, "fp32")
    every = {**engines, BASE: TorchEngine(network, exclusive)}
    found = dict[str, Any]()
    for name, tile in tiles.items():
        truth = exact(tile)
        answers = {e: engine(tile) for e, engine in every.items()}
        apart = {e: float(_apart(answer, truth).mean()) for e, answer in answers.items()}
        largest = float(_apart(answers[first], truth).max())
        found[name] = {**apart, "largest": largest, "same_decision": _same(answers[first], truth, exclusive)}
        if np.isnan(truth).any() or np.isnan(answers[BASE]).any():
            found[name]["torch_nan"] = True
    return {"precision": engines[first].precision, "tiles": found, **race(every, next(iter(tiles.values())))}


def race_alone(
    network: nn.Module, exclusive: bool, engines: Mapping[str, Engine], tiles: Mapping[str, NDArray[np.float32]]
) -> dict[str, Any]:
    """Return how fast all engines are (`race`); parameters as of `compare`."""
    every = {**engines, BASE: TorchEngine(network, exclusive)}
    tile = next(iter(tiles.values()))
    for engine in every.values():  # a first answer makes memory ready
        engine(tile)
    return race(every, tile)


def probes(plan: Plan, array: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return windows of a prepared image (C, *spatial): its middle, and that but for an edge blank.

    Windows that are nearly blank are where instance normalisation is ill-conditioned, and engines differ most.
    """
    size, patch = array.shape[1:], plan.inference.patch
    starts = [max(0, (n - p) // 2) for n, p in zip(size, patch, strict=True)]
    whole = np.zeros((len(array), *patch), np.float32)
    part = array[(slice(None), *(slice(s, s + p) for s, p in zip(starts, patch, strict=True)))]
    room = [(p - n) // 2 for n, p in zip(part.shape[1:], patch, strict=True)]
    whole[(slice(None), *(slice(r, r + n) for r, n in zip(room, part.shape[1:], strict=True)))] = part
    middle = whole.reshape(1, len(array), *seen_patch(patch, plan.network.spatial_dims))
    found = {"middle": middle}
    found["nearly blank"] = middle.copy()
    found["nearly blank"][:, :, : int(0.95 * middle.shape[2])] = middle.min()
    return found


def drawn(plan: Plan) -> NDArray[np.float32]:
    """Return a smooth random image (C, *patch) with mean 0 and standard deviation 1, the same every time.

    Behind it lie, for the second stage of a cascade, random masks of half the voxels.
    """
    noise = np.random.default_rng(0).normal(size=(plan.in_channels, *plan.inference.patch))
    smooth, images = np.stack([gaussian_filter(channel, 2.0) for channel in noise]), len(plan.task.channels)
    smooth[:images] = (smooth[:images] - smooth[:images].mean()) / smooth[:images].std()
    smooth[images:] = smooth[images:] > 0
    return smooth.astype(np.float32)


def _apart(ours: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far each probability lies from the truth; what is no number is as far as can be."""
    found: NDArray[np.float32] = np.nan_to_num(np.abs(ours - truth), copy=False, nan=1.0, posinf=1.0)
    return found


def _same(ours: NDArray[np.float32], truth: NDArray[np.float32], exclusive: bool) -> float:
    """Return the share of voxels with the same class, or the same regions."""
    if exclusive:
        return float((ours.argmax(1) == truth.argmax(1)).mean())
    return float(((ours > 0.5) == (truth > 0.5)).all(axis=1).mean())


def main() -> None:
    """Do what stands in the document on standard input."""
    asked = json.load(sys.stdin)
    model, into = Model.open(asked["model"]), Path(asked["into"])
    channels = {name: Path(path) for name, path in asked["channels"].items()}
    try:
        seen = bool(channels) and not model.plan.preparation.previous_labels  # a mask of the first stage is not at hand
        array = prepare(Case("probe", "probe", channels), model.plan.preparation).array if seen else drawn(model.plan)
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    tiles, exclusive = probes(model.plan, array), model.plan.targets.exclusive
    made = (_onnx if asked["form"] == "onnx" else _openvino)(model, tiles["middle"], into)
    before = _before(into, asked["verdict"], made)
    raced = (race_alone if before else compare)(model.network(), exclusive, made, tiles)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    where = {"made": MADE, "processor": processor(), "cores": cores()}
    with in_turn(into / asked["verdict"]):  # another process may have raced meanwhile, too
        before = _before(into, asked["verdict"], made) or before
        write_json(into / asked["verdict"], joined(before or where, {"measured": when, **raced}))


def _before(into: Path, verdict: str, engines: Mapping[str, Engine]) -> dict[str, Any]:
    """Return what is known of the same engines on this number of cores from races before; empty where nothing is."""
    known = next(iter(verdicts(into, [verdict])), {})
    precision = next(iter(engines.values())).precision
    same = (known.get("cores"), known.get("precision")) == (cores(), precision) and "races" in known
    return known if same else {}


def _openvino(model: Model, tile: NDArray[np.float32], into: Path) -> dict[str, Engine]:
    """Convert for OpenVINO; return what computes it, and the network in int8 where there is one that may be used."""
    if not (into / NETWORK).is_file():
        convert(model.network(), model.plan.targets.exclusive, torch.from_numpy(tile), into / NETWORK)
    engines: dict[str, Engine] = {"openvino": OpenVINOEngine(into / NETWORK, precision_here())}
    if (int8 := int8_of(model)) is not None and int8.allowed:
        engines["int8"] = OpenVINOEngine(int8.network, "int8")
    return engines


def _onnx(model: Model, tile: NDArray[np.float32], into: Path) -> dict[str, Engine]:
    """Write ONNX; return what computes it."""
    from striate.inference.engines.onnx import OnnxEngine
    from striate.inference.engines.onnx_file import write_onnx

    if not (into / ONNX).is_file():
        with writing(into / ONNX) as beside:
            write_onnx(model.network(), model.plan.targets.exclusive, tile, beside)
    return {"onnx": OnnxEngine(into / ONNX)}


if __name__ == "__main__":
    main()
