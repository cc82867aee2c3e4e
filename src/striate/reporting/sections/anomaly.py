"""Where cases differ from what the network learned: of each the most unusual slice, with its anomaly map over it."""

from __future__ import annotations

import numpy as np

from striate.core.errors import DataError
from striate.reporting.anomaly_panel import FILE, read_anomaly_panel
from striate.reporting.figures.overlay import colour_bar, full_colour, picture
from striate.reporting.folder import Folder
from striate.reporting.numbers import fixed, interval
from striate.reporting.section import Section

TITLE = "What is unusual"
MEASURES = {
    "auroc": ("Voxel AUROC", 3),
    "average_precision": ("Average precision", 3),
    "share": ("Average precision of a map that knows nothing (share of voxels in the mask)", 4),
    "best_dice": ("Dice at each case's best threshold, an upper bound", 3),
}


def make(folder: Folder) -> Section:
    """Return the pictures of ``panels/anomaly.npz``, all in one scale of colours."""
    try:
        shown, total = read_anomaly_panel(folder.results / FILE)
    except DataError as error:
        return Section(
            "anomaly", TITLE, absent=f"There are no anomaly maps to show: {str(error).replace(f'{folder.path}/', '')}"
        )
    full = full_colour(np.concatenate([one.values.ravel() for one in shown]))
    rows = [
        {
            "case": one.case,
            "score": fixed(one.score, 1),
            "place": one.place,
            "image": picture(one.image, one.spacing_mm),
            "made": picture(one.made, one.spacing_mm),
            "map": picture(
                one.image,
                one.spacing_mm,
                values=one.values,
                full=full,
                outlines=() if one.mask is None else (one.mask,),
            ),
        }
        for one in shown
    ]
    data = {
        "rows": rows,
        "hidden": total - len(rows),
        "bar": colour_bar(full, both=False, words="z-score"),
        "measures": _measures(folder),
        "outlined": any(one.mask is not None for one in shown),
    }
    return Section("anomaly", TITLE, data)


def _measures(folder: Folder) -> list[dict[str, str]]:
    """Return how well the maps tell the masks, where `striate evaluate` compared them."""
    found = folder.evaluation.get("anomaly")
    summary = found.get("summary") if isinstance(found, dict) else None
    return [
        {
            "name": name,
            "mean": fixed(one.get("mean"), digits),
            "interval": interval(one.get("low"), one.get("high"), digits),
            "n": fixed(one.get("n"), 0),
        }
        for key, (name, digits) in MEASURES.items()
        if (one := (summary or {}).get(key))
    ]
