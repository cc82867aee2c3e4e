"""Anomaly maps against masks: how well their values tell the voxels of a mask from all others, without a threshold.

* ``auroc``: share of pairs (voxel of the mask, voxel outside) in which the first has the higher value, ties counting half. Air
  is told from a lesion easily, so that it flatters every map of a scan.
* ``average_precision`` = Σ (Rₙ − Rₙ₋₁) · Pₙ over the values that occur, falling, with recall R and precision P: the area under
  the precision-recall curve. A map that knows nothing has that of ``share``, the part of all voxels that lie in the mask.
* ``best_dice``: Dice at the threshold that is best for this very case: an upper bound, as nobody knows that threshold without
  the mask.

C. Baur et al., Medical Image Analysis 69:101952 (2021), judge such maps by the last two.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.measure.overlap import same_shape

MEASURES = ("auroc", "average_precision", "best_dice", "share")
TABLE = "anomaly.csv"
"""Beside the maps that `predict` writes: case, subject, score, map."""


def anomaly_measures(values: NDArray[Any], mask: NDArray[Any]) -> dict[str, float | None]:
    """Measure one map.

    Parameters
    ----------
    values
        (I, J, K) or (I, J), higher for what is unusual.
    mask
        Of the same shape; every non-zero element belongs to it.

    Returns
    -------
    dict
        Measure → value; None where the mask is empty, or holds everything.

    Raises
    ------
    GeometryError
        When the shapes differ.
    """
    same_shape(values, mask)
    truth = np.asarray(mask).ravel() != 0
    there, total = int(truth.sum()), truth.size
    share = there / total if total else 0.0
    if there in (0, total):
        return {"auroc": None, "average_precision": None, "best_dice": None, "share": share}
    order = np.argsort(-np.asarray(values, dtype=np.float32).ravel(), kind="stable")
    falling = np.asarray(values).ravel()[order]
    last = np.append(np.flatnonzero(np.diff(falling)), total - 1)
    right = np.cumsum(truth[order])[last].astype(np.float64)
    kept = last + 1.0
    found, false = right / there, (kept - right) / (total - there)
    return {
        "auroc": float(np.trapezoid(np.append(0.0, found), np.append(0.0, false))),
        "average_precision": float(np.sum(np.diff(found, prepend=0.0) * right / kept)),
        "best_dice": float((2 * right / (kept + there)).max()),
        "share": share,
    }


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Return the rows of `TABLE` in the folder of a prediction; none where it holds no maps."""
    if not (folder / TABLE).is_file():
        return []
    with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def scores_of(folder: Path) -> dict[str, float]:
    """Return case → its score, the most unusual first."""
    return {row["case"]: float(row["score"]) for row in rows_of(folder)}
