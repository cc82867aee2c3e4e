"""Cases with truth that a model did not learn from: predicted, measured, and what they say of the model's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.image import LabelMap
from striate.core.progress import Progress, each
from striate.inference.engines import Engine
from striate.io.read import read_label
from striate.io.write import write_label
from striate.measure.detection import LARGEST, LESION, Ranked
from striate.measure.evaluation import CaseEvaluation, Evaluation
from striate.measure.finding import CaseFindings
from striate.measure.findings import Findings
from striate.model.model import Model
from striate.reporting.panel import write_case_panel
from striate.trust.assess import assess
from striate.trust.candidates import Candidates, candidates_of
from striate.trust.evidence import CaseEvidence
from striate.trust.examine import examine
from striate.trust.lesions import left_out
from striate.trust.spoilt import spoilt
from striate.trust.trust import Trust


@dataclass(slots=True)
class HeldOut:
    """Cases as they were predicted.

    Attributes
    ----------
    measured
        Their measures against the truth.
    findings
        Their numbers.
    evidence
        What the limits are fitted to.
    facts
        Of each prediction, by case.
    candidates
        Case → label or region → what may be a lesion.
    spoilt
        Evidence of copies with an artefact put in (`striate.trust.spoilt`), where they were asked for.
    """

    measured: list[CaseEvaluation] = field(default_factory=list)
    findings: list[CaseFindings] = field(default_factory=list)
    evidence: list[CaseEvidence] = field(default_factory=list)
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    candidates: dict[str, Mapping[str, Candidates]] = field(default_factory=dict)
    spoilt: list[CaseEvidence] = field(default_factory=list)

    @classmethod
    def predict(
        cls,
        model: Model,
        engine: Engine,
        cases: Sequence[Case],
        folder: Path,
        progress: Progress,
        *,
        first: Engine | None = None,
        title: str = "Validation",
        tta: bool = False,
        crf: bool = False,
        panels: int | None = None,
        spoil: bool = False,
    ) -> HeldOut:
        """Predict `cases` on their own grid; their masks, and panels of the first `panels` (None: all), go into `folder`.

        `first` is the engine of a cascade's first stage. With `spoil` each case is predicted once more with an artefact
        put in; of a cascade, none is.

        Raises
        ------
        DataError
            When a file cannot be read or the truth lies on another grid.
        """
        found = cls()
        for index, case in enumerate(each(progress, title, cases, len(cases))):
            truth, panel = read_label(Path(str(case.label))), panels is None or index < panels
            found._add(model, engine, case, truth, folder, first=first, tta=tta, crf=crf, panel=panel)
            if spoil and model.previous is None:  # nothing of the first prediction is held any more
                found.spoilt.append(spoilt(model, case, truth, index, engine=engine, tta=tta, crf=crf))
        return found

    def _add(
        self,
        model: Model,
        engine: Engine,
        case: Case,
        truth: LabelMap,
        folder: Path,
        *,
        first: Engine | None,
        tta: bool,
        crf: bool,
        panel: bool,
    ) -> None:
        """Predict one case, keep what it says, and write its mask; maps of probability are let go as soon as they were used."""
        targets = model.plan.targets
        prediction, seen = examine(model, case, engine=engine, first=first, truth=truth, tta=tta, crf=crf)
        if prediction.observed is not None:
            self.candidates[case.name] = candidates_of(prediction.label, truth, targets, prediction.observed.shares)
            prediction = replace(prediction, observed=None)
        self.measured.append(CaseEvaluation.of(case.name, prediction.label, truth, targets, case.subject))
        self.findings += Findings.of(case.name, prediction.label, targets, prediction.warnings).cases
        self.evidence.append(seen)
        self.facts[case.name] = prediction.facts
        write_label(folder / f"{case.name}{'.nii.gz' if truth.array.ndim == 3 else '.png'}", prediction.label)
        if panel:
            where = folder / "panels" / f"{case.name}.npz"
            write_case_panel(where, case, prediction.label, targets, truth, model.plan.task.label_names)

    def write(self, folder: Path, trust: Trust) -> Evaluation:
        """Write ``evaluation.json`` and the findings, judged by `trust`, into `folder`; return the measures.

        Detection is measured with probabilities of lesions that come from the other subjects.
        """
        evaluation = Evaluation.of(self.measured, scores=lambda label, _: self._ranked(label))
        evaluation.write(folder / "evaluation.json")
        pairs = zip(self.findings, self.evidence, strict=True)
        Findings(tuple(assess(f, e, trust) for f, e in pairs)).write(folder)
        return evaluation

    def _ranked(self, label: str) -> Ranked:
        own = {case: found[label] for case, found in self.candidates.items() if label in found}
        overlaps = {case: found.overlap for case, found in own.items()}
        scores = left_out(self.evidence, label, {case: found.lesions for case, found in own.items()})
        if scores is None:
            return Ranked(overlaps, [found.largest for found in own.values()], LARGEST)
        return Ranked(overlaps, scores, LESION)
