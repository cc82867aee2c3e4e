"""`export`: a model → a folder that predicts without torch, by OpenVINO or ONNX Runtime; other programs read ONNX too."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.errors import ModelError, UsageError, expected
from striate.core.files import filling, hash_file, read_json, write_json
from striate.core.kinds import kinds
from striate.core.names import lookup
from striate.core.optional import require
from striate.core.progress import Progress, Silent
from striate.inference.engines.choose import convert
from striate.inference.engines.fastest import answers_nan, doubt_of
from striate.inference.engines.int8 import FOLDER as INT8
from striate.inference.engines.int8 import int8_of
from striate.inference.engines.openvino import PARITY, runtime
from striate.inference.inputs import gather
from striate.model.model import CARD, EXPORTED, FACTS, PLAN, PREVIOUS, Model
from striate.trust.trust import FILE

FORMATS: dict[str, str] = {
    "openvino": "a whole model that `striate predict` runs without torch",
    "onnx": "the same with ONNX Runtime, its network a file that other programs read too",
}
LARGEST = 1e-3
"""Probabilities of ONNX Runtime may differ from PyTorch's by this much, both in single precision."""


@kinds
def export(
    model: Model | Path | str,
    out: Path | str,
    *,
    kind: str = "openvino",
    images: Sequence[Path | str] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a model in another form into the new folder `out`, whole or not at all; return how near its answers are.

    Parameters
    ----------
    model
        One that draws masks, or the folder of one or of a run.
    out
        Gets ``plan.yaml``, ``model.json``, ``card.md``, ``trust.json`` where there is one, and the network:
        ``openvino/exported/``, with ``int8/`` where that may be used, or ``network.onnx``. Of a cascade also ``previous/`` with
        the same of the first stage.
    kind
        One of `FORMATS`.
    images
        One case, as for `predict`; engines are compared in its middle. Without it in an image drawn at random.
    progress
        Who listens; by default nobody.

    Returns
    -------
    dict
        What `striate.inference.engines.convert.compare` measured; for ``onnx`` also ``largest_difference``. Of a cascade it is
        of the second stage.

    Raises
    ------
    UsageError
        When the format is unknown, a package is missing, or the model does not draw masks.
    ModelError
        When the network cannot be converted, or the converted one differs from it.
    """
    progress = progress or Silent()
    lookup("format", kind, FORMATS)
    model = model if isinstance(model, Model) else Model.open(model)
    if model.plan.task.kind != "segmentation":
        raise UsageError(
            f"export: {model.folder} does {model.plan.task.kind}; only models that draw masks can be exported."
        )
    if kind == "openvino":
        runtime()
    else:
        require("onnx", "export", "writing ONNX")
        require("onnxruntime", "export", "comparing ONNX with PyTorch")
    cases = gather([Path(p) for p in images], model.channels) if images else []
    with filling(Path(out)) as folder:
        if (first := model.previous) is not None:
            _write(first, kind, cases, folder / PREVIOUS, progress)
        return _write(model, kind, cases, folder, progress)


def _write(model: Model, kind: str, cases: Sequence[Case], folder: Path, progress: Progress) -> dict[str, Any]:
    """Write one model into `folder`; return how near its answers are."""
    folder.mkdir(exist_ok=True)
    for name in (PLAN, CARD, FILE):
        if (model.folder / name).is_file():
            shutil.copyfile(model.folder / name, folder / name)
    progress.note(f"converting {model.plan.network.name} and comparing it with PyTorch")
    into = folder / (EXPORTED if kind == "openvino" else "")
    into.mkdir(parents=True, exist_ok=True)
    convert(model, into, cases[0].channels if cases else {}, kind)
    parity = read_json(into / PARITY)
    doubt = doubt_of(parity, kind)
    if kind == "onnx" and not doubt:
        parity["largest_difference"] = parity["tiles"]["middle"]["largest"]
        if not parity["largest_difference"] <= LARGEST:
            doubt = f"ONNX Runtime's probabilities differ by {parity['largest_difference']:.2g}, more than {LARGEST:g}"
    if doubt:
        hint = "Train or import it again." if answers_nan(parity) else "Use it as it is: PyTorch computes it."
        raise ModelError(expected(model.folder, doubt, "the same answers are needed", hint))
    if kind == "openvino" and (int8 := int8_of(model)) is not None and int8.allowed:
        shutil.copytree(int8.folder, folder / INT8)
    first = folder / PREVIOUS
    written = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != CARD and not p.is_relative_to(first))
    files = {path.relative_to(folder).as_posix(): hash_file(path) for path in written}
    exported = {"format": kind, **parity, "files": files}
    write_json(folder / FACTS, {**read_json(model.folder / FACTS), "exported": exported})
    return parity
