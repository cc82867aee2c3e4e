"""Sections of a report in reading order: each is one file with ``make(folder) -> Section`` and one template of its name."""

from __future__ import annotations

from collections.abc import Callable

from striate.reporting.folder import Folder
from striate.reporting.section import Section
from striate.reporting.sections import (
    check,
    headline,
    learning,
    lesions,
    measures,
    methods,
    panels,
    plan,
    record,
    volumes,
    warnings,
)

Maker = Callable[[Folder], Section]

SECTIONS: dict[str, tuple[Maker, ...]] = {
    "run": (
        headline.make, warnings.make, methods.make, panels.make, measures.make, volumes.make, learning.make, check.make, plan.make,
        lesions.make, record.make,
    ),
    "prediction": (headline.make, warnings.make, panels.make, volumes.make, lesions.make, methods.make, record.make),
}  # fmt: skip
"""Kind of folder → its sections, in order."""
