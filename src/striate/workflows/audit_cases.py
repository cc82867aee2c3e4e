"""Which cases an audit may measure: those with a mask whose images neither taught the model nor fitted its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import DataError, StriateError, expected
from striate.core.files import read_json
from striate.core.progress import Progress
from striate.data.cohort import Cohort
from striate.inference.inputs import check_all_headers, match
from striate.model.model import Model
from striate.workflows.unseen import hashes_of, subjects_with


@dataclass(frozen=True, slots=True)
class Sides:
    """The cases of a cohort as a model stands to them; each has the model's channels.

    Attributes
    ----------
    fresh
        With a mask, of subjects that the model never saw.
    fitted
        With a mask; the model did not learn from them, but its calibration, intervals and flag were fitted to them.
    trained
        With a mask; the model learned from an image of their subject.
    unlabelled
        Without a mask.
    notes
        What was left out, and what is not known.
    hashes
        "CASE/CHANNEL" → SHA-256 of every image.
    teaching
        How many different images that taught the model are among them, and how many taught it; (0, 0) where that is not known.
    """

    fresh: tuple[Case, ...]
    fitted: tuple[Case, ...]
    trained: tuple[Case, ...]
    unlabelled: tuple[Case, ...]
    notes: tuple[str, ...]
    hashes: dict[str, str]
    teaching: tuple[int, int] = (0, 0)

    @property
    def unseen(self) -> tuple[Case, ...]:
        """All with a mask that the model did not learn from; one case per subject first, in a random but fixed order."""
        return tuple(shuffled([*self.fresh, *self.fitted]))

    @classmethod
    def of(cls, model: Model, cohort: Cohort, progress: Progress) -> Sides:
        """Sort the cases of a cohort.

        Raises
        ------
        ModelError
            When the channels are others than the model's.
        DataError
            When no case has a mask, or images cannot be read or have another number of axes; all such cases are named.
        """
        cases = [match(case, model.channels) for case in cohort.cases]
        places = () if cohort.root is None else (cohort.root,)
        check_all_headers(cases, len(model.plan.preparation.spacing_mm), places, done="audited")
        if not any(c.label for c in cases):
            raise DataError(
                expected(f"cohort {cohort.name}", f"{counted(len(cases), 'case')}, none with a mask",
                         "an audit sets predictions beside the truth, so masks are needed",
                         "A CSV names them: subject,flair,label"),
            )  # fmt: skip
        hashes = hashes_of(cases, progress)
        notes = []
        taught, fitted = model.facts.get("training_images"), _fitted_images(model)
        if taught is None:
            notes.append(
                "The model does not say which images it learned from: whether it has seen these cases is not known."
            )
        if fitted is None and "trust" in model.facts:
            notes.append(
                "The record of the training run is not beside the model: whether its calibration was fitted to some of these"
                " subjects is not known."
            )

        learned = subjects_with(cases, hashes, frozenset(taught or ()))
        judged = subjects_with(cases, hashes, fitted or frozenset()) - learned
        known = [c for c in cases if c.label is not None]
        found = cls(
            tuple(c for c in known if c.subject not in learned | judged),
            tuple(c for c in known if c.subject in judged),
            tuple(c for c in known if c.subject in learned),
            tuple(c for c in cases if c.label is None),
            tuple(notes),
            hashes,
            (len(frozenset(taught or ()) & frozenset(hashes.values())), len(frozenset(taught or ()))),
        )
        return replace(found, notes=(*found._told(), *notes))

    def _told(self) -> list[str]:
        told = []
        if self.trained:
            told.append(
                f"{_count(self.trained)} left out of every measurement, because the model learned from"
                f" {'it' if len(self.trained) == 1 else 'them'}."
            )
        if self.fitted:
            told.append(
                f"{_count(self.fitted)} left out of calibration and coverage, because the model's limits were fitted to"
                f" {'it' if len(self.fitted) == 1 else 'them'}."
            )
        if self.unlabelled:
            told.append(f"{_count(self.unlabelled)} without a mask left out.")
        if len({c.subject for c in self.unseen}) == 1:
            told.append("One subject only: no interval and no comparison of groups can be given.")
        return told

    @property
    def why_none(self) -> str:
        """Why nothing can be measured; empty where something can."""
        if self.unseen:
            return ""
        cases = "the only case" if len(self.trained) == 1 else f"all {len(self.trained)} cases"
        return (
            f"The model learned from {cases} with a mask, so nothing here can be measured on cases that"
            " it has not seen. Give a cohort of other subjects."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what the document says of them."""
        return {
            "cases": len(self.fresh) + len(self.fitted) + len(self.trained) + len(self.unlabelled),
            "measured_cases": len(self.unseen), "measured_subjects": len({c.subject for c in self.unseen}),
            "fresh_subjects": len({c.subject for c in self.fresh}),
            "fitted_subjects": len({c.subject for c in self.fitted}),
            "trained_cases": len(self.trained), "trained_subjects": len({c.subject for c in self.trained}),
            "unlabelled_cases": len(self.unlabelled), "teaching_images": list(self.teaching),
            "notes": list(self.notes),
        }  # fmt: skip


def shuffled(cases: Sequence[Case], seed: int = 0) -> list[Case]:
    """Return cases in a random, fixed order in which every subject has its first case before any has a second."""
    order = [cases[i] for i in np.random.default_rng(seed).permutation(len(cases))]
    place: dict[str, int] = {}
    keyed = []
    for n, case in enumerate(order):
        place[case.subject] = place.get(case.subject, -1) + 1
        keyed.append((place[case.subject], n, case))
    return [case for _, _, case in sorted(keyed, key=lambda k: k[:2])]


def _count(cases: Sequence[Case]) -> str:
    words = f"{counted(len(cases), 'case')} of {counted(len({c.subject for c in cases}), 'subject')}"
    return f"{words} {'was' if len(cases) == 1 else 'were'}"


def _fitted_images(model: Model) -> frozenset[str] | None:
    """Return the hashes of what the run or calibration read that made the model's limits; None where it is not known."""
    record = model.folder.parent / "record.json"
    if model.folder.name != "model" or not record.is_file():
        return None
    try:
        inputs = read_json(record, "striate-record").get("inputs") or {}
    except StriateError:
        return None
    taught = frozenset(model.facts.get("training_images") or ())
    return frozenset(str(digest) for digest in inputs.values()) - taught


def as_cohort(cohort: Cohort, train: Sequence[Case], validation: Sequence[Case], table: Path) -> Path:
    """Write a CSV of `train` and `validation` cases for a refit, and return it."""
    cases = [replace(c, split=side) for side, own in (("train", train), ("validation", validation)) for c in own]
    bare = [replace(c, raters={}, metadata={}) for c in cases]
    Cohort(cohort.name, tuple(bare), (), cohort.label_names, "csv", None, (), cohort.modality).write_csv(table)
    return table
