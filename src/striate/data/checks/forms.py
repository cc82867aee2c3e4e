"""The qform and the sform of a NIfTI header, where both are set: they must place the volume at the same spot."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from striate.core.errors import GeometryError
from striate.core.geometry import axis_codes, valid_affine
from striate.data.checks.facts import Forms


def compare_forms(path: Path) -> Forms | None:
    """Return how far qform and sform of a NIfTI file are apart; None for other files or where only one is set."""
    if not path.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".img")):
        return None
    try:
        header = nibabel.load(path).header
        qform, q_code = header.get_qform(coded=True)
        sform, s_code = header.get_sform(coded=True)
        if not q_code or not s_code or qform is None or sform is None:
            return None
        qform, sform = valid_affine(qform), valid_affine(sform)
    except (
        ImageFileError,
        HeaderDataError,
        GeometryError,
        AttributeError,
    ):
        return None
    size = (*header.get_data_shape(), 1, 1)[:3]
    corners = np.array([(*c, 1) for c in itertools.product(*((0, n - 1) for n in size))])
    apart = np.linalg.norm((corners @ (qform - sform).T)[:, :3], axis=1)
    return Forms(float(apart.max()), axis_codes(qform), axis_codes(sform))
