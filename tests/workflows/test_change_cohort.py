"""`change` on phantoms with two visits: given masks, cohorts that go on, scan and rescan, stored predictions, bad input."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from striate.core.errors import DataError, GeometryError, LayoutError, ModelError, UsageError
from striate.measure.findings import Findings
from striate.trust.repeatability import Repeatability
from striate.workflows import change as module
from striate.workflows.change import change, foresee
from striate.workflows.phantom import phantom
from striate.workflows.predict import predict
from striate.workflows.train import train

pytest.importorskip("SimpleITK")


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """Two subjects, two visits each, 5 mm voxels."""
    return phantom(
        tmp_path_factory.mktemp("visits") / "cohort", subjects=2, visits=2, spacing_mm=(5, 5, 5), seed=5
    ).parent


@pytest.fixture(scope="module")
def model(tiny_cohort, tiny_plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_plan(steps=30).write(folder / "plan.yaml")
    return train(tiny_cohort, out=folder / "run", plan=folder / "plan.yaml", holdout=["s1"]).folder


@pytest.fixture(scope="module")
def predicted(visits, model, tmp_path_factory):
    """All visits as `predict` leaves them."""
    predict(model, visits, out := tmp_path_factory.mktemp("predicted") / "out")
    return out


def scan(visits, subject, time):
    return visits / "images" / f"{subject}_{time}_flair.nii.gz"


def mask(visits, subject, time):
    return visits / "masks" / f"{subject}_{time}_lesion.nii.gz"


def given(visits, out, **more):
    one, two = (scan(visits, "P001", time) for time in (1, 2))
    masks = mask(visits, "P001", 1), mask(visits, "P001", 2)
    return change(None, one, two, out, **{"masks": masks, **more})


def table(visits, path, rows):
    """Write a cohort of (subject, time, whose scan, which of his)."""
    lines = ["case,subject,time,flair"]
    lines += [f"{s}_{t},{s},{t},{scan(visits, whose, which)}" for s, t, whose, which in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def of_masks(visits, tmp_path_factory):
    return given(visits, tmp_path_factory.mktemp("masks") / "out", subject="P001")


def test_given_masks_need_no_model(of_masks, visits):
    (pair,) = of_masks.changes
    assert (pair.subject, list(pair.labels)) == ("P001", ["lesion"])
    truth = next(r for r in csv.DictReader((visits / "cohort.csv").open()) if r["case"] == "P001_2")
    told = pair.labels["lesion"]
    assert sum(x.kind == "new" for x in told.lesions) >= max(1, int(truth["new"]) - 1)
    volumes = [np.asarray(nib.load(mask(visits, "P001", t)).dataobj).sum() * 0.125 for t in (1, 2)]
    assert told.volume_change_ml.value == pytest.approx(volumes[1] - volumes[0]) and "estimated" in told.noise
    assert of_masks.rows[0].priority == "high" and "new lesion" in of_masks.rows[0].reason
    out = of_masks.folder
    assert Findings.read(out).changes == of_masks.changes == Findings.read(out / "findings.csv").changes
    names = {p.name for p in (out / "registered").iterdir()}
    stem = "P001_P001_1_flair_P001_2_flair"
    assert names == {f"{stem}.txt", *(f"{stem}_{n}.nii.gz" for n in ("before_image", "before_mask", "after_mask"))}
    shapes = {nib.load(p).shape for p in (out / "registered").glob("*.nii.gz")}
    assert shapes == {nib.load(scan(visits, "P001", 2)).shape} and (out / "triage.csv").exists()
    assert "estimated from the voxels at the edges" in of_masks.report.read_text()
    assert not {"masks-exchanged", "mask-of-another-scan"} & {c.code for c in pair.warnings}


def test_a_transform_that_was_found_can_be_given(of_masks, visits, tmp_path):
    (path,) = (of_masks.folder / "registered").glob("*.txt")
    again = given(visits, tmp_path / "out", subject="P001", transform=path)
    assert again.changes[0].labels == of_masks.changes[0].labels


def test_masks_that_do_not_belong_are_told(visits, tmp_path):
    for path in (scan(visits, "P001", 2), mask(visits, "P001", 2)):
        nib.save(nib.load(path).slicer[:, :, :-2], tmp_path / path.name)  # another grid
    masks = mask(visits, "P001", 1), tmp_path / mask(visits, "P001", 2).name
    with pytest.raises(GeometryError, match="the grid of its image is needed"):
        given(visits, tmp_path / "a", masks=masks)
    one, two = scan(visits, "P001", 1), tmp_path / scan(visits, "P001", 2).name
    with pytest.raises(GeometryError, match=r"lies on the grid of .*exchanged"):
        change(None, one, two, tmp_path / "b", masks=masks[::-1])
    still = tmp_path / "still.txt"
    np.savetxt(still, np.eye(4))
    swapped = given(visits, tmp_path / "c", masks=(mask(visits, "P001", 2), mask(visits, "P001", 1)), transform=still)
    assert "masks-exchanged" in [c.code for c in swapped.changes[0].warnings]
    same = mask(visits, "P001", 2)
    with pytest.raises(DataError, match="masks of P001_1_flair and P001_2_flair are one file, or copies of one"):
        given(visits, tmp_path / "d", masks=(same, same), transform=still)
    assert not (tmp_path / "d").exists()
    for wrong in (0, 1):
        masks = [mask(visits, "P001", 1), mask(visits, "P001", 2)]
        masks[wrong] = mask(visits, "P002", wrong + 1)
        foreign = given(visits, tmp_path / f"e{wrong}", masks=tuple(masks), transform=still)
        (told,) = (c.message for c in foreign.changes[0].warnings if c.code == "mask-of-another-scan")
        assert told.startswith(f"P001_{wrong + 1}_flair: its mask hardly") and told[:-1] in foreign.rows[0].reason
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_empty_masks_at_both_times_say_so(visits, of_masks, tmp_path):
    empty = []
    for time in (1, 2):
        image = nib.load(mask(visits, "P001", time))
        nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), tmp_path / f"e{time}.nii.gz")
        empty.append(tmp_path / f"e{time}.nii.gz")
    (path,) = (of_masks.folder / "registered").glob("*.txt")
    found = given(visits, tmp_path / "out", masks=tuple(empty), transform=path)
    assert [c.code for c in found.changes[0].warnings] == ["nothing-found"]
    assert found.changes[0].labels["lesion"].lesions == () and "both masks are empty" in found.rows[0].reason


def test_visits_of_two_subjects_are_refused(visits, model, tmp_path):
    for name, source in (("sub-01_flair", scan(visits, "P001", 1)), ("sub-02_flair", scan(visits, "P001", 2))):
        shutil.copy(source, tmp_path / f"{name}.nii.gz")
    pair = tmp_path / "sub-01_flair.nii.gz", tmp_path / "sub-02_flair.nii.gz"
    with pytest.raises(DataError, match=r"of subject sub-01, .* of sub-02; .*--subject NAME"):
        foresee(model, *pair)
    assert foresee(model, *pair, subject="one")[0]["subject"] == "one"
    with pytest.raises(DataError, match="two examinations of one subject are needed"):
        change(model, scan(visits, "P001", 1), scan(visits, "P002", 2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_same_voxels_in_another_file_are_one_examination(visits, model, tmp_path):
    image = nib.load(scan(visits, "P001", 1))
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine), tmp_path / "copy.nii")
    with pytest.raises(DataError, match="hold the same voxels"):
        change(model, scan(visits, "P001", 1), tmp_path / "copy.nii", tmp_path / "out")


def test_a_cohort_tells_of_pairs_that_fail_and_goes_on_where_it_stopped(
    visits, model, predicted, tmp_path, monkeypatch
):
    rows = [("P001", 1, "P001", 1), ("P001", 2, "P001", 2), ("X", 1, "P001", 1), ("X", 2, "P002", 2)]
    cohort, out = table(visits, tmp_path / "cohort.csv", rows), tmp_path / "out"
    real, calls = module.compare_pair, []

    def stopped(pair, *rest, **more):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(pair)
        return real(pair, *rest, **more)

    monkeypatch.setattr(module, "compare_pair", stopped)
    with pytest.raises(KeyboardInterrupt):
        change(model, cohort, None, out, predictions=predicted)
    assert not out.exists() and (tmp_path / "out.unfinished").is_dir()
    with pytest.raises(DataError, match="another comparison"):
        change(model, table(visits, tmp_path / "less.csv", rows[:2]), None, out)
    monkeypatch.setattr(
        module, "compare_pair", lambda pair, *rest, **more: calls.append(pair) or real(pair, *rest, **more)
    )
    found = change(model, cohort, None, out, predictions=predicted)
    assert [pair[1].name for pair in calls] == ["P001_2", "X_2"] and not (tmp_path / "out.unfinished").exists()
    lost = next(c for c in found.changes if c.subject == "X")
    assert lost.labels == {} and [c.code for c in lost.warnings] == ["not-compared"]
    row = next(r for r in found.rows if r.subject == "X")
    assert row.priority == "high" and row.reason.startswith("Could not be compared; X_1 and X_2: ")
    assert {c.case for c in Findings.read(out).cases} == {"P001_1", "P001_2"}
    assert json.loads((out / "record.json").read_text())["facts"]["not_compared"] == 1
    assert not list(out.rglob("pair.json")) and "Could not be compared" in found.report.read_text()


def test_stored_predictions_are_used_and_must_be_of_the_model(visits, model, predicted, of_masks, tmp_path):
    shutil.copytree(predicted, tmp_path / "masks")
    for time in (1, 2):
        shutil.copy(scan(visits, "P001", time), tmp_path / f"P001_{time}.nii.gz")
    one, two = (tmp_path / f"P001_{time}.nii.gz" for time in (1, 2))
    (path,) = (of_masks.folder / "registered").glob("*.txt")
    drawn = change(model, one, two, tmp_path / "drawn", transform=path)
    stored = change(model, one, two, tmp_path / "stored", transform=path, predictions=tmp_path / "masks")
    assert [c.labels["lesion"].volume_change_percent for c in stored.changes] == [
        c.labels["lesion"].volume_change_percent for c in drawn.changes
    ]
    read = json.loads((tmp_path / "stored" / "record.json").read_text())["inputs"]
    assert {"P001_1/mask", "P001_2/mask"} <= set(read)
    record = tmp_path / "masks" / "record.json"
    record.write_text(record.read_text().replace('"weights_sha256": "', '"weights_sha256": "0'))
    with pytest.raises(ModelError, match="masks of this model"):
        change(model, one, two, tmp_path / "no", transform=path, predictions=tmp_path / "masks")


def test_scan_and_rescan_measure_the_noise(visits, model, predicted, tmp_path, monkeypatch):
    cohort = visits
    with pytest.raises(UsageError, match="2 subjects with scan and rescan; at least 5"):
        change(model, cohort, None, tmp_path / "few", rescan=True)
    monkeypatch.setattr("striate.trust.repeatability.FEWEST", 2)
    found = change(model, cohort, None, tmp_path / "out", rescan=True, predictions=predicted)
    kept = Repeatability.read(tmp_path / "out")
    assert found.repeatability == kept and kept.labels["lesion"].n_subjects == 2
    used = change(model, cohort, None, tmp_path / "used", repeatability=tmp_path / "out", predictions=predicted)
    assert all("scan and rescan of 2 subjects" in c.labels["lesion"].noise for c in used.changes)
    assert used.changes[0].labels["lesion"].volume_change_ml.coverage == 0.95


def test_what_cannot_be_meant(visits, model, tmp_path):
    one = scan(visits, "P001", 1)
    with pytest.raises(UsageError, match="neither a model nor masks"):
        foresee(None, one, scan(visits, "P001", 2))
    with pytest.raises(UsageError, match="both a model and masks"):
        foresee(model, one, scan(visits, "P001", 2), masks=(one, one))
    with pytest.raises(UsageError, match="--subject Z: it is for two examinations"):
        foresee(model, visits, None, subject="Z")
    with pytest.raises(LayoutError, match="One examination alone cannot be compared"):
        foresee(model, one, None)
    timeless = tmp_path / "timeless.csv"
    timeless.write_text(f"case,subject,flair\na,P,{one}\nb,P,{scan(visits, 'P001', 2)}\n")
    with pytest.raises(DataError, match="case a has no time"):
        foresee(model, timeless, None)
    assert foresee(model, visits, None) == [
        {"subject": s, "before": f"{s}_1", "after": f"{s}_2"} for s in ("P001", "P002")
    ]
