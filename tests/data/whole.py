"""Small cases on disk for tests of whole images: scans in any orientation, pictures with classes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image as Picture

from striate.core.case import Case
from striate.data.prepare import Preparation
from striate.data.samples import SampleForm

AS_STORED = Preparation(spacing_mm=(1, 1, 1), normalisation=("none",), intensities=(None,), crop=False)
FLAT = AS_STORED.changed(spacing_mm=(1, 1))
SLICES = SampleForm(size=(6, 4), slices=True)


def scan(folder: Path, array, name="a", *, affine=None, label=None, classes=None, subject=None) -> Case:
    """Write a scan (I, J, K), perhaps with a label map on the same grid, as a case."""
    affine = np.eye(4) if affine is None else affine
    written = {}
    for kind, values in (("image", array), ("label", label)):
        if values is not None:
            written[kind] = folder / f"{name}_{kind}.nii.gz"
            nib.save(nib.Nifti1Image(values, affine), written[kind])
    return Case(name, subject or name, {"mr": written["image"]}, written.get("label"), classes=classes)


def planes(depth=5, shape=(6, 4)):
    """Return a scan whose slice k holds k + 1 everywhere."""
    return np.ones((*shape, depth), np.float32) * np.arange(1, depth + 1, dtype=np.float32)


def pictures(folder: Path, classes, size=(6, 4)) -> list[Case]:
    """Write one grey picture for each entry of `classes`; picture n holds n everywhere but for one corner of 255."""
    cases = []
    for n, known in enumerate(classes):
        array = np.full(size, n, np.uint8)
        array[0, 0] = 255
        path = folder / f"p{n}.png"
        Picture.fromarray(array.T).save(path)
        cases.append(Case(f"p{n}", f"p{n}", {"grey": path}, classes=known))
    return cases
