"""`triage`: which subjects to look at first, and why, by their changes and by what can be trusted of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from striate.core.names import natural_order
from striate.measure.change import Change, LabelChange
from striate.measure.finding import CaseFindings

KIND, VERSION = "striate-triage", 1
HARMLESS = ("specks",)
"""Codes of cautions about a pair that do not speak against it."""
Priority = Literal["high", "middle", "low"]
ORDER: tuple[Priority, ...] = ("high", "middle", "low")


@dataclass(frozen=True, slots=True)
class Row:
    """One subject.

    Attributes
    ----------
    rank
        1 is first.
    subject, before, after
        Its name, and those of the earlier and the later case.
    priority
        ``high``: new or enlarged lesions, a volume that rose beyond noise, or nothing that can be relied on. ``middle``: less
        than before. ``low``: no change beyond noise, and no reason to doubt that.
    reason
        Why, in one sentence.
    """

    rank: int
    subject: str
    before: str
    after: str
    priority: Priority
    reason: str


def triage(changes: Sequence[Change], cases: Mapping[str, CaseFindings]) -> tuple[Row, ...]:
    """Return the changes, first things first.

    Parameters
    ----------
    changes
        One per pair of examinations.
    cases
        Name of case → its findings.
    """
    judged = [(change, *_judged(change, cases)) for change in changes]
    judged.sort(key=lambda found: (ORDER.index(found[1]), -_active(found[0]), -_gain_ml(found[0]), *_names(found[0])))
    return tuple(
        Row(rank, change.subject, change.before, change.after, priority, reason)
        for rank, (change, priority, reason) in enumerate(judged, 1)
    )


def to_dict(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the JSON document."""
    return {"kind": KIND, "schema_version": VERSION, "rows": [asdict(row) for row in rows]}


def _judged(change: Change, cases: Mapping[str, CaseFindings]) -> tuple[Priority, str]:
    if not change.labels:
        why = change.warnings[0].message if change.warnings else "no reason is known."
        return "high", _sentence(["could not be compared", why.rstrip(".")])
    doubts = [caution.message.rstrip(".") for caution in change.warnings if caution.code not in HARMLESS]
    for name in (change.before, change.after):
        case = cases.get(name)
        if case is not None and case.review is not None and case.review.needed:
            doubts.append(f"the mask of {name} must not be used without review: {case.review.reason.rstrip('.')}")
        elif case is not None and case.ood is not None and case.ood.outside:
            doubts.append(f"{name} is unlike the training data")
    more = [text for name, label in change.labels.items() for text in _told(name, label, rising=True)]
    less = [text for name, label in change.labels.items() for text in _told(name, label, rising=False)]
    if more:
        return "high", _sentence([*more, *less, *doubts])
    if doubts:
        return "high", _sentence([*doubts, *less, *([] if less else ["no change was seen that could be relied on"])])
    if less:
        return "middle", _sentence(less)
    known = all(name in cases and cases[name].review is not None for name in (change.before, change.after))
    measured = all(label.noise_measured for label in change.labels.values())
    told = f"No change beyond the {'measured' if measured else 'estimated'} noise"
    if not known:
        return "low", f"{told}; whether the masks can be relied on is not known: no calibrated model judged them."
    if not measured:
        return "low", f"{told}, and nothing speaks against either mask."
    return "low", f"{told}, and nothing speaks against either mask: safe to defer."


def _told(name: str, label: LabelChange, *, rising: bool) -> list[str]:
    kinds = ("new", "enlarged") if rising else ("vanished", "shrunken")
    counts = {kind: sum(lesion.kind == kind for lesion in label.lesions) for kind in kinds}
    told = [f"{count} {kind} {name}{'s' if count > 1 else ''}" for kind, count in counts.items() if count]
    change = label.volume_change_ml.value
    if label.detectable and (change > 0) == rising and change != 0:
        share = "" if label.volume_change_percent is None else f" ({label.volume_change_percent:+.0f} %)"
        told.append(f"{name} {change:+.2f} mL{share}, beyond noise")
    return told


def _active(change: Change) -> int:
    return sum(lesion.kind in ("new", "enlarged") for label in change.labels.values() for lesion in label.lesions)


def _gain_ml(change: Change) -> float:
    return max((abs(label.volume_change_ml.value) for label in change.labels.values()), default=0.0)


def _names(change: Change) -> tuple[Any, ...]:
    return natural_order(change.subject), natural_order(change.after)


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."
