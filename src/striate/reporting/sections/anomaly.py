"""Where cases differ from what the network learned: of each the most unusual slice, with its anomaly map over it."""

from __future__ import annotations

import numpy as np

from striate.core.errors import DataError
from striate.reporting.anomaly_panel import FILE, read_anomaly_panel
from striate.reporting.figures.overlay import colour_bar, full_colour, picture
from striate.reporting.folder import Folder
from striate.reporting.numbers import fixed
from striate.reporting.section import Section

TITLE = "What is unusual"


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
        "outlined": any(one.mask is not None for one in shown),
    }
    return Section("anomaly", TITLE, data)
