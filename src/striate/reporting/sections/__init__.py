"""Sections of a report in reading order: each is one file with ``make(folder) -> Section`` and one template of its name."""

from __future__ import annotations

from collections.abc import Callable

from striate.core.task_kind import TaskKind
from striate.reporting.audit import Audit
from striate.reporting.comparison import Comparison
from striate.reporting.folder import Folder, Kind
from striate.reporting.section import Section
from striate.reporting.sections import (
    anomaly,
    audit_annotation,
    audit_attacks,
    audit_card,
    audit_cost,
    audit_groups,
    audit_learning,
    audit_limits,
    audit_quality,
    audited,
    changes,
    check,
    class_trust,
    classes,
    compared,
    costs,
    curves,
    detection,
    explanations,
    headline,
    inspection,
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
    review,
    samples,
    trust,
    update,
    volumes,
    warnings,
)

Maker = Callable[[Folder], Section]

SECTIONS: dict[str, Maker] = {
    "headline": headline.make,
    "update": update.make,
    "review": review.make,
    "changes": changes.make,
    "warnings": warnings.make,
    "methods": methods.make,
    "panels": panels.make,
    "classes": classes.make,
    "samples": samples.make,
    "anomaly": anomaly.make,
    "reconstruction": reconstruction.make,
    "measures": measures.make,
    "detection": detection.make,
    "volumes": volumes.make,
    "trust": trust.make,
    "class_trust": class_trust.make,
    "learning": learning.make,
    "check": check.make,
    "plan": plan.make,
    "lesions": lesions.make,
    "explanations": explanations.make,
    "inspection": inspection.make,
    "record": record.make,
}
"""Key → maker."""

_OF_TASK: dict[TaskKind, tuple[str, ...]] = {
    "segmentation": ("review", "panels", "measures", "detection", "volumes", "lesions"),
    "classification": ("review", "classes", "samples"),
    "sequence": ("review", "classes", "samples"),
    "reconstruction": ("reconstruction", "measures"),
}
OF_LEARNING = ("learning", "check", "plan")
"""Sections about how a model learned."""
_FIRST, _LAST = ("headline", "warnings"), ("record",)
_LATE = ("review", "lesions")
"""Of a run these concern the validation cases one by one, so they come late; of a prediction a review comes at once."""


OF_COMPARISON: dict[str, Callable[[Comparison], Section]] = {
    "compared": compared.make,
    "costs": costs.make,
    "curves": curves.make,
    "pairs": pairs.make,
    "invariance": invariance.make,
}
"""The same for a comparison, in reading order."""

OF_AUDIT: dict[str, Callable[[Audit], Section]] = {
    "audited": audited.make,
    "audit_quality": audit_quality.make,
    "audit_annotation": audit_annotation.make,
    "audit_learning": audit_learning.make,
    "audit_cost": audit_cost.make,
    "audit_limits": audit_limits.make,
    "audit_groups": audit_groups.make,
    "audit_attacks": audit_attacks.make,
    "audit_card": audit_card.make,
}
"""The same for an audit, in the lecture's order of cons."""


def sections_of(task: TaskKind, kind: Kind) -> dict[str, Maker]:
    """Return the sections of a report by key, in reading order."""
    own = _OF_TASK[task]
    if kind in ("explanation", "inspection"):
        keys: tuple[str, ...] = ("explanations" if kind == "explanation" else kind, *_LAST)
    elif kind == "run":
        late = tuple(key for key in own if key in _LATE)
        early = tuple(key for key in own if key not in late)
        trusted = {"segmentation": ("trust",), "reconstruction": ()}.get(task, ("class_trust",))
        updated = ("update",) if task == "segmentation" else ()
        keys = (*_FIRST, *updated, "methods", *early, *trusted, *OF_LEARNING, *late, *_LAST)
    else:
        at_once = tuple(key for key in own if key == "review")
        followed = ("changes",) if task == "segmentation" else ("anomaly",) if task == "reconstruction" else ()
        keys = (
            "headline",
            *at_once,
            *followed,
            "warnings",
            *(key for key in own if key not in at_once),
            "methods",
            *_LAST,
        )
    return {key: SECTIONS[key] for key in keys}
