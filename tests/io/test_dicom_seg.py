"""Masks as DICOM Segmentations: the same voxels at the same places as the label map, whatever the orientation of the series."""

import logging
import traceback
import warnings

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import ComputedRadiographyImageStorage, CTImageStorage, ExplicitVRBigEndian

from dicom_files import (
    AXIAL,
    CORONAL,
    NAMES,
    OBLIQUE,
    PATIENT,
    SAGITTAL,
    blank,
    enhanced,
    numbers,
    positions,
    save,
    uid,
    with_pixels,
    write_series,
)
from striate.core.errors import FormatError, GeometryError
from striate.core.geometry import LPS
from striate.core.image import LabelMap
from striate.core.record import versions
from striate.core.targets import Targets
from striate.io import dicom_seg
from striate.io.dicom_seg import Drawn, refuse_unsegmentable, write_segmentation
from striate.io.formats import dicom_instance
from striate.io.read import read_image
from striate.io.write import write_label

PLACE = {"FrameOfReferenceUID": uid("place")}
ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": OBLIQUE}
SHAPE = (5, 7, 6)
LABELS = Targets({"lesion": (1,), "core": (4,)}, exclusive=True)
REGIONS = Targets({"whole": (1, 2, 4), "core": (2, 4), "enhancing": (4,)}, exclusive=False)
SHA = "a1" * 32


def drawn(targets=LABELS, *shas):
    return Drawn(targets, ("#E69F00", "#56B4E9"), shas or (SHA,))


def mask_of(series, values=(0, 0, 0, 1, 4), seed=1, empty_slices=()):
    """Return a label map of noise on the grid of a series."""
    image = read_image(series)
    array = np.random.default_rng(seed).choice(np.array(values, np.uint8), image.array.shape[1:])
    array[..., list(empty_slices)] = 0
    return LabelMap(array, image.affine)


def shuffled(folder, orientation=AXIAL, reverse=False, shape=SHAPE, **tags):
    """Write a series whose names and numbers say nothing of its order, in rising or falling height."""
    places = positions(shape[0], orientation)[:: -1 if reverse else 1]
    names = [NAMES[n] for n in np.random.default_rng(0).permutation(shape[0])]
    return write_series(folder, numbers(shape), orientation, places, names, **{**PLACE, **tags})


def written(series, label, tmp_path, made=None):
    path = tmp_path / "seg.dcm"
    write_segmentation(path, label, series, made or drawn())
    return path


def points_of(path):
    """Return of each segment the centres of its voxels in mm (LPS+), read by pydicom alone."""
    ds = pydicom.dcmread(path)
    pixels = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    shared, found = ds.SharedFunctionalGroupsSequence[0], {}
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    rows_mm, columns_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    for plane, frame in zip(pixels, ds.PerFrameFunctionalGroupsSequence, strict=True):
        number = (frame if "SegmentIdentificationSequence" in frame else shared).SegmentIdentificationSequence[0]
        origin = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        row, column = np.nonzero(plane)
        points = origin + column[:, None] * columns_mm * cosines[0] + row[:, None] * rows_mm * cosines[1]
        found.setdefault(number.ReferencedSegmentNumber, []).append(points)
    return {number: np.concatenate(points) for number, points in found.items()}


def expected_points(label, mask):
    """Return the centres of voxels of a label map in mm (LPS+), by its affine."""
    matrix = LPS @ label.affine
    return np.argwhere(mask) @ matrix[:3, :3].T + matrix[:3, 3]


def same_points(found, wanted):
    """Compare two sets of points: each of one has its own in the other, within a thousandth of a millimetre."""
    assert len(found) == len(wanted)
    distances = np.linalg.norm(found[:, None] - wanted[None], axis=-1)
    assert distances.min(axis=1).max() < 1e-3 and len(set(distances.argmin(axis=1))) == len(wanted)


