"""What is to be learned from a cohort: as asked for with ``task``, else what its truth says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from striate.core.errors import DataError, UsageError, expected
from striate.core.names import did_you_mean
from striate.core.targets import Targets
from striate.core.task_kind import TaskKind
from striate.data.cohort import Cohort
from striate.data.derive import region_named
from striate.data.split import Truth
from striate.data.time_points import followed, histories
from striate.measure.classification import OVERALL
from striate.planning.plan import Task

KINDS: tuple[str, ...] = get_args(TaskKind)
OF_SLICES = {"contains": "classification", "sequence": "sequence"}
"""What may stand before ``:REGION``, and the kind of task that it means."""


def whole_task(
    cohort: Cohort, asked: str | None, regions: Sequence[str] | None, dims: int | None = None
) -> Task | None:
    """Return a task on whole images, or None where masks are to be learned.

    Parameters
    ----------
    cohort
        Decides where nothing is asked: masks where there are label maps, classes where there are classes.
    asked
        ``segmentation``, ``classification``, ``sequence`` (the examinations of a subject in order of time where subjects
        have several, else the slices of a scan), ``reconstruction``; ``contains:REGION`` (does each axial slice
        contain it?) or ``sequence:REGION`` (the same, the slices read in order). A region is a name from `regions`, a label's
        name, or values such as ``1+2``.
    regions
        Unions of labels.
    dims
        Axes of the network that were asked for; only tasks of masks leave a choice.

    Raises
    ------
    UsageError
        When the task is unknown, or the region is, or `regions` or `dims` mean nothing for the task.
    DataError
        When the cohort has not the truth that the task needs.
    """
    kind, _, region = (asked or _by_truth(cohort)).partition(":")
    if not region and kind not in KINDS:
        hint = did_you_mean(kind, [*KINDS, "contains:REGION", "sequence:REGION"])
        raise UsageError(f"task '{asked}': unknown. {hint}")
    if not region and kind == "segmentation":
        return None
    if dims is not None:
        raise UsageError(f"dims {dims}: whole images are learned with the axes that they have; leave it away.")
    if region:
        return _of_slices(cohort, kind, region, regions)
    if regions:
        what = f"{kind} learns no masks; leave it away, or ask for the slices that contain one: --task contains:REGION"
        raise UsageError(f"regions {' '.join(regions)}: {what}.")
    if kind == "reconstruction":
        scans = _is_3d(cohort)
        return Task(kind="reconstruction", channels=cohort.channels, unit="slice" if scans else "case")
    times = kind == "sequence" and followed(cohort.cases)
    if times:
        histories(cohort.cases)
    elif kind == "sequence" and not _is_3d(cohort):
        raise DataError(
            expected(f"cohort {cohort.name}", "2D images",
                     "sequences are the axial slices of 3D scans, or the examinations of a subject (column time)",
                     "For classes of single images: --task classification")
        )  # fmt: skip
    if not cohort.class_names:
        hint = "Add a column class to the CSV, or sort the images into a folder for each class."
        if cohort.labelled:
            hint += " To learn which slices contain a label: --task contains:LABEL"
        raise DataError(expected(f"cohort {cohort.name}", "no case has a class", f"{kind} needs them", hint))
    if len(cohort.class_names) == 1 and not cohort.multi_label:
        raise DataError(
            expected(f"cohort {cohort.name}", f"all cases have the class '{cohort.class_names[0]}'",
                     "at least two classes are needed to tell apart",
                     "Add cases of another class, or write 'none' where there is none.")
        )  # fmt: skip
    _refuse_overall(cohort.name, cohort.class_names)
    return Task(
        kind=kind,
        channels=cohort.channels,
        classes=cohort.class_names,
        multi_label=cohort.multi_label,
        unit="slice" if kind == "sequence" and not times else "case",
    )


def truth_for(task: Task | None) -> Truth:
    """Return what a case needs so that `task` (None: masks) can be learned from it."""
    if task is None or task.kind == "segmentation" or task.contains is not None:
        return "label"
    return "image" if task.kind == "reconstruction" else "class"


def _by_truth(cohort: Cohort) -> str:
    return "classification" if cohort.classified and not cohort.labelled else "segmentation"


def _of_slices(cohort: Cohort, word: str, region: str, regions: Sequence[str] | None) -> Task:
    if word not in OF_SLICES:
        raise UsageError(f"task '{word}:{region}': {' or '.join(f'{w}:REGION' for w in OF_SLICES)} is needed.")
    if not cohort.labelled:
        raise DataError(expected(f"cohort {cohort.name}", "no label maps", "they tell which slices contain something"))
    named = Targets.parse(list(regions), cohort.label_names) if regions else None
    name, values = region_named(region, cohort.label_names, named)
    _refuse_overall(cohort.name, (name,))
    return Task(
        kind=OF_SLICES[word],
        channels=cohort.channels,
        label_names=cohort.label_names,
        regions={name: values},
        classes=(f"no {name}", name),
        unit="slice",
        contains=name,
    )


def _refuse_overall(cohort: str, names: Sequence[str]) -> None:
    """Refuse before learning what could not be measured after it."""
    if OVERALL in names:
        raise DataError(
            expected(f"cohort {cohort}", f"a class named '{OVERALL}'", "this name stands for all classes together",
                     "Give the class another one.")
        )  # fmt: skip


def _is_3d(cohort: Cohort) -> bool:
    from striate.io.read import read_header

    return len(read_header(next(iter(cohort.cases[0].channels.values()))).grid.shape) == 3
