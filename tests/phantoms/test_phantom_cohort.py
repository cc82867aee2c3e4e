import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from striate.cli.main import run
from striate.core.errors import DataError, UsageError
from striate.core.record import Record
from striate.data.checks.labels import component_sizes
from striate.data.cohort import Cohort
from striate.io.read import read_image, read_label
from striate.phantoms.subject import visits
from striate.workflows.phantom import phantom


def first(seed, subject, **options):
    return next(visits(seed, subject, **{"spacing_mm": (2.0, 2.0, 2.0), **options}))


@pytest.fixture(scope="module")
def scans():
    return [first(0, subject) for subject in range(4)]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("été à Genève") / "phantoms"
    return phantom(folder, subjects=2, seed=7, visits=2, spacing_mm=(3.0, 3.0, 5.0), artefacts="ghosting")


def rows_of(table: Path):
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_table_lists_every_visit(cohort):
    rows = rows_of(cohort)
    assert [(r["subject"], r["time"]) for r in rows] == [("P001", "1"), ("P001", "2"), ("P002", "1"), ("P002", "2")]
    assert {r["artefact"] for r in rows} == {"ghosting"}
    assert rows[0]["new"] == "" and int(rows[1]["new"]) >= 1


def test_files_agree_with_the_table(cohort):
    for row in rows_of(cohort):
        flair, label = read_image(cohort.parent / row["flair"]), read_label(cohort.parent / row["label"])
        assert flair.grid.matches(label.grid, 0.001)
        np.testing.assert_allclose(flair.grid.spacing_mm, (3, 3, 5))
        assert flair.grid.axes == "RAS"
        assert label.values() == (1,)
        assert label.array.sum() * label.grid.voxel_volume_ml == pytest.approx(float(row["lesion_ml"]), abs=1e-3)
        assert ndimage.label(label.array, np.ones((3, 3, 3)))[1] == int(row["lesions"])


def test_cohort_is_recognised(cohort):
    found = Cohort.open(cohort.parent)
    assert [case.name for case in found.cases] == ["P001_1", "P001_2", "P002_1", "P002_2"]
    assert found.channels == ("flair",) and found.label_names == {1: "lesion"}
    assert found.cases[0].metadata["artefact"] == "ghosting"
    assert Cohort.open(cohort).cases[1].metadata["time"] == "2"


def test_record_and_notice_lie_beside(cohort):
    record = Record.read(cohort.parent / "record.json")
    assert record.verb == "phantom" and record.seed == 7 and record.options["visits"] == 2
    assert "McGill" in (cohort.parent / "NOTICE").read_text()
    assert sorted(p.name for p in cohort.parent.iterdir()) == [
        "NOTICE",
        "cohort.csv",
        "images",
        "labels.json",
        "masks",
        "record.json",
    ]


def test_same_seed_same_scan_and_another_seed_another():
    one, two = first(3, 1), first(3, 1)
    np.testing.assert_array_equal(one.flair.array, two.flair.array)
    assert (first(4, 1).label.array != one.label.array).any()


def test_a_subject_does_not_depend_on_the_others_nor_on_later_visits(cohort, tmp_path):
    alone = phantom(tmp_path / "one", subjects=1, seed=7, spacing_mm=(3.0, 3.0, 5.0), artefacts="ghosting")
    (row,) = rows_of(alone)
    for column in ("flair", "label"):
        expected = read_image(cohort.parent / rows_of(cohort)[0][column]).array
        np.testing.assert_array_equal(read_image(alone.parent / row[column]).array, expected)


def test_artefacts_change_the_scan_but_not_the_truth(scans):
    spoilt = first(0, 0, artefacts="motion")
    np.testing.assert_array_equal(spoilt.label.array, scans[0].label.array)
    assert (spoilt.flair.array != scans[0].flair.array).mean() > 0.5


def test_lesions_shine_and_cerebrospinal_fluid_is_dark(scans):
    for scan in scans:
        image, lesion = scan.flair.array[0].astype(float), scan.label.array > 0
        near = ndimage.binary_dilation(lesion, iterations=4) & ~ndimage.binary_dilation(lesion, iterations=2)
        assert np.median(image[lesion]) > 1.15 * np.median(image[near])
        brain = ndimage.binary_fill_holes(ndimage.binary_opening(image > 0.5 * np.percentile(image, 90)))
        white = np.median(image[brain])
        head = ndimage.binary_closing(brain, iterations=10)
        assert 0.01 < (image[ndimage.binary_erosion(head, iterations=6)] < 0.5 * white).mean() < 0.2  # ventricles
        assert np.median(image[~ndimage.binary_dilation(head, iterations=4)]) < 0.15 * white


def test_lesions_lie_inside_the_brain_and_not_in_single_voxels(scans):
    for scan in scans:
        assert 0.5 < scan.lesion_ml < 80
        components, number = ndimage.label(scan.label.array, np.ones((3, 3, 3)))
        sizes = np.bincount(components.ravel())[1:]
        assert number == scan.lesions >= 3
        assert sizes[sizes == 1].sum() < 0.02 * sizes.sum()


