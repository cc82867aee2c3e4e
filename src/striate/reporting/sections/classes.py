"""Predicted classes against true ones: measures with intervals, confusion matrix, characteristic, reliability, every case."""

from __future__ import annotations

from typing import Any

from striate.measure.class_rows import joined
from striate.measure.class_table import ClassTable
from striate.measure.classification import KIND, OVERALL
from striate.measure.named import measure_name
from striate.reporting.figures.confusion import confusion_matrix
from striate.reporting.figures.reliability import ReliabilityBin, reliability_diagram
from striate.reporting.figures.roc import RocCurve, roc_plot
from striate.reporting.figures.strips import Strip, strip_plot
from striate.reporting.folder import Folder
from striate.reporting.numbers import fixed, measure_interval, measure_text, number
from striate.reporting.section import Section

TITLE = "Classes"
OVER_ALL = (
    "accuracy", "exact_match", "balanced_accuracy", "error_rate", "macro_auc", "log_loss", "brier",
    "ece", "adaptive_ece", "ece_by_chance",
)  # fmt: skip
PER_CLASS = (
    "auc", "sensitivity", "specificity", "precision", "f1",
    "sensitivity_at_specificity_90", "sensitivity_at_specificity_95",
)  # fmt: skip
MOST_CURVES = 8
MOST_DRAWN = 40
"""Classes up to which a confusion matrix is drawn."""
MOST_ROWS = 200
MOST_STRIPS = 12
OPEN = 12


def make(folder: Folder) -> Section:
    """Return what ``evaluation.json`` and ``predictions.csv`` hold."""
    document, table = folder.evaluation, folder.predictions
    measured = document if document.get("kind") == KIND else {}
    if not measured and table is None:
        name = "validation/predictions.csv" if folder.kind == "run" else "predictions.csv"
        return Section(
            "classes", TITLE, absent=f"No class was predicted: {folder.why.get(name, f'{name} has no rows.')}"
        )
    data: dict[str, Any] = {
        "measured": _measured(measured) if measured else None,
        "unmeasured": "" if measured else _why(folder),
        "called": None if measured or table is None else _called(table, folder),
        "strips": None if table is None else _strips(table),
        "rows": None if table is None else _rows(table, folder),
        "calibrated": _calibrated_on(folder),
        "fitted": folder.kind == "run",
    }
    return Section("classes", TITLE, data)


def _why(folder: Folder) -> str:
    name = "validation/evaluation.json" if folder.kind == "run" else "evaluation.json"
    why = folder.why.get(name, f"{name} is no evaluation of classes.")
    if folder.kind == "prediction":
        why += " Where there is a truth: striate evaluate PREDICTION TRUTH --out PREDICTION/evaluation.json."
    return f"Nothing was measured against a truth: {why}"


def _measured(document: dict[str, Any]) -> dict[str, Any]:
    classes, summary = [str(n) for n in document["classes"]], document["summary"]
    over_all, exclusive = summary[OVERALL], bool(document["exclusive"])
    level = round(100 * float(document["level"]))
    shown = [m for m in PER_CLASS if any(m in summary[name] for name in classes)]
    return {
        "exclusive": exclusive,
        "samples": document["samples"],
        "subjects": document["subjects"],
        "level": level,
        "overall": [_line(m, over_all[m]) for m in OVER_ALL if m in over_all],
        "columns": [measure_name(m) for m in shown],
        "classes": [_class_row(name, summary[name], shown, document["samples"]) for name in classes],
        "matrix": _matrix(classes, document["confusion"], exclusive),
        "counts": None if exclusive else _counts(classes, document["confusion"]),
        "roc": _roc(classes, summary, document["roc"], exclusive),
        "reliability": _reliability(document, over_all, exclusive),
        "notes": [str(note) for note in document.get("notes") or []],
    }


