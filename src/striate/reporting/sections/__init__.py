"""Sections of a report in reading order: each is one file with ``make(folder) -> Section`` and one template of its name."""

from __future__ import annotations

from collections.abc import Callable

from striate.core.task_kind import TaskKind
from striate.reporting.comparison import Comparison
from striate.reporting.folder import Folder, Kind
from striate.reporting.section import Section
from striate.reporting.sections import (
    check,
    classes,
    compared,
    costs,
    curves,
    headline,
    invariance,
    learning,
    lesions,
    measures,
    methods,
    pairs,
    panels,
    plan,
    reconstruction,
    record,
    samples,
    volumes,
    warnings,
)

Maker = Callable[[Folder], Section]

SECTIONS: dict[str, Maker] = {
    "headline": headline.make,
    "warnings": warnings.make,
    "methods": methods.make,
    "panels": panels.make,
    "classes": classes.make,
    "samples": samples.make,
    "reconstruction": reconstruction.make,
    "measures": measures.make,
    "volumes": volumes.make,
    "learning": learning.make,
    "check": check.make,
    "plan": plan.make,
    "lesions": lesions.make,
    "record": record.make,
}
"""Key → maker."""

_OF_TASK: dict[TaskKind, tuple[str, ...]] = {
    "segmentation": ("panels", "measures", "volumes", "lesions"),
    "classification": ("classes", "samples"),
    "sequence": ("classes", "samples"),
    "reconstruction": ("reconstruction", "measures"),
}
_FIRST, _OF_RUN, _LAST = ("headline", "warnings"), ("learning", "check", "plan"), ("record",)


OF_COMPARISON: dict[str, Callable[[Comparison], Section]] = {
    "compared": compared.make,
    "costs": costs.make,
    "curves": curves.make,
    "pairs": pairs.make,
    "invariance": invariance.make,
}
"""The same for a comparison, in reading order."""


def sections_of(task: TaskKind, kind: Kind) -> dict[str, Maker]:
    """Return the sections of a report by key, in reading order."""
    own = _OF_TASK[task]
    if kind == "run":
        late = tuple(key for key in own if key == "lesions")
        early = tuple(key for key in own if key not in late)
        keys = (*_FIRST, "methods", *early, *_OF_RUN, *late, *_LAST)
    else:
        keys = (*_FIRST, *own, "methods", *_LAST)
    return {key: SECTIONS[key] for key in keys}
