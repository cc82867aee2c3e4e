"""What a reader wants first: the measure with its interval, or the volumes."""

from __future__ import annotations

from typing import Any

from striate.measure.named import MEASURES, measure_name
from striate.reporting.folder import Folder
from striate.reporting.numbers import (
    NONE,
    bounds,
    fixed,
    interval,
    interval_name,
    measure_interval,
    measure_text,
    number,
    volume,
    volume_decimals,
)
from striate.reporting.section import Section
from striate.reporting.sections.headline_classes import classes_called, classes_measured, classes_note
from striate.reporting.sections.review import reviews

MOST = 6
MOST_REVIEWS = 3
"""Cases in need of review that are named above the numbers."""


def make(folder: Folder) -> Section:
    """Return the opening numbers of a run (measures on held-out cases) or of a prediction (volumes)."""
    tiles = _tiles(folder)
    if tiles:
        return Section("headline", "", {"tiles": tiles[:MOST], "note": _note(folder, tiles), "review": _review(folder)})
    reasons = [
        folder.why[n]
        for n in (
            "validation/evaluation.json",
            "evaluation.json",
            "predictions.csv",
            "findings.json",
            "validation/findings.json",
        )
        if n in folder.why
    ]
    why = " ".join(reasons[:1]) or "no case was measured."
    return Section("headline", "", absent=f"There are no headline numbers: {why}")


def _tiles(folder: Folder) -> list[dict[str, Any]]:
    if folder.task in ("classification", "sequence"):
        return classes_measured(folder.evaluation) or classes_called(folder)
    if folder.task == "reconstruction":
        return _reconstructed(folder)
    return _measured(folder) if folder.kind == "run" else _found(folder)


def _review(folder: Folder) -> dict[str, Any] | None:
    """Return the predicted cases that must not be used without review, to be named above their numbers."""
    found = reviews(folder) if folder.kind == "prediction" else []
    if not found:
        return None
    shown = found[:MOST_REVIEWS]
    return {"rows": shown, "n": len(found), "more": len(found) - len(shown), "of": len(folder.cases)}


def _reconstructed(folder: Folder) -> list[dict[str, Any]]:
    tiles = []
    for name, measures in (folder.evaluation.get("summary") or {}).items():
        shown = next(
            (m for m in ("ssim", "psnr_db", "mse") if number((measures.get(m) or {}).get("mean")) is not None), ""
        )
        if not shown:
            continue
        one = measures[shown]
        count = int(number(one.get("n")) or 0)
        others = [m for m in ("psnr_db", "mse", "mae") if m != shown]
        facts = [("95 % interval", measure_interval(shown, one.get("low"), one.get("high")) if count > 1 else "")]
        facts += [(measure_name(m), measure_text(m, (measures.get(m) or {}).get("mean"))) for m in others]
        what = f"{MEASURES[shown][0]}, {'' if count == 1 else 'mean, '}n = {count}"
        tiles.append(
            {
                "name": name,
                "what": what,
                "value": measure_text(shown, one["mean"]),
                "unit": MEASURES[shown][1],
                "count": count,
                "facts": [(k, v) for k, v in facts if v not in ("", NONE)],
            }
        )
    return tiles


def _measured(folder: Folder) -> list[dict[str, Any]]:
    tiles = []
    for name, measures in (folder.evaluation.get("summary") or {}).items():
        dice = measures.get("dice") or {}
        if number(dice.get("mean")) is None:
            continue
        count = int(number(dice.get("n")) or 0)
        facts = [
            ("95 % interval", interval(dice.get("low"), dice.get("high")) if count > 1 else ""),
            ("HD95", _with_unit((measures.get("hd95_mm") or {}).get("median"), 1, "mm" + " (median)" * (count > 1))),
            (
                "volume error",
                _with_unit((measures.get("volume_error_ml") or {}).get("mean"), 1, "mL" + " (mean)" * (count > 1)),
            ),
        ]
        tiles.append(
            {
                "name": name,
                "what": f"Dice, n = {count}" if count == 1 else f"Dice, mean, n = {count}",
                "value": fixed(dice["mean"], 2),
                "unit": "",
                "count": count,
                "facts": [(k, v) for k, v in facts if v],
            }
        )
    return tiles


def _found(folder: Folder) -> list[dict[str, Any]]:
    cases = folder.cases
    tiles = []
    for name in _names(cases):
        rows = [(c.get("case", ""), c["labels"][name]) for c in cases if name in (c.get("labels") or {})]
        volumes = [v for _, row in rows if (v := number(row.get("volume_ml"))) is not None]
        counts = [int(v) for _, row in rows if (v := number(row.get("count"))) is not None]
        if not volumes:
            continue
        spread = bounds(rows[0][1].get("count"), 0) if len(rows) == 1 else ""
        facts = [("lesions", f"{sum(counts)} ({spread})" if spread else str(sum(counts)))] if counts else []
        if len(volumes) > 1:
            facts = [("range", f"{volume(min(volumes))} to {volume(max(volumes))} mL"), *facts]
        else:
            quantity = rows[0][1].get("volume_ml")
            found = bounds(quantity, volume_decimals(volumes))
            facts = [(interval_name([quantity]), f"{found} mL")] * bool(found) + facts
        middle = (
            sorted(volumes)[len(volumes) // 2]
            if len(volumes) % 2
            else sum(sorted(volumes)[len(volumes) // 2 - 1 :][:2]) / 2
        )
        what = "volume" if len(volumes) == 1 else f"volume, median, n = {len(volumes)}"
        tiles.append(
            {"name": name, "what": what, "value": volume(middle), "unit": "mL", "count": len(volumes), "facts": facts}
        )
    return tiles


def _names(cases: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for c in cases for name in (c.get("labels") or {})))


def _with_unit(value: Any, decimals: int, unit: str) -> str:
    text = fixed(value, decimals)
    return "" if text == NONE else f"{text} {unit}"


def _note(folder: Folder, tiles: list[dict[str, Any]]) -> str:
    hidden = f" The tables hold {len(tiles) - MOST} more." if len(tiles) > MOST else ""
    count = max(t["count"] for t in tiles)
    if folder.task in ("classification", "sequence"):
        return classes_note(folder) + hidden
    if folder.kind == "prediction" and folder.task == "segmentation":
        whole = (
            f"Measured on the predicted masks of {count} cases."
            if count > 1
            else "Measured on the predicted mask of one case."
        )
        return whole + hidden
    if count == 1:
        return "One held-out case: a single case gives no interval and says little about the next one." + hidden
    if folder.kind == "prediction":
        return f"Mean over {count} cases; bootstrap interval over subjects.{hidden}"
    small = " With so few cases the interval is itself uncertain." if count < 10 else ""
    seen = "never seen in training" if folder.unseen else "whether they were seen in training is not known"
    return f"Mean over {count} held-out cases, {seen}; bootstrap interval over subjects.{small}{hidden}"
