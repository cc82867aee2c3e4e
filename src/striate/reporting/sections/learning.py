"""Learning curves: loss, measures of the validation cases, learning rate, and where the time of the updates went."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from striate.measure.named import measure_name
from striate.reporting.figures.lines import Series, line_plot, smoothed, thinned
from striate.reporting.figures.shares import Share, percent, share_bar
from striate.reporting.folder import Folder
from striate.reporting.section import Section

WAIT_LIMIT = 10.0
"""Per cent of the time that the network may wait for data."""

NO_MEASURES = ("step", "elapsed_s", "loss")
"""Columns of ``validation.csv`` that are drawn elsewhere or not at all."""
SHARES = ("accuracy", "exact_match", "balanced_accuracy", "error_rate", "macro_auc", "precision", "f1", "ssim")

PARTS = {
    "data_wait_s": ("waiting for data", 6), "host_to_device_s": ("to the device", 1), "forward_s": ("forward", 7),
    "backward_s": ("backward", 2), "optimiser_s": ("optimiser", 3), "rest_s": ("the rest", 8),
}  # fmt: skip
"""Column of ``metrics.csv`` → name of that part of an update, and its colour."""
COMPUTING = ("forward_s", "backward_s", "optimiser_s")

PEAKED = {"dice_mean": "Dice", "balanced_accuracy": "balanced accuracy"}
"""Measure of the held-out cases that is looked at for a peak → its name; the first that there is."""
FALL = 0.01
"""Between its peak and the end; less is noise."""

Values = list[dict[str, float | None]]


def make(folder: Folder) -> Section:
    """Return the plots, each with its key; what is missing is said below them."""
    if not folder.metrics and not folder.validations:
        why = folder.why.get("metrics.csv", "metrics.csv has no rows.")
        return Section("learning", "Learning", absent=f"There are no learning curves: {why}")
    spent = seconds_by_part(folder.metrics)
    steps = [s for row in folder.metrics + folder.validations if (s := row.get("step")) is not None]
    whole = (min(steps, default=0.0), max(steps, default=1.0))
    shown = (
        _loss(folder), _dice(folder, whole), *_others(folder.validations, whole), _rate(folder.metrics),
        _wait(folder.metrics), _split(spent),
    )  # fmt: skip
    plots = [p for p in shown if p]
    missing = [folder.why[n] for n in ("metrics.csv", "validation.csv") if n in folder.why]
    if not folder.validations and not missing:
        missing = ["No validation was recorded."]
    notes = [note for note in (_fallen(folder.validations), _spent(folder, spent)) if note]
    return Section("learning", "Learning", {"plots": plots, "missing": missing, "notes": notes})


def seconds_by_part(rows: Values) -> dict[str, float]:
    """Return column → seconds over the rows that have every part (runs of older versions have none): see `PARTS`."""
    whole = [row for row in rows if all(row.get(column) is not None for column in PARTS)]
    return {column: sum(row[column] or 0.0 for row in whole) for column in PARTS} if whole else {}


def _fallen(rows: Values) -> str:
    """Say that the held-out cases were predicted better before the end, where that is so."""
    name = next((n for n in PEAKED if any(row.get(n) is not None for row in rows)), "")
    found = [(value, row.get("step") or 0.0) for row in rows if (value := row.get(name)) is not None]
    if not found:
        return ""
    (best, at), (last, end) = max(found, key=lambda one: one[0]), found[-1]
    if last > best - FALL:
        return ""
    return (
        f"The {PEAKED[name]} of the held-out cases was highest after {at:.0f} of {end:.0f} updates ({best:.3f}) and is"
        f" {last:.3f} at the end: the network went on to fit its training cases, not others. More cases would help, more time"
        " does not. The model is that of the end: one chosen by the held-out cases would be measured too well by them."
    )


def _spent(folder: Folder, spent: dict[str, float]) -> str:
    """Say where the time went: of the updates, part by part, or how long the network waited where that alone is known."""
    whole_s, waited_s = (sum(row.get(column) or 0.0 for row in folder.metrics) for column in ("step_s", "data_wait_s"))
    if not whole_s:
        return ""
    waited, total = percent(waited_s, whole_s), sum(spent.values())
    if total:
        computing = percent(sum(spent[column] for column in COMPUTING), total)
        return (
            f"Of the time of the updates the network waited {waited} for data and computed"
            f" {computing}. The remainder is bringing batches to the device, averaging the weights, writing down and, where a"
            " network is hardened, the attack."
        )
    return f"Of the time of the updates the network waited {waited} for data."


def _column(rows: Values, name: str) -> tuple[list[float], list[float]]:
    pairs = [(s, v) for r in rows if (s := r.get("step")) is not None and (v := r.get(name)) is not None]
    return [s for s, _ in pairs], [v for _, v in pairs]


def _plot(plot: Markup, keys: list[tuple[str, int]], caption: str) -> dict[str, Any]:
    return {"plot": plot, "keys": keys, "caption": caption}


def _loss(folder: Folder) -> dict[str, Any] | None:
    x, y = _column(folder.metrics, "loss")
    if not x:
        return None
    series = [Series("each update", x, y, 8, faint=True), Series("training", x, smoothed(y), 7)]
    keys = [("training (running mean)", 7)]
    vx, vy = _column(folder.validations, "loss")
    if vx:
        series.append(Series("validation", vx, vy, 6, dots=len(vx) < 60))
        keys.append(("validation", 6))
    smooth = thinned(x, smoothed(y))[1]
    low, high = min(smooth + vy), max(sorted(y)[: max(1, round(len(y) * 0.995))] + vy)
    room = (high - low) * 0.05 or 0.1
    low = min(low, *sorted(y)[round(len(y) * 0.005) : round(len(y) * 0.005) + 1])
    return _plot(
        line_plot(series, "update", "Loss", y_range=(low - room if low < 0 else max(0.0, low - room), high + room)),
        keys,
        "loss",
    )


def _dice(folder: Folder, whole: tuple[float, float]) -> dict[str, Any] | None:
    rows = folder.validations
    names = [n for n in (rows[0] if rows else {}) if n.startswith("dice_")]
    names = [n for n in names if n != "dice_mean" or len(names) != 2]
    names.sort(key=lambda n: n == "dice_mean")
    series, keys = [], []
    for n, name in enumerate(names):
        x, y = _column(rows, name)
        if x:
            colour = 8 if name == "dice_mean" else n % 7 + 1
            series.append(Series(name.removeprefix("dice_"), x, y, colour, dots=len(x) < 60))
            keys.append((name.removeprefix("dice_"), colour))
    if not series:
        return None
    plot = line_plot(series, "update", "Validation Dice", x_range=whole, y_range=(0, 1))
    return _plot(plot, keys, "Dice of the held-out cases")


def _others(rows: Values, whole: tuple[float, float]) -> list[dict[str, Any]]:
    """Return one plot of all measures between 0 and 1, and one of each other measure, over the updates of the `whole` run."""
    names = [n for n in (rows[0] if rows else {}) if n not in NO_MEASURES and not n.startswith("dice_")]
    lines = [(n, *_column(rows, n)) for n in names]
    lines = [line for line in lines if line[1]]
    shares = [
        line for line in lines if line[0] in SHARES or line[0].split("_")[0] in ("auc", "sensitivity", "specificity")
    ]
    plots = []
    if shares:
        colours = [n % 8 + 1 for n in range(len(shares))]
        series = [
            Series(measure_name(n), x, y, c, dots=len(x) < 60) for c, (n, x, y) in zip(colours, shares, strict=True)
        ]
        keys = [(one.name, one.colour) for one in series]
        plot = line_plot(series, "update", "Validation measures", x_range=whole, y_range=(0, 1))
        plots.append(_plot(plot, keys, "validation measures"))
    for name, x, y in lines:
        if (name, x, y) not in shares:
            told = measure_name(name)
            one = Series(told, x, y, 6, dots=len(x) < 60)
            plots.append(_plot(line_plot([one], "update", f"Validation: {told}", x_range=whole), [], told))
    return plots


def _rate(rows: Values) -> dict[str, Any] | None:
    x, y = _column(rows, "learning_rate")
    if not x:
        return None
    shown = [Series("learning rate", x, [v * 1000 for v in y], 7)]
    return _plot(line_plot(shown, "update", "Learning rate (× 10⁻³)", zero=True), [], "learning rate")


def _wait(rows: Values) -> dict[str, Any] | None:
    found = [
        (s, w, t)
        for r in rows
        if (s := r.get("step")) is not None and (w := r.get("data_wait_s")) is not None and (t := r.get("step_s"))
    ]
    if not found:
        return None
    size = max(1, len(found) // 60)
    groups = [found[n : n + size] for n in range(0, len(found), size)]
    x = [sum(s for s, _, _ in g) / len(g) for g in groups]
    y = [100 * sum(w for _, w, _ in g) / sum(t for _, _, t in g) for g in groups]
    top = max(12.0, *(v * 1.08 for v in y))
    mark = (WAIT_LIMIT, f"aim: at most {WAIT_LIMIT:g} %")
    return _plot(
        line_plot(
            [Series("waiting", x, y, 7)],
            "update",
            "Waiting for data (% of time)",
            y_range=(0, min(100.0, top)),
            mark=mark,
        ),
        [],
        "waiting",
    )


def _split(spent: dict[str, float]) -> dict[str, Any] | None:
    total = sum(spent.values())
    if not total:
        return None
    shares = [Share(name, spent[column], colour) for column, (name, colour) in PARTS.items()]
    keys = [(f"{s.name} {percent(s.size, total)}", s.colour) for s in shares]
    return _plot(share_bar(shares, "Time of the updates (%)"), keys, "time of the updates")
