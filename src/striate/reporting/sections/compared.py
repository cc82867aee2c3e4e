"""The table of a comparison: what each network reached, is and cost, with what was asked for before it."""

from __future__ import annotations

from typing import Any

from striate.core.counted import counted, is_or_are
from striate.core.machine import show_bytes, show_seconds
from striate.measure.named import MEASURES, measure_name
from striate.reporting.comparison import Comparison
from striate.reporting.numbers import (
    compact,
    fixed,
    joined,
    measure_interval,
    measure_text,
    number,
)
from striate.reporting.section import Section

LESS_IS_BETTER = ("mse", "log_loss", "ece", "hd95_mm")


def make(folder: Comparison) -> Section:
    """Return the tables."""
    rows = folder.networks
    if not rows:
        return Section("compared", "Networks", absent=f"No run is finished. {folder.why}".strip())
    measures = [m for m in MEASURES if m in rows[0]]
    measures.sort(key=lambda m: m != folder.main)
    best = {m: _best([number(r.get(m)) for r in rows], m) for m in measures}
    data = {
        "lead": _lead(folder),
        "measures": [measure_name(m) for m in measures],
        "reached": [_reached(r, measures, best) for r in rows],
        "starts": _starts(rows, folder.main),
        "cost": [_cost(r) for r in rows],
        "notes": _notes(folder),
        "runs": [_run(r, folder.main) for r in folder.runs],
        "main": folder.main_name,
    }
    return Section("compared", "Networks", data)


def _best(values: list[float | None], measure: str) -> float | None:
    known = [v for v in values if v is not None]
    return None if len(known) < 2 else min(known) if measure in LESS_IS_BETTER else max(known)


def _reached(row: dict[str, Any], measures: list[str], best: dict[str, float | None]) -> dict[str, Any]:
    cells = [
        {
            "value": measure_text(m, row.get(m)),
            "interval": measure_interval(m, row.get(f"{m}_low"), row.get(f"{m}_high")),
            "best": best[m] is not None and number(row.get(m)) == best[m],
        }
        for m in measures
    ]
    return {"name": row["label"], "cells": cells, "n": row["repetitions"], "subjects": row["validation_subjects"]}


def _starts(rows: list[dict[str, Any]], main: str) -> list[dict[str, Any]]:
    """Return, of each network that started from an encoder, the square of Shin et al. 2016: what starts, what learns."""
    found = []
    for network in dict.fromkeys(r["network"] for r in rows if r["start"] != "random"):
        own = {r["start"]: r for r in rows if r["network"] == network}
        square = [
            (name, [_value(own.get(start), main) for start in starts])
            for name, starts in (
                ("Random weights", ("random", "random_frozen")),
                ("The encoder's weights", ("transfer", "frozen")),
            )
        ]
        found.append({"name": network, "rows": square})
    return found


def _value(row: dict[str, Any] | None, main: str) -> dict[str, str]:
    """Return a measure and its interval."""
    row = row or {}
    return {
        "value": measure_text(main, row.get(main)),
        "interval": measure_interval(main, row.get(f"{main}_low"), row.get(f"{main}_high")),
    }


def _cost(row: dict[str, Any]) -> dict[str, Any]:
    cells = [
        str(row["size"]), str(row["layers"]), str(row["depth"]), compact(row["parameters_run"]), compact(row["macs"]),
        compact(round(row["steps"])), compact(row["training_flops_by_operations"]), compact(row["training_flops_by_time"]),
        show_seconds(row["seconds"]), show_bytes(row["peak_memory_bytes"]), compact(1000 * row["kwh"]),
        compact(row["samples_per_parameter"]),
    ]  # fmt: skip
    return {"name": row["label"], "cells": cells}


def _run(row: dict[str, Any], main: str) -> list[str]:
    return [
        row["run"], fixed(row["training_subjects"], 0), measure_text(main, row.get(main)),
        measure_interval(main, row.get(f"{main}_low"), row.get(f"{main}_high")), compact(row["steps"]),
        show_seconds(row["seconds"]), compact(1000 * row["kwh"]),
    ]  # fmt: skip


def _lead(folder: Comparison) -> str:
    asked, rows = folder.asked, folder.networks
    length = f"{counted(asked['steps'], 'update')} each" if asked.get("steps") else ""
    each = number(folder.document.get("run_s"))
    if each is not None:
        length = f"{show_seconds(each)} each, reading the data and validating included"
    subjects = fixed(rows[0].get("training_subjects"), 0)
    subjects += " subject" if subjects == "1" else " subjects"
    names = joined([r["label"] for r in rows])
    many, judges = rows[0]["repetitions"], rows[0]["validation_subjects"]
    return (
        f"{names} {'was' if len(rows) == 1 else 'were'} trained on the same {subjects}, {length}, and measured on"
        f" others, the same for all: {judges} subject{'s' * (judges > 1)} in {many} run{'s' * (many > 1)} of each network."
    )


def _notes(folder: Comparison) -> list[str]:
    sources = sorted({str(r.get("kwh_source")) for r in folder.networks})
    notes = [
        "Intervals (95 %) are bootstrapped over subjects, each with all its samples and repetitions.",
        "Layers: those that multiply (convolutions, matrix products). Depth: how many of them lie on the longest path."
        " Parameters: those that predict. MACs: multiplications with addition for one image or patch.",
        "Training FLOP counted: 2 × MACs × 3 passes × images; by time: seconds of learning × measured peak × 40 %"
        " (arXiv 2202.05924).",
        f"Electricity: {'; '.join(sources)}.",
        "Samples per parameter: training images for each learned number, auxiliary heads included; rule of thumb: ten, which"
        " most networks break.",
    ]
    failed = folder.document.get("failed") or {}
    notes += [f"{name} has no result: {why}" for name, why in failed.items()]
    missing = [n for n in folder.document.get("missing") or [] if n not in failed]
    if missing:
        unfinished = f"{counted(len(missing), 'run')} {is_or_are(len(missing))}"
        notes.append(f"{unfinished} not finished: {joined(missing[:4])}{' …' if len(missing) > 4 else ''}.")
    return notes
