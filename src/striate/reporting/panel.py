"""`Panel`: what the figure image · ground truth · prediction of one case needs, small enough to keep beside the masks.

Volumes are 8-bit, cut to the head (and to every label), and averaged down to at most 192 voxels along an axis.
3D arrays are RAS+ (first axis to the subject's Right, then Anterior, then Superior); 2D arrays are (columns, rows).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.case import Case
from striate.core.errors import FormatError, GeometryError, expected
from striate.core.files import writing
from striate.core.image import LabelMap, to_ras
from striate.core.targets import Targets

VERSION = 1
LONGEST = 192
"""Voxels along an axis at most."""
MARGIN = 3
"""Voxels kept around what is shown."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """What the figure of one case needs.

    Attributes
    ----------
    case
        Name of the case.
    images
        Channel → (I, J, K) uint8, already windowed; K is 1 for 2D images.
    prediction, truth
        (I, J, K) label values, on the same grid; `truth` is None where there is none.
    spacing_mm
        Voxel size of these (perhaps averaged) volumes.
    label_names
        Value → name, background left out.
    regions
        Name → label values where overlapping regions were predicted, else None.
    source_shape, offset, factor
        Shape before cutting, first kept voxel, and how many voxels were averaged to one, along each axis.
    oriented
        True for 3D volumes in RAS+; False for 2D images, whose directions in the body are not known.
    """

    case: str
    images: Mapping[str, Bytes]
    prediction: NDArray[Any]
    truth: NDArray[Any] | None
    spacing_mm: tuple[float, float, float]
    label_names: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]] | None
    source_shape: tuple[int, int, int]
    offset: tuple[int, int, int]
    factor: tuple[float, float, float]
    oriented: bool

    @property
    def targets(self) -> dict[str, tuple[int, ...]]:
        """Name → label values of what is drawn: the regions, or each label."""
        if self.regions:
            return dict(self.regions)
        values = {int(v) for v in np.unique(self.prediction)} | set(self.label_names)
        if self.truth is not None:
            values |= {int(v) for v in np.unique(self.truth)}
        return {self.label_names.get(v, f"label {v}"): (v,) for v in sorted(values) if v != 0}

    @classmethod
    def read(cls, path: Path) -> Panel:
        """Read a panel.

        Raises
        ------
        FormatError
            When the file is missing, broken or of a newer version.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                facts = json.loads(str(stored["facts"]))
                if facts["schema_version"] > VERSION:
                    raise FormatError(
                        expected(path, f"schema version {facts['schema_version']}", f"this Striate reads up to {VERSION}",
                                 "Upgrade Striate: pip install -U striate"), path=path,
                    )  # fmt: skip
                images = {name: stored[f"image_{n}"] for n, name in enumerate(facts["channels"])}
                return cls(
                    facts["case"], images, stored["prediction"], stored["truth"] if "truth" in stored else None,
                    _three(facts["spacing_mm"]), {int(v): n for v, n in facts["label_names"].items()},
                    {n: tuple(v) for n, v in facts["regions"].items()} if facts["regions"] else None,
                    _three(facts["source_shape"]), _three(facts["offset"]), _three(facts["factor"]), facts["oriented"],
                )  # fmt: skip
        except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            problem = "there is no such file" if isinstance(error, FileNotFoundError) else f"not readable ({error})"
            raise FormatError(
                expected(path, problem, "a panel written by striate train or predict is needed"), path=path
            ) from error


def write_panel(
    path: Path,
    images: Mapping[str, NDArray[Any]],
    prediction: NDArray[Any],
    spacing_mm: tuple[float, ...],
    *,
    truth: NDArray[Any] | None = None,
    label_names: Mapping[int, str] | None = None,
    regions: Mapping[str, tuple[int, ...]] | None = None,
    case: str | None = None,
) -> None:
    """Store the panel of one case, whole or not at all.

    Parameters
    ----------
    path
        Where to (``panels/CASE.npz``).
    images
        Channel → (I, J, K) in RAS+ or (I, J); any numeric type. What is not uint8 is windowed between the 0.5th and
        99.5th percentile of what is not background.
    prediction, truth
        Label values on the same grid.
    spacing_mm
        Voxel size along each axis.
    label_names, regions
        As in the plan's task.
    case
        Name of the case; the file's stem where it is not given.

    Raises
    ------
    GeometryError
        When shapes differ or there is no image.
    """
    name = case or Path(path).stem
    volumes = {**images, "prediction": prediction, **({} if truth is None else {"truth": truth})}
    shapes = {key: np.shape(v) for key, v in volumes.items()}
    if not images or len(set(shapes.values())) != 1 or prediction.ndim not in (2, 3):
        raise GeometryError(
            expected(
                f"case {name}",
                f"panel shapes {shapes}",
                "one or more images and masks of one 2D or 3D shape are needed",
            ),
            case=name,
        )
    oriented = prediction.ndim == 3
    solid = {key: np.asarray(v).reshape((*v.shape, 1)[:3]) for key, v in volumes.items()}
    spacing = _three((*spacing_mm, 1.0)[:3])
    shown = {channel: window(solid[channel]) for channel in images}
    box = _box(list(shown.values()), solid["prediction"], solid.get("truth"))
    shape = tuple(s.stop - s.start for s in box)
    bins = [min(n, LONGEST) for n in shape]
    factor = [n / b for n, b in zip(shape, bins, strict=True)]
    facts = {
        "kind": "striate-panel", "schema_version": VERSION, "case": name, "channels": list(images), "oriented": oriented,
        "spacing_mm": [s * f for s, f in zip(spacing, factor, strict=True)], "factor": factor,
        "source_shape": list(solid["prediction"].shape), "offset": [s.start for s in box],
        "label_names": {str(v): n for v, n in (label_names or {}).items() if int(v) != 0},
        "regions": {n: [int(v) for v in values] for n, values in regions.items()} if regions else None,
    }  # fmt: skip
    arrays: dict[str, Any] = {f"image_{n}": _average(v[box], bins) for n, v in enumerate(shown.values())}
    arrays |= {key: _nearest(_small(solid[key][box]), bins) for key in ("prediction", "truth") if key in solid}
    with writing(Path(path)) as beside, beside.open("wb") as stream:
        np.savez_compressed(stream, facts=np.array(json.dumps(facts)), **arrays)


