"""Sprite sheets: a volume as one picture of all its slices, as a data URI that a page can hold.

Images become WebP (lossy, 8-bit grey), masks PNG with the index of the label times a step, which survives a browser's
rounding exactly. Slices run along the last axis, left to right and top to bottom; pixel (x, y) of a tile is voxel (x, y).
"""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.reporting.panel import Panel

TARGET_COLOURS = ("#E69F00", "#56B4E9", "#00A87B", "#CC79A7", "#F0E442", "#D55E00", "#4C8EDA", "#B8B8B8")
"""Colours of labels (Okabe and Ito's palette, distinguishable by the colour-blind), in the order of the labels."""
WEBP_LIMIT = 16383


def viewer_data(panel: Panel, quality: int = 60) -> dict[str, Any]:
    """Return what the page's script needs to show `panel`, as plain JSON.

    Parameters
    ----------
    panel
        The volumes.
    quality
        Of the lossy pictures, 1 to 100.
    """
    size = panel.prediction.shape
    columns = max(1, min(math.ceil(math.sqrt(size[2] * size[1] / size[0])), WEBP_LIMIT // size[0]))
    masks = [m for m in (panel.prediction, panel.truth) if m is not None]
    values = sorted({int(v) for m in masks for v in np.unique(m)} - {0})
    step = max(1, 255 // max(len(values), 1))
    targets: list[dict[str, Any]] = [
        {
            "name": name,
            "colour": TARGET_COLOURS[n % len(TARGET_COLOURS)],
            **({"double": True} if n % (2 * len(TARGET_COLOURS)) >= len(TARGET_COLOURS) else {}),
            "members": [values.index(v) + 1 for v in wanted if v in values],
        }
        for n, (name, wanted) in enumerate(panel.targets.items())
    ]
    targets.sort(key=lambda target: -len(target["members"]))
    channels = [{"name": n, "src": _webp(_sheet(v, columns), quality)} for n, v in panel.images.items()]
    return {
        "case": panel.case,
        "size": list(size),
        "spacing": list(panel.spacing_mm),
        "columns": columns,
        "step": step,
        "channels": channels,
        "prediction": _png(_sheet(_indexed(panel.prediction, values, step), columns)),
        "truth": None if panel.truth is None else _png(_sheet(_indexed(panel.truth, values, step), columns)),
        "targets": targets,
        "oriented": panel.oriented,
        "start": start_slices(panel),
        "source": {"size": list(panel.source_shape), "offset": list(panel.offset), "factor": list(panel.factor)},
    }


def tile(picture: NDArray[np.uint8], quality: int = 75) -> str:
    """Return one picture (H, W), rows from top to bottom, as a data URI."""
    return _webp(picture, quality)


def start_slices(panel: Panel) -> list[int]:
    """Return for each axis the slice with the most lesion (of the truth where there is one), else the middle one."""
    truth = panel.truth
    mask = truth if truth is not None and truth.any() else panel.prediction
    found = []
    for axis in range(3):
        area = np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
        found.append(int(area.argmax()) if area.any() else mask.shape[axis] // 2)
    return found


def _indexed(labels: NDArray[Any], values: list[int], step: int) -> NDArray[np.uint8]:
    table = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.uint8)
    for n, value in enumerate(values, start=1):
        if value < table.size:
            table[value] = min(255, n * step)
    return np.asarray(table[labels])


def _sheet(volume: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Return the slices of (I, J, K) as one (rows × J, columns × I) picture."""
    i, j, k = volume.shape
    rows = math.ceil(k / columns)
    tiles = np.zeros((rows * columns, j, i), dtype=np.uint8)
    tiles[:k] = volume.transpose(2, 1, 0)
    return np.asarray(tiles.reshape(rows, columns, j, i).transpose(0, 2, 1, 3).reshape(rows * j, columns * i))


def _webp(sheet: NDArray[np.uint8], quality: int) -> str:
    from PIL import Image as Picture
    from PIL import features

    if max(sheet.shape) > WEBP_LIMIT or not features.check("webp"):
        return _png(sheet)
    buffer = io.BytesIO()
    Picture.fromarray(sheet).convert("RGB").save(buffer, "WEBP", quality=quality, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _png(sheet: NDArray[np.uint8]) -> str:
    from PIL import Image as Picture

    buffer = io.BytesIO()
    Picture.fromarray(sheet).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
