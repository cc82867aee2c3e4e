"""`Findings`: numbers in units about masks: volumes in mL, counts, and one row per lesion.

On disk: ``findings.json`` (kind ``striate-findings``) and ``findings.csv`` (one row per label total, then one per
lesion). Both read back to equal findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from striate.core.errors import DataError, FormatError, expected
from striate.core.files import read_json, write_json, write_text
from striate.core.geometry import closest_axes
from striate.core.image import Grid, LabelMap
from striate.core.targets import Targets
from striate.measure.box import bounding_box
from striate.measure.components import components
from striate.measure.finding import CaseFindings, LabelFindings, Lesion, Quantity
from striate.measure.findings_table import from_csv, to_csv
from striate.measure.volume import volume_ml

KIND, VERSION = "striate-findings", 1


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings of one or several cases, in the order in which they were examined.

    Raises
    ------
    DataError
        When two cases have one name.
    """

    cases: tuple[CaseFindings, ...] = field(default=())

    def __post_init__(self) -> None:
        names = [case.case for case in self.cases]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(expected("findings", f"case '{twice[0]}' twice", "each case is needed once"), case=twice[0])

    @classmethod
    def of(cls, case_name: str, label: LabelMap, targets: Targets, warnings: Iterable[str] = ()) -> Findings:
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
            Sentences that the reader of the numbers must see.
        """
        labels = {name: _label_findings(label, targets, name) for name in targets.names}
        return cls((CaseFindings(case_name, labels, tuple(warnings)),))

    @classmethod
    def join(cls, parts: Iterable[Findings]) -> Findings:
        """Put the cases of several findings behind each other."""
        return cls(tuple(case for part in parts for case in part.cases))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {"kind": KIND, "schema_version": VERSION, "cases": [case.to_dict() for case in self.cases]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Findings:
        """Read the JSON document."""
        return cls(tuple(CaseFindings.from_dict(case) for case in document["cases"]))

    def write(self, path: Path) -> None:
        """Write ``.json`` or, where the name ends so, ``.csv``; whole or not at all.

        A folder gets both, as ``findings.json`` and ``findings.csv``.
        """
        path = Path(path)
        if path.is_dir():
            self.write(path / "findings.json")
            self.write(path / "findings.csv")
        elif path.suffix.lower() == ".csv":
            write_text(path, to_csv(self.cases))
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
        path = Path(path)
        if path.is_dir():
            path = path / "findings.json"
        if path.suffix.lower() == ".csv":
            return cls(from_csv(path))
        document = read_json(path, KIND, VERSION)
        try:
            return cls.from_dict(document)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                expected(
                    path, f"a finding cannot be read ({error!r})", f"the form of schema version {VERSION} is needed"
                ),
                path=path,
            ) from error


def _label_findings(label: LabelMap, targets: Targets, name: str) -> LabelFindings:
    mask = targets.mask(label.array, name)
    box = bounding_box(mask)
    if box is None:
        return LabelFindings(Quantity(0.0), Quantity(0))
    numbers, count = components(mask[box])
    voxels = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    inside = np.nonzero(numbers)
    which = numbers[inside]
    centres = [np.bincount(which, weights=axis, minlength=count + 1)[1:] / voxels for axis in inside]
    lesions = []
    for index, found in enumerate(ndimage.find_objects(numbers, count)):
        bbox = tuple((s.start + o.start, s.stop + o.start) for s, o in zip(found, box, strict=True))
        centre = tuple(float(c[index]) + o.start for c, o in zip(centres, box, strict=True))
        lesions.append(_lesion(label.grid, int(voxels[index]), centre, bbox))
    lesions.sort(key=lambda lesion: (-lesion.voxels, lesion.bbox))
    return LabelFindings(Quantity(volume_ml(int(voxels.sum()), label.grid)), Quantity(count), tuple(lesions))


def _lesion(grid: Grid, voxels: int, centre: tuple[float, ...], bbox: tuple[tuple[int, int], ...]) -> Lesion:
    dims = len(grid.shape)
    world = grid.affine @ np.array([*centre, *[0.0] * (3 - dims), 1.0])
    lengths = [(stop - start) * size for (start, stop), size in zip(bbox, grid.spacing_mm, strict=True)]
    order = range(2) if dims == 2 else np.argsort([axis for axis, _ in closest_axes(grid.affine)])
    return Lesion(
        volume_ml=volume_ml(voxels, grid),
        voxels=voxels,
        centroid_mm=tuple(float(v) for v in world[:dims]),
        extent_mm=tuple(lengths[int(axis)] for axis in order),
        bbox=bbox,
    )