def write_case_panel(
    path: Path,
    case: Case,
    label: LabelMap,
    targets: Targets,
    truth: LabelMap | None = None,
    label_names: Mapping[int, str] | None = None,
) -> None:
    """Read the images of `case`, turn them and the masks to RAS+, and store the panel.

    Parameters
    ----------
    path
        Where to (``panels/CASE.npz``).
    case
        Whose images are shown; they lie on the grid of `label`.
    label, truth
        Predicted and true label map.
    targets
        What was predicted; regions are drawn as regions.
    label_names
        Value → name; taken from `targets` where they are exclusive.
    """
    from striate.io.read import read_image

    turn, grid = to_ras(label.grid)
    images: dict[str, NDArray[Any]] = {}
    for channel, file in case.channels.items():
        array = read_image(file).array
        for n, volume in enumerate(array):
            images[channel if len(array) == 1 else f"{channel} {n + 1}"] = turn.apply(volume)
    names = label_names or ({values[0]: n for n, values in targets.sets.items()} if targets.exclusive else {})
    write_panel(
        path, images, turn.apply(label.array), grid.spacing_mm, case=case.name, label_names=names,
        truth=None if truth is None else turn.apply(truth.array), regions=None if targets.exclusive else targets.sets,
    )  # fmt: skip


def window(volume: NDArray[Any]) -> Bytes:
    """Return `volume` as uint8: background 0, the rest 1 to 255 between its 0.5th and 99.5th percentile.

    Background is the value that fills the corners, where it fills at least a twentieth of the volume; uint8 comes back
    unchanged.
    """
    if volume.dtype == np.uint8:
        return volume
    values = np.nan_to_num(np.asarray(volume, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    empty = values == values.flat[0]
    if empty.mean() < 0.05 or empty.all():
        empty = np.zeros(values.shape, dtype=bool)
    inside = values[~empty]
    low, high = np.percentile(inside[:: max(1, inside.size // 500_000)], (0.5, 99.5))
    scaled = np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 254 + 1
    scaled[empty] = 0
    return np.asarray(scaled.round().astype(np.uint8))


def _three(values: Any) -> Any:
    a, b, c = values
    return (a, b, c)


def _box(shown: list[Bytes], *masks: NDArray[Any] | None) -> tuple[slice, ...]:
    """Return the smallest box around the head and all labels, with a margin."""
    inside = np.zeros(shown[0].shape, dtype=bool)
    for image in shown:
        inside |= image > 25
    for mask in masks:
        if mask is not None:
            inside |= mask > 0
    box = []
    for axis, size in enumerate(inside.shape):
        share = inside.mean(axis=tuple(a for a in range(3) if a != axis))
        kept = np.flatnonzero(share > 2e-4)
        low, high = (int(kept[0]), int(kept[-1]) + 1) if kept.size else (0, size)
        box.append(slice(max(0, low - MARGIN), min(size, high + MARGIN)))
    for axis, cut in enumerate(box):
        for mask in masks:
            if mask is not None and (mask > 0).any():
                kept = np.flatnonzero((mask > 0).any(axis=tuple(a for a in range(3) if a != axis)))
                cut = slice(min(cut.start, int(kept[0])), max(cut.stop, int(kept[-1]) + 1))
        box[axis] = cut
    return tuple(box)


def _average(volume: Bytes, bins: list[int]) -> Bytes:
    """Average to `bins` voxels along each axis (box filter over whole voxels)."""
    found: NDArray[Any] = volume
    for axis, count in enumerate(bins):
        size = found.shape[axis]
        if size != count:
            edges = np.round(np.arange(count + 1) * size / count).astype(int)
            total = np.add.reduceat(found, edges[:-1], axis=axis, dtype=np.float32)
            widths = np.diff(edges).reshape([-1 if a == axis else 1 for a in range(3)])
            found = total / widths
    return np.asarray(found.round().astype(np.uint8) if found.dtype != np.uint8 else found)


def _nearest(labels: NDArray[Any], bins: list[int]) -> NDArray[Any]:
    for axis, count in enumerate(bins):
        size = labels.shape[axis]
        if size != count:
            labels = np.take(labels, ((np.arange(count) + 0.5) * size / count).astype(int), axis=axis)
    return labels


def _small(labels: NDArray[Any]) -> NDArray[Any]:
    return labels.astype(np.uint8 if int(labels.max(initial=0)) < 256 else np.uint16)