def on_grid(path, label):
    """Return of each segment its array on the grid of a label map, as highdicom places it."""
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(combine_segments=False, allow_missing_positions=True)
    matrix = np.linalg.inv(LPS @ label.affine) @ volume.affine
    at = np.moveaxis(np.indices(volume.spatial_shape), 0, -1).reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.abs(at - at.round()).max() < 1e-3
    arrays = np.zeros((*label.array.shape, seg.number_of_segments), bool)
    arrays[tuple(at.round().astype(int).T)] = volume.array.reshape(len(at), -1) > 0
    return np.moveaxis(arrays, -1, 0)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_segments_lie_where_the_label_map_does(tmp_path, orientation, reverse):
    series = shuffled(tmp_path / "s", ORIENTATIONS[orientation], reverse)
    label = mask_of(series, empty_slices=(1,))
    path = written(series, label, tmp_path)
    found, arrays = points_of(path), on_grid(path, label)
    for number, value in ((1, 1), (2, 4)):
        same_points(found[number], expected_points(label, label.array == value))
        assert np.array_equal(arrays[number - 1], label.array == value)
    ds = pydicom.dcmread(path)
    assert ds.NumberOfFrames == 8 and ds.SegmentationType == "BINARY" and ds.SegmentsOverlap == "NO"
    assert float(ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices) == 2.5


def test_regions_may_overlap(tmp_path):
    series = shuffled(tmp_path / "s", OBLIQUE)
    label = mask_of(series, (0, 0, 1, 2, 4))
    path = written(series, label, tmp_path, drawn(REGIONS))
    found, arrays = points_of(path), on_grid(path, label)
    for index, (_, mask) in enumerate(REGIONS.masks(label.array)):
        same_points(found[index + 1], expected_points(label, mask))
        assert np.array_equal(arrays[index], mask)
    assert pydicom.dcmread(path).SegmentsOverlap == "YES"


def test_a_tilted_gantry_keeps_its_shear(tmp_path):
    places = positions(SHAPE[0], shift=(0, 0.75, 0))
    series = write_series(tmp_path / "s", numbers(SHAPE), places=places, **PLACE)
    label = mask_of(series)
    same_points(points_of(written(series, label, tmp_path))[1], expected_points(label, label.array == 1))


@pytest.mark.parametrize("shared", [True, False])
def test_an_enhanced_file_is_referred_to_by_its_frames(tmp_path, shared):
    places = positions(SHAPE[0], OBLIQUE)
    order = [3, 0, 4, 1, 2]
    ds = enhanced(numbers(SHAPE), [places[n] for n in order], OBLIQUE)
    ds.FrameOfReferenceUID = PLACE["FrameOfReferenceUID"]
    if not shared:
        (groups,) = ds.SharedFunctionalGroupsSequence
        for frame in ds.PerFrameFunctionalGroupsSequence:
            frame.PlaneOrientationSequence = groups.PlaneOrientationSequence
            frame.PixelMeasuresSequence = groups.PixelMeasuresSequence
        ds.SharedFunctionalGroupsSequence = [pydicom.Dataset()]
    path = save(ds, tmp_path / "e.dcm")
    label = mask_of(path)
    seg = written(path, label, tmp_path)
    same_points(points_of(seg)[2], expected_points(label, label.array == 4))
    assert np.array_equal(on_grid(seg, label)[0], label.array == 1)
    for frame in pydicom.dcmread(seg).PerFrameFunctionalGroupsSequence:
        (reference,) = frame.DerivationImageSequence[0].SourceImageSequence
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(places[order[reference.ReferencedFrameNumber - 1]], place)


