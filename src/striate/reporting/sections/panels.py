"""The figure image · ground truth · prediction of each case, slice by slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from striate.core.errors import FormatError
from striate.reporting.folder import Folder
from striate.reporting.numbers import measure_text, number, volume
from striate.reporting.panel import Panel
from striate.reporting.section import Section
from striate.reporting.sprites import viewer_data
from striate.reporting.still import stills

MOST = 8
"""Cases shown at most: the page stays small. They are spread from the worst to the best."""
MOST_TOLD = 5
"""Targets whose Dice or volume stands beside a case's name."""
TITLE = "Image, ground truth and prediction"

SHORT = "Image and prediction"


def make(folder: Folder) -> Section:
    """Return one viewer per case, at most `MOST`, and the reason for each that cannot be shown."""
    title = TITLE if folder.kind == "run" else SHORT
    files = folder.panels
    if not files:
        place = "validation/panels" if folder.kind == "run" else "panels"
        return Section("panels", title, absent=f"There is nothing to look at: {place} holds no panel (CASE.npz).")
    scores = _scores(folder)
    chosen = spread(sorted(files, key=lambda f: (scores.get(f.stem, 2.0), f.stem)), MOST)
    quality = 72 if len(chosen) <= 4 else 50
    viewers: list[dict[str, Any]] = []
    broken: list[str] = []
    for file in chosen:
        try:
            panel = Panel.read(file)
        except FormatError as error:
            broken.append(str(error).replace(f"{folder.path}/", ""))
            continue
        data = viewer_data(panel, quality)
        viewers.append(
            {"data": data, "case": panel.case, "told": _told(folder, panel), "slices": data["size"][2],
             "stills": stills(panel, data["targets"])}
        )  # fmt: skip
    if not viewers:
        return Section("panels", title, absent=" ".join(broken))
    truth = any(v["data"]["truth"] for v in viewers)
    title = TITLE if truth else SHORT
    of = len(files) if folder.changes else max(len(files), len(folder.cases))  # of many cases the first have panels
    hidden = {"hidden": of - len(chosen), "by_dice": bool(scores), "pictured": len(files) if of > len(files) else 0}
    return Section("panels", title, {"viewers": viewers, "broken": broken, "truth": truth, **hidden})


def spread(items: list[Path], most: int) -> list[Path]:
    """Return at most `most` items, evenly spread from the first to the last."""
    if len(items) <= most:
        return items
    return [items[round(n * (len(items) - 1) / (most - 1))] for n in range(most)]


def _scores(folder: Folder) -> dict[str, float]:
    """Return case → mean Dice over its labels."""
    found = {}
    for case in folder.evaluation.get("cases") or []:
        values = [v for m in case.values() if isinstance(m, dict) and (v := number(m.get("dice"))) is not None]
        if values:
            found[str(case.get("case"))] = sum(values) / len(values)
    return found


def _told(folder: Folder, panel: Panel) -> list[str]:
    """Return what stands beside the case's name: Dice or volume of each target."""
    measured: dict[str, Any] = next(
        (c for c in folder.evaluation.get("cases") or [] if c.get("case") == panel.case), {}
    )
    dice = [
        f"{n} Dice {measure_text('dice', m['dice'])}"
        for n, m in measured.items()
        if isinstance(m, dict) and number(m.get("dice")) is not None
    ]
    found = next((c for c in folder.cases if c.get("case") == panel.case), {})
    told = dice or [f"{n} {volume(m.get('volume_ml'))} mL" for n, m in (found.get("labels") or {}).items()]
    return told if len(told) <= MOST_TOLD else [*told[:MOST_TOLD], f"{len(told) - MOST_TOLD} more in the tables"]
