"""A label map as a DICOM Segmentation object, which refers to the very slices it was drawn on; written, not read.

Definition: https://dicom.nema.org, part 3, A.51, through highdicom. It names the patient and the study as its source does, since
an archive files it by them: it is the one file of Striate that does. Frames without a voxel are left out. Where there is no voxel
at all, there is one empty frame of each segment, so that *nothing was found* can be told from *nothing was looked for*.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, GeometryError, StriateError, expected
from striate.core.files import writing
from striate.core.image import LabelMap
from striate.core.optional import require
from striate.core.record import versions
from striate.core.targets import Targets
from striate.io.formats.content import opening
from striate.io.formats.dicom import placed
from striate.io.formats.dicom_instance import LONGEST, Frame, Instance, quietly
from striate.io.formats.dicom_series import series_of

IDENTITY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
    "ReferringPhysicianName",
)  # fmt: skip
"""Elements that stand in every object, as they are in the source: empty where it has none."""
TISSUE = ("85756007", "SCT", "Tissue")
"""What every segment is said to be, as category and as type (SNOMED CT): a name such as ``lesion`` says no more to a program."""
_PLANES = ("PlaneOrientationSequence", "PixelMeasuresSequence")


@dataclass(frozen=True, slots=True)
class Drawn:
    """Who drew a mask, and what.

    Attributes
    ----------
    targets
        The segments, in order.
    colours
        In which they are shown, as ``#RRGGBB``; begun again where there are more segments.
    weights_sha256
        Of the networks that drew them, the model's first.
    """

    targets: Targets
    colours: Sequence[str]
    weights_sha256: Sequence[str]


def refuse_unsegmentable(series: Path, drawn: Drawn) -> None:
    """Refuse a DICOM series on which no segmentation can be written, by writing an empty one into memory.

    Raises
    ------
    FormatError, GeometryError
        When it is no image, or its headers lack what a segmentation has to say of them.
    UsageError
        When highdicom is not installed.
    """
    source = _Source.of(series)
    built = _built(source, np.zeros((1, *source.shape), np.uint8), drawn, "0")
    _save(built, source, io.BytesIO())


def write_segmentation(path: Path, label: LabelMap, series: Path, drawn: Drawn) -> None:
    """Write a label map as a DICOM Segmentation.

    Parameters
    ----------
    path
        Of the new file.
    label
        On the grid of `series`.
    series
        What it was drawn on.
    drawn
        By whom, and what it holds.

    Raises
    ------
    GeometryError
        When the label map has another shape than the series.
    FormatError, UsageError, DiskFullError
        As `refuse_unsegmentable`, and when the disk is full.
    """
    source = _Source.of(series)
    array = label.array if label.array.ndim == 3 else label.array[..., None]
    if array.shape != (*source.shape[::-1], len(source.order)):
        raise GeometryError(
            expected(series, f"{source.shape[1]} × {source.shape[0]} × {len(source.order)} voxels, the mask has"
                     f" {' × '.join(map(str, array.shape))}", "both must be the same", "Predict it again."), path=series,
        )  # fmt: skip
    numbers = _numbers(array, drawn.targets)
    found = hashlib.sha256(numbers.data).hexdigest()
    if not numbers.any():
        numbers = numbers[:1]
    built = _built(source, numbers, drawn, found)
    with writing(path) as beside:
        _save(built, source, beside)


@dataclass(frozen=True, slots=True)
class _Source:
    """A series of one file for each slice, or of one file with several frames.

    Attributes
    ----------
    series
        As given.
    instances
        Its files.
    order
        Which frame, counted over all files, each slice of the volume is.
    """

    series: Path
    instances: tuple[Instance, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, series: Path) -> _Source:
        instances = series_of(series)
        order, _, _ = placed(instances, series)
        source = cls(series, instances, tuple(order))
        _refuse_lacking(source)
        return source

    @property
    def several(self) -> bool:
        """Whether one file holds several frames."""
        return len(self.instances[0].frames) > 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        columns, rows = self.instances[0].shape
        return rows, columns

    @property
    def files(self) -> list[Instance]:
        """The files in the order of slices."""
        return list(self.instances) if self.several else [self.instances[number] for number in self.order]

    @property
    def frames(self) -> list[Frame]:
        """The frames in the order of slices."""
        frames = [frame for one in self.instances for frame in one.frames]
        return [frames[number] for number in self.order]

    @property
    def spacing_mm(self) -> float | None:
        """Distance of slices along their normal; None of a single one."""
        ends = [self.frames[0], self.frames[-1]]
        if len(self.order) < 2 or not all(frame.position and frame.orientation for frame in ends):
            return None
        normal = np.cross(*np.array(ends[0].orientation).reshape(2, 3))
        apart = np.subtract(*(np.array(frame.position) for frame in ends)) @ normal
        return float(abs(apart) / np.linalg.norm(normal) / (len(self.order) - 1))


def _refuse_lacking(source: _Source) -> None:
    """Refuse a series that cannot be referred to, or says not in which coordinates it lies."""
    files, path = source.instances, source.series

    def refuse(got: str, want: str) -> None:
        raise FormatError(
            expected(path, got, f"{want}, since a DICOM segmentation refers to it",
                     "Export the series again, or leave --dicom-seg away."), path=path,
        )  # fmt: skip

    if math.prod(source.shape) < 8:  # highdicom packs those wrongly
        raise FormatError(
            expected(path, f"{math.prod(source.shape)} pixels in a slice", "8 or more are needed, for a DICOM segmentation of it",
                     "Leave --dicom-seg away."), path=path,
        )  # fmt: skip
    several = sum(len(one.frames) > 1 for one in files)
    if several and len(files) > 1:
        told = f"{several} of {len(files)} files hold several frames"
        refuse(told, "one file of several frames, or one for each slice, is needed")
    for name, word in (("uid", "SOPInstanceUID"), ("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID")):
        lacking = next((one for one in files if not getattr(one, name)), None)
        if lacking is not None:
            refuse(f"{lacking.path.name} tells no {word}", "one is needed")
    if len({one.uid for one in files}) < len(files):
        refuse(f"{len(files)} slices with {len({one.uid for one in files})} SOPInstanceUIDs", "one for each is needed")
    if len({one.study for one in files}) > 1:
        refuse(f"slices of {len({one.study for one in files})} studies", "one study is needed")
    places = {one.place for one in files}
    if len(places) > 1:
        refuse(f"slices with {len(places)} FrameOfReferenceUIDs, or some without", "one for all of them is needed")
    if places == {""} and source.frames[0].position is not None:
        refuse("its slices tell no FrameOfReferenceUID", "the coordinates of positions need a name")


def _numbers(array: NDArray[Any], targets: Targets) -> NDArray[Any]:
    """Return (slices, rows, columns) of the number of a segment, or of regions (slices, rows, columns, segments) of 0 and 1."""
    frames = array.transpose(2, 1, 0)
    if len(targets.names) > 1 and not targets.exclusive:
        found = np.zeros((*frames.shape, len(targets.names)), np.uint8)
        for index, (_, mask) in enumerate(targets.masks(frames)):
            found[..., index] = mask
        return found
    found = np.zeros(frames.shape, np.uint8 if len(targets.names) < 256 else np.uint16)
    for index, (_, mask) in enumerate(targets.masks(frames)):
        found[mask] = index + 1
    return found


@contextmanager
def _silently() -> Iterator[None]:
    """Let neither highdicom nor pydicom log or warn, which would quote the header, or judge what the source has in it."""
    logger = logging.getLogger("highdicom")
    with quietly():
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


def _built(source: _Source, numbers: NDArray[Any], drawn: Drawn, found: str) -> Any:
    """Return the object; `found` tells its content from others."""
    require("highdicom", "dicom", "writing DICOM segmentations (--dicom-seg)")
    with _refusing(source):
        return _object(source, numbers, drawn, found)


def _save(built: Any, source: _Source, to: Path | io.BytesIO) -> None:
    """Write the object; what it took from the source may be what DICOM cannot hold."""
    with _refusing(source):
        built.save_as(to, enforce_file_format=True)


@contextmanager
def _refusing(source: _Source) -> Iterator[None]:
    """Work in silence, and refuse the source where its headers do not do."""
    try:
        with _silently():
            yield
    except (StriateError, MemoryError, OSError):
        raise
    except Exception as error:  # of whatever kind highdicom has for a header; its words may quote it: told nowhere
        kind = source.instances[0].kind
        raise FormatError(
            expected(source.series, f"no DICOM segmentation can refer to these headers of the kind '{kind}'"
                     f" ({type(error).__name__})", "slices of CT, MR or PET, an enhanced file of them, or a picture is needed",
                     "Export the series again, or leave --dicom-seg away."), path=source.series,
        ) from None  # fmt: skip


def _object(source: _Source, numbers: NDArray[Any], drawn: Drawn, found: str) -> Any:
    import highdicom as hd
    from pydicom.uid import generate_uid

    head = _whole_header(source)
    told = {name: head.pop(name) for name in IDENTITY if name in head}
    for name in IDENTITY:
        setattr(head, name, None)
    images, weights, now = _images(source, head), drawn.weights_sha256[0], datetime.now().replace(microsecond=0)
    version, writer = (versions().get(name, "unknown") for name in ("striate", "highdicom"))
    words = [source.instances[0].series, *sorted(one.uid for one in source.instances), *drawn.weights_sha256, found]
    words += [version, writer]  # which the object names
    words += [f"{name}={values}" for name, values in drawn.targets.sets.items()]
    uids = [generate_uid(entropy_srcs=[what, *words]) for what in ("series", "object", "dimensions")]
    whole = len(numbers) == len(source.order)
    if whole and source.several:
        sorted_, numbers = numbers, np.empty_like(numbers)
        numbers[list(source.order)] = sorted_
    seg = hd.seg.Segmentation(
        images, numbers, "BINARY", _segments(drawn, version), uids[0], _series_number(source), uids[1], 1,
        "Striate", "Striate", version, weights,
        plane_positions=None if whole else _first_position(source), content_label="STRIATE",
        content_description=f"Drawn by Striate {version}"[:LONGEST],
        series_description=_short(f"Striate: {', '.join(drawn.targets.names)}"), content_date=now.date(),
        content_time=now.time(), specific_character_set=None,
    )  # fmt: skip
    for name, element in told.items():
        seg[name] = element
    if source.frames[0].position is None:  # a picture then says how it is turned, or that it is not known
        seg.PatientOrientation = head.get("PatientOrientation")
    own = [seg.SeriesDescription, *(one.SegmentLabel + one.SegmentDescription for one in seg.SegmentSequence)]
    seg.SpecificCharacterSet = head.get("SpecificCharacterSet") if "".join(own).isascii() else "ISO_IR 192"
    if not seg.SpecificCharacterSet:
        del seg.SpecificCharacterSet
    seg.InstanceCreationDate, seg.InstanceCreationTime = seg.ContentDate, seg.ContentTime
    del seg.ContributingEquipmentSequence[-1].ContributionDateTime  # of highdicom, to the microsecond
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = uids[2]
    return seg


def _segments(drawn: Drawn, version: str) -> list[Any]:
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    weights = " ".join(drawn.weights_sha256)
    algorithm = hd.AlgorithmIdentificationSequence(
        "Striate", codes.DCM.ArtificialIntelligence, version, parameters={"weights_sha256": weights}
    )
    found = []
    for index, (name, values) in enumerate(drawn.targets.sets.items()):
        text = drawn.colours[index % len(drawn.colours)]
        colour = hd.color.CIELabColor.from_rgb(*(int(text[n : n + 2], 16) for n in (1, 3, 5)))
        one = hd.seg.SegmentDescription(
            index + 1, _short(name), Code(*TISSUE), Code(*TISSUE), "AUTOMATIC", algorithm, display_color=colour
        )
        one.SegmentDescription = (
            f"{name[:200]}: {'label value' if len(values) == 1 else 'label values'} {', '.join(map(str, values))[:100]} of the"
            f" model; Striate {version}, weights SHA-256 {weights}"
        )[:1024]
        found.append(one)
    return found


def _short(text: str) -> str:
    """Return a text that fits an element of at most 64 characters, in which a backslash would part two values."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text.replace("\\", "/"))
    return clean if len(clean) <= LONGEST else f"{clean[: LONGEST - 3]}..."


