"""DICOM series in place of files: given to `predict` and `check`, in folders, in a CSV; the masks are NIfTI on their grid."""

import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, ComputedRadiographyImageStorage, SegmentationStorage, UltrasoundImageStorage

from dicom_files import NAMES, OBLIQUE, PATIENT, blank, numbers, positions, save, with_pixels, write_series
from striate import networks
from striate.cli.main import run
from striate.core.errors import DataError, LayoutError, UsageError
from striate.core.image import LabelMap
from striate.core.progress import Silent
from striate.data.checks.states import states
from striate.data.cohort import Cohort
from striate.inference.inputs import gather
from striate.io.read import hash_image, read_channels, read_image, read_label
from striate.io.write import write_image, write_label
from striate.model.model import Model
from striate.workflows.check import check
from striate.workflows.predict import predict

SHAPE = (16, 20, 18)


@pytest.fixture(scope="module")
def model(tiny_plan, tmp_path_factory):
    plan = tiny_plan()
    network = networks.create(
        plan.network.name, spatial_dims=3, in_channels=1, out_channels=plan.targets.out_channels, **plan.network.options
    )
    return Model.save(tmp_path_factory.mktemp("dicom") / "model", plan, network.state_dict(), {})


def scan(folder, seed=0, **tags):
    """Write an oblique series of SHAPE."""
    places = positions(SHAPE[0], OBLIQUE, step_mm=2.0)
    names = [NAMES[n] for n in np.random.default_rng(seed).permutation(SHAPE[0])]
    return write_series(folder, 100 + numbers(SHAPE, seed=seed), OBLIQUE, places, names, (2.0, 2.0), **tags)


def mask_of(folder, path):
    """Write a label map on the grid of a series."""
    image = read_image(folder)
    write_label(path, LabelMap((image.array[0] > 1900).astype(np.uint8), image.affine))
    return path


def test_a_mask_is_that_of_the_same_scan_in_nifti(model, tmp_path, capsys):
    series = scan(tmp_path / "P7")
    write_image(tmp_path / "same.nii.gz", read_image(series))
    code = run(["predict", str(model.folder), str(series), "--out", str(tmp_path / "out"), "--engine", "torch"])
    told = capsys.readouterr()
    assert code == 0 and PATIENT not in told.err + told.out
    predict(model, tmp_path / "same.nii.gz", tmp_path / "same", engine="torch")
    ours, theirs = read_label(tmp_path / "out" / "P7.nii.gz"), read_label(tmp_path / "same" / "same.nii.gz")
    assert ours.grid.matches(read_image(series).grid) and np.array_equal(ours.array, theirs.array)
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["inputs"] == {"P7/flair": hash_image(series)}
    for path in (p for p in (tmp_path / "out").rglob("*") if p.is_file()):
        assert not any(word in path.read_bytes() for word in (b"Doe^", b"PID-4711", b"19700101")), path


class Told(Silent):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize("changed", [False, True])
def test_a_kept_mask_is_taken_for_the_same_slices_alone(model, tmp_path, changed):
    first, second = scan(tmp_path / "a"), scan(tmp_path / "b", seed=1)
    whole = (second / NAMES[3]).read_bytes()
    ds = pydicom.dcmread(second / NAMES[3])
    ds.file_meta.TransferSyntaxUID, ds.PixelData = JPEG2000, encapsulate([b"no pixels"])
    ds["PixelData"].is_undefined_length = True
    ds.save_as(second / NAMES[3])
    with pytest.raises(DataError, match=r"its pixels cannot be unpacked .* 1 of 2 cases is kept"):
        predict(model, [first, second], tmp_path / "out", engine="torch", progress=Told())
    (second / NAMES[3]).write_bytes(whole)
    if changed:  # one number of one slice, under the same names
        data = (first / NAMES[5]).read_bytes()
        (first / NAMES[5]).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    told = Told()
    found = predict(model, [first, second], tmp_path / "out", engine="torch", progress=told)
    assert [p.case.name for p in found] == ["a", "b"]
    assert any("predicted from other images: a" in note for note in told.notes) == changed


def test_what_is_given_is_grouped_as_files_are(tmp_path):
    one, two = scan(tmp_path / "P1" / "FLAIR"), scan(tmp_path / "P1" / "T1", seed=1)
    (case,) = gather([one, two], ("flair", "t1"))
    assert case.name == "P1" and case.channels == {"flair": one, "t1": two}
    assert [c.name for c in gather([one, two], ("flair",))] == ["FLAIR", "T1"]
    assert [c.name for c in gather([one / NAMES[4]], ("flair",))] == [NAMES[4]]
    cases = gather([tmp_path / "P1"], ("image",))
    assert {c.name: next(iter(c.channels.values())) for c in cases} == {"FLAIR": one, "T1": two}


def test_colours_of_a_cohort_of_ultrasound_are_channels(tmp_path):
    rows = ["subject,image,class"]
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (7, 6, 3)).astype(np.uint8)
        save(with_pixels(blank(UltrasoundImageStorage, f"s{number}"), pixels), tmp_path / f"P{number}.dcm")
        rows.append(f"P{number},P{number}.dcm,{'ab'[number]}")
    (tmp_path / "cohort.csv").write_text("\n".join(rows))
    cohort = Cohort.open(tmp_path / "cohort.csv")
    assert cohort.channels == ("red", "green", "blue")
    found = read_channels(cohort.cases[1])
    assert np.array_equal(found["green"].array[0], pixels[..., 1].T)


