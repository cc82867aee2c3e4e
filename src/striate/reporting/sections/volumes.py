"""Volumes: predicted, true where it is known, their difference; agreement plots from three cases on."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from striate.reporting.figures.agreement import Pairs, bland_altman, scatter
from striate.reporting.folder import Folder
from striate.reporting.numbers import fixed, interval, number, volume_decimals
from striate.reporting.section import Section

FEWEST = 3
"""Cases from which on agreement is drawn."""
MOST = 3
"""Labels whose difference is drawn."""


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
        "intervals": any(r["interval"] for r in rows),
        "plots": _plots(groups),
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
    bounds = interval(quantity.get("low"), quantity.get("high"), 1) if isinstance(quantity, dict) else ""
    return {
        "case": str(case.get("case")),
        "name": name,
        "predicted": predicted,
        "true": true,
        "error": error,
        "interval": bounds,
        "count": number(found.get("count")),
    }


def _shown(row: dict[str, Any], digits: int) -> dict[str, str]:
    share = 100 * row["error"] / row["true"] if row["true"] and row["error"] is not None else None
    return {
        "case": row["case"],
        "name": row["name"],
        "predicted": fixed(row["predicted"], digits),
        "interval": row["interval"],
        "true": fixed(row["true"], digits),
        "error": _signed(fixed(row["error"], digits), row["error"]),
        "share": _signed(f"{fixed(share, 0)} %", share) if share is not None else "–",
        "count": fixed(row["count"], 0),
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
        "n": max(len(g.values) for g in groups),
    }
