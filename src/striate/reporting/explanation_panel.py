"""``panels/*.npz`` of an explanation folder: the slice that an explanation is shown on, and small pictures.

Pictures are upright: rows from top to bottom; scans as radiologists look at them (`striate.reporting.sample_panel.upright`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, expected
from striate.reporting.arrays import Arrays, facts_of, reading, write_arrays
from striate.reporting.sample_panel import upright
from striate.reporting.shrink import Bytes, window

KIND, VERSION = "striate-explanation-panel", 1


@dataclass(frozen=True, slots=True, eq=False)
class ExplanationPanel:
    """One slice with all that was said of it.

    Attributes
    ----------
    images
        Channel → (H, W) uint8.
    prediction, target
        (H, W) bool: all that was predicted to be the label, and the part of it that is explained; None for classes.
    maps
        Method → (H, W) float32, channels added.
    spacing_mm
        Height and width of a pixel.
    place
        Which slice it is; empty for pictures.
    """

    images: Mapping[str, Bytes]
    prediction: NDArray[np.bool_] | None
    target: NDArray[np.bool_] | None
    maps: Mapping[str, NDArray[np.float32]]
    spacing_mm: tuple[float, float]
    place: str

    @classmethod
    def read(cls, path: Path) -> ExplanationPanel:
        """Read a panel.

        Raises
        ------
        FormatError
            When the file is missing, broken or of a newer version.
        """
        with _reading(path, "panel") as (stored, facts):
            images = {name: stored[f"image_{n}"] for n, name in enumerate(facts["channels"])}
            maps = {name: stored[f"map_{n}"] for n, name in enumerate(facts["methods"])}
            spacing = (float(facts["spacing_mm"][0]), float(facts["spacing_mm"][1]))
            return cls(images, stored.get("prediction"), stored.get("target"), maps, spacing, str(facts["place"]))


def write_explanation_panel(
    path: Path,
    images: Mapping[str, NDArray[Any]],
    maps: Mapping[str, NDArray[Any]],
    spacing_mm: Sequence[float],
    *,
    masks: tuple[NDArray[Any], NDArray[Any]] | None = None,
    plane: int | None = None,
    place: str = "",
) -> None:
    """Store one slice of a case, whole or not at all.

    Parameters
    ----------
    path
        Where to.
    images
        Channel → (I, J, K) in RAS+, or (I, J); windowed as a whole, so that the slice looks as in a viewer.
    maps
        Method → the same shape.
    spacing_mm
        Of the first two axes.
    masks
        All that was predicted, and what is explained; the same shape.
    plane
        The axial slice of 3D arrays.
    place
        What it is called.
    """

    def cut(array: NDArray[Any]) -> NDArray[Any]:
        flat = array if plane is None else array[:, :, plane]
        return np.ascontiguousarray(upright(flat, oriented=plane is not None))

    arrays = {f"image_{n}": cut(_windowed(v)) for n, v in enumerate(images.values())}
    arrays |= {f"map_{n}": cut(v).astype(np.float32) for n, v in enumerate(maps.values())}
    if masks is not None:
        arrays |= {"prediction": cut(masks[0]) != 0, "target": cut(masks[1]) != 0}
    facts = {
        "form": "panel",
        "channels": list(images),
        "methods": list(maps),
        "spacing_mm": [spacing_mm[1], spacing_mm[0]],
        "place": place,
    }
    write_arrays(path, KIND, VERSION, facts, arrays)


def write_pictures(path: Path, pictures: Sequence[NDArray[Any]], *, oriented: bool, together: bool = False) -> None:
    """Store (I, J) pictures of one size, each windowed by itself, or all `together`; `oriented` as in `upright`."""
    windowed = _windowed(np.stack(pictures)) if together else map(_windowed, pictures)
    shown = [upright(picture, oriented=oriented) for picture in windowed]
    write_arrays(path, KIND, VERSION, {"form": "pictures"}, {"pictures": np.stack(shown)})


def read_pictures(path: Path) -> Bytes:
    """Return the pictures (N, H, W).

    Raises
    ------
    FormatError
        When the file is missing, broken or of a newer version.
    """
    with _reading(path, "pictures") as (stored, _):
        return stored["pictures"]


def _windowed(values: NDArray[Any]) -> Bytes:
    """Return `values` in 8 bits; a constant stays black."""
    return window(values) if np.ptp(values) > 0 else np.zeros(values.shape, dtype=np.uint8)


@contextmanager
def _reading(path: Path, form: str) -> Iterator[tuple[Arrays, dict[str, Any]]]:
    with reading(path, "a panel written by striate explain is") as stored:
        facts = facts_of(stored, path, KIND, VERSION)
        if facts["form"] != form:
            raise FormatError(expected(path, f"form '{facts['form']}'", f"form '{form}' is needed"), path=path)
        yield stored, facts
