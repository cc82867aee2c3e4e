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

_ALL: dict[str, Maker] = {
    "headline": headline.make,
    "warnings": warnings.make,
    "methods": methods.make,
    "panels": panels.make,
    "measures": measures.make,
    "volumes": volumes.make,
    "learning": learning.make,
    "check": check.make,
    "plan": plan.make,
    "lesions": lesions.make,
    "record": record.make,
}
_OF_PREDICTION = ("headline", "warnings", "panels", "measures", "volumes", "lesions", "methods", "record")

SECTIONS: dict[str, dict[str, Maker]] = {"run": _ALL, "prediction": {key: _ALL[key] for key in _OF_PREDICTION}}
"""Kind of folder → its sections by key, in reading order."""