def _line(measure: str, one: dict[str, Any]) -> dict[str, str]:
    bounds = measure_interval(measure, one.get("low"), one.get("high"))
    return {"name": measure_name(measure), "value": measure_text(measure, one.get("value")), "interval": bounds}


def _class_row(name: str, values: dict[str, Any], measures: list[str], samples: int) -> dict[str, Any]:
    share = number((values.get("prevalence") or {}).get("value")) or 0.0
    return {"name": name, "cells": [_line(m, values.get(m) or {}) for m in measures], "n": round(share * samples)}


def _matrix(classes: list[str], confusion: list[Any], exclusive: bool) -> Any:
    if not exclusive or len(classes) > MOST_DRAWN:
        return None
    return confusion_matrix(classes, confusion)


def _counts(classes: list[str], confusion: list[Any]) -> list[dict[str, Any]]:
    rows = []
    for name, ((absent, alarm), (missed, found)) in zip(classes, confusion, strict=True):
        rows.append({"name": name, "found": found, "missed": missed, "alarm": alarm, "absent": absent})
    return rows


def _roc(classes: list[str], summary: dict[str, Any], roc: dict[str, Any], exclusive: bool) -> dict[str, Any] | None:
    """Curves of all classes; of two exclusive ones the rarer (the other is its mirror image); of many the lowest areas."""
    known = [name for name in classes if roc.get(name)]
    if not known:
        return None
    if exclusive and len(classes) == 2:
        known = [min(known, key=lambda name: summary[name]["prevalence"]["value"])]
    drawn = known
    if len(known) > MOST_CURVES:
        lowest = sorted(known, key=lambda name: summary[name]["auc"]["value"])[:MOST_CURVES]
        drawn = [name for name in known if name in lowest]
    curves, keys = [], []
    for n, name in enumerate(drawn):
        colour = 7 if len(drawn) == 1 else n % 8 + 1
        one = summary[name]
        sensitivity, specificity = number(one["sensitivity"]["value"]), number(one["specificity"]["value"])
        decision = None if sensitivity is None or specificity is None else (1 - specificity, sensitivity)
        curves.append(RocCurve(name, roc[name], colour, decision))
        keys.append((f"{name} {fixed(one['auc']['value'], 3)}", colour))
    return {"plot": roc_plot(curves), "keys": keys, "hidden": len(known) - len(drawn), "two": len(drawn) == 1}


def _reliability(document: dict[str, Any], over_all: dict[str, Any], exclusive: bool) -> dict[str, Any] | None:
    names = ("start", "stop", "n", "confidence", "outcome", "low", "high")
    bins = [ReliabilityBin(**{k: one.get(k) for k in names}) for one in document["reliability"]]
    if not bins:
        return None
    titles = ("probability, uncalibrated", "Share in which it was true")
    if exclusive:
        titles = ("confidence, uncalibrated", "Share that was right")
    chance = number((over_all.get("ece_by_chance") or {}).get("value"))
    error = number((over_all.get("ece") or {}).get("value"))
    told = ""
    if chance is not None and error is not None:
        told = f"Calibration error {error:.3f}; one that means what it says would show {chance:.3f} here by chance."
    return {"plot": reliability_diagram(bins, *titles), "told": told}


def _calibrated_on(folder: Folder) -> str:
    """On how many subjects the probabilities that are shown were calibrated; empty where they were not."""
    count = number(folder.findings.get("calibrated_on"))
    return "" if count is None or not folder.said else fixed(count, 0)


def _said(table: ClassTable, folder: Folder) -> list[list[float | None]]:
    """Return the probabilities of each row: calibrated ones where they are known, else the network's own."""
    known = folder.said
    if not known:
        return [list(row) for row in table.probabilities.tolist()]
    found = [known.get((case, place), {}) for case, place in zip(table.cases, table.slices, strict=True)]
    return [[number((one.get("probabilities") or {}).get(name)) for name in table.classes] for one in found]


