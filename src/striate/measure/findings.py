"""`Findings`: numbers in units about masks: volumes in mL, counts, lesions, changes, and how far each can be trusted.

On disk: ``findings.json`` (kind ``striate-findings``) and ``findings.csv`` (one row per case, then one per label total
and one per lesion). Both read back to equal findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from striate.core.caution import Caution
from striate.core.errors import DataError, expected
from striate.core.files import in_folder, read_document, write_json, write_text
from striate.core.geometry import closest_axes
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.measure.box import bounding_box
from striate.measure.change import Change
from striate.measure.components import components
from striate.measure.finding import CaseFindings, LabelFindings, Lesion, Quantity
from striate.measure.findings_table import from_csv, to_csv
from striate.measure.volume import volume_ml

T = TypeVar("T")

KIND, VERSION = "striate-findings", 2
SLAB_VOXELS = 1 << 20
"""Voxels whose indices are held at one time."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings of one or several cases, in the order in which they were examined.

    Attributes
    ----------
    cases
        One entry per case.
    changes
        One entry per pair of examinations of a subject that were compared.

    Raises
    ------
    DataError
        When two cases have one name, or a pair is there twice.
    """

    cases: tuple[CaseFindings, ...] = field(default=())
    changes: tuple[Change, ...] = field(default=())

    def __post_init__(self) -> None:
        name = _repeated(case.case for case in self.cases)
        if name is not None:
            raise DataError(expected("findings", f"case '{name}' twice", "each case is needed once"), case=name)
        pair = _repeated((change.subject, change.before, change.after) for change in self.changes)
        if pair is not None:
            told = "the change of subject '{}' from '{}' to '{}' twice".format(*pair)
            raise DataError(expected("findings", told, "each pair is needed once"), case=pair[2])

    @classmethod
    def of(cls, case_name: str, label: LabelMap, targets: Targets, warnings: Iterable[Caution] = ()) -> Findings:
        """Measure one label map.

        Parameters
        ----------
        case_name
            Name of the case.
        label
            Label map (I, J, K) or (I, J).
        targets
            Which values make which label or region; each is measured on its own.
        warnings
            Reasons for doubt that the reader of the numbers must see.
        """
        labels = {name: _label_findings(label, targets, name) for name in targets.names}
        return cls((CaseFindings(case_name, labels, tuple(warnings)),))

    @classmethod
    def join(cls, parts: Iterable[Findings]) -> Findings:
        """Put the cases and the changes of several findings behind each other."""
        held = list(parts)
        return cls(tuple(c for part in held for c in part.cases), tuple(c for part in held for c in part.changes))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document; ``changes`` only where there are any."""
        cases = [case.to_dict() for case in self.cases]
        document: dict[str, Any] = {"kind": KIND, "schema_version": VERSION, "cases": cases}
        if self.changes:
            document["changes"] = [change.to_dict() for change in self.changes]
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Findings:
        """Read the JSON document."""
        cases = tuple(CaseFindings.from_dict(case) for case in document["cases"])
        return cls(cases, tuple(Change.from_dict(change) for change in document.get("changes") or ()))

    def write(self, path: Path) -> None:
        """Write ``.json`` or, where the name ends so, ``.csv``; whole or not at all.

        A folder gets both, as ``findings.json`` and ``findings.csv``.
        """
        path = Path(path)
        if path.is_dir():
            self.write(path / "findings.json")
            self.write(path / "findings.csv")
        elif path.suffix.lower() == ".csv":
            write_text(path, to_csv(self.cases, self.changes))
        else:
            write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> Findings:
        """Read findings from ``.json``, ``.csv`` or a folder that holds ``findings.json``.

        Raises
        ------
        FormatError
            When the file is missing, is not findings, or is of a newer version.
        """
        path = in_folder(path, "findings.json")
        if path.suffix.lower() == ".csv":
            return cls(*from_csv(path))
        return read_document(path, KIND, VERSION, cls.from_dict)


def _repeated(names: Iterable[T]) -> T | None:
    """Return the first name that comes a second time, or None."""
    seen = set[T]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _label_findings(label: LabelMap, targets: Targets, name: str) -> LabelFindings:
    mask = targets.mask(label.array, name)
    box = bounding_box(mask)
    if box is None:
        return LabelFindings(Quantity(0.0), Quantity(0))
    from scipy import ndimage

    numbers, count = components(mask[box])
    voxels, centres = _sizes_and_centres(numbers, count)
    grid, dims = label.grid, label.array.ndim
    spacing_mm, voxel_ml = grid.spacing_mm, volume_ml(1, grid)
    first = [o.start for o in box]
    world = np.zeros((count, 4))
    world[:, :dims], world[:, 3] = centres + first, 1.0
    world = world @ grid.affine.T
    order = range(2) if dims == 2 else [int(a) for a in np.argsort([axis for axis, _ in closest_axes(grid.affine)])]
    lesions = []
    for index, found in enumerate(ndimage.find_objects(numbers, count)):
        bbox = tuple((s.start + o, s.stop + o) for s, o in zip(found, first, strict=True))
        lengths = [(stop - start) * size for (start, stop), size in zip(bbox, spacing_mm, strict=True)]
        lesions.append(
            Lesion(
                volume_ml=int(voxels[index]) * voxel_ml,
                voxels=int(voxels[index]),
                centroid_mm=tuple(world[index, :dims].tolist()),
                extent_mm=tuple(lengths[axis] for axis in order),
                bbox=bbox,
            )
        )
    lesions.sort(key=lambda lesion: (-lesion.voxels, lesion.bbox))
    return LabelFindings(Quantity(volume_ml(int(voxels.sum()), grid)), Quantity(count), tuple(lesions))


def _sizes_and_centres(numbers: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the voxels of each component, (count,), and its centre in voxels, (count, axes); slab by slab."""
    voxels, sums = np.zeros(count + 1, np.int64), np.zeros((numbers.ndim, count + 1))
    rows = max(1, max(SLAB_VOXELS, 8 * count) * len(numbers) // numbers.size)
    for start in range(0, len(numbers), rows):
        slab = numbers[start : start + rows]
        inside = np.nonzero(slab)
        which = slab[inside]
        voxels += np.bincount(which, minlength=count + 1)
        for axis, places in enumerate(inside):
            sums[axis] += np.bincount(which, weights=places + (start if axis == 0 else 0), minlength=count + 1)
    return voxels[1:], (sums[:, 1:] / voxels[1:]).T
