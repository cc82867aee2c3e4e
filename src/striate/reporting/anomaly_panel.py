"""``panels/anomaly.npz``: of each case the image and its anomaly map, on the slice that is most unusual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.reporting.arrays import facts_of, reading, write_arrays
from striate.reporting.shrink import window

KIND, VERSION = "striate-anomaly-panel", 1
FILE = Path("panels") / "anomaly.npz"
MOST = 12
"""Cases at most, those of the highest scores."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One case.

    Attributes
    ----------
    case
        Its name.
    score
        How unusual it is.
    place
        Which slice it is; empty for pictures.
    spacing_mm
        Height and width of a pixel.
    image
        (H, W), upright; of any type when written, uint8 when read.
    made
        (H, W) the reconstruction, likewise.
    values
        (H, W) float32 z-scores, not negative.
    mask
        (H, W) bool, the true label; None where it is not known.
    """

    case: str
    score: float
    place: str
    spacing_mm: tuple[float, float]
    image: NDArray[Any]
    made: NDArray[Any]
    values: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None


def write_anomaly_panel(path: Path, shown: Sequence[Shown]) -> None:
    """Store the pictures of at most `MOST` cases in a folder, the most unusual first, whole or not at all."""
    kept = sorted(shown, key=lambda one: -one.score)[:MOST]
    facts = [{"case": s.case, "score": s.score, "place": s.place, "spacing_mm": list(s.spacing_mm)} for s in kept]
    arrays: dict[str, NDArray[Any]] = {}
    for n, one in enumerate(kept):
        both = window(np.concatenate([one.image, one.made]))  # in one window, so that what is too dark looks too dark
        arrays[f"image_{n}"], arrays[f"made_{n}"] = np.split(both, 2)
        arrays[f"values_{n}"] = one.values.astype(np.float16)
        if one.mask is not None:
            arrays[f"mask_{n}"] = one.mask
    write_arrays(Path(path) / FILE, KIND, VERSION, {"cases": facts, "total": len(shown)}, arrays)


def read_anomaly_panel(path: Path) -> tuple[list[Shown], int]:
    """Read the pictures, and how many cases there were.

    Raises
    ------
    FormatError
        When the file is missing, broken or of a newer version.
    """
    with reading(path, "pictures written by striate predict are") as stored:
        facts = facts_of(stored, path, KIND, VERSION)
        shown = [
            Shown(
                str(one["case"]), float(one["score"]), str(one["place"]), (one["spacing_mm"][0], one["spacing_mm"][1]),
                stored[f"image_{n}"], stored[f"made_{n}"], stored[f"values_{n}"].astype(np.float32), stored.get(f"mask_{n}"),
            )
            for n, one in enumerate(facts["cases"])
        ]  # fmt: skip
        return shown, int(facts["total"])
