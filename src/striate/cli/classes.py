"""What is shown of classes by several verbs: tables of what was predicted, and the limits of a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.core.counted import counted

if TYPE_CHECKING:
    from striate.measure.class_findings import ClassFindings
    from striate.measure.class_table import ClassTable
    from striate.trust.class_trust import ClassTrust

ROWS_SHOWN = 40
REVIEWS_SHOWN = 10
SCORES = {
    "ece": "ECE", "classwise_ece": "class-wise ECE", "adaptive_ece": "adaptive ECE", "brier": "Brier",
    "log_loss": "log loss", "accuracy": "accuracy",
}  # fmt: skip


def predicted_classes(out: Path, *, multi_label: bool) -> dict[str, Any]:
    """Return what was predicted into `out`, as JSON shows it."""
    table, findings = _read(out, multi_label=multi_label)
    if findings is not None:
        document = findings.to_dict()
        shown = {key: document[key] for key in ("calibrated_on", "coverage", "cases")}
        return {"table": out / "predictions.csv", "findings": out / "findings.json", **shown}
    rows = zip(table.cases, table.slices, table.predicted, table.probabilities, strict=True)
    cases = [
        {"case": c, "slice": s, "predicted": list(p), "probabilities": dict(zip(table.classes, v.tolist(), strict=True))}
        for c, s, p, v in rows
    ]  # fmt: skip
    return {"table": out / "predictions.csv", "cases": cases}


def show_predicted(out: Path, *, multi_label: bool) -> None:
    """Print what was predicted into `out`: probabilities and sets where the model knows them, and who needs review."""
    from striate.cli.screen import say, table

    predicted, findings = _read(out, multi_label=multi_label)
    calibrated = findings is not None and findings.calibrated_on is not None
    sets = [] if findings is None or findings.coverage is None else [f"set for {100 * findings.coverage:g} %"]
    rows = _calibrated(findings) if findings is not None and (calibrated or sets) else _raw(predicted)
    if len(rows) > ROWS_SHOWN:
        counts = {name: sum(name in called for called in predicted.predicted) for name in predicted.classes}
        table([[name, str(count)] for name, count in counts.items()], ["class", "predicted"])
    else:
        say(f"Probabilities of the classes, {_how(None if findings is None else findings.calibrated_on)}:")
        table(rows, ["case", "slice", "called" if calibrated or sets else "predicted", *sets, *predicted.classes])
    for line in [] if findings is None else _reviews(findings):
        say(line)
    more = "" if findings is None else ", findings.csv"
    say(f"{counted(len(rows), 'row')} in {out / 'predictions.csv'}{more}, record.json beside it")


def show_limits(trust: ClassTrust) -> None:
    """Print calibration before and after, and how the sets did."""
    from striate.cli.screen import say, table

    found, sets = trust.calibration, trust.sets
    if found.before is not None and found.after is not None:
        rows = [
            [name, f"{getattr(found.before, key):.3f}", f"{getattr(found.after, key):.3f}"]
            for key, name in SCORES.items()
        ]
        table(rows, ["probabilities of classes", "uncalibrated", f"calibrated ({found.curve.family})"])
        temperature = "" if found.curve.temperature is None else f" Temperature {found.curve.temperature:.2f}."
        say(
            f"{counted(found.n_subjects, 'subject')}, each left out of the fit of what judged it; by chance an ECE of"
            f" {found.after.ece_by_chance:.3f} would show.{temperature}"
        )
    if sets.held is not None:
        _say_sets(sets.to_dict())


def show_how_limits_did(limits: Mapping[str, Any]) -> None:
    """Print how calibrated probabilities and sets did on the samples of an evaluation, where a model told some."""
    from striate.cli.screen import say, table

    if not limits:
        return
    rows = [
        [name, f"{limits['uncalibrated'][key]:.3f}", f"{limits['calibrated'][key]:.3f}"] for key, name in SCORES.items()
    ]
    say()
    heads = list(dict.fromkeys(["probabilities of classes", "uncalibrated", _how(limits["calibrated_on"])]))
    table([row[: len(heads)] for row in rows], heads)
    chance = limits["calibrated"]["ece_by_chance"]
    say(
        f"{counted(limits['n_subjects'], 'subject')} measured, each counts alike; by chance an ECE of {chance:.3f} would show."
    )
    if "sets" in limits:
        _say_sets(limits["sets"])


def _how(calibrated_on: int | None) -> str:
    return "uncalibrated" if calibrated_on is None else f"calibrated on {counted(calibrated_on, 'subject')}"


def _say_sets(sets: Mapping[str, Any]) -> None:
    from striate.cli.screen import say

    say(
        f"Sets for {100 * sets['coverage']:g} %: hold the true class of {100 * sets['held']:.1f} %, {sets['size']:.2f} classes"
        f" on average, {100 * sets['single']:.0f} % hold one."
    )


def _read(out: Path, *, multi_label: bool) -> tuple[ClassTable, ClassFindings | None]:
    from striate.measure.class_findings import FILE, ClassFindings
    from striate.measure.class_table import ClassTable

    findings = ClassFindings.read(out) if (out / FILE).exists() else None
    return ClassTable.read(out, exclusive=not multi_label), findings


def _raw(table: ClassTable) -> list[list[str]]:
    from striate.measure.class_rows import joined

    rows = zip(table.cases, table.slices, table.predicted, table.probabilities, strict=True)
    return [[c, _place(s), joined(p), *(f"{v:.3f}" for v in said)] for c, s, p, said in rows]


def _calibrated(findings: ClassFindings) -> list[list[str]]:
    from striate.measure.class_rows import joined

    rows = []
    for case in findings.cases:
        for one in case.samples:
            sets = [] if one.set is None else [joined(one.set)]
            said = [f"{p:.3f}" for p in (one.probabilities or {}).values()]
            rows.append([case.case, _place(one.slice), joined(one.called), *sets, *said])
    return rows


def _reviews(findings: ClassFindings) -> list[str]:
    """Return one line per case that must not be used without review; few of many."""
    needed = [(case.case, case.review.reason) for case in findings.cases if case.review and case.review.needed]
    lines = [f"do not use without review: {name}: {reason}" for name, reason in needed]
    more = len(lines) - REVIEWS_SHOWN
    return lines if more <= 0 else [*lines[:REVIEWS_SHOWN], f"and {more} more: see findings.csv, or the report"]


def _place(number: int | None) -> str:
    return "–" if number is None else str(number)