def test_every_slice_is_referred_to_and_each_frame_to_its_own(tmp_path):
    series = shuffled(tmp_path / "s", SAGITTAL)
    path = written(series, mask_of(series, empty_slices=(0, 1)), tmp_path)
    files = [pydicom.dcmread(p) for p in series.iterdir()]
    seg = pydicom.dcmread(path)
    referred = seg.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == files[0].SeriesInstanceUID
    assert {r.ReferencedSOPInstanceUID for r in referred.ReferencedInstanceSequence} == {
        f.SOPInstanceUID for f in files
    }
    where = {f.SOPInstanceUID: tuple(f.ImagePositionPatient) for f in files}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (reference,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert where[reference.ReferencedSOPInstanceUID] == tuple(frame.PlanePositionSequence[0].ImagePositionPatient)


@pytest.mark.parametrize("name", ["Müller^Jörg", "Yamada^Tarou=山田^太郎"])
@pytest.mark.parametrize("segment", ["lesion", "Läsion 1"])
def test_patient_and_study_are_those_of_the_source(tmp_path, name, segment):
    charset = "ISO_IR 100" if name.startswith("M") else ["", "ISO 2022 IR 87"]
    told = {
        "SpecificCharacterSet": charset,
        "PatientName": name,
        "StudyDate": "20240229",
        "PatientSex": "O",
        "PatientAge": "044Y",
    }
    series = shuffled(tmp_path / "s", **told, AccessionNumber="A1")
    targets = Targets({segment: (1,)}, exclusive=True)
    seg = pydicom.dcmread(written(series, mask_of(series, (0, 1)), tmp_path, drawn(targets)))
    source = pydicom.dcmread(series / NAMES[0])
    assert seg.PatientName == source.PatientName == name
    for word in (
        "PatientID",
        "PatientBirthDate",
        "PatientAge",
        "AccessionNumber",
        "StudyInstanceUID",
        "StudyDate",
        "PatientSex",
    ):
        assert seg[word].value == source[word].value
    assert not seg.StudyTime and seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert seg.SegmentSequence[0].SegmentLabel == segment and segment in seg.SeriesDescription
    assert seg.SpecificCharacterSet == (source.SpecificCharacterSet if segment == "lesion" else "ISO_IR 192")


def test_what_a_source_writes_against_the_rules_is_kept_in_silence(tmp_path, caplog, capfd):
    wrong = {"PatientSex": "unknown", "PatientBirthDate": "1970-13-77", "StudyDate": "yesterday", "PatientID": "x" * 90}
    name = "Doe, Jane born 1970 ^^^^^^ ==="
    logging.getLogger("highdicom").setLevel(logging.DEBUG)
    with pydicom.config.disable_value_validation():
        series = shuffled(tmp_path / "s", **wrong, PatientName=name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = written(series, mask_of(series), tmp_path)
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seg = pydicom.dcmread(path)
        assert {word: seg.get_item(word).value for word in wrong} == {
            word: pydicom.dcmread(series / NAMES[0]).get_item(word).value for word in wrong
        }
    said = caplog.text + "".join(capfd.readouterr())
    assert not any(word in said for word in ("Doe", "yesterday", "unknown", "xxx"))


def test_who_drew_it_and_with_which_weights(tmp_path):
    series = shuffled(tmp_path / "s")
    seg = highdicom.seg.segread(written(series, mask_of(series), tmp_path, drawn(LABELS, SHA, "b2" * 32)))
    assert [one.segment_label for one in map(seg.get_segment_description, seg.segment_numbers)] == ["lesion", "core"]
    one = seg.get_segment_description(2)
    assert one.algorithm_type.value == "AUTOMATIC" and one.segmented_property_type.meaning == "Tissue"
    assert (
        SHA in one.SegmentDescription
        and "b2" * 32 in one.SegmentDescription
        and "label value 4" in one.SegmentDescription
    )
    assert SHA in one.algorithm_identification[0].AlgorithmParameters
    assert (seg.Manufacturer, seg.DeviceSerialNumber, seg.SeriesNumber) == ("Striate", SHA, 1003)
    assert seg.SeriesDescription == "Striate: lesion, core" and seg.Modality == "SEG"


def test_the_same_mask_is_the_same_object_and_another_is_not(tmp_path, monkeypatch):
    series = shuffled(tmp_path / "s")
    made = []
    for label, by in [(1, drawn()), (1, drawn()), (2, drawn()), (1, drawn(LABELS, "c3" * 32))]:
        ds = pydicom.dcmread(written(series, mask_of(series, seed=label), tmp_path, by))
        for word in ("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime"):
            del ds[word]
        made.append(ds)
    first, again, other, weights = made
    assert first == again and first.file_meta == again.file_meta
    for one in (other, weights):
        assert one.SOPInstanceUID != first.SOPInstanceUID and one.SeriesInstanceUID != first.SeriesInstanceUID
    for package in ("striate", "highdicom"):
        monkeypatch.setattr(dicom_seg, "versions", lambda name=package: versions() | {name: "99.0"})
        later = pydicom.dcmread(written(series, mask_of(series, seed=1), tmp_path))
        assert first.SOPInstanceUID != later.SOPInstanceUID and first.SeriesInstanceUID != later.SeriesInstanceUID
    dates = [e for e in first.iterall() if e.VR in ("DA", "DT", "TM") and e.value and e.keyword != "PatientBirthDate"]
    assert dates == []


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("targets", [LABELS, REGIONS])
def test_a_mask_without_a_voxel_is_one_empty_frame_of_each_segment(tmp_path, several, targets):
    if several:
        ds = enhanced(numbers(SHAPE), positions(SHAPE[0])[::-1])
        ds.FrameOfReferenceUID = PLACE["FrameOfReferenceUID"]
        series = save(ds, tmp_path / "e.dcm")
    else:
        series = shuffled(tmp_path / "s")
    label = mask_of(series, (0,))
    path = written(series, label, tmp_path, drawn(targets))
    seg = pydicom.dcmread(path)
    assert seg.NumberOfFrames == len(targets.names) == len(seg.SegmentSequence) and not seg.pixel_array.any()
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == (1 if several else SHAPE[0])
    assert not on_grid(path, label).any()


def test_a_segment_without_a_voxel_beside_others_has_no_frame(tmp_path):
    series = shuffled(tmp_path / "s")
    label = mask_of(series, (0, 4))
    path = written(series, label, tmp_path)
    assert set(points_of(path)) == {2}
    assert [one.SegmentLabel for one in pydicom.dcmread(path).SegmentSequence] == ["lesion", "core"]


def test_a_radiograph_has_a_segmentation_without_a_place(tmp_path):
    path = save(with_pixels(blank(ComputedRadiographyImageStorage), numbers((7, 6), np.uint16)), tmp_path / "cr.dcm")
    label = mask_of(path, (0, 1))
    refuse_unsegmentable(path, drawn())
    seg = pydicom.dcmread(written(path, label, tmp_path))
    assert np.array_equal(seg.pixel_array.reshape(7, 6).T, label.array)
    assert seg["PatientOrientation"].is_empty and "FrameOfReferenceUID" not in seg


@pytest.mark.parametrize("place", ["", "none"])
def test_a_picture_keeps_how_it_is_turned_and_coordinates_without_a_name_are_left_out(tmp_path, place):
    with pydicom.config.disable_value_validation():
        ds = blank(ComputedRadiographyImageStorage, PatientOrientation=["L", "F"], FrameOfReferenceUID=place)
        path = save(with_pixels(ds, numbers((7, 6), np.uint16)), tmp_path / "cr.dcm")
    seg = pydicom.dcmread(written(path, mask_of(path, (0, 1)), tmp_path))
    assert list(seg.PatientOrientation) == ["L", "F"] and "FrameOfReferenceUID" not in seg


@pytest.mark.parametrize("told", [b"thick ", b"3\\x ", b"", b"-2", b"0 "])
def test_a_thickness_that_is_none_is_the_distance_of_slices(tmp_path, told):
    series = shuffled(tmp_path / "s")
    for path in series.iterdir():
        data = path.read_bytes()
        assert data.count(b"DS\x04\x009.0 ") == 1
        path.write_bytes(data.replace(b"DS\x04\x009.0 ", b"DS" + len(told).to_bytes(2, "little") + told))
    seg = pydicom.dcmread(written(series, mask_of(series), tmp_path))
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures["SliceThickness"].VR, measures.SliceThickness, measures.SpacingBetweenSlices) == ("DS", 2.5, 2.5)


def test_slices_of_fewer_pixels_than_bits_of_a_byte_are_refused(tmp_path):
    with pytest.raises(FormatError, match="6 pixels in a slice; 8 or more are needed"):
        refuse_unsegmentable(shuffled(tmp_path / "s", shape=(5, 3, 2)), drawn())
    series = shuffled(tmp_path / "t", shape=(5, 3, 3))
    label = mask_of(series)
    same_points(points_of(written(series, label, tmp_path))[1], expected_points(label, label.array == 1))


def test_slices_beside_a_file_of_several_frames_are_refused(tmp_path):
    places = positions(5)
    series = write_series(tmp_path / "s", numbers((3, 7, 6)), places=places[:3], **PLACE)
    ds = enhanced(numbers((2, 7, 6)), places[3:])
    ds.FrameOfReferenceUID, ds.SeriesInstanceUID = PLACE["FrameOfReferenceUID"], uid("s")
    save(ds, series / "more")
    with pytest.raises(FormatError, match="1 of 4 files hold several frames; one file of several frames, or one for"):
        refuse_unsegmentable(series, drawn())


def test_a_header_that_cannot_be_written_is_refused_without_quoting_it(tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise ValueError(PATIENT)

    series = shuffled(tmp_path / "s")
    label = mask_of(series)
    monkeypatch.setattr(pydicom.Dataset, "save_as", refused)
    for attempt in (lambda: refuse_unsegmentable(series, drawn()), lambda: written(series, label, tmp_path)):
        with pytest.raises(
            FormatError, match=r"no DICOM segmentation can refer to these headers .*\(ValueError\)"
        ) as told:
            attempt()
        assert PATIENT not in "".join(traceback.format_exception(told.value))  # of --debug
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_slices_that_differ_in_a_rounded_cosine_and_old_byte_order(tmp_path):
    def turned(number):
        return {"ImageOrientationPatient": [1, 0, 0.0004 * (number % 2), 0, 1, 0]}

    series = write_series(tmp_path / "s", numbers(SHAPE), each=turned, **PLACE)
    for path in series.iterdir():
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        ds.PixelData = ds.pixel_array.byteswap().tobytes()
        item = pydicom.Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "113100", "DCM", "Profile"
        ds.DeidentificationMethodCodeSequence = [item]
        ds.PatientWeight, ds.OtherPatientIDs = 71, "Z9"
        ds = pydicom.Dataset(ds)
        ds.save_as(path, little_endian=False, implicit_vr=False)
    label = mask_of(series)
    path = written(series, label, tmp_path)
    same_points(points_of(path)[1], expected_points(label, label.array == 1))
    seg = pydicom.dcmread(path)
    assert seg.DeidentificationMethodCodeSequence[0].CodeMeaning == "Profile" and seg.PatientWeight == 71


def lacking(word):
    """Return what takes an element out of the third slice."""
    return lambda ds: ds.pop(word, None)


def other(word, value):
    """Return what writes another value into the third slice."""
    return lambda ds: setattr(ds, word, value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lacking("SOPInstanceUID"), "IM0002 tells no SOPInstanceUID"),
        (lacking("StudyInstanceUID"), "IM0002 tells no StudyInstanceUID"),
        (other("StudyInstanceUID", uid("another")), "slices of 2 studies"),
        (lacking("FrameOfReferenceUID"), "slices with 2 FrameOfReferenceUIDs, or some without"),
        (other("SOPInstanceUID", uid("twice")), None),
    ],
)
def test_headers_that_cannot_be_referred_to_are_refused(tmp_path, change, sentence):
    series = write_series(tmp_path / "s", numbers(SHAPE), **PLACE)
    for name in NAMES[2:4] if sentence is None else NAMES[2:3]:
        ds = pydicom.dcmread(series / name)
        change(ds)
        ds.save_as(series / name)
    with pytest.raises(FormatError, match=sentence or "5 slices with 4 SOPInstanceUIDs") as told:
        refuse_unsegmentable(series, drawn())
    assert "leave --dicom-seg away" in str(told.value) and PATIENT not in str(told.value)


