"""Volumes with their intervals: predicted, true where it is known, their difference; plots of intervals and agreement."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from striate.reporting.figures.agreement import Pairs, bland_altman, scatter
from striate.reporting.figures.intervals import Interval, interval_plot
from striate.reporting.folder import Folder, Kind
from striate.reporting.numbers import bounds, fixed, interval_name, number, volume_decimals
from striate.reporting.section import Section

FEWEST = 3
"""Cases from which on agreement is drawn."""
MOST = 3
"""Labels whose difference and intervals are drawn."""
MOST_CASES = 120
"""Cases whose intervals are drawn; of more the largest."""


def make(folder: Folder) -> Section:
    """Return the table of volumes (from ``findings.json``) and the agreement with the truth (from ``evaluation.json``).

    The evaluation holds predicted minus true volume; the true volume is the predicted one minus this error.
    """
    cases = folder.cases
    if not cases:
        name = "validation/findings.json" if folder.kind == "run" else "findings.json"
        return Section(
            "volumes", "Volumes", absent=f"No volume is known: {folder.why.get(name, f'{name} holds no case.')}"
        )
    errors = {str(c.get("case")): c for c in folder.evaluation.get("cases") or [] if isinstance(c, dict)}
    rows = [_row(case, name, found, errors) for case in cases for name, found in (case.get("labels") or {}).items()]
    truth = any(r["true"] is not None for r in rows)
    groups, digits = _pairs(rows), volume_decimals(r["predicted"] for r in rows)
    data: dict[str, Any] = {
        "rows": [_shown(r, digits) for r in rows],
        "truth": truth,
        "interval": interval_name(r["volume"] for r in rows) if any(r["low"] is not None for r in rows) else "",
        "counts": any(bounds(r["lesions"]) for r in rows),
        "intervals": _intervals(rows, folder.kind),
        "plots": _plots(groups),
        "most": MOST_CASES,
        "many": len(rows) > 40,
        "few": truth and not groups,
    }
    return Section("volumes", "Volumes", data)


def _row(case: dict[str, Any], name: str, found: dict[str, Any], errors: dict[str, Any]) -> dict[str, Any]:
    predicted = number(found.get("volume_ml"))
    error = number((errors.get(str(case.get("case")), {}).get(name) or {}).get("volume_error_ml"))
    true = None if predicted is None or error is None else predicted - error
    if true is not None and abs(true) < 1e-9 * max(1.0, abs(predicted or 0)):
        true = 0.0
    quantity = found.get("volume_ml")
    ends = (quantity.get("low"), quantity.get("high")) if isinstance(quantity, dict) else (None, None)
    low, high = map(number, ends)
    review = case.get("review")
    return {
        "case": str(case.get("case")),
        "name": name,
        "predicted": predicted,
        "true": true,
        "error": error,
        "volume": quantity,
        "low": low if high is not None else None,
        "high": high if low is not None else None,
        "lesions": found.get("count"),
        "review": bool(review.get("needed")) if isinstance(review, dict) else False,
    }


def _shown(row: dict[str, Any], digits: int) -> dict[str, str]:
    share = 100 * row["error"] / row["true"] if row["true"] and row["error"] is not None else None
    return {
        "case": row["case"],
        "name": row["name"],
        "predicted": fixed(row["predicted"], digits),
        "interval": bounds(row["volume"], digits),
        "true": fixed(row["true"], digits),
        "error": _signed(fixed(row["error"], digits), row["error"]),
        "share": _signed(f"{fixed(share, 0)} %", share) if share is not None else "–",
        "count": fixed(row["lesions"], 0),
        "counts": bounds(row["lesions"], 0),
    }


def _signed(text: str, value: float | None) -> str:
    return f"+{text}" if value is not None and value > 0 else text


def _pairs(rows: list[dict[str, Any]]) -> list[Pairs]:
    groups: dict[str, list[tuple[str, float, float]]] = {}
    for row in rows:
        if row["true"] is not None and row["predicted"] is not None:
            groups.setdefault(row["name"], []).append((row["case"], row["predicted"], row["true"]))
    kept = {name: values for name, values in groups.items() if len(values) >= FEWEST}
    return [Pairs(name, values, n % 8 + 1) for n, (name, values) in enumerate(kept.items())]


def _plots(groups: list[Pairs]) -> dict[str, Any] | None:
    if not groups:
        return None
    differences: list[Markup] = [bland_altman(g, "mL") for g in groups[:MOST]]
    return {
        "scatter": scatter(groups, "mL"),
        "differences": differences,
        "keys": [(g.name, g.colour) for g in groups],
        "shown": min(MOST, len(groups)),
        "n": max(len(g.values) for g in groups),
    }


def _intervals(rows: list[dict[str, Any]], kind: Kind) -> dict[str, Any] | None:
    """Draw each label's volumes with their intervals, one row per case, the largest first.

    How many intervals hold the truth is counted for predictions alone: those of a run were fitted to its cases.
    """
    groups: dict[str, list[Interval]] = {}
    for row in rows:
        if row["predicted"] is not None:
            shown = Interval(row["case"], row["predicted"], row["low"], row["high"], row["true"], row["review"])
            groups.setdefault(row["name"], []).append(shown)
    kept = {name: g for name, g in groups.items() if len(g) > 1 and any(one.low is not None for one in g)}
    if not kept:
        return None
    ordered = {name: sorted(g, key=lambda one: -one.value)[:MOST_CASES] for name, g in list(kept.items())[:MOST]}
    checked = [one for g in groups.values() for one in g if one.holds is not None and kind == "prediction"]
    return {
        "plots": [interval_plot(g, f"{name} (mL)") for name, g in ordered.items()],
        "review": any(one.alarm for g in ordered.values() for one in g),
        "cut": any(len(g) > MOST_CASES for g in kept.values()),
        "of": len(kept),
        "checked": len(checked),
        "held": sum(bool(one.holds) for one in checked),
    }