def _called(table: ClassTable, folder: Folder) -> list[dict[str, str]]:
    """How many rows are called what."""
    predicted, said = table.predicted, _said(table, folder)
    rows = []
    for k, name in enumerate(table.classes):
        count = sum(name in called for called in predicted)
        values = sorted(row[k] or 0.0 for row in said)
        middle = values[len(values) // 2] if values else None
        rows.append({"name": name, "count": f"{count} of {len(table)}", "middle": fixed(middle, 3)})
    return rows


def _rows(table: ClassTable, folder: Folder) -> dict[str, Any]:
    """Every row of the table; the mistakes and the least confident first where there are more than can be shown."""
    predicted, order, known = table.predicted, list(range(len(table))), folder.said
    said = _said(table, folder)
    sets = [(known.get((c, s)) or {}).get("set") for c, s in zip(table.cases, table.slices, strict=True)]
    wrong = [t is not None and set(t) != set(p) for t, p in zip(table.truth, predicted, strict=True)]
    if len(order) > MOST_ROWS:
        order = sorted(order, key=lambda n: (not wrong[n], float(table.confidence[n])))[:MOST_ROWS]
    shown = [
        {
            "case": table.cases[n],
            "slice": "" if table.slices[n] is None else str(table.slices[n]),
            "truth": joined(table.truth[n]).replace(";", ", "),
            "predicted": joined(predicted[n]).replace(";", ", "),
            "wrong": wrong[n],
            "set": ", ".join(map(str, sets[n] or ())),
            "said": [fixed(p, 3) for p in said[n]]
            if len(table.classes) <= 12
            else [fixed(max((p for p in said[n] if p is not None), default=None), 3)],
        }
        for n in order
    ]
    return {
        "rows": shown,
        "total": len(table),
        "classes": list(table.classes) if len(table.classes) <= 12 else ["confidence"],
        "sliced": any(s is not None for s in table.slices),
        "truth": any(t is not None for t in table.truth),
        "sets": any(one is not None for one in sets),
        "coverage": fixed(100 * (number(folder.findings.get("coverage")) or 0.0), 0),
        "open": len(shown) <= OPEN,
    }


def _strips(table: ClassTable) -> dict[str, Any] | None:
    """Truth above prediction along the slices of each case, where slices have exclusive classes that eight colours can tell."""
    places: dict[str, list[int]] = {}
    for n, number_of in enumerate(table.slices):
        if number_of is not None:
            places.setdefault(table.cases[n], []).append(n)
    places = {case: rows for case, rows in places.items() if len(rows) > 1}
    if not places or not table.exclusive or len(table.classes) > 8:
        return None
    index, predicted = _colours(table), table.predicted
    strips = []
    for case, rows in places.items():
        rows.sort(key=lambda n: table.slices[n] or 0)
        truth = [None if (t := table.truth[n]) is None else index[t[0]] for n in rows]
        called = [index[predicted[n][0]] for n in rows]
        strips.append(Strip(case, [table.slices[n] or 0 for n in rows], truth, called))
    strips.sort(key=lambda s: sum(t == p for t, p in zip(s.truth, s.predicted, strict=True)) / len(s.slices))
    kept = strips
    if len(strips) > MOST_STRIPS:
        kept = [strips[round(n * (len(strips) - 1) / (MOST_STRIPS - 1))] for n in range(MOST_STRIPS)]
    return {
        "plot": strip_plot(kept, {number: name for name, number in index.items()}),
        "keys": list(index.items()),
        "hidden": len(strips) - len(kept),
        "truth": any(t is not None for t in table.truth),
    }


def _colours(table: ClassTable) -> dict[str, int]:
    """Class → colour; the most frequent one is grey, so that the others stand out."""
    named = [(t or p)[0] for t, p in zip(table.truth, table.predicted, strict=True)]
    common = max(table.classes, key=named.count)
    others = [name for name in table.classes if name != common]
    colours = {name: n + 1 for n, name in enumerate(others)}
    return {name: 8 if name == common else colours[name] for name in table.classes}
