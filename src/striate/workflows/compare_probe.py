"""How the output of each trained network changes with shift, scale and clutter of what is in the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from striate.core.files import write_json
from striate.data.samples import SampleStore
from striate.data.split import Split
from striate.inference.invariance import invariance
from striate.model.model import Model

FILE = "invariance.json"
MOST_IMAGES, AT_ONCE = 64, 8
SHIFTS = (1 / 16, 1 / 8, 1 / 4)
"""Shares of the edge by which the images are moved along the first axis."""
SCALES = (0.7, 0.85, 1.15, 1.4)
CLUTTER = 1 / 2
"""Share of the edge between an object and the neighbour that is added."""


def probe(run: Path) -> None:
    """Write ``invariance.json`` of a finished run whose prepared images are still there; only whole images have one.

    The images are the first validation images, as the network sees them; a background that is not even, or an object that
    leaves the image, changes with the shift, too.
    """
    model = Model.open(run)
    if model.plan.task.kind != "classification" or not (run / "cache").is_dir():
        return
    store, split = SampleStore.open(run / "cache"), Split.read(run / "split.json")
    rows = store.of(split.validation)
    chosen = rows[:: max(1, -(-len(rows) // MOST_IMAGES))]
    images = torch.from_numpy(np.asarray(store.images[chosen], dtype=np.float32))
    edge, dims = min(images.shape[2:]), images.ndim - 2
    moves = [max(1, round(share * edge)) for share in SHIFTS]
    network = model.network().eval()
    found = invariance(
        lambda x: torch.cat([network(x[n : n + AT_ONCE]) for n in range(0, len(x), AT_ONCE)]),
        images,
        shifts=[(by, *(0,) * (dims - 1)) for by in moves],
        scales=SCALES,
        clutter=[(round(CLUTTER * edge), *(0,) * (dims - 1))],
    )
    write_json(run / FILE, {"edge": edge, **found.to_dict()})
