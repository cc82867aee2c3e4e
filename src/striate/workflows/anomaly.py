"""Anomaly maps of models that reconstruct: what is usual, learned at the end of training; maps, scores and a panel of cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from striate.core.case import Case
from striate.core.files import csv_text, write_text
from striate.core.image import Image
from striate.core.progress import Progress
from striate.data.back import back
from striate.data.prepare import Prepared
from striate.data.samples import SampleStore, fit, unfit
from striate.data.split import Split
from striate.explaining.scene import on_working_grid
from striate.inference.anomaly import SMOOTHING_VOXELS, Calibration, deviation, difference, score, usual
from striate.inference.whole import WholePrediction, through
from striate.io.read import read_label
from striate.io.write import write_image
from striate.measure.anomaly import TABLE
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.reporting.anomaly_panel import Shown, write_anomaly_panel
from striate.reporting.sample_panel import upright
from striate.training.run import Run

MOST = 256
"""Training images, spread evenly, from which it is learned what is usual."""
GREYS_PER_Z = 10
"""In PNG files, which hold whole numbers: grey 10 is a z-score of 1, 255 one of 25.5 or more."""
FOLDER = "anomaly"
SAID = 5
"""Cases that are named at the end."""


def usual_of(plan: Plan, run: Run, split: Split, network: nn.Module) -> dict[str, Any]:
    """Return what a model that reconstructs must know to find anomalies, as ``model.json`` holds it; nothing of others."""
    if plan.task.kind != "reconstruction":
        return {}
    store = SampleStore.open(run / "cache")
    rows = store.of(split.train)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(MOST, len(rows))).round().astype(int))]
    images = np.asarray(store.images[rows], dtype=np.float32)
    pairs = zip(images, through(network, images), strict=True)
    found = usual(difference(image, made) for image, made in pairs)
    return {"anomaly": {**found.to_dict(), "samples": len(rows)}}


@dataclass
class Anomalies:
    """Writes the anomaly maps of cases one after the other, and what is told of all of them at the end.

    Attributes
    ----------
    folder
        Of the prediction.
    calibration
        What is usual.
    rows
        Case, subject, score, file.
    shown
        A picture of each case.
    """

    folder: Path
    calibration: Calibration
    rows: list[tuple[str, str, float, str]] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)

    @classmethod
    def of(cls, model: Model, folder: Path, progress: Progress) -> Anomalies:
        """Begin; a model that does not know what is usual gives differences instead of z-scores, and that is said."""
        dims, known = model.plan.network.spatial_dims, model.facts.get("anomaly")
        if known is None:
            channels = len(model.plan.task.channels)
            known = {"mean": [0.0] * channels, "std": [1.0] * channels, "smoothing_voxels": SMOOTHING_VOXELS}
            progress.warn(
                "the model does not know what is usual (it is older than anomaly maps): they hold smoothed differences in the"
                " unit of the prepared image, no z-scores. Train it anew to have them."
            )
        return cls(folder, Calibration.from_dict(known, dims))

    def add(self, prediction: WholePrediction) -> None:
        """Write the map of a case: z-scores on the grid of its files, 0 where nothing is unusual or nobody looked."""
        made, prepared = prediction.reconstructions, prediction.prepared
        if made is None or prepared is None:
            return
        smoothing = self.calibration.smoothing_voxels
        found = np.stack([
            np.maximum(deviation(difference(image, again, smoothing), self.calibration), 0)
            for image, again in zip(prediction.images, made, strict=True)
        ])  # fmt: skip
        grid = prepared.grid.shape
        planes = unfit(found, grid[: found.ndim - 1])
        whole = np.moveaxis(planes, 0, -1) if prediction.slices else planes[0]
        name = f"{FOLDER}/{prediction.case.name}{'.nii.gz' if len(grid) == 3 else '.png'}"
        (self.folder / name).parent.mkdir(exist_ok=True)
        write_image(self.folder / name, _storable(back(whole[None], prepared)))
        value = score(found)
        self.rows.append((prediction.case.name, prediction.case.subject, value, name))
        self.shown.append(_shown(prediction, found, value, prepared))

    def finish(self, progress: Progress) -> None:
        """Write ``anomaly.csv``, the most unusual case first, and the pictures of the report."""
        if not self.rows:
            return
        rows = sorted(self.rows, key=lambda row: -row[2])
        first = ", ".join(f"{case} {value:.3g}" for case, _, value, _ in rows[:SAID])
        progress.note(f"Most unusual (score): {first}; all in {TABLE}, maps in {FOLDER}")
        cells = ((case, subject, repr(value), name) for case, subject, value, name in rows)
        write_text(self.folder / TABLE, csv_text(("case", "subject", "score", "map"), cells))
        write_anomaly_panel(self.folder, self.shown)


def _storable(found: Image) -> Image:
    """Return the map as its file can hold it."""
    if found.array.ndim == 4:
        return found
    return Image((GREYS_PER_Z * found.array).round().clip(0, 255).astype(np.uint8), found.affine)


def _shown(prediction: WholePrediction, found: NDArray[np.float32], value: float, prepared: Prepared) -> Shown:
    """Return the picture of a case: its most unusual slice, with the outline of its label where there is one."""
    scan = len(prepared.grid.shape) == 3
    at = int(np.percentile(found.reshape(len(found), -1), 99, axis=1).argmax())
    image, made, map_ = prediction.images[at], prediction.reconstructions[at], found[at]  # type: ignore[index]
    truth = _truth(prediction.case, prepared)
    plane = prediction.slices[at] if prediction.slices else None
    mask = None
    if truth is not None:
        cut = truth if plane is None else truth[..., plane - prepared.crop[2].start]
        mask = fit(cut[None].astype(np.float32), map_.shape)[0] > 0
    if map_.ndim == 3:
        middle = int(map_.max(axis=(0, 1)).argmax())
        image, made, map_ = image[..., middle], made[..., middle], map_[..., middle]
        mask = None if mask is None else mask[..., middle]
    spacing_mm = prepared.grid.spacing_mm[1], prepared.grid.spacing_mm[0]
    return Shown(
        case=prediction.case.name,
        score=value,
        place="" if plane is None else f"axial slice {plane}",
        spacing_mm=spacing_mm,
        image=upright(image[0], oriented=scan),
        made=upright(made[0], oriented=scan),
        values=upright(map_, oriented=scan),
        mask=None if mask is None else upright(mask, oriented=scan),
    )


def _truth(case: Case, prepared: Prepared) -> NDArray[np.bool_] | None:
    """Return where any label is, on the working grid; None without a label map on the grid of the image."""
    if case.label is None:
        return None
    label = read_label(case.label)
    return on_working_grid(label.array, prepared) if label.grid.matches(prepared.source) else None
