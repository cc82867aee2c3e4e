"""`Panel`: what the figure image · ground truth · prediction of one case needs, small enough to keep beside the masks.

Volumes are 8-bit, cut to the head (and to every label), and averaged down to at most 192 voxels along an axis.
3D arrays are RAS+ (first axis to the subject's Right, then Anterior, then Superior); 2D arrays are (columns, rows).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.case import Case
from striate.core.errors import GeometryError, expected
from striate.core.image import LabelMap, to_ras
from striate.core.targets import Targets
from striate.reporting.arrays import facts_of, reading, write_arrays
from striate.reporting.shrink import Bytes, average, box_around, nearest, small, window

KIND, VERSION = "striate-panel", 1
LONGEST = 192
"""Voxels along an axis at most."""


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
        with reading(path, "a panel written by striate train or predict is") as stored:
            facts = facts_of(stored, path, KIND, VERSION)
            return cls(
                facts["case"],
                {name: stored[f"image_{n}"] for n, name in enumerate(facts["channels"])},
                stored["prediction"],
                stored.get("truth"),
                _three(facts["spacing_mm"]),
                {int(v): n for v, n in facts["label_names"].items()},
                {n: tuple(v) for n, v in facts["regions"].items()} if facts["regions"] else None,
                _three(facts["source_shape"]),
                _three(facts["offset"]),
                _three(facts["factor"]),
                facts["oriented"],
            )


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
        Channel → (I, J, K) in RAS+ or (I, J); any numeric type. They are shown as `window` returns them.
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
    masks = {"prediction": prediction} if truth is None else {"prediction": prediction, "truth": truth}
    _check_shapes(name, images, masks)
    solid = {key: np.asarray(v).reshape((*v.shape, 1)[:3]) for key, v in masks.items()}
    shown = {channel: window(np.asarray(v).reshape((*v.shape, 1)[:3])) for channel, v in images.items()}
    box = box_around(list(shown.values()), *solid.values())
    shape = tuple(s.stop - s.start for s in box)
    bins = [min(n, LONGEST) for n in shape]
    factor = [n / b for n, b in zip(shape, bins, strict=True)]
    facts = {
        "case": name,
        "channels": list(images),
        "oriented": prediction.ndim == 3,
        "spacing_mm": [s * f for s, f in zip((*spacing_mm, 1.0)[:3], factor, strict=True)],
        "factor": factor,
        "source_shape": list(solid["prediction"].shape),
        "offset": [s.start for s in box],
        "label_names": {str(v): n for v, n in (label_names or {}).items() if int(v) != 0},
        "regions": {n: [int(v) for v in values] for n, values in regions.items()} if regions else None,
    }
    arrays: dict[str, Any] = {f"image_{n}": average(v[box], bins) for n, v in enumerate(shown.values())}
    arrays |= {key: nearest(small(v[box]), bins) for key, v in solid.items()}
    write_arrays(path, KIND, VERSION, facts, arrays)


def _check_shapes(name: str, images: Mapping[str, NDArray[Any]], masks: Mapping[str, NDArray[Any]]) -> None:
    found = [np.shape(v) for v in (*images.values(), *masks.values())]
    if images and len(set(found)) == 1 and len(found[0]) in (2, 3):
        return
    shapes = f"of images {[np.shape(v) for v in images.values()]}, of masks {[np.shape(v) for v in masks.values()]}"
    want = "one or more images and masks of one 2D or 3D shape are needed"
    raise GeometryError(expected(f"case {name}", f"panel shapes {shapes}", want), case=name)


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
    from striate.io.read import read_channels

    turn, grid = to_ras(label.grid)
    images = {channel: turn.apply(image.array[0]) for channel, image in read_channels(case).items()}
    names = label_names or ({values[0]: n for n, values in targets.sets.items()} if targets.exclusive else {})
    write_panel(
        path,
        images,
        turn.apply(label.array),
        grid.spacing_mm,
        case=case.name,
        label_names=names,
        truth=None if truth is None else turn.apply(truth.array),
        regions=None if targets.exclusive else targets.sets,
    )


def _three(values: Any) -> Any:
    a, b, c = values
    return (a, b, c)
