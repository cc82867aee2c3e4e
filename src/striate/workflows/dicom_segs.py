"""``--dicom-seg``: masks also as DICOM Segmentations, ``OUT/dicom_seg/CASE.dcm``, where the first channel is a DICOM series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.counted import counted, is_or_are, some
from striate.core.errors import UsageError
from striate.core.together import together
from striate.inference.prediction import Prediction
from striate.io.dicom_seg import Drawn, refuse_unsegmentable, write_segmentation
from striate.io.formats import DICOM
from striate.io.read import known_format
from striate.model.model import Model
from striate.reporting.sprites import TARGET_COLOURS

FOLDER = "dicom_seg"


def refuse_other_formats(model: Model, cases: Sequence[Case], options: Mapping[str, Any]) -> None:
    """Refuse cases on which no DICOM Segmentation can be written, where one is asked for.

    Raises
    ------
    UsageError
        With the cases that are no DICOM series; when highdicom is not installed.
    DataError
        With the cases whose headers lack something.
    """
    if not options["dicom_seg"]:
        return
    others = [case.name for case in cases if known_format(_series(case)) is not DICOM]
    if others:
        raise UsageError(
            f"--dicom-seg: {len(others)} of {counted(len(cases), 'case')} {is_or_are(len(others))} no DICOM series"
            f" ({some(others)}); a DICOM segmentation refers to the series that it was drawn on. Leave --dicom-seg away, or"
            " predict these in a call of their own."
        )
    drawn = _drawn(model, ())
    told = "cases can carry no DICOM segmentation, so nothing was predicted"
    together(lambda case: refuse_unsegmentable(_series(case), drawn), cases, told)


def write_dicom_seg(folder: Path, model: Model, prediction: Prediction, others: Sequence[Model]) -> Path:
    """Write the mask of a case as a DICOM Segmentation below `folder`; return its path.

    Parameters
    ----------
    folder
        Of the prediction.
    model
        That drew it.
    prediction
        With its mask.
    others
        Of an ensemble.
    """
    path = folder / FOLDER / f"{prediction.case.name}.dcm"
    write_segmentation(path, prediction.label, _series(prediction.case), _drawn(model, others))
    return path


def _series(case: Case) -> Path:
    """Return the images whose grid the mask lies on."""
    return next(iter(case.channels.values()))


def _drawn(model: Model, others: Sequence[Model]) -> Drawn:
    drew = [stage for one in (model, *others) for stage in (one, one.previous) if stage is not None]
    return Drawn(model.plan.targets, TARGET_COLOURS, [str(one.facts.get("weights_sha256", "unknown")) for one in drew])
