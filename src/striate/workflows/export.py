"""`export`: a model → a folder that predicts without torch (OpenVINO), or its network for other programs (ONNX)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from striate.core.errors import ModelError, UsageError, expected
from striate.core.files import filling, read_json, write_json
from striate.core.names import lookup
from striate.core.progress import Progress, Silent
from striate.inference.engines.choose import convert, doubt_of
from striate.inference.engines.openvino import PARITY, runtime
from striate.inference.inputs import gather
from striate.model.model import CARD, EXPORTED, FACTS, PLAN, Model
from striate.trust.trust import FILE

FORMATS: dict[str, str] = {
    "openvino": "a whole model that `striate predict` runs without torch",
    "onnx": "the network alone, for other programs",
}
ONNX, LARGEST = "network.onnx", 1e-3
"""Probabilities of ONNX Runtime may differ from PyTorch's by this much, both in single precision."""


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
        ``openvino/exported/`` or ``network.onnx``.
    kind
        One of `FORMATS`.
    images
        One case, as for `predict`; engines are compared in its middle. Without it in an image drawn at random.
    progress
        Who listens; by default nobody.

    Returns
    -------
    dict
        For ``openvino`` what `striate.inference.engines.convert.compare` measured; for ``onnx`` ``largest_difference``.

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
    cases = gather([Path(p) for p in images], model.channels) if images else []
    with filling(Path(out)) as folder:
        for name in (PLAN, CARD, FILE):
            if (model.folder / name).is_file():
                shutil.copyfile(model.folder / name, folder / name)
        progress.note(f"converting {model.plan.network.name} and comparing it with PyTorch")
        if kind == "onnx":
            parity = _onnx(model, folder)
        else:
            (folder / EXPORTED).mkdir(parents=True)
            convert(model, folder / EXPORTED, cases[0].channels if cases else {})
            parity = read_json(folder / EXPORTED / PARITY)
            if doubt := doubt_of(parity):
                raise ModelError(
                    expected(
                        model.folder, doubt, "the same answers are needed", "Use it as it is: PyTorch computes it."
                    )
                )
        write_json(folder / FACTS, {**read_json(model.folder / FACTS), "exported": {"format": kind, **parity}})
    return parity


def _onnx(model: Model, folder: Path) -> dict[str, Any]:
    from striate.inference.engines.convert import drawn, probes
    from striate.inference.engines.onnx_file import write_onnx

    tile = probes(model.plan, drawn(model.plan))["middle"]
    apart = write_onnx(model.network(), model.plan.targets.exclusive, tile, folder / ONNX)
    if not apart <= LARGEST:
        raise ModelError(
            expected(
                model.folder, f"ONNX Runtime's probabilities differ by {apart:.2g}", f"at most {LARGEST:g} is needed"
            )
        )
    return {"largest_difference": apart}
