"""The black box: whether probabilities mean what they say, intervals hold what they should, and explanations explain."""

from __future__ import annotations

from typing import Any

from striate.core.counted import counted
from striate.reporting.audit import Audit
from striate.reporting.figures.intervals import Interval, interval_plot
from striate.reporting.figures.reliability import ReliabilityBin, reliability_diagram
from striate.reporting.numbers import NONE, fixed, interval, number
from striate.reporting.section import Section
from striate.reporting.sections.explanations import CHECKS, title_of

TITLE = "Black box: confidence and explanations"
MOST = 4


def make(folder: Audit) -> Section:
    """Return calibration, coverage, the flag, and the checks of the explanations."""
    cal, cov, exp = (folder.part(name) for name in ("calibration", "coverage", "explanations"))
    data: dict[str, Any] = {
        "calibration": _calibration(cal), "coverage": _coverage(cov), "explanations": _explanations(exp),
        "absent": [text for name in ("calibration", "coverage", "explanations") if (text := folder.absent(name))],
    }  # fmt: skip
    data["absent"] = list(dict.fromkeys(data["absent"]))
    return Section("audit_limits", TITLE, data)


def _calibration(part: dict[str, Any]) -> dict[str, Any] | None:
    rows, plots = [], []
    for name, found in (part.get("labels") or {}).items():
        before, after = found.get("before") or {}, found.get("after") or {}
        ends = found.get("interval")
        cells = [(fixed(before.get(k), 3), fixed(after.get(k), 3)) for k in ("ece", "adaptive_ece", "brier")]
        rows.append(
            {
                "name": name,
                "cells": cells,
                "ends": interval(ends[0], ends[1], 3) if ends else "",
                "n": found["n_subjects"],
            }
        )
        if found.get("reliability"):
            bins = [
                ReliabilityBin(b["start"], b["stop"], b["count"], b["said"], b["true"]) for b in found["reliability"]
            ]
            plots.append(
                {"name": name, "plot": reliability_diagram(bins, "Probability said", "Share that is truly there")}
            )
    if not rows:
        return None
    return {"rows": rows, "plots": plots[:MOST], "told": part.get("told") or "", "n": part["n_subjects"]}


def _coverage(part: dict[str, Any]) -> dict[str, Any] | None:
    labels = part.get("labels") or {}
    if not labels:
        return None
    rows, plots = [], []
    for name, found in labels.items():
        cells = [_share(found[q]) for q in ("volume_ml", "count")]
        rows.append(
            {"name": name, "cells": cells, "why": found.get("why") or "", "n": found["volume_ml"]["n_subjects"]}
        )
        shown = [Interval(c["case"], c["value"], c["low"], c["high"], c["true"], _outside(c)) for c in found["cases"]]
        if shown:
            plots.append({"name": name, "plot": interval_plot(shown, f"Volume of {name} (mL)")})
    flag = part.get("review") or {}
    told = {"missed": "Cases with a Dice below 0.6 that the flag missed", "flagged": "Cases that it flagged"}
    review = [
        (text, f"{fixed(100 * value, 0)} %")
        for key, text in told.items()
        if (value := number(flag.get(key))) is not None
    ]
    if (area := number(flag.get("auroc"))) is not None:
        review.append(("AUROC of the expected Dice for those cases", fixed(area, 3)))
    if review:
        review.append(("Subjects with such a case", f"{flag['n_bad_subjects']} of {flag['n_subjects']}"))
    wanted = fixed(100 * (number(part.get("wanted")) or 0), 0)
    return {"rows": rows, "plots": plots[:MOST], "review": review, "wanted": wanted, "told": part.get("told") or ""}


def _outside(case: dict[str, Any]) -> bool:
    return case["low"] is not None and not case["low"] <= case["true"] <= case["high"]


def _share(held: dict[str, Any]) -> str:
    share = number(held.get("share"))
    if share is None:
        return NONE
    ends = held.get("interval")
    return f"{fixed(100 * share, 0)} %" + (f" ({interval(100 * ends[0], 100 * ends[1], 0)})" if ends else "")


def _explanations(part: dict[str, Any]) -> dict[str, Any] | None:
    methods = part.get("methods") or {}
    if not methods:
        return None
    rows = []
    for name, checks in methods.items():
        cells = []
        for check in CHECKS:
            passed, made = checks.get(check, [0, 0])
            cells.append({"text": f"{passed} of {made}" if made else NONE, "wrong": passed < made})
        rows.append({"name": title_of(name), "cells": cells})
    failed = [
        {"case": one["case"], "method": title_of(one["method"]), "check": CHECKS.get(c["check"], c["check"]),
         "sentence": c["sentence"]}
        for one in part.get("explained") or [] for c in one["checks"] if c["passed"] is False
    ]  # fmt: skip
    return {
        "checks": list(CHECKS.values()),
        "rows": rows,
        "failed": failed,
        "n": counted(part["n_subjects"], "subject"),
        "notes": part["notes"],
    }
