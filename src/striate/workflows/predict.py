"""`predict`: a model and images → masks on the images' own grid, findings in units, and a record; whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.core.case import Case
from striate.core.errors import Interrupted, UsageError
from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent
from striate.core.record import Stopwatch
from striate.core.unfinished import Unfinished
from striate.inference.engines.choose import AUTO
from striate.inference.engines.uncertainty import way_of
from striate.inference.inputs import gather
from striate.inference.prediction import Prediction
from striate.model.model import Model
from striate.workflows.predict_masks import predict_masks

if TYPE_CHECKING:
    from striate.inference.whole import WholePrediction
    from striate.workflows.foresee import Foreseen


@kinds
def predict(
    model: Model | Path | str,
    inputs: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    save_probabilities: bool = False,
    uncertainty: str | None = None,
    ensemble: Sequence[Path | str] = (),
    save_uncertainty: bool = False,
    tta: bool = False,
    crf: bool = False,
    exact: bool = False,
    dicom_seg: bool = False,
    engine: str = AUTO,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> list[Prediction] | list[WholePrediction] | Foreseen:
    """Predict all cases in `inputs` and write masks and findings, or classes, into the new folder `out`.

    Masks and classes that are done when the call is stopped or killed, or a case fails, stay in ``OUT.unfinished``; the same call
    goes on with them (see `kept`, `kept_classes`). Reconstructions, and models of examinations in order, begin anew.

    Parameters
    ----------
    model
        A model, or the folder of one or of a run.
    inputs
        Image files, folders, cohorts; see `striate.inference.inputs`.
    out
        Gets ``CASE.nii.gz`` (or the format of the images), ``findings.json``, ``findings.csv``, ``record.json``,
        ``panels/`` and, where asked for, ``probabilities/CASE_LABEL.nii.gz`` and ``uncertainty/CASE.nii.gz``. A model of
        whole images writes ``predictions.csv`` instead of masks and findings.
    save_probabilities
        Also write one map per label or region of the network's own, uncalibrated probabilities.
    uncertainty
        ``none``, ``tta``, ``dropout`` or ``ensemble`` (`striate.inference.engines.uncertainty`); by default ``ensemble`` where
        other models are given, else ``none``. Intervals and calibrated numbers need a model that was calibrated that way.
    ensemble
        Further models of the same task, whose answers are averaged with the model's.
    save_uncertainty
        Also write a map of the probability that a voxel's label is wrong.
    tta
        The same as ``uncertainty="tta"``: average over mirrored copies along the axes that the plan allows.
    crf
        Let a fully connected CRF refine the masks: slower, and more memory (docs/concepts/inference.md).
    exact
        Give the masks that nnU-Net itself would (`striate.inference.exact`), for a model that was imported from it. No
        probabilities are kept, so that nothing which needs them can be asked for or told.
    dicom_seg
        Also write ``dicom_seg/CASE.dcm``, a DICOM Segmentation of the series: it names the patient (`striate.io.dicom_seg`).
    engine
        ``auto`` or one of `striate.inference.engines.ENGINES`; which one it was, and why, is in the record.
    dry_run
        Say what would be done, and do nothing (`striate.workflows.foresee.Foreseen`).
    progress
        Who listens; by default nobody.

    Raises
    ------
    ModelError
        When the model is broken or meant for other channels.
    DataError
        When an image cannot be read or fits not; once the other cases are done, where headers did not tell.
    UsageError
        When two things were asked for that exclude each other, or the model or a case cannot do one.
    MemoryLimitError, DiskFullError
        When a case would not fit into the memory, once the others are done; when the disk has less room than may be written.
    """
    progress, watch, out = progress or Silent(), Stopwatch(), Path(out)
    model = model if isinstance(model, Model) else Model.open(model)
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    cases = gather([Path(p) for p in given], model.channels)
    asked: dict[str, Any] = {
        "model": model.folder, "inputs": given, "out": out, "save_probabilities": save_probabilities, "tta": tta, "crf": crf,
    }  # fmt: skip
    of_masks = {"uncertainty": uncertainty, "ensemble": ensemble, "save_uncertainty": save_uncertainty, "exact": exact}
    asked = _all_asked(model, asked, {**of_masks, "dicom_seg": dicom_seg, "engine": engine})
    return (_foreseen if dry_run else _predicted)(model, cases, out, asked, progress, watch)


def _all_asked(model: Model, asked: dict[str, Any], of_masks: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the way to uncertainty that is meant; refuse what excludes each other, or is not for the model."""
    if model.plan.task.kind != "segmentation":
        _refuse_for_whole(model, {**of_masks, "engine": of_masks["engine"] != AUTO})
        return asked
    asked = asked | of_masks
    way = way_of(asked["uncertainty"], asked["ensemble"], tta=asked["tta"])
    asked = {**asked, "uncertainty": way, "ensemble": [Path(path) for path in asked["ensemble"]]}
    if asked["exact"]:
        _refuse_beside_exact(model, asked)
    return asked


def _foreseen(
    model: Model, cases: list[Case], out: Path, asked: dict[str, Any], progress: Progress, watch: Stopwatch
) -> Foreseen:
    from striate.workflows.foresee import foresee

    return foresee(model, cases, out, asked, progress)


def _predicted(
    model: Model, cases: list[Case], out: Path, asked: dict[str, Any], progress: Progress, watch: Stopwatch
) -> list[Prediction] | list[WholePrediction]:
    if model.plan.task.kind == "segmentation":
        return predict_masks(model, cases, out, asked, progress, watch)
    from striate.workflows.predict_whole import predict_whole_cases

    try:
        return predict_whole_cases(model, cases, out, asked, progress, watch)
    except (KeyboardInterrupt, Interrupted) as error:
        if Unfinished(out).names:
            raise
        kind = model.plan.task.kind
        raise Interrupted(f"stopped; nothing is kept: a prediction of {kind} begins anew with the next call") from error


def _refuse_for_whole(model: Model, asked: Mapping[str, object]) -> None:
    for name, given in asked.items():
        if given:
            raise UsageError(
                f"{_option(name)}: the model does {model.plan.task.kind}; only models that draw masks can do that. Leave it away."
            )


def _refuse_beside_exact(model: Model, asked: Mapping[str, Any]) -> None:
    if model.exported:
        raise UsageError(
            f"--exact: {model.folder} was exported and holds no weights; give the model that it was exported from, or leave"
            " --exact away."
        )
    from striate.inference.exact import facts_of_nnunet

    facts_of_nnunet(model)  # refuses a model that was not imported
    for name in ("save_probabilities", "save_uncertainty", "ensemble", "tta", "crf"):
        if asked[name]:
            raise UsageError(
                f"{_option(name)}: --exact gives the mask that nnU-Net gives, mirrored as its training allows,"
                f" and keeps no probabilities; leave one of them away."
            )
    if asked["engine"] not in (AUTO, "torch"):
        raise UsageError(
            f"--engine {asked['engine']}: --exact computes as nnU-Net does, by torch; leave one of them away."
        )
    if asked["uncertainty"] != "none":
        raise UsageError(
            f"--uncertainty {asked['uncertainty']}: --exact averages all folds already and keeps no probabilities;"
            f" leave one of them away."
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
