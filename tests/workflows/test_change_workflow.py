"""`change` on files: pairs that were given, cohorts by time, what is refused."""

import json

import nibabel as nib
import numpy as np
import pytest

import striate
from striate.core.errors import DataError, UsageError
from striate.core.record import Record
from striate.workflows.change import change
from striate.workflows.train import train


@pytest.fixture(scope="module")
def trained(tiny_cohort, tiny_plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("change")
    tiny_plan(steps=60, loss="dice_ce").write(folder / "plan.yaml")
    return train(tiny_cohort, out=folder / "run", plan=folder / "plan.yaml", holdout=["s1"]).folder


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A transform that moves nothing: the tiny scans have no head to register."""
    path = tmp_path_factory.mktemp("transform") / "still.txt"
    np.savetxt(path, np.eye(4))
    return path


@pytest.fixture
def grown(tiny_cohort, tmp_path):
    """The scan of a subject whose lesion is larger now, and who has a second one."""
    image = nib.load(tiny_cohort / "s1_flair.nii.gz")
    array = np.random.default_rng(5).normal(100, 5, image.shape).astype(np.float32)
    place = np.indices(image.shape)
    for centre, radius in (((8, 10, 8), 5.5), ((15, 4, 12), 3)):
        array += 40 * (((place - np.array(centre)[:, None, None, None]) ** 2).sum(axis=0) < radius**2)
    nib.save(nib.Nifti1Image(array, image.affine), tmp_path / "later.nii.gz")
    return tmp_path / "later.nii.gz"


def test_two_scans_with_a_given_transform(trained, tiny_cohort, grown, still, tmp_path):
    found = change(trained, tiny_cohort / "s1_flair.nii.gz", grown, tmp_path / "out", transform=still)
    (pair,) = found.changes
    told = pair.labels["lesion"]
    assert told.volume_change_ml.value > 0 and told.lesions and told.smallest_detectable_ml > 0
    assert found.rows[0].subject == pair.subject and found.report.exists()
    document = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert {c["case"] for c in document["cases"]} == {"s1_flair", "later"} and document["changes"][0][
        "after"
    ] == "later"
    drawn = nib.load(next((tmp_path / "out" / "changes").glob("*.nii.gz")))
    assert drawn.shape == nib.load(grown).shape and np.asarray(drawn.dataobj).max() >= 1
    with np.load(next((tmp_path / "out" / "changes").glob("*.npz"))) as panel:
        assert panel["before"].shape == panel["change"].shape == drawn.shape[::-1][:1] + drawn.shape[:2]
    record = Record.read(tmp_path / "out" / "record.json")
    assert record.verb == "change" and record.facts["registrations"]["s1_flair to later"]["given"] is True
    assert striate.Findings.read(tmp_path / "out").changes == found.changes


def test_what_cannot_be_compared_is_refused_and_nothing_is_written(trained, tiny_cohort, still, tmp_path):
    scan, out = tiny_cohort / "s1_flair.nii.gz", tmp_path / "out"
    with pytest.raises(DataError, match="hold the same image"):
        change(trained, scan, scan, out, transform=still)
    with pytest.raises(DataError, match="no subject with two"):
        change(trained, tiny_cohort, None, out)
    with pytest.raises(UsageError, match="each pair has its own"):
        change(trained, tiny_cohort, None, out, transform=still)
    with pytest.raises(DataError, match="one examination is needed"):
        change(trained, tiny_cohort, scan, out, transform=still)
    with pytest.raises(DataError, match="transform"):
        change(trained, scan, tiny_cohort / "s2_flair.nii.gz", out, transform=tiny_cohort / "cohort.csv")
    assert not out.exists()
