"""Cases that can calibrate a model: with a mask that fits, of subjects that it did not learn from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from striate.core.case import Case
from striate.core.counted import counted, has_or_have, is_or_are
from striate.core.errors import DataError, expected
from striate.core.image import LabelMap
from striate.core.progress import Progress, each
from striate.data.cohort import Cohort
from striate.inference.engines.foresee import may_spare
from striate.inference.inputs import check_all_headers, match
from striate.inference.memory import GPU, check_memory
from striate.io.read import hash_image, read_header, read_label
from striate.model.model import PLAN, Model

MOST_VALUES = 256
"""Different values of a mask; the finest atlases of the brain have fewer."""


def check_labels(model: Model, cohort: Cohort, progress: Progress) -> None:
    """Refuse a cohort that gives another value to a label of the model; warn of one that names a value otherwise.

    Raises
    ------
    DataError
        When a label of the model stands for another value.
    """
    mine, theirs = model.plan.task.label_names, cohort.label_names
    values = {name.lower(): value for value, name in theirs.items()}
    for value, name in mine.items():
        if value and values.get(name.lower(), value) != value:
            raise DataError(
                expected(f"cohort {cohort.name}", f"'{name}' is the value {values[name.lower()]} of its masks",
                         f"the model draws it as {value}", "Give the masks the values of the model.")
            )  # fmt: skip
        if value and theirs.get(value, name).lower() != name.lower():
            progress.warn(
                f"cohort {cohort.name}: the value {value} is '{theirs[value]}' there and '{name}' for the model; they are taken"
                " as the same."
            )


def check_cases(model: Model, cases: Sequence[Case], given: Sequence[Path | str] = (), *, crf: bool) -> None:
    """Check all headers, all masks and the memory before anything is computed; `given` is where the cases were found.

    Raises
    ------
    DataError
        When a mask lies on another grid than its image or is a scan, or files do not fit the model.
    MemoryLimitError
        When a case would not fit into the free memory.
    """
    plan, engine = model.plan, GPU if may_spare() else "torch"
    headers = check_all_headers(cases, len(plan.preparation.spacing_mm), given, done="measured")
    for case in cases:
        grid, channels = headers[case.name]
        where = f"case {case.name}", model.folder / PLAN
        check_memory(plan, grid, channels, model.facts, *where, engine=engine, crf=crf, truth=True)
        path = Path(str(case.label))
        other = read_header(path).grid
        if not other.matches(grid):
            raise DataError(
                expected(f"case {case.name}", f"its mask {path.name} has shape {other.shape}, its image {grid.shape}"
                         f"{'' if other.shape != grid.shape else ', at another place or of other voxels'}",
                         "both must lie on one grid, because they are compared voxel by voxel",
                         "Resample the mask onto the image, or fix its header; see striate check."),
                case=case.name, path=path,
            )  # fmt: skip
        check_mask(case, read_label(path))


def check_mask(case: Case, mask: LabelMap) -> None:
    """Refuse a scan that was given as the mask of a case.

    Raises
    ------
    DataError
        When it holds more different values than any mask does.
    """
    count = len(np.unique(mask.array))
    if count > MOST_VALUES:
        raise DataError(
            expected(f"case {case.name}", f"its mask {Path(str(case.label)).name} holds {count} different values",
                     f"a mask has a few whole numbers (at most {MOST_VALUES} are taken), a scan has many",
                     "Are image and mask exchanged?"), case=case.name, path=Path(str(case.label)),
        )  # fmt: skip


def unseen(
    model: Model, cohort: Cohort, progress: Progress, others: Sequence[Model] = ()
) -> tuple[list[Case], dict[str, str]]:
    """Return the cases with a truth of subjects that no model learned from, and the hash of each image read.

    The truth is a mask, or of models that name classes of whole images a class.

    Parameters
    ----------
    model, others
        All models that answer: of an ensemble one may have learned from what was held out from another.
    cohort
        Whose cases are looked at.
    progress
        Who listens.

    Raises
    ------
    DataError
        When there is none.
    """
    masked = model.plan.task.kind == "segmentation" or model.plan.task.contains is not None
    truth, truths = ("mask", "masks") if masked else ("class", "classes")
    labelled = [
        match(case, model.channels) for case in cohort.cases if (case.label if masked else case.classes) is not None
    ]
    if not labelled:
        raise DataError(
            expected(f"cohort {cohort.name}", f"{counted(len(cohort.cases), 'case')} without a {truth}",
                     f"cases with {truths} are needed, to compare the model's with")
        )  # fmt: skip
    without = len(cohort.cases) - len(labelled)
    if without:
        told = f"{without} of {len(cohort.cases)} cases {has_or_have(without)} no {truth} and {is_or_are(without)} left out"
        progress.warn(f"cohort {cohort.name}: {told}.")
    taught = set[str]()
    for one in (model, *others):
        learned = one.facts.get("training_images")
        taught |= set(learned or ())
        if learned is None:
            progress.warn(
                f"model {one.folder}: which images it learned from is not known. Numbers hold only if none of them is in"
                f" cohort {cohort.name}."
            )
    matched = {case.name: case for case in labelled}
    cases = [
        matched.get(case.name, case) for case in cohort.cases
    ]  # a visit without a mask here may have had one in training
    hashes = hashes_of(cases, progress)
    learned = subjects_with(cases, hashes, taught)
    kept = [case for case in labelled if case.subject not in learned]
    if len(kept) < len(labelled):
        left = f"{len(labelled) - len(kept)} of {len(labelled)} cases"
        if not kept:
            count = len(labelled)
            whose = "the subject of the only case" if count == 1 else f"the subjects of all {count} cases"
            raise DataError(
                expected(f"cohort {cohort.name}", f"the model learned from {whose}",
                         "subjects that it never saw are needed", "Its own held-out cases were measured when it was trained.")
            )  # fmt: skip
        progress.warn(f"cohort {cohort.name}: the model learned from the subjects of {left}; they are left out.")
    return kept, {key: hashes[key] for case in kept for key in _keys(case)}


def hashes_of(cases: Sequence[Case], progress: Progress) -> dict[str, str]:
    """Return "CASE/CHANNEL" → SHA-256 of every image."""
    return {
        key: hash_image(path)
        for case in each(progress, "Read", cases, len(cases))
        for key, path in zip(_keys(case), case.channels.values(), strict=True)
    }


def subjects_with(cases: Sequence[Case], hashes: Mapping[str, str], images: Collection[str]) -> set[str]:
    """Return the subjects of whom one image at least has a hash that is in `images`."""
    return {case.subject for case in cases if any(hashes[key] in images for key in _keys(case))}


def _keys(case: Case) -> list[str]:
    return [f"{case.name}/{name}" for name in case.channels]
