"""`evaluate` for classes: a table of predictions against the classes (or masks) of a cohort."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.counted import counted, is_or_are
from striate.core.errors import DataError, GeometryError, expected
from striate.core.files import read_json
from striate.core.progress import Progress
from striate.data.cohort import Cohort
from striate.data.samples import slices_with
from striate.measure.class_findings import FILE as FINDINGS
from striate.measure.class_findings import ClassFindings
from striate.measure.class_table import FILE, ClassTable
from striate.measure.classification import ClassEvaluation
from striate.planning.plan import Task
from striate.workflows.taught import taught_of, told


def table_of(predicted: Path) -> Path | None:
    """Return the table of predicted classes that `predicted` is or holds, or None where it holds none."""
    if predicted.is_file() and predicted.name == FILE:
        return predicted
    places = (predicted / FILE, predicted / "validation" / FILE)
    return next((place for place in places if place.is_file()), None)


def evaluate_classes(table_path: Path, truth: Path, seed: int, progress: Progress) -> ClassEvaluation:
    """Compare predicted classes with those of a cohort; rows of cases that it does not have are left out.

    Raises
    ------
    DataError
        When the table is broken, no case of it has a known class, or a label map does not fit its scan.
    """
    task = _task(table_path)
    table = ClassTable.read(table_path, exclusive=None if task is None else not task.multi_label)
    cohort = Cohort.open(truth)
    cases = {case.name: case for case in cohort.cases}
    shared = [name for name in dict.fromkeys(table.cases) if name in cases]
    if not shared:
        raise DataError(
            expected(table_path, f"cases {', '.join(dict.fromkeys(table.cases))[:80]}", f"none of them is in {truth}",
                     "Cases are matched by name."), path=table_path,
        )  # fmt: skip
    missing = len(set(table.cases)) - len(shared)
    if missing:
        them = "it is" if missing == 1 else "they are"
        progress.warn(
            f"{counted(missing, 'predicted case')} {is_or_are(missing)} not in {truth}; {them} not evaluated."
        )
    known = {name: _truth(cases[name], task) for name in shared}
    true = tuple(
        known.get(case, lambda plane: None)(plane) for case, plane in zip(table.cases, table.slices, strict=True)
    )
    subjects = tuple(cases[c].subject if c in cases else s for c, s in zip(table.cases, table.subjects, strict=True))
    table = replace(table, truth=true, subjects=subjects)
    found = table.evaluate(seed=seed)
    measured = dict.fromkeys(case for case, known in zip(table.cases, true, strict=True) if known is not None)
    taught = taught_of(table_path.parent)
    trained = tuple(name for name in measured if name in taught)
    notes = (*found.notes, *told(trained, len(measured), progress))
    return replace(found, trained_on=trained, notes=notes, limits=_limits(table_path.parent, table))


def _limits(folder: Path, table: ClassTable) -> dict[str, Any]:
    """Return how the limits did that were told beside the table; nothing in a run, where they were fitted to these cases."""
    from striate.workflows.class_limits import how_limits_did

    of_run = folder.name == "validation" and (folder.parent / "model").is_dir()
    if of_run or not (folder / FINDINGS).is_file():
        return {}
    return how_limits_did(table, ClassFindings.read(folder))


def _task(table_path: Path) -> Task | None:
    """Return the task of the model that predicted, from the record of the prediction or the plan of the run."""
    from striate.planning.plan import Plan

    for folder in (table_path.parent, table_path.parent.parent):
        if (folder / "plan.yaml").is_file():
            return Plan.read(folder / "plan.yaml").task
        if (folder / "record.json").is_file():
            facts = read_json(folder / "record.json", "striate-record").get("facts")
            document = facts.get("task") if isinstance(facts, dict) else None
            return None if document is None else Task.parse(document, folder / "record.json")
    return None


def _truth(case: Case, task: Task | None) -> Any:
    """Return a function from a slice (None: the whole case) to its true classes."""
    if task is not None and task.contains is not None:
        if case.label is None:
            return lambda plane: None
        there = slices_with(case, task.targets.sets[task.contains])

        def contained(plane: int) -> tuple[str, ...]:
            if plane >= len(there):
                got = f"slice {plane} was predicted, {case.label} has {counted(len(there), 'slice')}"
                raise GeometryError(
                    expected(f"case {case.name}", got, "the scan that was predicted and its truth must lie on one grid"),
                    case=case.name, path=case.label,
                )  # fmt: skip
            return (task.classes[int(there[plane])],)

        return contained
    return lambda plane: case.classes
