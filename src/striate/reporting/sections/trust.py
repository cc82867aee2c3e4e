"""What a model knows of its own limits, and how that did on subjects that were left out of it (``model/trust.json``)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from striate.reporting.figures.reliability import ReliabilityBin, reliability_diagram
from striate.reporting.figures.risk import risk_plot
from striate.reporting.folder import Folder
from striate.reporting.numbers import NONE, compact, fixed, number
from striate.reporting.section import Section
from striate.trust.conformal import subjects_needed

FILE = "model/trust.json"
DOMAIN = "contested"
"""Voxels that calibration is judged on: those of a raw probability of at least 0.01, and all that are truly the label."""
SCORES = (("ece", "ECE"), ("adaptive_ece", "Adaptive ECE"), ("brier", "Brier score"))
PARTS = {
    "calibration": "Calibration of the probabilities",
    "intervals": "Intervals of volumes and numbers of lesions",
    "review": "The flag for review",
    "lesions": "Probabilities of lesions",
    "likeness": "Likeness to the training data",
}
MOST = 4
"""Labels whose reliability is drawn."""
FEWEST = 5
"""Cases from which on a risk-coverage curve is drawn."""


def make(folder: Folder) -> Section:
    """Return calibration before and after, coverage of the intervals, the flag for review, lesions, likeness."""
    title, found = "What the model knows of its limits", folder.trust
    if not any(isinstance(found.get(part), dict) for part in PARTS):
        why = folder.why.get(FILE, f"{FILE} holds none of its parts.")
        return Section("trust", title, absent=f"The limits of this model were not measured: {why}")
    data: dict[str, Any] = {
        "calibration": _calibration(found.get("calibration")),
        "intervals": _intervals(found.get("intervals")),
        "review": _review(found.get("review")),
        "risk": _risk(folder),
        "lesions": _lesions(found.get("lesions")),
        "likeness": _likeness(found.get("likeness")),
        "missing": [name for part, name in PARTS.items() if not isinstance(found.get(part), dict)],
    }
    return Section("trust", title, data)


def _labels(part: Any) -> dict[str, dict[str, Any]]:
    labels = part.get("labels") if isinstance(part, dict) else None
    return {str(n): v for n, v in labels.items() if isinstance(v, dict)} if isinstance(labels, dict) else {}


def _calibration(part: Any) -> dict[str, Any] | None:
    labels = _labels(part)
    rows = []
    for name, found in labels.items():
        before, after = ((found.get(when) or {}).get(DOMAIN) or {} for when in ("before", "after"))
        cells = [(fixed(before.get(key), 3), fixed(after.get(key), 3)) for key, _ in SCORES]
        family = (found.get("curve") or {}).get("family", NONE)
        counts = fixed(found.get("n_present"), 0), fixed(found.get("n_subjects"), 0)
        rows.append({"name": name, "cells": cells, "family": family, "present": counts[0], "n": counts[1]})
    plots = [
        {
            "name": name,
            "plot": plot,
            "n": fixed(found.get("n_subjects"), 0),
            "both": bool(found.get("reliability_after")),
        }
        for name, found in list(labels.items())[:MOST]
        if (plot := _reliability(found))
    ]
    return {"columns": [name for _, name in SCORES], "rows": rows, "plots": plots} if rows else None


def _reliability(found: dict[str, Any]) -> Any:
    before, after = (_bins(found.get(f"reliability_{when}")) for when in ("before", "after"))
    shown = after or before
    if not shown:
        return None
    return reliability_diagram(shown, "Probability said", "Share that is truly there", before=before if after else ())


def _bins(bins: Any) -> list[ReliabilityBin]:
    return [
        ReliabilityBin(float(b["start"]), float(b["stop"]), int(b["count"]), float(b["said"]), float(b["true"]))
        for b in bins or ()
    ]


def _intervals(part: Any) -> dict[str, Any] | None:
    rows = []
    for name, found in _labels(part).items():
        volume, count = found.get("volume_ml") or {}, found.get("count") or {}
        rows.append(
            {
                "name": name,
                "given": number(found.get("reach")) is not None,
                "cells": [_share(volume), fixed(volume.get("width"), 2), _share(count), fixed(count.get("width"), 1)],
                "n": fixed(found.get("n_subjects"), 0),
            }
        )
    return {"coverage": fixed(100 * (number(part.get("coverage")) or 0), 0), "rows": rows} if rows else None


def _share(held: Mapping[str, Any]) -> str:
    share = number(held.get("coverage"))
    return NONE if share is None else f"{fixed(100 * share, 0)} %"


def _review(part: Any) -> dict[str, Any] | None:
    """Return the rule in words: what is flagged, what that guarantees, how it did."""
    if not isinstance(part, dict):
        return None
    limit, miss, bad = (number(part.get(key)) for key in ("limit", "miss", "bad"))
    cells = {
        "missed": "Bad cases that it missed, by subjects",
        "flagged": "Cases that it flagged" + (", of those as they are" if part.get("n_spoilt") else ""),
    }
    rows = [(name, f"{fixed(100 * v, 0)} %") for key, name in cells.items() if (v := number(part.get(key))) is not None]
    if (area := number(part.get("auroc"))) is not None:
        rows.append(("AUROC of the expected Dice for bad cases", fixed(area, 3)))
    if number(part.get("n_subjects")) == 1:
        rows = []  # nothing is left to fit to without it
    return {
        "bad": fixed(bad, 2),
        "limit": "" if limit is None else fixed(max(limit, bad or 0.0), 2),
        "miss": fixed(100 * (miss or 0), 0),
        "rows": rows,
        **{key: fixed(part.get(key), 0) for key in ("n_subjects", "n_cases", "n_bad_subjects", "n_bad_cases")},
        "needed": subjects_needed(1 - miss) if miss else "more",
        "spoilt": bool(part.get("n_spoilt")),
    }


def _risk(folder: Folder) -> dict[str, Any] | None:
    """Draw the risk-coverage curve of the validation cases: 1 − Dice, kept in the order of the expected Dice."""
    measured = {str(c.get("case")): c for c in folder.evaluation.get("cases") or [] if isinstance(c, dict)}
    errors, doubts = [], []
    for case in folder.cases:
        review = case.get("review")
        expected = number(review.get("expected_dice")) if isinstance(review, dict) else None
        labels = (measured.get(str(case.get("case"))) or {}).values()
        real = [d for one in labels if isinstance(one, dict) and (d := number(one.get("dice"))) is not None]
        if expected is not None and real:
            errors.append(1 - min(real))
            doubts.append(1 - expected)
    if len(errors) < FEWEST:
        return None
    return {"plot": risk_plot(errors, doubts, "Mean of 1 − lowest Dice"), "n": len(errors)}


def _lesions(part: Any) -> dict[str, Any] | None:
    labels = _labels(part)
    rows = [
        {
            "name": name,
            "cells": [fixed(found.get(key), 0) for key in ("n_lesions", "n_real")]
            + [fixed(found.get(key), 3) for key in ("auroc", "brier", "brier_of_share")],
            "n": fixed(found.get("n_subjects"), 0),
            "why": _too_few(found),
        }
        for name, found in labels.items()
    ]
    plots = [
        {
            "name": name,
            "plot": reliability_diagram(bins, "Probability said", "Share that is real"),
            "n": fixed(found.get("n_subjects"), 0),
        }
        for name, found in list(labels.items())[:MOST]
        if (bins := _counted(found.get("reliability")))
    ]
    return {"rows": rows, "plots": plots} if rows else None


def _too_few(found: dict[str, Any]) -> str:
    """Return of which kind there are too few to tell real lesions from false ones; empty where there are enough."""
    if found.get("model") is not None:
        return ""
    lesions, real = number(found.get("n_lesions")), number(found.get("n_real"))
    kind = "lesions" if lesions is None or real is None else "false ones" if real > lesions - real else "real ones"
    return f"too few {kind}: no probability is given"


def _counted(bins: Any) -> list[ReliabilityBin]:
    """Return the bins of lesions; each reaches half way to its neighbours."""
    points = [(float(p), float(share), int(n)) for p, share, n in bins or ()]
    edges = [0.0, *((a[0] + b[0]) / 2 for a, b in pairwise(points)), 1.0]
    return [ReliabilityBin(edges[i], edges[i + 1], n, p, share) for i, (p, share, n) in enumerate(points)]


def _likeness(part: Any) -> list[tuple[str, str]]:
    """Return how likeness is measured, on how many, and from where on a case is out of distribution."""
    if not isinstance(part, dict):
        return []
    subjects, threshold = part.get("subjects"), number(part.get("threshold"))
    count = len(subjects) if isinstance(subjects, list) else number(part.get("n_subjects"))
    limit = "none: too few training subjects to say who is unlike them" if threshold is None else compact(threshold)
    return [
        ("distance in the network's features", str(part.get("method") or NONE)),
        ("training subjects", fixed(count, 0)),
        ("threshold", limit),
    ]
