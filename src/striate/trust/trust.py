"""`Trust`: what a model knows of its own limits, fitted to subjects that it did not learn from; ``trust.json`` of a model.

The document holds no name of a subject or case: they are numbered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from striate.core.counted import counted
from striate.core.errors import FormatError, ModelError, expected
from striate.core.files import read_document, write_json
from striate.inference.engines.uncertainty import made_by as way
from striate.inference.observed import BINS
from striate.trust.calibration import Calibration
from striate.trust.evidence import CaseEvidence
from striate.trust.intervals import COVERAGE, Intervals
from striate.trust.lesions import LesionModel
from striate.trust.review import ReviewRule, flagged_anyway
from striate.trust.training_images import TrainingImages, numbered

KIND, VERSION, FILE = "striate-trust", 1, "trust.json"


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """The limits of one model.

    Attributes
    ----------
    calibration
        From raw to calibrated probability, label by label.
    lesions
        Probability that a lesion is real.
    intervals
        Of volumes and numbers of lesions.
    review
        Which masks must be looked at.
    training
        What the images that the model learned from were like.
    n_subjects
        With known truth that calibration, lesions, intervals and review rest on.
    weights_sha256
        Of the weights that were judged.
    made_by
        How their masks were made: ``uncertainty`` (``none``, ``tta``, ``dropout``, ``ensemble``), ``crf`` and, of an ensemble
        with other models, the hashes of their weights as ``others``.
    """

    calibration: Calibration
    lesions: LesionModel
    intervals: Intervals
    review: ReviewRule
    training: TrainingImages
    n_subjects: int
    weights_sha256: str = ""
    made_by: Mapping[str, Any] = field(default_factory=lambda: way("none"))

    @classmethod
    def fit(
        cls,
        cases: Sequence[CaseEvidence],
        reference: Sequence[CaseEvidence] = (),
        *,
        spoilt: Sequence[CaseEvidence] = (),
        coverage: float = COVERAGE,
        weights_sha256: str = "",
        made_by: Mapping[str, Any] | None = None,
        known: Trust | None = None,
    ) -> Trust:
        """Fit everything; what has too few subjects gives no number and says why.

        Parameters
        ----------
        cases
            Of subjects that the network has not learned from, with known truth.
        reference
            Of cases that it learned from (`striate.trust.reference`); their truth is not looked at.
        spoilt
            Of spoilt copies of `cases` (`striate.trust.spoilt`); expected Dice and review alone are fitted to them too.
        coverage
            Of the intervals.
        weights_sha256, made_by
            See the attributes.
        known
            Earlier limits of the same weights, whose `training` is kept where there is no `reference`, and whose `review` stays
            beside one that was learned from less, of masks made in the same way.

        Raises
        ------
        UsageError
            When the coverage lies outside 0.5 to 1.
        """
        both = numbered([*cases, *spoilt])
        cases, spoilt = both[: len(cases)], both[len(cases) :]
        training = training_images(reference, known)
        calibration, left_out = Calibration.fit_left_out(cases)
        tables = {name: calibration.table(name) for name in calibration.labels}
        unlike, anyway = {}, set()
        for case in both:
            found = training.ood(case)
            if flagged_anyway(found, training.cautions(case)):
                anyway.add(case.case)
            if found is not None and found.threshold > 0:
                unlike[case.case] = found.score / found.threshold
        review = ReviewRule.fit(cases, tables, spoilt=spoilt, left_out=left_out, unlikeness=unlike, anyway=anyway)
        made_by = way("none") if made_by is None else dict(made_by)
        if known is not None and known.holds_for(made_by):
            review = review.beside(known.review)
        return cls(
            calibration,
            LesionModel.fit(cases),
            Intervals.fit(cases, tables, coverage, left_out=left_out),
            review,
            training,
            len({case.subject for case in cases}),
            weights_sha256,
            made_by,
        )

    def holds_for(self, made_by: Mapping[str, Any]) -> bool:
        """Tell whether probabilities of masks made in this way are those that were calibrated."""
        return dict(self.made_by) == dict(made_by)

    @property
    def limits(self) -> list[str]:
        """What is not known or not guaranteed, in sentences, each with the number of subjects that it rests on."""
        labels = list(self.calibration.labels)
        told: list[str | None] = []
        if not labels:
            told.append("No case was held out: no probability was calibrated, there are no intervals.")
        told += [
            f"Probabilities of '{name}' are not calibrated: none of {counted(found.n_subjects, 'subject')} has it."
            for name, found in self.calibration.labels.items()
            if not found.n_present
        ]
        told += [self.intervals.reason(name) for name in labels] + [self.lesions.reason(name) for name in labels]
        return [*(text for text in told if text), *self.training.limits, self.review.guarantee]

    def summary(self) -> dict[str, Any]:
        """Return what the model card says, in numbers."""
        intervals = {
            name: {"volume_ml": found.volume_ml.coverage, "count": found.count.coverage, "n_subjects": found.n_subjects}
            for name, found in self.intervals.labels.items()
            if found.reach is not None
        }  # of as few subjects as an interval needs, none can be left out: None
        lesions = {
            name: {
                "auroc": found.auroc,
                "brier": found.brier,
                "n_lesions": found.n_lesions,
                "n_subjects": found.n_subjects,
            }
            for name, found in self.lesions.labels.items()
            if found.model is not None
        }
        return {
            "n_subjects": self.n_subjects,
            "n_reference_subjects": self.training.n_subjects,
            "calibration": self.calibration.summary,
            "reliability_is_calibrated": {
                name: bool(found.reliability_after) for name, found in self.calibration.labels.items()
            },
            "reliability": {
                name: [[b.said, b.true, b.count] for b in found.reliability_after or found.reliability_before]
                for name, found in self.calibration.labels.items()
            },
            "coverage": self.intervals.coverage,
            "intervals": intervals,
            "lesions": lesions,
            "review": {
                "auroc": self.review.auroc, "missed": self.review.missed, "flagged": self.review.flagged,
                "n_bad_subjects": self.review.n_bad_subjects, "n_subjects": self.review.n_subjects,
                "n_spoilt": self.review.n_spoilt,
            },
            **self.training.summary(),
            "limits": self.limits,
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "kind": KIND, "schema_version": VERSION, "weights_sha256": self.weights_sha256,
            "made_by": dict(self.made_by),
            "n_subjects": self.n_subjects, "n_reference_subjects": self.training.n_subjects,
            "calibration": self.calibration.to_dict(), "intervals": self.intervals.to_dict(),
            "lesions": {"labels": {name: found.to_dict() for name, found in self.lesions.labels.items()}},
            "review": self.review.to_dict(),
            **self.training.to_dict(),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Trust:
        """Read the JSON document.

        Raises
        ------
        ValueError
            When a table has another number of bins, or a part has another form.
        """
        found = cls(
            Calibration.from_dict(document["calibration"]),
            LesionModel.from_dict(document["lesions"]),
            Intervals.from_dict(document["intervals"]),
            ReviewRule.from_dict(document["review"]),
            TrainingImages.from_dict(document),
            int(document["n_subjects"]),
            str(document["weights_sha256"]),
            dict(document["made_by"]),
        )
        tables = {f"intervals of {name}": label.table for name, label in found.intervals.labels.items()}
        tables |= {f"review of {name}": model.table for name, model in found.review.models.items()}
        for name, table in tables.items():
            if len(table) != BINS or not np.isfinite(table).all():
                raise ValueError(f"{name}: a table of {len(table)} numbers, {BINS} finite ones are needed")
        return found

    def write(self, folder: Path) -> None:
        """Write ``trust.json`` into the folder of the model."""
        write_json(Path(folder) / FILE, self.to_dict())

    @classmethod
    def read(cls, folder: Path, weights_sha256: str = "") -> Trust | None:
        """Read ``trust.json`` of a model's folder; None where there is none.

        Raises
        ------
        ModelError
            When it is broken, of a newer version, or belongs to other weights than those of `weights_sha256`.
        """
        return read_limits(folder, weights_sha256, KIND, VERSION, cls.from_dict)


class Limits(Protocol):
    """What is known of one set of weights."""

    @property
    def weights_sha256(self) -> str:
        """Of the weights that were judged."""

    @property
    def training(self) -> TrainingImages:
        """What the images that they learned from were like."""


L = TypeVar("L", bound=Limits)


def training_images(reference: Sequence[CaseEvidence], known: Limits | None) -> TrainingImages:
    """Return what the cases that a network learned from were like; without any, what earlier limits know."""
    return TrainingImages.of(reference) if reference else TrainingImages() if known is None else known.training


def read_limits(
    folder: Path, weights_sha256: str, kind: str, version: int, parsed: Callable[[Mapping[str, Any]], L]
) -> L | None:
    """Read ``trust.json`` of a model's folder by `parsed`; None where there is none.

    Raises
    ------
    ModelError
        When it is broken, of another kind or a newer version, or belongs to other weights than those of `weights_sha256`.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return None
    again = "Make it anew: striate calibrate MODEL COHORT --out NEW"
    try:
        found = read_document(path, kind, version, parsed)
    except FormatError as error:
        raise ModelError(f"{error} {again}", path=path) from error
    if weights_sha256 and found.weights_sha256 and found.weights_sha256 != weights_sha256:
        here = f"made for weights {found.weights_sha256[:12]}…, the model has {weights_sha256[:12]}…"
        raise ModelError(expected(path, here, "limits of these weights are needed", again), path=path)
    return found
