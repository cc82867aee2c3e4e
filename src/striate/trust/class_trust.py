"""`ClassTrust`: what a classifier knows of its own limits, fitted to subjects that it did not learn from; its ``trust.json``.

The sibling of `striate.trust.trust` for models that name classes. The document holds no name of a subject or case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from striate.core.caution import Caution
from striate.core.counted import counted, has_or_have
from striate.core.errors import UsageError, expected
from striate.core.files import write_json
from striate.measure.class_findings import ClassCase, ClassFinding
from striate.measure.class_scores import decisions
from striate.measure.finding import Review
from striate.trust.class_calibration import LEAST_SUBJECTS, ClassCalibration
from striate.trust.class_evidence import ClassEvidence, Judged
from striate.trust.class_sets import ClassSets
from striate.trust.evidence import CaseEvidence
from striate.trust.intervals import COVERAGE
from striate.trust.review import SEVERE
from striate.trust.training_images import UNLIKE, TrainingImages
from striate.trust.trust import FILE, read_limits, training_images

KIND, VERSION = "striate-class-trust", 1
FEW = 20
"""Subjects below which calibrating a network that was right already made its log loss worse (simulated: 0.21 to 0.25 with 9)."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassTrust:
    """The limits of one classifier.

    Attributes
    ----------
    classes
        Their names, in the order of the network's outputs.
    exclusive
        Whether each sample has exactly one class.
    calibration
        From the network's own to calibrated probabilities.
    sets
        Which classes a sample may have.
    training
        What the images that the model learned from were like.
    weights_sha256
        Of the weights that were judged.
    """

    classes: tuple[str, ...]
    exclusive: bool
    calibration: ClassCalibration
    sets: ClassSets
    training: TrainingImages = field(default_factory=TrainingImages)
    weights_sha256: str = ""

    @classmethod
    def fit(
        cls,
        cases: Sequence[ClassEvidence],
        classes: Sequence[str],
        reference: Sequence[CaseEvidence] = (),
        *,
        exclusive: bool = True,
        coverage: float = COVERAGE,
        weights_sha256: str = "",
        known: ClassTrust | None = None,
    ) -> ClassTrust:
        """Fit everything; what has too few subjects gives no number and says why.

        Parameters
        ----------
        cases
            Of subjects that the network has not learned from; those without known truth are left out.
        classes
            K names.
        reference
            Of cases that it learned from: facts of their images, and features.
        exclusive
            Whether each sample has exactly one class.
        coverage
            Of the sets.
        weights_sha256
            See the attributes.
        known
            Earlier limits of the same weights, whose `training` is kept where there is no `reference`.

        Raises
        ------
        UsageError
            When the coverage lies outside 0.5 to 1.
        """
        if not 0.5 <= coverage < 1:
            raise UsageError(expected("sets", f"coverage {coverage}", "a share from 0.5 to below 1 is needed"))
        judged = Judged.of(cases, len(classes))
        calibration, left_out = ClassCalibration.fit_left_out(judged, classes, exclusive=exclusive)
        sets = ClassSets.fit(judged, left_out, classes, coverage, exclusive=exclusive)
        training = training_images(reference, known)
        return cls(tuple(classes), exclusive, calibration, sets, training, weights_sha256)

    def assess(self, case: ClassEvidence, warnings: Sequence[Caution] = (), *, images: bool = True) -> ClassCase:
        """Return what is known of a case.

        Parameters
        ----------
        case
            What the network said; its truth is not looked at.
        warnings
            Those that are known already.
        images
            Whether gate and likeness are asked; without facts of the images they cannot be.
        """
        seen, known = CaseEvidence(case.case, case.subject, {}, case.features, case.facts), TrainingImages()
        if images:
            known = self.training
        ood = known.ood(seen)
        cautions = [*warnings, *known.cautions(seen, ood, "Its class may mean nothing; look at the image.")]
        samples = self._samples(case)
        return ClassCase(case.case, case.subject, samples, tuple(cautions), ood, self._review(samples, cautions))

    def _samples(self, case: ClassEvidence) -> tuple[ClassFinding, ...]:
        told = self.calibration.curve.of(case.probabilities)
        held = self.sets.of(told) if self.calibration.calibrated else None
        found = []
        for n, (place, said, called) in enumerate(
            zip(case.slices, told, decisions(told, exclusive=self.exclusive), strict=True)
        ):
            chances = dict(zip(self.classes, map(float, said), strict=True)) if self.calibration.calibrated else None
            inside = None if held is None else self._names(held[n])
            found.append(ClassFinding(place, self._names(called), chances, inside))
        return tuple(found)

    def _names(self, there: Any) -> tuple[str, ...]:
        return tuple(name for name, one in zip(self.classes, there, strict=True) if one)

    def _review(self, samples: Sequence[ClassFinding], cautions: Sequence[Caution]) -> Review | None:
        """Return whether a person must look; None where nothing tells."""
        why = [caution.message for caution in cautions if caution.code in SEVERE or caution.code == UNLIKE]
        unsure = [sample for sample in samples if sample.set is not None and len(sample.set) != 1]
        percent, of = f"{100 * self.sets.coverage:g} %", counted(self.sets.n_subjects, "subject")
        if unsure and samples[0].slice is None:
            why.append(
                f"The set for {percent} ({of}) holds {len(unsure[0].set or ())} classes: {', '.join(unsure[0].set or ())}."
            )
        elif unsure:
            why.append(
                f"{len(unsure)} of {counted(len(samples), 'slice')} {has_or_have(len(unsure))} several classes in the set for"
                f" {percent} ({of})."
            )
        if why:
            return Review(True, " ".join(why))
        if self.sets.reach is None:
            return None
        each = "Each set" if len(samples) > 1 else "The set"
        return Review(False, f"{each} for {percent} ({of}) holds one class.")

    @property
    def calibrated_on(self) -> int | None:
        """Subjects that the calibration rests on; None where nothing is calibrated.

        Of fewer than `FEW` subjects the identity does not tell that the network means what it says: nothing was fitted.
        """
        found = self.calibration
        kept = found.curve.family == "identity" and found.n_subjects < FEW
        return found.n_subjects if found.calibrated and not kept else None

    @property
    def limits(self) -> list[str]:
        """What is not known or not guaranteed, in sentences, each with the number of subjects that it rests on."""
        found, told = self.calibration, list[str | None]()
        if not found.calibrated:
            told.append(
                f"Probabilities of classes are uncalibrated: {counted(found.n_subjects, 'subject')} with known class"
                f" {'was' if found.n_subjects == 1 else 'were'} held out; {LEAST_SUBJECTS} are needed."
            )
        elif self.calibrated_on is None:
            told.append(
                f"Probabilities of classes are uncalibrated: {counted(found.n_subjects, 'subject')} of known class held no reason"
                f" to change them, and with fewer than {FEW} that says little."
            )
        elif found.n_subjects < FEW:
            told.append(
                f"Probabilities of classes rest on {counted(found.n_subjects, 'subject')}; with fewer than {FEW}, calibration can"
                " make a network worse that was right as it came."
            )
        missing = [name for name, n in found.n_present.items() if not n]
        if found.calibrated and missing:
            told.append(
                f"What the probability of {', '.join(missing)} means is not known: none of"
                f" {counted(found.n_subjects, 'subject')} of the calibration has that class."
            )
        told.append(self.sets.reason)
        if self.sets.reach is not None and self.sets.held is None:
            told.append(
                f"Sets of classes rest on {counted(self.sets.n_subjects, 'subject')}; how many hold the true class was not"
                " measured, since with one left out the others are too few."
            )
        return [*(text for text in told if text), *self.training.limits]

    def summary(self) -> dict[str, Any]:
        """Return what the model card says, in numbers."""
        found = self.calibration
        bins = found.reliability_after or found.reliability_before
        return {
            "n_subjects": found.n_subjects, "n_reference_subjects": self.training.n_subjects,
            "classes": {
                "family": found.curve.family, "temperature": found.curve.temperature, "n_samples": found.n_samples,
                "n_subjects": found.n_subjects, "n_present": dict(found.n_present),
                "before": None if found.before is None else asdict(found.before),
                "after": None if found.after is None else asdict(found.after),
                "reliability": [[b.said, b.true, b.count] for b in bins], "exclusive": self.exclusive,
            },
            "sets": self.sets.to_dict(),
            **self.training.summary(),
            "limits": self.limits,
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "kind": KIND, "schema_version": VERSION, "weights_sha256": self.weights_sha256,
            "classes": list(self.classes), "exclusive": self.exclusive,
            "n_reference_subjects": self.training.n_subjects,
            "class_calibration": self.calibration.to_dict(), "class_sets": self.sets.to_dict(),
            **self.training.to_dict(),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClassTrust:
        """Read the JSON document."""
        found = cls(
            tuple(map(str, document["classes"])),
            bool(document["exclusive"]),
            ClassCalibration.from_dict(document["class_calibration"]),
            ClassSets.from_dict(document["class_sets"]),
            TrainingImages.from_dict(document),
            str(document["weights_sha256"]),
        )
        curve = found.calibration.curve
        numbers = np.asarray([*curve.scales, *curve.offsets])
        if not len(curve.scales) == len(curve.offsets) == len(found.classes) or not np.isfinite(numbers).all():
            raise ValueError(f"a curve of {counted(len(curve.scales), 'scale')} for {len(found.classes)} classes")
        return found

    def write(self, folder: Path) -> None:
        """Write ``trust.json`` into the folder of the model."""
        write_json(Path(folder) / FILE, self.to_dict())

    @classmethod
    def read(cls, folder: Path, weights_sha256: str = "") -> ClassTrust | None:
        """Read ``trust.json`` of a model's folder; None where there is none.

        Raises
        ------
        ModelError
            When it is broken, of a newer version, or belongs to other weights than those of `weights_sha256`.
        """
        return read_limits(folder, weights_sha256, KIND, VERSION, cls.from_dict)
