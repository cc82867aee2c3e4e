"""A model's network in int8: made of cases with masks, and measured on them against what the model drew before."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from striate.core.case import Case
from striate.core.errors import UsageError
from striate.core.progress import Progress, each
from striate.inference.engines.int8 import FOLDER, Int8
from striate.inference.engines.openvino import NETWORK, OpenVINOEngine
from striate.inference.engines.quantise import nncf_here, quantise
from striate.inference.predict import predict_case
from striate.io.read import read_label
from striate.measure.evaluation import CaseEvaluation
from striate.model.model import Model


def check_int8(model: Model, way: str) -> None:
    """Refuse what has no network in int8, before hours of work.

    Raises
    ------
    UsageError
        When NNCF is not installed, or masks are made in a way that PyTorch alone computes.
    """
    if way not in ("none", "tta"):
        raise UsageError(f"--int8: --uncertainty {way} is computed by torch; leave one of them away.")
    if model.plan.preparation.previous_labels:
        raise UsageError(
            f"--int8: {model.folder} is a cascade, whose networks are computed in floating point; leave it away."
        )
    nncf_here()


def measure_int8(
    model: Model,
    cases: Sequence[Case],
    before: Sequence[CaseEvaluation],
    folder: Path,
    progress: Progress,
    *,
    tta: bool = False,
    crf: bool = False,
) -> Int8 | None:
    """Quantise a model's network into ``folder/int8`` and compare its masks with the truth; None, with a warning, where it fails.

    Parameters
    ----------
    model
        With its weights; its network is in int8 where what is measured allows it (`Int8.allowed`), else only the verdict stays.
    cases
        With masks, none of which the model learned from.
    before
        Measures of what the model drew of them.
    folder
        Gets ``int8/``.
    progress
        Who listens.
    tta, crf
        How masks are made.

    Raises
    ------
    DataError
        When a file cannot be read.
    """
    into = folder / FOLDER
    into.mkdir()
    progress.note("making the network in int8 of windows of these cases")
    if failed := quantise(model, cases, into):
        shutil.rmtree(into)
        progress.warn(f"the network could not be brought to int8 ({failed}); it stays as it is.")
        return None
    engine, after = OpenVINOEngine(into / NETWORK, "int8"), list[CaseEvaluation]()
    for case in each(progress, "int8", cases, len(cases)):
        truth = read_label(Path(str(case.label)))
        found = predict_case(model, case, network=engine, tta=tta, crf=crf)
        after.append(CaseEvaluation.of(case.name, found.label, truth, model.plan.targets, case.subject))
    int8 = Int8.measured(into, before, after, str(model.facts.get("weights_sha256", "")))
    progress.note(int8.reason)
    if not int8.allowed:
        for path in into.iterdir():
            path.unlink()
    return int8


def settle(int8: Int8, folder: Path, weights_sha256: str) -> None:
    """Move what was measured into the folder of its model, in the place of what was there, and write the verdict."""
    place = folder / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    int8.folder.replace(place)
    replace(int8, folder=place, weights_sha256=weights_sha256).write()
