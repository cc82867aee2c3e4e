"""`Judge`: what is known of the limits of a model, applied to masks that are made in one way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from striate.core.progress import Progress
from striate.inference.prediction import Prediction
from striate.measure.finding import CaseFindings
from striate.measure.findings import Findings
from striate.model.model import Model
from striate.trust.assess import assess
from striate.trust.evidence import CaseEvidence
from striate.trust.trust import Trust

RAW_MAPS = (
    "The uncertainty maps are of raw probabilities: no calibration was fitted to masks that are made in this way."
)


class Judge:
    """Judges the masks of one model.

    Parameters
    ----------
    model
        Whose limits are read.
    made_by
        How its masks are made (`striate.inference.engines.uncertainty.made_by`); ``exact`` where nnU-Net's way is followed.
    progress
        Is told what is not known.
    maps
        Whether maps of the uncertainty are written: it is told where their probabilities are raw.

    Attributes
    ----------
    trust
        The limits; None where they were never measured.
    fitted
        The limits where they hold for masks made in this way, so that their calibration may be applied; else None.
    limits
        What is not known or not guaranteed, in sentences.

    Raises
    ------
    ModelError
        When the limits are broken or of other weights.
    """

    def __init__(self, model: Model, made_by: Mapping[str, Any], progress: Progress, *, maps: bool = False) -> None:
        self.trust = Trust.read(model.folder, str(model.facts.get("weights_sha256", "")))
        self.fitted = self.trust if self.trust is not None and self.trust.holds_for(made_by) else None
        calibrate = f"striate calibrate {model.folder} COHORT --out NEW"
        if model.exported:
            calibrate = (
                "striate calibrate MODEL COHORT --out NEW, MODEL being what this was exported from; then export NEW"
            )
        if made_by.get("exact"):
            self.limits = [
                "No intervals, lesion probabilities or flags: --exact gives masks and keeps no probabilities to judge them by."
                f" Without --exact they are given once the model is calibrated: {calibrate}"
            ]
        elif self.trust is None:
            self.limits = [f"The limits of this model were never measured. Do so on cases with masks: {calibrate}"]
        elif self.fitted is None:
            self.limits = [
                f"No intervals, lesion probabilities or flags: the model was calibrated for {_told(self.trust.made_by)},"
                f" these masks are made by {_told(made_by)}. Calibrate it so: {calibrate}"
            ]
        else:
            self.limits = self.fitted.limits
        if maps and self.fitted is None:
            self.limits = [*self.limits, RAW_MAPS]
        for sentence in self.limits:
            progress.note(sentence)

    def findings(self, prediction: Prediction, evidence: CaseEvidence) -> CaseFindings:
        """Return the findings of a case, with all that is known of how far they can be trusted."""
        found = Findings.of(prediction.case.name, prediction.label, prediction.targets, prediction.warnings).cases[0]
        return found if self.trust is None else assess(found, evidence, self.trust, calibrated=self.fitted is not None)


def _told(made_by: Mapping[str, Any]) -> str:
    others = ", ".join(str(sha)[:8] for sha in made_by.get("others") or ())
    with_them = f" with weights {others}" if others else ""
    return f"--uncertainty {made_by.get('uncertainty', 'none')}{with_them}{' --crf' if made_by.get('crf') else ''}"
