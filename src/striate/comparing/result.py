"""`result_of`: everything that finished runs say together: rows, learning curves, cost of accuracy, paired statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from striate.comparing.curves import by_size, learning_curve
from striate.comparing.doubling import per_doubling
from striate.comparing.outcomes import LESS_IS_BETTER, MAIN, Outcomes, pooled, read_outcomes
from striate.comparing.pairs import pairs
from striate.comparing.row import finished, flat, row_of
from striate.comparing.trial import Trial
from striate.core.files import csv_text, read_json
from striate.planning.plan import Plan

COSTS = ("training_flops_by_operations", "macs", "kwh")
SAME = ("layers", "depth", "parameters", "parameters_run", "macs", "kwh_source", "size", "number_format", "options")
"""Columns of which a network's row takes the first run's; of the other numbers it takes the mean."""

Group = tuple[str, str, float]
Part = dict[tuple[int, str | None], Outcomes]
"""Seed and fold → what that run said."""


def label_of(network: str, start: str) -> str:
    """Return what a network with its start is called."""
    return network if start == "random" else f"{network} ({start.replace('_', ', ')})"


def result_of(runs: Sequence[Trial], out: Path) -> dict[str, Any]:
    """Read every finished run of a comparison and return what is written into ``compare.json`` about them."""
    done = [t for t in runs if finished(t.folder(out))]
    if not done:
        return {
            "runs": [],
            "networks": [],
            "curves": [],
            "size": None,
            "doubling": {},
            "invariance": {},
            "pairs": [],
            "main": None,
        }
    task = Plan.read(done[0].folder(out) / "plan.yaml").task
    exclusive = None if task.kind in ("segmentation", "reconstruction") else not task.multi_label
    rows, parts = [], dict[Group, Part]()
    for trial in done:
        said = read_outcomes(trial.folder(out), task.kind, trial.seed, exclusive=exclusive)
        rows.append(row_of(trial, trial.folder(out), said.measures()))
        parts.setdefault(trial.group, {})[trial.seed, trial.fold] = said
    repeated = {group: shared([part])[0] for group, part in parts.items()}
    main, whole = MAIN[task.kind], max(t.fraction for t in runs)
    groups = [_network_row(group, seeds, rows) for group, seeds in repeated.items()]
    full = {label_of(*group[:2]): seeds for group, seeds in repeated.items() if group[2] == whole}
    shown = [g for g in groups if g["fraction"] == whole]
    less = main in LESS_IS_BETTER
    return {
        "task": task.kind,
        "main": main,
        "runs": rows,
        "networks": groups,
        "curves": _curves(parts, groups, main),
        "size": _size(parts, shown, main),
        "doubling": {cost: per_doubling(shown, main, cost, less_is_better=less) for cost in COSTS},
        "invariance": _invariance(done, out, whole),
        "pairs": pairs({name: pooled(list(seeds.values())) for name, seeds in full.items()}),
    }


def _network_row(group: Group, seeds: Mapping[int, Outcomes], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one row for all repetitions and folds of a network at one share of the data."""
    network, start, fraction = group
    own = [r for r in rows if (r["network"], r["start"], r["fraction"]) == group]
    row: dict[str, Any] = {"label": label_of(network, start), "network": network, "start": start, "fraction": fraction}
    row |= {"repetitions": len(own), "validation_subjects": len({s for one in seeds.values() for s in one.subjects})}
    row |= flat(pooled(list(seeds.values())).measures())
    for name in own[0]:
        if name in row or name in ("seed", "fold", "run"):
            continue
        values = [r[name] for r in own]
        known = [v for v in values if isinstance(v, (int, float))]
        row[name] = (
            values[0] if name in SAME or not known else max(known) if name == "peak_memory_bytes" else fmean(known)
        )
    return row


def shared(parts: Sequence[Part]) -> list[dict[int, Outcomes]]:
    """Return, of each part, seed → outcomes of the folds that every part has; a run that failed in one counts in none."""
    common = [key for key in parts[0] if all(key in part for part in parts)]
    seeds = dict.fromkeys(seed for seed, _ in common)
    return [{seed: pooled([part[key] for key in common if key[0] == seed]) for seed in seeds} for part in parts]


def _curves(parts: Mapping[Group, Part], groups: Sequence[dict[str, Any]], main: str) -> list[dict[str, Any]]:
    """Return a learning curve for each network with its start; runs that a share lacks are left out."""
    subjects = {(g["network"], g["start"], g["fraction"]): g["training_subjects"] for g in groups}
    found = []
    for network, start in dict.fromkeys(group[:2] for group in parts):
        own = sorted(group for group in parts if group[:2] == (network, start))
        same = shared([parts[group] for group in own])
        if not same[0]:
            continue
        label = label_of(network, start)
        curve = learning_curve(label, main, [subjects[group] for group in own], same)
        found.append({"label": label, "network": network, "start": start, **curve})
    return found


def _size(parts: Mapping[Group, Part], shown: Sequence[dict[str, Any]], main: str) -> dict[str, Any] | None:
    """Return what a larger network would give, told by networks that started alike, from random weights."""
    own = [row for row in shown if row["start"] == "random"]
    same = shared([parts[row["network"], "random", row["fraction"]] for row in own]) if own else [{}]
    if not same[0]:
        return None
    return by_size(main, [row["label"] for row in own], [row["parameters_run"] for row in own], same)


def _invariance(done: Sequence[Trial], out: Path, whole: float) -> dict[str, Any]:
    """Return label → what the probe of its first run with all the data measured."""
    found: dict[str, Any] = {}
    for trial in done:
        path = trial.folder(out) / "invariance.json"
        if trial.fraction == whole and path.exists():
            found.setdefault(label_of(trial.network, trial.start), read_json(path))
    return found


def table_of(result: Mapping[str, Any]) -> str:
    """Return ``compare.csv``: a row for every run (``kind`` run) and for each network at each share (``kind`` network)."""
    rows = [{"kind": "network", **r} for r in result["networks"]] + [{"kind": "run", **r} for r in result["runs"]]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text(columns, ([row.get(name) for name in columns] for row in rows))
