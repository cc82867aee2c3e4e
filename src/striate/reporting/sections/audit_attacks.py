"""Dice against the size of the change that an attacker may make, and whether gradients hide something."""

from __future__ import annotations

from typing import Any

from striate.core.counted import counted
from striate.reporting.audit import Audit
from striate.reporting.figures.strength import Mark, Response, strength_plot
from striate.reporting.numbers import fixed
from striate.reporting.section import Section

TITLE = "Adversarial attack"
COLOURS = {"fgsm": 2, "pgd": 7, "square": 6}
NAMES = {"fgsm": "FGSM", "pgd": "PGD", "square": "square (black box)"}


def make(folder: Audit) -> Section:
    """Return the curves, where they halve, and the checks."""
    absent, part = folder.absent("adversarial"), folder.part("adversarial")
    if absent:
        return Section("audit_attacks", TITLE, absent=absent)
    curves, keys = _curves(part, "", dashed=False), [(NAMES.get(a, a), COLOURS.get(a, 3)) for a in part["curves"]]
    hard = part.get("hardened")
    if hard:
        curves += _curves(hard, " of the hardened model", dashed=True)
    half = part["clean"]["mean"]
    known = {a: e for a, e in part["halves_at"].items() if e is not None}
    first = min(known, key=lambda a: known[a]) if known else None
    marks = [Mark(known[first], "Dice halved", alarm=True)] if first else []
    plot = strength_plot(
        curves, "ε, share of the tissue contrast", "Dice", marks=marks, height=250,
        level=None if half is None else (half / 2, "half of the clean Dice"),
    )  # fmt: skip
    rows = [_row(a, part["curves"][a], part["halves_at"].get(a), part["clean"]) for a in part["curves"]]
    if hard:
        more = [_row(a, hard["curves"][a], hard["halves_at"].get(a), hard["clean"]) for a in hard["curves"]]
        rows += [[f"{row[0]}, hardened", *row[1:]] for row in more]
    first_curve: list[dict[str, Any]] = next(iter(part["curves"].values()), [])
    effort, lead = part["effort"], folder.answer("adversarial")
    data: dict[str, Any] = {
        "lead": lead, "plot": plot, "keys": keys, "hardened": bool(hard), "rows": rows,
        "epsilons": [f"{p['epsilon']:g}" for p in first_curve], "masking": part["masking"], "n": part["n_subjects"],
        "effort": f"{counted(effort['steps'], 'step')}, {counted(effort['restarts'], 'restart')},"
        f" {counted(effort['queries'], 'query', 'queries')} of the square attack",
        "notes": [note for note in part["notes"] if note not in lead],
    }  # fmt: skip
    return Section("audit_attacks", TITLE, data)


def _curves(part: dict[str, Any], which: str, *, dashed: bool) -> list[Response]:
    found = []
    for name, points in part["curves"].items():
        known = [(0.0, part["clean"]), *((p["epsilon"], p["dice"]) for p in points)]
        known = [(x, d) for x, d in known if d["mean"] is not None]
        found.append(
            Response(
                f"{NAMES.get(name, name)}{which}",
                [x for x, _ in known],
                [d["mean"] for _, d in known],
                [d["low"] for _, d in known],
                [d["high"] for _, d in known],
                COLOURS.get(name, 3),
                dashed,
            )
        )
    return found


def _row(name: str, points: list[dict[str, Any]], halves: float | None, clean: dict[str, Any]) -> list[str]:
    values = [fixed(clean["mean"]), *(fixed(p["dice"]["mean"]) for p in points)]
    return [NAMES.get(name, name), *values, "not reached" if halves is None else f"{halves:.3f}"]