def test_no_frame_of_reference_and_no_known_kind_are_refused(tmp_path):
    with pytest.raises(FormatError, match="its slices tell no FrameOfReferenceUID"):
        refuse_unsegmentable(write_series(tmp_path / "s", numbers(SHAPE)), drawn())
    ds = with_pixels(blank(CTImageStorage), numbers((7, 6)))
    with pytest.raises(FormatError, match=r"headers of the kind 'CT Image Storage' \(ValueError\)"):
        refuse_unsegmentable(save(ds, tmp_path / "one.dcm"), drawn())


def test_a_mask_of_another_shape_is_refused_and_nothing_is_left(tmp_path):
    series = shuffled(tmp_path / "s")
    label = LabelMap(np.ones((6, 7, 4), np.uint8), np.eye(4))
    with pytest.raises(GeometryError, match="6 × 7 × 5 voxels, the mask has 6 × 7 × 4"):
        written(series, label, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_itk_reads_the_same_voxels_at_the_same_places(tmp_path, orientation):
    series = shuffled(tmp_path / "s", ORIENTATIONS[orientation], shape=(5, 8, 6))  # it takes frames of whole bytes
    label = mask_of(series, (0, 1))
    targets = Targets({"lesion": (1,)}, exclusive=True)
    image = sitk.ReadImage(str(written(series, label, tmp_path, drawn(targets))))
    write_label(tmp_path / "mask.nii.gz", label)
    mask = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    assert image.GetSize() == mask.GetSize()
    for index in map(tuple, np.ndindex(mask.GetSize())):
        place = mask.TransformIndexToPhysicalPoint(index)
        there = image.TransformPhysicalPointToIndex(place)
        assert np.allclose(image.TransformIndexToPhysicalPoint(there), place, atol=1e-3)
        assert bool(image[there]) == bool(mask[index])


def test_headers_are_read_without_names():
    assert not [word for word in dicom_instance._READ if "Patient" in word and word.startswith("Patient")]
