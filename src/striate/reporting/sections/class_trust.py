"""What a classifier knows of its own limits, and how that did on subjects that were left out (``model/trust.json``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from striate.reporting.figures.reliability import ReliabilityBin, reliability_diagram
from striate.reporting.folder import Folder
from striate.reporting.numbers import NONE, compact, fixed, number
from striate.reporting.section import Section

FILE = "model/trust.json"
SCORES = (
    ("ece", "ECE"), ("classwise_ece", "Class-wise ECE"), ("adaptive_ece", "Adaptive ECE"), ("brier", "Brier score"),
    ("log_loss", "Log loss (nat)"), ("accuracy", "Accuracy"),
)  # fmt: skip


def make(folder: Folder) -> Section:
    """Return calibration before and after with its reliability, coverage and size of the sets, gate and likeness."""
    title, found = "What the model knows of its limits", folder.trust
    if not isinstance(found.get("class_calibration"), dict) or not isinstance(found.get("class_sets"), dict):
        why = folder.why.get(FILE, f"{FILE} holds no limits of classes.")
        return Section("class_trust", title, absent=f"The limits of this model were not measured: {why}")
    data: dict[str, Any] = {
        "calibration": _calibration(found["class_calibration"], bool(found.get("exclusive"))),
        "sets": _sets(found["class_sets"], found["class_calibration"].get("n_present") or {}),
        "images": _images(found),
        "limits": folder.limits,
    }
    return Section("class_trust", title, data)


def _calibration(found: Mapping[str, Any], exclusive: bool) -> dict[str, Any]:
    before, after = found.get("before") or {}, found.get("after") or {}
    bins, earlier = (_bins(found.get(f"reliability_{when}")) for when in ("after", "before"))
    shown = bins or earlier
    titles = ("probability of the called class", "Share that was right")
    if not exclusive:
        titles = ("probability of each class", "Share in which it was true")
    curve = found.get("curve") or {}
    temperature = number(curve.get("temperature"))
    return {
        "rows": [(name, fixed(before.get(key), 3), fixed(after.get(key), 3)) for key, name in SCORES] if before else [],
        "chance": fixed(after.get("ece_by_chance"), 3),
        "family": str(curve.get("family", NONE)) + ("" if temperature is None else f", T = {fixed(temperature, 2)}"),
        "n_subjects": fixed(found.get("n_subjects"), 0),
        "n_samples": fixed(found.get("n_samples"), 0),
        "both": bool(bins),
        "plot": reliability_diagram(shown, *titles, before=earlier if bins else ()) if shown else None,
    }


def _bins(bins: Any) -> list[ReliabilityBin]:
    return [
        ReliabilityBin(float(b["start"]), float(b["stop"]), int(b["count"]), float(b["said"]), float(b["true"]))
        for b in bins or ()
    ]


def _sets(found: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    held = found.get("held_by_class") or {}
    return {
        "given": number(found.get("reach")) is not None,
        "coverage": _percent(found.get("coverage")),
        "held": _percent(found.get("held")) if number(found.get("held")) is not None else "",
        "size": fixed(found.get("size"), 2),
        "single": _percent(found.get("single")),
        "n": fixed(found.get("n_subjects"), 0),
        "classes": [(str(name), _percent(share), fixed(present.get(name), 0)) for name, share in held.items()],
    }


def _percent(share: Any) -> str:
    value = number(share)
    return NONE if value is None else f"{fixed(100 * value, 1)} %"


def _images(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what new images are compared with."""
    rows = [("training subjects", fixed(found.get("n_reference_subjects"), 0))]
    likeness, gate = found.get("likeness"), found.get("gate")
    if isinstance(likeness, Mapping):
        threshold = number(likeness.get("threshold"))
        rows.append(("distance in the features of image and network", str(likeness.get("method") or NONE)))
        rows.append(("threshold", "none: too few training subjects" if threshold is None else compact(threshold)))
    alarms = gate.get("false_alarms") if isinstance(gate, Mapping) else None
    if isinstance(alarms, Mapping) and alarms:
        told = f"{fixed(alarms.get('cases'), 0)} of {fixed(alarms.get('of'), 0)}"
        rows.append(("training images that the input gate warns of, each left out", told))
    return rows
