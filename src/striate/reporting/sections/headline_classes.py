"""What a reader wants first of classes: how often it is right, how well each is told from the rest, or what was called what."""

from __future__ import annotations

from typing import Any

from striate.core.counted import counted
from striate.measure.classification import KIND, OVERALL
from striate.measure.statistics import FEW_SUBJECTS
from striate.reporting.folder import Folder
from striate.reporting.numbers import fixed, interval, number


def classes_measured(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return tiles of measures: all classes, then the AUC of each (of the rarer one where two exclude each other)."""
    if document.get("kind") != KIND:
        return []
    summary, names = document["summary"], [str(n) for n in document["classes"]]
    over_all, level = summary[OVERALL], f"{round(100 * float(document['level']))} % interval"
    pair = bool(document["exclusive"]) and len(names) == 2
    tiles = [
        _tile(
            "All classes" if not pair else f"{names[0]} or {names[1]}",
            "accuracy",
            over_all["accuracy"],
            level,
            [
                ("balanced accuracy", _text(over_all, "balanced_accuracy")),
                ("calibration error", _text(over_all, "ece", 3)),
            ],
            document["samples"],
        )
    ]
    if pair:
        names = [min(names, key=lambda name: number(summary[name]["prevalence"]["value"]) or 0.0)]
    elif number(over_all["macro_auc"]["value"]) is not None:
        tiles.append(
            _tile("All classes", "AUC, mean of the classes", over_all["macro_auc"], level, [], document["samples"])
        )
    for name in names:
        one = summary[name]
        if number(one["auc"]["value"]) is None:
            continue
        facts = [("sensitivity", _text(one, "sensitivity")), ("specificity", _text(one, "specificity"))]
        present = int(number(one["sensitivity"].get("n")) or 0)
        tiles.append(
            _tile(name, f"AUC, {present} of {document['samples']}", one["auc"], level, facts, document["samples"])
        )
    return tiles


def classes_called(folder: Folder) -> list[dict[str, Any]]:
    """Return tiles of a prediction without a truth: how many are called what."""
    table = folder.predictions
    if table is None:
        return []
    tiles = []
    for name in table.classes:
        count = sum(name in called for called in table.predicted)
        what = f"of {len(table)} {'slices' if any(s is not None for s in table.slices) else 'cases'}"
        tiles.append({"name": name, "what": what, "value": str(count), "unit": "", "count": len(table), "facts": []})
    return tiles


def classes_note(folder: Folder) -> str:
    """Return the sentence beneath the tiles."""
    document = folder.evaluation
    if document.get("kind") != KIND:
        return "What the images were called; nothing is known here of how often that is right."
    subjects, samples = int(document["subjects"]), int(document["samples"])
    told = f"{counted(samples, 'sample')} of {counted(subjects, 'subject')}"
    unseen = ", never seen in training" if folder.kind == "run" else ""
    if subjects < 2:
        return f"{told}{unseen}: a single subject gives no interval and says little about the next one."
    small = " With so few subjects the intervals are themselves uncertain." if subjects < FEW_SUBJECTS else ""
    accuracy = document["summary"][OVERALL]["accuracy"]
    exact = " (where every call is right or none is: exact binomial ones)" if accuracy["value"] in (0.0, 1.0) else ""
    return f"{told}{unseen}; bootstrap intervals over subjects{exact}.{small}"


def _tile(
    name: str, what: str, one: dict[str, Any], level: str, facts: list[tuple[str, str]], count: int
) -> dict[str, Any]:
    bounds = interval(one.get("low"), one.get("high"))
    shown = [(level, bounds), *facts]
    return {
        "name": name,
        "what": what,
        "value": fixed(one.get("value"), 2),
        "unit": "",
        "count": count,
        "facts": [(k, v) for k, v in shown if v],
    }


def _text(values: dict[str, Any], measure: str, decimals: int = 2) -> str:
    return fixed((values.get(measure) or {}).get("value"), decimals)
