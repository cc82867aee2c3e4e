"""Rigid transforms from files: a 4 × 4 matrix as text, or what ITK writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from striate.core.counted import counted, is_or_are
from striate.core.errors import DataError, expected
from striate.core.files import write_text
from striate.core.geometry import LPS, Affine
from striate.core.optional import require

ITK = "#Insight Transform File"
RIGID = 0.02
"""How far lengths may differ from 1: files hold few digits."""


def read_transform(path: Path) -> Affine:
    """Return a matrix (4, 4), mm of the later image → mm of the earlier one, both RAS+.

    A file of ITK (LPS+; fixed is the later image, moving the earlier one) is turned to RAS+; a matrix of 16 numbers is
    taken as it is.

    Raises
    ------
    DataError
        When the file is missing, holds something else, or does not move rigidly.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            expected(path, f"not readable as text ({error})", "a transform is needed"), path=path
        ) from error
    matrix = _of_itk(text) if text.startswith(ITK) else _of_numbers(text)
    if matrix is None and text.startswith(ITK):
        matrix = _through_itk(Path(path))
    if matrix is None or not np.isfinite(matrix).all():
        raise DataError(
            expected(path, f"{counted(len(text.split()), 'word')} that {is_or_are(len(text.split()))} no transform",
                     "16 numbers, four rows of four (mm, RAS+), or a file of ITK with one matrix are needed"), path=path,
        )  # fmt: skip
    lengths = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if (
        np.abs(lengths - 1).max() > RIGID
        or np.linalg.det(matrix[:3, :3]) < 0
        or not np.allclose(matrix[3], [0, 0, 0, 1])
    ):
        told = f"lengths become {', '.join(f'{v:.3f}' for v in lengths)} times as long"
        raise DataError(expected(path, told, "a rigid transform (rotation and shift) is needed"), path=path)
    return matrix


def write_transform(path: Path, matrix: Affine) -> None:
    """Write a matrix as text that `read_transform` reads back bit for bit."""
    write_text(path, "".join(" ".join(repr(float(v)) for v in row) + "\n" for row in np.asarray(matrix)))


def _through_itk(path: Path) -> Affine | None:
    """Let SimpleITK read the other forms of a linear transform (angles, a versor); None where it cannot."""
    sitk = require("SimpleITK", "itk", "reading a transform of this form")
    try:
        transform = sitk.ReadTransform(str(path))
        return from_itk(transform) if transform.IsLinear() else None
    except (RuntimeError, TypeError):
        return None


def from_itk(transform: Any) -> Affine:
    """Return a linear transform of SimpleITK (LPS+) as a matrix (4, 4) in RAS+."""
    matrix = np.eye(4)
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(unit.tolist())) - origin for unit in np.eye(3)]
    matrix[:3] = np.c_[np.stack(columns, axis=1), origin]
    return np.asarray(LPS @ matrix @ LPS)


def _of_numbers(text: str) -> Affine | None:
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        return None
    return np.array(numbers).reshape(4, 4) if len(numbers) == 16 else None


def _of_itk(text: str) -> Affine | None:
    """Read x → A (x − c) + t + c from twelve parameters (A by rows, t) and three fixed ones (c)."""
    found = {key: [float(v) for v in re.findall(r"[-+0-9.eE]+", line)] for key, line in re.findall(r"^(\w+): (.*)$", text, re.M) if key.endswith("arameters")}  # fmt: skip # noqa: E501
    numbers, centre = found.get("Parameters", []), np.array(found.get("FixedParameters", []))
    if len(numbers) != 12 or len(centre) != 3 or text.count("Transform: ") != 1:
        return None
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(numbers[:9], (3, 3))
    matrix[:3, 3] = np.array(numbers[9:]) + centre - matrix[:3, :3] @ centre
    return np.asarray(LPS @ matrix @ LPS)