def test_a_global_threshold_is_not_enough(scans):
    best = []
    for scan in scans:
        image, lesion = scan.flair.array[0], scan.label.array > 0
        cuts = np.percentile(image, np.linspace(85, 99.9, 60))
        best.append(max(2 * ((image > c) & lesion).sum() / ((image > c).sum() + lesion.sum()) for c in cuts))
    assert np.mean(best) < 0.7


def test_contrast_is_that_of_a_real_flair(scans):
    import nibabel as nib

    data = Path(os.environ.get("STRIATE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "ms-bids"
    if not data.is_dir():
        pytest.skip("the real patients (../shared/data or $STRIATE_TEST_DATA) are not here")
    real = nib.load(data / "sub-26/anat/sub-26_FLAIR.nii.gz").get_fdata()[:, :, :180]
    mask = nib.load(data / "derivatives/consensus/sub-26/anat/sub-26_label-lesion_mask.nii.gz").get_fdata()[:, :, :180]
    blocks = (91, 2, 109, 2, 90, 2)
    real, mask = (v.reshape(blocks).mean((1, 3, 5)) for v in (real, mask))
    wanted = facts(real, mask >= 0.5)
    found = np.mean([facts(s.flair.array[0].astype(float), s.label.array > 0) for s in scans], axis=0)
    np.testing.assert_allclose(found[1:], wanted[1:], atol=0.15)  # the brain's own range of brightness
    assert wanted[0] - 0.05 < found[0] < wanted[0] + 0.4  # lesions: easier to see than this patient's faint ones


def facts(image, lesion):
    """Lesions, dark and bright percentiles of the brain, relative to its median."""
    brain = ndimage.binary_fill_holes(ndimage.binary_opening(image > 0.5 * np.percentile(image, 90)))
    middle = np.median(image[brain])
    return np.array([np.median(image[lesion]), *np.percentile(image[brain & ~lesion], (10, 25, 75, 90))]) / middle


def test_existing_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(DataError, match="it exists and is not empty"):
        phantom(tmp_path, subjects=1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"subjects": 0}, "subjects: 0; a number from 1 to 9999"),
        ({"visits": 12}, "visits: 12; a number from 1 to 9"),
        ({"seed": -1}, "seed: -1"),
        ({"spacing_mm": (0.1, 1, 1)}, "spacing: 0.1 1 1 mm"),
        ({"artefacts": "spike"}, "Did you mean 'spikes'"),
    ],
)
def test_wrong_options_leave_nothing(options, sentence, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        phantom(tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_command_prints_one_json_document(tmp_path, capsys):
    assert run(["phantom", "--subjects", "1", "--spacing", "4", "4", "4", "--out", str(tmp_path / "p"), "--json"]) == 0
    out = capsys.readouterr().out
    assert Path(json.loads(out)["cohort"]).is_file()
    assert run(["phantom", "--artefacts", "ghost", "--out", str(tmp_path / "q")]) == 2
    assert "unknown artefact 'ghost'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["4"], [4, 4, 4]),
        (["4", "4", "5"], [4, 4, 5]),
        (["4,5,4"], [4, 5, 4]),
        (["4", "5"], "--spacing: 4 5; one voxel size in mm is needed, or three along x, y, z."),
        (["thick"], "--spacing: thick; one voxel size"),
        (["--json"], "--spacing: --json; one voxel size"),
        (["0"], "spacing: 0 0 0 mm"),
    ],
)
def test_spacing_is_one_number_or_three(given, meant, tmp_path, capsys):
    code = run(["phantom", "--subjects", "1", "--json", "--out", str(tmp_path / "p"), "--spacing", *given])
    told = capsys.readouterr()
    if isinstance(meant, str):
        assert (code, list(tmp_path.iterdir())) == (2, []) and meant in told.err
    else:
        assert code == 0, told
        assert json.loads(told.out)["spacing_mm"] == meant


@pytest.mark.parametrize("given", [5, [5, 5, 5.0]])
def test_one_number_is_the_size_along_all_axes_and_a_list_is_taken_too(tmp_path, given):
    phantom(tmp_path / "p", subjects=1, spacing_mm=given)
    assert json.loads((tmp_path / "p" / "record.json").read_text())["options"]["spacing_mm"] == [5, 5, 5]


@pytest.mark.parametrize(
    ("spacing", "single"), [((3.7, 3.7, 3.7), 0), ((4.0, 4.0, 4.0), 0), ((3.0, 3.0, 8.0), 0), ((3.0, 3.0, 3.0), 3)]
)
def test_coarse_voxels_hold_no_lesion_alone(spacing, single):
    """What would be a stray voxel is in neither mask nor scan; fine phantoms are what they were."""
    found = first(0, 2, spacing_mm=spacing, sites=2)
    sizes = component_sizes(found.label.array)
    assert len(sizes) > 10 and np.count_nonzero(sizes == 1) == single
    assert found.lesions == len(sizes) and found.lesion_ml == pytest.approx(
        sizes.sum() * found.label.grid.voxel_volume_ml
    )
