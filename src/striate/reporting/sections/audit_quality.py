"""Dice and calibration against the strength of each artefact, where the model breaks, and where the gate warns."""

from __future__ import annotations

from typing import Any

from striate.reporting.audit import Audit
from striate.reporting.figures.strength import Mark, Response, strength_plot
from striate.reporting.numbers import fixed, interval
from striate.reporting.section import Section

TITLE = "Image quality"


def make(folder: Audit) -> Section:
    """Return one plot per artefact, the ones that break first at the top, and a table."""
    absent, part = folder.absent("quality"), folder.part("quality")
    if absent:
        return Section("audit_quality", TITLE, absent=absent)
    order = sorted(
        part["artefacts"].items(), key=lambda item: (item[1]["breaks_at"] is None, item[1]["breaks_at"] or 0)
    )
    clean = part["clean"]
    data: dict[str, Any] = {
        "lead": folder.answer("quality"),
        "plots": [{"name": _words(name), "plot": _plot(found, clean)} for name, found in order],
        "rows": [_row(name, found) for name, found in order],
        "clean": _clean(clean["dice"]),
        "n": part["n_subjects"],
        "notes": part["notes"],
    }
    return Section("audit_quality", TITLE, data)


def _clean(dice: dict[str, Any]) -> str:
    ends = interval(dice["low"], dice["high"])
    return fixed(dice["mean"]) + (f" ({ends})" if ends else "")


def _words(name: str) -> str:
    text = name.replace("_", " ")
    return f"{text[:1].upper()}{text[1:]}"


def _plot(found: dict[str, Any], clean: dict[str, Any]) -> Any:
    points = [{"strength": 0.0, "dice": clean["dice"], "ece": clean["ece"]}, *found["points"]]
    known = [p for p in points if p["dice"]["mean"] is not None]
    dice = Response(
        "Dice", [p["strength"] for p in known], [p["dice"]["mean"] for p in known], [p["dice"]["low"] for p in known],
        [p["dice"]["high"] for p in known],
    )  # fmt: skip
    told = [p for p in points if p["ece"] is not None]
    ece = (
        [Response("ECE", [p["strength"] for p in told], [p["ece"] for p in told], colour=6, dashed=True)]
        if told
        else []
    )
    marks = []
    if found["warns_at"] is not None:
        marks.append(Mark(found["warns_at"], "gate warns"))
    if found["breaks_at"] is not None:
        marks.append(Mark(found["breaks_at"], "breaks", alarm=True))
    return strength_plot([dice, *ece], "strength", "", marks=marks, x_range=(0.0, 1.0))


def _row(name: str, found: dict[str, Any]) -> list[str]:
    last = found["points"][-1]
    before = {True: "yes", False: "no", None: "–"}[found["warned_before"]]
    at = [fixed(found[key]) if found[key] is not None else "not up to 1" for key in ("breaks_at", "warns_at")]
    return [_words(name), found["meaning"], *at, before, fixed(last["dice"]["mean"]), fixed(last["ece"], 3)]
