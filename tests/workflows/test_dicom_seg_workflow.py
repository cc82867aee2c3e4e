"""`striate predict --dicom-seg`: beside each NIfTI mask the same one as a DICOM Segmentation, refused before any work."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from dicom_files import NAMES, OBLIQUE, numbers, positions, uid, write_series
from striate import networks
from striate.cli.main import run
from striate.core.errors import FormatError, UsageError
from striate.core.files import hash_file
from striate.core.progress import Silent
from striate.io.layouts.listing import images_in
from striate.io.read import read_image, read_label
from striate.io.write import write_image
from striate.model.model import Model
from striate.workflows.evaluate import evaluate
from striate.workflows.predict import _all_asked, predict
from striate.workflows.report import report

SHAPE = (16, 20, 18)
PERSONAL = (b"Doe^", b"PID-4711", b"19700101")


def saved(plan, folder):
    dims = {"in_channels": plan.in_channels, "out_channels": plan.targets.out_channels, "spatial_dims": 3}
    network = networks.create(plan.network.name, **dims, **plan.network.options)
    return Model.save(folder, plan, network.state_dict(), {})


@pytest.fixture(scope="module")
def model(tiny_plan, tmp_path_factory):
    return saved(tiny_plan(), tmp_path_factory.mktemp("seg") / "model")


def scan(folder, seed=0, **tags):
    places = positions(SHAPE[0], OBLIQUE, step_mm=2.0)[::-1]
    place = {"FrameOfReferenceUID": uid("place", folder.name), **tags}
    return write_series(folder, 100 + numbers(SHAPE, seed=seed), OBLIQUE, places, NAMES, (2.0, 2.0), **place)


def voxels_of(path, series):
    """Return the mask of a segmentation of one segment on the grid of its series, each frame at the slice it refers to."""
    seg, grid = pydicom.dcmread(path), read_image(series).grid
    found = np.zeros(grid.shape, bool)
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for plane, frame in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        x, y, z = map(float, frame.PlanePositionSequence[0].ImagePositionPatient)
        index = np.linalg.inv(grid.affine) @ (-x, -y, z, 1)
        assert np.allclose(index[:2], 0, atol=1e-4)
        found[..., round(index[2])] |= plane.T > 0
    return found


def test_each_mask_is_there_as_dicom_too_and_nothing_else_names_the_patient(model, tmp_path, capsys):
    series, out = scan(tmp_path / "P7"), tmp_path / "out"
    code = run(["predict", str(model.folder), str(series), "--out", str(out), "--engine", "torch", "--dicom-seg"])
    told = capsys.readouterr()
    assert "1 DICOM segmentation, which names the patient, in" in told.err
    path, label = out / "dicom_seg" / "P7.dcm", read_label(out / "P7.nii.gz")
    assert code == 0 and "dicom_seg" in told.err and label.array.any()
    assert np.array_equal(voxels_of(path, series), label.array > 0)
    record = json.loads((out / "record.json").read_text())
    assert record["outputs"]["dicom_seg/P7.dcm"] == hash_file(path)
    seg = pydicom.dcmread(path)
    assert model.facts["weights_sha256"] == seg.DeviceSerialNumber and seg.PatientID == "PID-4711"
    for file in (p for p in out.rglob("*") if p.is_file() and p != path):
        assert not any(word in file.read_bytes() for word in PERSONAL), file
    assert not any(word.decode() in told.err + told.out for word in PERSONAL)


@pytest.mark.parametrize("asked", [True, False])
def test_the_document_tells_where_it_lies(model, tmp_path, capsys, asked):
    series, out = scan(tmp_path / "P7"), tmp_path / "out"
    more = ["--dicom-seg"] if asked else []
    assert (
        run(["predict", str(model.folder), str(series), "--out", str(out), "--engine", "torch", "--json", *more]) == 0
    )
    (case,) = json.loads(capsys.readouterr().out)["cases"]
    assert case.get("dicom_seg") == (str(out / "dicom_seg" / "P7.dcm") if asked else None)


def test_evaluate_and_report_pass_it_over(model, tmp_path):
    out = tmp_path / "out"
    predict(model, [scan(tmp_path / "P1"), scan(tmp_path / "P2", seed=1)], out, engine="torch", dicom_seg=True)
    assert sorted(p.name for p in (out / "dicom_seg").iterdir()) == ["P1.dcm", "P2.dcm"]
    assert [p.name for p in images_in(out)] == ["P1.nii.gz", "P2.nii.gz"]
    (tmp_path / "truth").mkdir()
    for name in ("P1", "P2"):
        (tmp_path / "truth" / f"{name}.nii.gz").write_bytes((out / f"{name}.nii.gz").read_bytes())
    found = evaluate(out, tmp_path / "truth")
    assert [case.case for case in found.cases] == ["P1", "P2"]
    page = report(out).read_bytes()
    assert not any(word in page for word in PERSONAL)


@pytest.mark.parametrize("dry_run", [False, True])
def test_cases_that_are_no_series_are_named_before_any_work(model, tmp_path, dry_run):
    series = scan(tmp_path / "P1")
    write_image(tmp_path / "P2.nii.gz", read_image(series))
    inputs = [series, tmp_path / "P2.nii.gz"]
    with pytest.raises(
        UsageError, match=r"--dicom-seg: 1 of 2 cases is no DICOM series \(P2\); .* Leave --dicom-seg away"
    ):
        predict(model, inputs, tmp_path / "out", dicom_seg=True, dry_run=dry_run)
    assert not list(tmp_path.glob("out*"))


def test_headers_that_do_not_suffice_are_told_of_all_cases(model, tmp_path):
    for name in ("P1", "P2"):
        for path in scan(tmp_path / name).iterdir():
            ds = pydicom.dcmread(path)
            del ds.FrameOfReferenceUID
            ds.save_as(path)
    with pytest.raises(
        FormatError, match=r"2 of 2 cases can carry no DICOM segmentation.*\n.*P1: its slices tell no Frame"
    ):
        predict(model, [tmp_path / "P1", tmp_path / "P2"], tmp_path / "out", dicom_seg=True)
    assert not list(tmp_path.glob("out*"))


def test_without_highdicom_the_extra_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(
        UsageError, match=r"highdicom, which is not installed. Install it: pip install 'striate\[dicom\]'"
    ):
        predict(model, scan(tmp_path / "P1"), tmp_path / "out", dicom_seg=True)
    assert predict(model, tmp_path / "P1", tmp_path / "out", engine="torch")


def test_a_model_of_classes_is_refused():
    model = SimpleNamespace(plan=SimpleNamespace(task=SimpleNamespace(kind="classification")))
    with pytest.raises(UsageError, match="--dicom-seg: the model does classification; only models that draw masks can"):
        _all_asked(model, {}, {"dicom_seg": True, "engine": "auto"})


def test_the_room_on_the_disk_is_foreseen(model, tmp_path):
    series = scan(tmp_path / "P1")
    without, foreseen = (
        predict(model, series, tmp_path / "out", dicom_seg=asked, dry_run=True).document["disk"]["needed_bytes"]
        for asked in (False, True)
    )
    predict(model, series, tmp_path / "out", engine="torch", dicom_seg=True)
    assert (tmp_path / "out" / "dicom_seg" / "P1.dcm").stat().st_size <= foreseen - without


class Told(Silent):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize("before", [False, True])
def test_a_kept_mask_is_taken_with_its_segmentation_alone(model, tmp_path, before):
    first, second = scan(tmp_path / "a"), scan(tmp_path / "b", seed=1)
    path = second / NAMES[3]
    whole = path.read_bytes()
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000
    ds.PixelData = pydicom.encaps.encapsulate([b"no pixels"])
    ds["PixelData"].is_undefined_length = True
    ds.save_as(path)
    with pytest.raises(FormatError, match="1 of 2 cases is kept"):
        predict(model, [first, second], tmp_path / "out", engine="torch", dicom_seg=before)
    path.write_bytes(whole)
    told = Told()
    predict(model, [first, second], tmp_path / "out", engine="torch", dicom_seg=True, progress=told)
    assert sorted(p.name for p in (tmp_path / "out" / "dicom_seg").iterdir()) == ["a.dcm", "b.dcm"]
    assert any("with other options: a" in note for note in told.notes) != before


def test_the_first_channel_alone_is_a_series_and_an_ensemble_tells_all_weights(tiny_plan, tmp_path):
    plan = tiny_plan(("flair", "t1"))
    one, two = saved(plan, tmp_path / "one"), saved(plan, tmp_path / "two")
    series = scan(tmp_path / "P1_flair")
    write_image(tmp_path / "P1_t1.nii.gz", read_image(series))
    predict(one, [series, tmp_path / "P1_t1.nii.gz"], tmp_path / "out", ensemble=[two.folder], dicom_seg=True)
    seg = pydicom.dcmread(tmp_path / "out" / "dicom_seg" / "P1.dcm")
    for model in (one, two):
        assert model.facts["weights_sha256"] in seg.SegmentSequence[0].SegmentDescription
    swapped = [scan(tmp_path / "P1_t1"), tmp_path / "P1_flair.nii.gz"]
    write_image(swapped[1], read_image(series))
    with pytest.raises(UsageError, match=r"1 of 1 case is no DICOM series \(P1\)"):
        predict(one, swapped, tmp_path / "again", dicom_seg=True)
