"""Reconstructed images against the originals: errors, PSNR, SSIM per case and over cases.

* ``mse``, ``mae``: mean squared and mean absolute difference, in the images' unit (squared).
* ``psnr_db`` = 10 · log10(L² / mse), L the range of the intensities. Equal images have none (it would be infinite).
* ``ssim``: Wang et al., IEEE TIP 13:600 (2004), eq. 13 with K₁ = 0.01, K₂ = 0.03, population moments under a Gaussian window of
  11 pixels per axis and σ = 1.5, averaged over the places where the whole window lies within the image, as in the
  authors' program. In 3D the window is 11 × 11 × 11. An image that is smaller than the window has none.

L is the range of the original where it is not given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.core.counted import counted, is_or_are
from striate.core.errors import DataError, GeometryError, expected
from striate.core.files import in_folder, read_document, write_json
from striate.measure.anomaly import MEASURES as OF_MAPS
from striate.measure.statistics import Summary, summarise

KIND, VERSION = "striate-reconstruction-evaluation", 1
FILE = "evaluation.json"
MEASURES = ("mse", "mae", "psnr_db", "ssim")
WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03

Values = Mapping[str, Mapping[str, float | None]]


def reconstruction_measures(
    original: NDArray[Any], reconstructed: NDArray[Any], intensity_range: float | None = None
) -> dict[str, float | None]:
    """Measure one channel of one case.

    Parameters
    ----------
    original, reconstructed
        (I, J) or (I, J, K), of one shape.
    intensity_range
        L, in the images' unit; largest minus smallest value of `original` where it is not given.

    Returns
    -------
    dict
        Measure → value; None where it does not exist.

    Raises
    ------
    GeometryError
        When shapes differ, or are not those of an image.
    DataError
        When a value is not finite.
    """
    first, second = np.asarray(original, dtype=np.float64), np.asarray(reconstructed, dtype=np.float64)
    if first.shape != second.shape or first.ndim not in (2, 3) or not first.size:
        got = f"shapes {first.shape} and {second.shape}"
        raise GeometryError(expected("reconstruction", got, "two images of one 2D or 3D shape are needed"))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        count = int((~np.isfinite(first)).sum() + (~np.isfinite(second)).sum())
        raise DataError(
            expected(
                "reconstruction",
                f"{counted(count, 'value')} that {is_or_are(count)} not finite",
                "finite values are needed",
            )
        )
    span = float(np.ptp(first)) if intensity_range is None else float(intensity_range)
    mse = float(((first - second) ** 2).mean())
    return {
        "mse": mse,
        "mae": float(np.abs(first - second).mean()),
        "psnr_db": 10 * float(np.log10(span * span / mse)) if mse > 0 and span > 0 else None,
        "ssim": ssim(first, second, span),
    }


def ssim(first: NDArray[Any], second: NDArray[Any], intensity_range: float) -> float | None:
    """Return the mean structural similarity, −1 … 1; None for images smaller than the window or without a range.

    Parameters
    ----------
    first, second
        (I, J) or (I, J, K), of one shape.
    intensity_range
        L, in the images' unit.
    """
    if min(first.shape) < WINDOW or intensity_range <= 0:
        return None
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    mean_one, mean_other = _blurred(one), _blurred(other)
    variance_one = _blurred(one * one) - mean_one**2
    variance_other = _blurred(other * other) - mean_other**2
    covariance = _blurred(one * other) - mean_one * mean_other
    c1, c2 = (K1 * intensity_range) ** 2, (K2 * intensity_range) ** 2
    above = (2 * mean_one * mean_other + c1) * (2 * covariance + c2)
    below = (mean_one**2 + mean_other**2 + c1) * (variance_one + variance_other + c2)
    return float((above / below).mean())


def _blurred(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means under the window, at the places where all of it lies within the image."""
    place = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(place**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    for axis in range(image.ndim):
        image = ndimage.correlate1d(image, weights, axis=axis)
    return image[(slice(WINDOW // 2, -(WINDOW // 2)),) * image.ndim]


@dataclass(frozen=True, slots=True)
class CaseReconstruction:
    """Measures of one case.

    Attributes
    ----------
    case
        Its name.
    channels
        Channel → measure → value; None where the measure does not exist.
    subject
        Whose examination it is.
    """

    case: str
    channels: Values
    subject: str = ""

    def __post_init__(self) -> None:
        if not self.subject:
            object.__setattr__(self, "subject", self.case)


@dataclass(frozen=True, slots=True)
class ReconstructionEvaluation:
    """Measures of all cases and their summary.

    Attributes
    ----------
    cases
        One per examination.
    summary
        Channel → measure → mean, median, interval of the mean and n.
    anomaly
        Case → measure of its anomaly map against its mask (`striate.measure.anomaly`); of the cases that have one.
    anomaly_summary
        Measure → mean, median, interval of the mean and n.
    trained_on
        Cases that the model learned from: their share of the numbers is not that of held-out cases.
    """

    cases: tuple[CaseReconstruction, ...]
    summary: Mapping[str, Mapping[str, Summary]] = field(default_factory=dict)
    anomaly: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    anomaly_summary: Mapping[str, Summary] = field(default_factory=dict)
    trained_on: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        cases: Sequence[CaseReconstruction],
        *,
        seed: int = 0,
        anomaly: Mapping[str, Mapping[str, float | None]] = MappingProxyType({}),
    ) -> ReconstructionEvaluation:
        """Summarise `cases`; intervals over subjects, seeded.

        Parameters
        ----------
        cases
            Each once.
        seed
            Of the bootstrap.
        anomaly
            Case → measures of its anomaly map.

        Raises
        ------
        DataError
            When there is no case, or one twice.
        """
        names = [one.case for one in cases]
        if not cases or len(set(names)) != len(names):
            got = f"case '{next(n for n in names if names.count(n) > 1)}' twice" if cases else "0 cases"
            raise DataError(expected("evaluation", got, "at least one case, each once, is needed"))
        subjects = [one.subject for one in cases]
        summary = {
            channel: {
                measure: summarise([one.channels.get(channel, {}).get(measure) for one in cases], subjects, seed=seed)
                for measure in MEASURES
            }
            for channel in dict.fromkeys(name for one in cases for name in one.channels)
        }
        subject = {one.case: one.subject for one in cases}
        owners = [subject[name] for name in anomaly]
        maps = {
            measure: summarise([one.get(measure) for one in anomaly.values()], owners, seed=seed)
            for measure in (OF_MAPS if anomaly else ())
        }
        return cls(tuple(cases), summary, dict(anomaly), maps)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document; ``anomaly`` only where maps were compared with masks."""
        summary = {channel: {m: s.to_dict() for m, s in rows.items()} for channel, rows in self.summary.items()}
        cases = [{"case": one.case, **{n: dict(values) for n, values in one.channels.items()}} for one in self.cases]
        subjects = {one.case: one.subject for one in self.cases}
        document = {"kind": KIND, "schema_version": VERSION, "subjects": subjects, "summary": summary, "cases": cases}
        if self.anomaly:
            maps = [{"case": case, **values} for case, values in self.anomaly.items()]
            told = {name: found.to_dict() for name, found in self.anomaly_summary.items()}
            document["anomaly"] = {"summary": told, "cases": maps}
        if self.trained_on:
            document["trained_on"] = list(self.trained_on)
        return document

    def write(self, path: Path) -> None:
        """Write JSON to a file, or as ``evaluation.json`` into a folder; whole or not at all."""
        write_json(in_folder(path, FILE), self.to_dict())

    @classmethod
    def read(cls, path: Path) -> ReconstructionEvaluation:
        """Read the JSON file, or ``evaluation.json`` of a folder.

        Raises
        ------
        FormatError
            When the file is missing, is no such evaluation, or is of a newer version.
        """
        return read_document(in_folder(path, FILE), KIND, VERSION, cls.from_dict)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ReconstructionEvaluation:
        """Read the JSON document."""
        subjects = document["subjects"]
        cases = tuple(
            CaseReconstruction(row["case"], {k: v for k, v in row.items() if k != "case"}, subjects[row["case"]])
            for row in document["cases"]
        )
        summary = {n: {m: Summary(**s) for m, s in rows.items()} for n, rows in document["summary"].items()}
        maps = document.get("anomaly") or {"summary": {}, "cases": []}
        anomaly = {row["case"]: {k: v for k, v in row.items() if k != "case"} for row in maps["cases"]}
        told = {name: Summary(**s) for name, s in maps["summary"].items()}
        return cls(cases, summary, anomaly, told, tuple(document.get("trained_on") or ()))
