"""``changes/*.npz`` of a folder of `striate change`: both times and the map of changes, and pictures of their slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, expected
from striate.measure.components import components
from striate.reporting.arrays import reading
from striate.reporting.figures.overlay import picture, tinted
from striate.reporting.sample_panel import upright

KINDS = ("new", "enlarged", "shrunken", "vanished")
VALUES = {"stable": 1, "new": 2, "enlarged": 3, "shrunken": 4, "vanished": 5}
COLOURS = {
    "stable": (204, 121, 167),
    "new": (213, 94, 0),
    "enlarged": (240, 228, 66),
    "shrunken": (0, 190, 138),
    "vanished": (86, 180, 233),
}
"""After Okabe and Ito's palette; what is gone is hatched and what stayed is outlined, so that not all hangs on the colour."""
HATCHED = ("shrunken", "vanished")
MOST = 3
AIR, MARGIN = 24, 4

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class ChangePanel:
    """Both times of one subject on the grid of the later image.

    Attributes
    ----------
    before, after
        (K, I, J) uint8, K axial slices of RAS+ images.
    change
        (K, I, J) uint8: 0, or one of `VALUES`.
    spacing_mm
        Along I, J and K.
    """

    before: Bytes
    after: Bytes
    change: Bytes
    spacing_mm: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> ChangePanel:
        """Read a panel.

        Raises
        ------
        FormatError
            When the file is missing, broken or of another form.
        """
        with reading(path, wanted := "a panel written by striate change is") as stored:
            before, after, change = (np.asarray(stored[name]) for name in ("before", "after", "change"))
            spacing = tuple(float(v) for v in stored["spacing_mm"])
        arrays = (before, after, change)
        if len({a.shape for a in arrays}) > 1 or after.ndim != 3 or any(a.dtype != np.uint8 for a in arrays):
            found = ", ".join(f"{a.dtype} {a.shape}" for a in arrays)
            raise FormatError(expected(path, f"holds {found}", f"{wanted} needed"), path=path)
        if len(spacing) != 3 or not all(0 < s < np.inf for s in spacing):
            raise FormatError(expected(path, f"spacing_mm {spacing}", "three positive numbers are needed"), path=path)
        return cls(before, after, change, spacing)

    def slices(self, most: int = MOST) -> tuple[list[int], int]:
        """Choose slices that show the changes.

        Returns
        -------
        planes
            That with the most change, then that with most of what has not been seen yet, and so on, at most `most`; without
            a change that with the most lesion, or the middle one.
        unseen
            Number of changed places that touch none of them.
        """
        places, count = components(self.change >= VALUES["new"])
        planes, left = list[int](), set(range(1, count + 1))
        while left and len(planes) < most:
            area = np.isin(places, list(left)).sum(axis=(1, 2))
            planes.append(int(area.argmax()))
            left -= set(np.unique(places[planes[-1]]).tolist())
        if not planes:
            area = np.count_nonzero(self.change, axis=(1, 2))
            planes.append(int(area.argmax()) if area.any() else len(self.change) // 2)
        return planes, len(left)

    def pictures(self, plane: int) -> tuple[str, str, str]:
        """Return before, after and the map of changes of one slice, as data URIs, cut to the head."""
        rows, columns = self._head()
        spacing = (self.spacing_mm[1], self.spacing_mm[0])
        before, after, change = (
            np.ascontiguousarray(upright(a[plane], oriented=True)[rows, columns])
            for a in (self.before, self.after, self.change)
        )
        masks = {name: change == value for name, value in VALUES.items()}
        shown = tinted(after, spacing, masks, COLOURS, hatched=HATCHED, outlined=("stable",))
        return picture(before, spacing), picture(after, spacing), shown

    def _head(self) -> tuple[slice, slice]:
        """Return rows and columns of the upright slices that hold more than air."""
        seen = upright(np.maximum(self.before, self.after).max(axis=0) > AIR, oriented=True)
        found = []
        for axis in (1, 0):
            there = np.flatnonzero(seen.mean(axis=axis) > 0.02)
            stop = seen.shape[1 - axis]
            found.append(
                slice(max(0, there[0] - MARGIN), min(stop, there[-1] + 1 + MARGIN)) if there.size else slice(stop)
            )
        return found[0], found[1]