def _series_number(source: _Source) -> int:
    """Return a number behind those of the study's own series."""
    number = source.instances[0].number
    return 1000 + (int(number) if number.isdecimal() and len(number) < 8 else 0)


def _whole_header(source: _Source) -> Any:
    """Return the header of the first slice, or of the file of several frames, its texts as they read."""
    import pydicom

    with opening(source.files[0].path) as stream:
        head = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    head.decode()
    return head


def _images(source: _Source, head: Any) -> list[Any]:
    """Return headers of all files as highdicom needs them: what all slices share is the same in each."""
    from pydicom.dataset import Dataset

    spacing_mm = source.spacing_mm
    if not source.instances[0].place:  # it is there, but holds no name
        head.pop("FrameOfReferenceUID", None)
    if source.several:
        shared = (head.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        first = head.PerFrameFunctionalGroupsSequence[0]
        for name in _PLANES:
            if not shared.get(name):
                setattr(shared, name, first[name].value)
        head.SharedFunctionalGroupsSequence = [shared]
        _put_distances(shared.PixelMeasuresSequence[0], spacing_mm)
        return [head]
    images = [head]
    if source.frames[0].position is not None:
        if not head.get("PixelSpacing"):
            head.PixelSpacing = _decimals(source.frames[0].spacing_mm or (1.0, 1.0))
        _put_distances(head, spacing_mm)
    for one, frame in list(zip(source.files, source.frames, strict=True))[1:]:
        image = Dataset()
        image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = one.study, one.series, one.uid
        image.SOPClassUID, image.Rows, image.Columns = head.SOPClassUID, head.Rows, head.Columns
        if one.place:
            image.FrameOfReferenceUID = one.place
        image.ImageOrientationPatient, image.PixelSpacing = head.ImageOrientationPatient, head.PixelSpacing
        image.SliceThickness, image.SpacingBetweenSlices = head.SliceThickness, head.SpacingBetweenSlices
        image.ImagePositionPatient = _decimals(frame.position or ())
        images.append(image)
    return images


def _put_distances(measures: Any, spacing_mm: float | None) -> None:
    """Put the distance of slices, which is that of their positions, where a source says it, and a thickness where it has none."""
    try:
        thickness_mm = float(measures.get("SliceThickness") or 0.0)
    except (TypeError, ValueError):  # a text, or several numbers
        thickness_mm = 0.0
    if not 0 < thickness_mm < math.inf:
        measures.pop("SliceThickness", None)  # with whatever kind of element it was
        (measures.SliceThickness,) = _decimals((spacing_mm or 1.0,))
    if spacing_mm is not None:
        measures.pop("SpacingBetweenSlices", None)
        (measures.SpacingBetweenSlices,) = _decimals((spacing_mm,))


def _first_position(source: _Source) -> list[Any] | None:
    """Return where the first slice lies; None where it has no place in the body."""
    import highdicom as hd

    position = source.frames[0].position
    if position is None or not source.instances[0].place:
        return None
    return [hd.PlanePositionSequence("PATIENT", _decimals(position))]


def _decimals(numbers: Sequence[float]) -> list[Any]:
    """Return numbers as decimal strings, of the 16 characters that there are."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(number, auto_format=True) for number in numbers]
