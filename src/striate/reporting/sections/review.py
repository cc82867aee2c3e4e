"""Which cases a person must look at, and why: the most doubtful first."""

from __future__ import annotations

from typing import Any

from striate.core.names import natural_order
from striate.reporting.folder import Folder
from striate.reporting.numbers import NONE, compact, fixed, number
from striate.reporting.own_reason import own_reason
from striate.reporting.section import Section

OPEN = 20
"""Cases without a need for review up to which their table is open from the start."""


def make(folder: Folder) -> Section:
    """Return the judged cases: need for review with its reason, expected Dice (and the measured one), likeness."""
    judged = [c for c in folder.cases if _mapping(c, "review") or _mapping(c, "ood")]
    if not judged:
        name = "validation/findings.json" if folder.kind == "run" else "findings.json"
        why = folder.why.get(name, f"{name} holds no judgement of a case. A model that was calibrated gives one.")
        return Section("review", "Review", absent=f"Which cases need review is not known: {why}")
    measured = {str(c.get("case")): c for c in folder.evaluation.get("cases") or [] if isinstance(c, dict)}
    limits = folder.limits
    rows = sorted((_row(c, measured.get(str(c.get("case"))) or {}, limits) for c in judged), key=_first)
    needed = [r for r in rows if r["needed"]]
    others = [r for r in rows if not r["needed"]]
    data: dict[str, Any] = {
        "needed": needed,
        "others": others,
        "of": len(folder.cases),
        "unknown": len(folder.cases) - sum(bool(_mapping(c, "review")) for c in folder.cases),
        "dice": any(r["dice"] != NONE for r in rows),
        "measured": any(r["measured"] != NONE for r in rows),
        "likeness": any(r["score"] != NONE for r in rows),
        "fitted": folder.kind == "run",
        "masks": folder.task == "segmentation",
        "open": len(others) <= OPEN,
        "limits": limits if folder.task == "segmentation" or folder.kind != "run" else [],
    }
    return Section("review", "Review", data)


def reviews(folder: Folder) -> list[tuple[str, str]]:
    """Return (case, reason) of the cases that need review, the most doubtful first."""
    rows = sorted((_row(c, {}, folder.limits) for c in folder.cases if _mapping(c, "review")), key=_first)
    return [(r["case"], r["reason"]) for r in rows if r["needed"]]


def _mapping(case: dict[str, Any], key: str) -> dict[str, Any]:
    found = case.get(key)
    return found if isinstance(found, dict) else {}


def _row(case: dict[str, Any], measured: dict[str, Any], limits: list[str]) -> dict[str, Any]:
    review, ood = _mapping(case, "review"), _mapping(case, "ood")
    expected, score, threshold = (
        number(review.get("expected_dice")),
        number(ood.get("score")),
        number(ood.get("threshold")),
    )
    by_label = _mapping(review, "expected_dice_by_label")
    true = [d for m in measured.values() if isinstance(m, dict) and (d := number(m.get("dice"))) is not None]
    return {
        "case": str(case.get("case")),
        "needed": bool(review.get("needed")),
        "reason": own_reason(str(review.get("reason") or NONE), limits, str(case.get("case"))),
        "expected": 1.0 if expected is None else expected,
        "dice": fixed(expected, 2),
        "by_label": [f"{name} {fixed(value, 2)}" for name, value in by_label.items()] if len(by_label) > 1 else [],
        "measured": fixed(min(true, default=None), 2),
        "score": compact(score),
        "limit": "" if threshold is None else compact(threshold),
        "outside": score is not None and threshold is not None and score > threshold,
        "excess": 0.0 if score is None or not threshold else score / threshold,
    }


def _first(row: dict[str, Any]) -> Any:
    """Put first what needs review, then the lowest expected Dice, then the least alike."""
    return not row["needed"], row["expected"], -row["excess"], natural_order(row["case"])
