"""The files of `explain`: maps on the input's own grid, panels for the report, rows of ``explanations.json``, the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.case import Case
from striate.core.files import hash_file
from striate.core.machine import peak_rss_bytes
from striate.core.progress import Progress
from striate.core.record import Record, Stopwatch
from striate.explaining.activating_patches import Patch
from striate.explaining.effort import Effort
from striate.explaining.explanation import Explanation
from striate.explaining.feature_maps import FeatureMaps
from striate.explaining.scene import Scene
from striate.explaining.target import Target, plain_name
from striate.io.read import hash_image
from striate.io.write import write_image
from striate.model.model import Model
from striate.reporting.explanation_panel import write_explanation_panel, write_pictures
from striate.workflows.explain_case import Look

KIND, VERSION, FILE = "striate-explanations", 1, "explanations.json"


def write_target(
    folder: Path, look: Look, target: Target, scene: Scene, found: Sequence[Explanation], effort: Effort
) -> list[dict[str, Any]]:
    """Write the maps of a target and its panel; return one row per method.

    Of a cascade, what the mask of the first stage adds is also written by itself, where a method tells channels apart.
    """
    stem, channels, masks = f"{look.case.name}_{target.stem}", look.channels, len(look.masks)
    rows, maps = list[dict[str, Any]](), {}
    for one in found:
        total = one.attribution.sum(axis=0, keepdims=True)
        maps[one.method] = scene.placed(total)[0]
        name = f"{stem}_{one.method}.nii.gz"
        write_image(folder / name, scene.restore(total))
        rows.append(
            {"case": look.case.name, "target": target.to_dict(), **one.to_dict(), "file": name,
             "channels": _shares(one.attribution, channels), "decided": scene.decided, "effort": effort.to_dict(),
             "panel": f"panels/{stem}.npz"}
        )  # fmt: skip
        if masks and len(one.attribution) == len(channels):
            rows[-1]["previous_file"] = f"{stem}_{one.method}_previous.nii.gz"
            write_image(
                folder / rows[-1]["previous_file"], scene.restore(one.attribution[-masks:].sum(0, keepdims=True))
            )
    _panel(folder / "panels" / f"{stem}.npz", look, target, scene, maps)
    return rows


def _shares(attribution: NDArray[np.float32], channels: Sequence[str]) -> dict[str, float]:
    """Return the share of each channel of the absolute attribution; nothing where a method does not tell them apart."""
    sums = np.abs(attribution).reshape(len(attribution), -1).sum(axis=1, dtype=np.float64)
    if len(sums) != len(channels) or not sums.any():
        return {}
    return dict(zip(channels, (sums / sums.sum()).tolist(), strict=True))


def _panel(path: Path, look: Look, target: Target, scene: Scene, maps: dict[str, NDArray[np.float32]]) -> None:
    """Write the slice on which the target is largest (of a class: on which most is said)."""
    prepared, masks = look.prepared, None
    if scene.inside is not None:
        masks = look.predicted[target.label], scene.placed(scene.inside[None])[0] > 0
    plane = None
    if len(prepared.grid.shape) == 3:
        said = np.stack([np.abs(m) / max(float(np.abs(m).max()), 1e-30) for m in maps.values()])
        plane = int((said.sum(axis=0) if masks is None else masks[1]).sum(axis=(0, 1)).argmax())
    images = dict(zip(look.case.channels, prepared.array, strict=False))
    if look.masks:
        images["mask of the first stage"] = _drawn(prepared.array[-len(look.masks) :])
    write_explanation_panel(
        path, images, maps, prepared.grid.spacing_mm[:2],
        masks=masks, plane=plane, place=_place(look, plane),
    )  # fmt: skip


def _drawn(masks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return masks (labels, *grid) as one picture in grey: each label brighter than the one before."""
    grey = np.linspace(255, 128, len(masks)).round()[::-1]
    return np.asarray(np.tensordot(grey, masks, axes=1), dtype=np.uint8)


def _place(look: Look, plane: int | None) -> str:
    """Return which axial slice of the input `plane` of the working grid is, counted from 0, the lowest."""
    if plane is None:
        return ""
    prepared = look.prepared
    scale = prepared.cropped.shape[2] / prepared.grid.shape[2]
    number = prepared.crop[2].start + int((plane + 0.5) * scale)
    return f"axial slice {number} (0 to {prepared.turned_shape[2] - 1})"


def write_features(folder: Path, look: Look, found: FeatureMaps, scene: Scene) -> dict[str, Any]:
    """Write the maps of a layer as images and as pictures of the slice on which the target is largest."""
    stem, files = f"{look.case.name}_{plain_name(found.layer)}", []
    for unit, values in zip(found.units, found.maps, strict=True):
        files.append(f"features/{stem}_{unit}.nii.gz")
        write_image(folder / files[-1], scene.restore(values[None]))
    whole, plane = scene.placed(found.maps), None
    if len(look.prepared.grid.shape) == 3:
        area = scene.placed((scene.tissue if scene.inside is None else scene.inside)[None])[0]
        plane = int(area.sum(axis=(0, 1)).argmax())
    pictures = [m if plane is None else m[:, :, plane] for m in whole]
    write_pictures(folder / "panels" / f"{stem}.npz", pictures, oriented=plane is not None)
    return {
        "case": look.case.name, "layer": found.layer, "units": found.units, "total": found.total, "files": files,
        "place": _place(look, plane), "panel": f"panels/{stem}.npz",
    }  # fmt: skip


def write_patches(folder: Path, layer: str, unit: int, found: Sequence[Patch], cases: Sequence[str]) -> dict[str, Any]:
    """Write the pictures of the patches that excite a unit most."""
    name = f"panels/{plain_name(layer)}_{unit}_patches.npz"
    oriented = any(len(patch.voxel) == 3 for patch in found)
    write_pictures(folder / name, [patch.picture for patch in found], oriented=oriented, together=True)
    rows = [patch.to_dict() for patch in found]
    return {"layer": layer, "unit": unit, "cases": list(cases), "patches": rows, "panel": name}


def record_of(
    verb: str, model: Model, cases: Sequence[Case], folder: Path, options: Mapping[str, Any], seed: int | None,
    progress: Progress, watch: Stopwatch,
) -> Record:  # fmt: skip
    """Return the record of a look into `model` on `cases`, by `verb`; what was written lies in `folder`."""
    read = {f"{c.name}/{name}": hash_image(path) for c in cases for name, path in c.channels.items()}
    written = {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    facts: dict[str, Any] = {
        "peak_rss_bytes": peak_rss_bytes(), "weights_sha256": model.facts.get("weights_sha256"),
        "task": model.plan.task.model_dump(mode="json"), "network": model.plan.network.name,
    }  # fmt: skip
    if model.previous is not None:
        facts["first_stage"] = {"weights_sha256": model.previous.facts.get("weights_sha256")}
    record = Record(
        verb,
        options=dict(options),
        seed=seed,
        inputs=read,
        outputs=written,
        facts=facts,
        warnings=list(progress.warnings),
    )
    return replace(record, **watch.fields())
