"""The pictures of a case where no script runs: the slice with the most lesion, with the outlines of truth and prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.reporting.figures.overlay import outlined
from striate.reporting.panel import Panel
from striate.reporting.sample_panel import upright
from striate.reporting.sprites import start_slices


def stills(panel: Panel, targets: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return ``image``, ``truth`` (where there is one) and ``prediction`` as data URIs, and which slice they are (``place``).

    Parameters
    ----------
    panel
        The volumes.
    targets
        ``name`` and ``colour`` (#RRGGBB) of each structure, in the order in which they are drawn.
    """
    plane = start_slices(panel)[2]
    pixel_mm = panel.spacing_mm[1], panel.spacing_mm[0]

    def cut(volume: NDArray[Any]) -> NDArray[Any]:
        return upright(volume[:, :, plane], oriented=panel.oriented)

    def drawn(labels: NDArray[Any] | None) -> str:
        lines = (
            [] if labels is None else [(one["colour"], np.isin(labels, panel.targets[one["name"]])) for one in targets]
        )
        return outlined(image, pixel_mm, lines)

    image, targets = cut(next(iter(panel.images.values()))), list(targets)
    found = {"image": drawn(None), "prediction": drawn(cut(panel.prediction))}
    if panel.truth is not None:
        found["truth"] = drawn(cut(panel.truth))
    place = int(panel.offset[2] + (plane + 0.5) * panel.factor[2])
    return {**found, "place": f"axial slice {place} (0 to {panel.source_shape[2] - 1})" if panel.oriented else ""}