def test_each_slice_of_a_series_is_not_a_case(tmp_path):
    series = scan(tmp_path / "P1")
    with pytest.raises(UsageError, match=r"a slice of the same DICOM series as .*Give their folder: .*P1$"):
        gather(sorted(series.iterdir()), ("flair",))


def test_a_folder_that_is_no_scan_says_what_it_is(tmp_path):
    save(blank(SegmentationStorage), tmp_path / "seg" / "a.dcm")
    with pytest.raises(DataError, match=r"seg: a DICOM object that is no scan \(Segmentation Storage\)"):
        gather([tmp_path / "seg"], ("flair",))
    series = scan(tmp_path / "both")
    mask_of(series, series / "mask.nii.gz")
    with pytest.raises(DataError, match=r"both: DICOM slices beside 1 other image \(mask\.nii\.gz\); it must be clear"):
        gather([series], ("flair",))
    assert gather([series / NAMES[0]], ("flair",))[0].channels == {"flair": series / NAMES[0]}
    with pytest.raises(LayoutError, match=r"P1: one image; .* Give its folder: "):
        Cohort.open(scan(tmp_path / "P1"))


def test_radiographs_in_one_folder_are_a_case_each(tmp_path):
    for number in range(3):
        ds = with_pixels(blank(ComputedRadiographyImageStorage, f"s{number}"), numbers((7, 6), np.uint16, number))
        save(ds, tmp_path / "cr" / f"P{number}.dcm")
    assert [c.name for c in gather([tmp_path / "cr"], ("image",))] == ["P0", "P1", "P2"]


@pytest.mark.parametrize("layout", ["images", "beside", "per case", "csv", "csv of files"])
def test_a_cohort_of_series(tmp_path, layout):
    root = tmp_path / "cohort"
    rows = ["subject,site,flair,label"]
    for number in range(3):
        name = f"P{number}"
        place, mask = {
            "images": (root / "images" / name, root / "masks" / f"{name}.nii.gz"),
            "beside": (root / name, root / f"{name}_seg.nii.gz"),
            "per case": (root / name / "flair", root / name / "mask.nii.gz"),
            "csv": (root / "scans" / name, root / f"{name}_seg.nii.gz"),
            "csv of files": (root / "scans" / name, root / f"{name}_seg.nii.gz"),
        }[layout]
        scan(place, seed=number)
        mask.parent.mkdir(exist_ok=True)
        mask_of(place, mask)
        cell = f"scans/{name}" + (f"/{NAMES[2]}" if layout == "csv of files" else "")
        rows.append(f"{name},scans,{cell},{name}_seg.nii.gz")
    if layout.startswith("csv"):
        (root / "cohort.csv").write_text("\n".join(rows))
    cohort = Cohort.open(root)
    assert [c.name for c in cohort.cases] == ["P0", "P1", "P2"] and len(cohort.labelled) == 3
    assert cohort.channels == (("flair",) if layout.startswith("csv") else ("image",))
    assert {p.code for p in check(root).problems if p.severity == "error"} <= {"label_outside"}  # noise shows no object
    if layout.startswith("csv"):
        assert cohort.cases[0].metadata == {"site": "scans"}
        cohort.write_csv(root / "again.csv")
        assert Cohort.open(root / "again.csv").cases[1].channels == cohort.cases[1].channels


def test_a_mask_on_another_grid_and_a_mask_in_dicom_are_problems(tmp_path):
    for number in range(2):
        scan(tmp_path / f"P{number}", seed=number)
    nib.save(nib.Nifti1Image(np.ones((18, 20, 16), np.uint8), np.eye(4)), tmp_path / "m0.nii.gz")
    scan(tmp_path / "m1", seed=5)
    (tmp_path / "cohort.csv").write_text("subject,flair,label\nP0,P0,m0.nii.gz\nP1,P1,m1\n")
    told = {(p.case, p.code): p.found for p in check(tmp_path / "cohort.csv").problems if p.severity == "error"}
    assert any(case == "P0" for case, _ in told)
    assert "DICOM as a label map" in told["P1", "unreadable"]


def test_a_tilted_gantry_is_told(tmp_path):
    places = positions(SHAPE[0], step_mm=2.0, shift=(0, 0.75, 0))
    write_series(tmp_path / "P0", numbers(SHAPE), places=places, spacing_mm=(2.0, 2.0))
    (tmp_path / "cohort.csv").write_text("subject,ct\nP0,P0\n")
    (problem,) = [p for p in check(tmp_path / "cohort.csv").problems if p.code == "shear"]
    assert problem.case == "P0" and "20.6° off the right angle" in problem.found  # atan(0.75 / 2)


def test_a_slice_that_changes_makes_another_state(tmp_path):
    scan(tmp_path / "P0")
    (tmp_path / "cohort.csv").write_text("subject,flair\nP0,P0\n")
    before = states(Cohort.open(tmp_path / "cohort.csv"))
    path = tmp_path / "P0" / NAMES[2]
    path.write_bytes(path.read_bytes() + b"\0\0")
    assert states(Cohort.open(tmp_path / "cohort.csv")) != before
