"""A result of the checks stands for the files that were read for it, and for no others; errors are told with a way to all."""

from __future__ import annotations

import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest

from striate.core.errors import DataError, FormatError, UsageError
from striate.core.progress import Silent
from striate.data.checks.problem import Problem
from striate.data.checks.run import CheckResult
from striate.data.cohort import Cohort
from striate.workflows import checked
from striate.workflows.check import check
from striate.workflows.train import train


@pytest.fixture
def cohort(tiny_cohort, tmp_path):
    return shutil.copytree(tiny_cohort, tmp_path / "cohort")


def change_mask(folder):
    """Give one mask other voxels, of the same size in bytes or not."""
    path = folder / "s1_label.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file"),
        ('{"kind":"striate-check","schema_version":1}', "no 'problems' in it; the result of a check is needed"),
        ('{"kind":"striate-check","schema_version":1,"cohort":"c","cases":1,"problems":[],"facts":[{}]}', "no 'case' in it"),
        ('{"kind":"striate-check","schema_version":1,"cohort":"c","cases":1,"problems":[3],"facts":[]}', "of other kinds"),
    ],
    ids=("missing", "empty", "fact", "problem"),
)  # fmt: skip
def test_a_result_that_cannot_be_read_leaves_no_run(cohort, tmp_path, text, message):
    path = tmp_path / "found.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FormatError, match=message):
        train(cohort, out=tmp_path / "run", check=path)
    assert not (tmp_path / "run").exists()


def test_a_result_of_other_files_is_refused_before_a_run_is_begun(cohort, tmp_path):
    path, other = tmp_path / "found.json", shutil.copytree(cohort, tmp_path / "other")
    check(cohort, out=path)
    for folder in (other, cohort):
        change_mask(folder)
        with pytest.raises(
            DataError, match=rf"check of 4 cases of cohort cohort; .* Make it anew: striate check {folder} --out"
        ):
            train(folder, out=tmp_path / "run", check=path)
        assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_its_own_check(tmp_path):
    with pytest.raises(UsageError, match=r"check c\.json: resume run was given too"):
        train(resume="run", check="c.json")


def test_only_a_result_of_these_files_is_trusted(cohort, tmp_path, monkeypatch):
    read = []
    real = checked.run_checks
    monkeypatch.setattr(checked, "run_checks", lambda *a: read.append(1) or real(*a))
    path = tmp_path / "found.json"

    def passed():
        read.clear()
        result = checked.passed(Cohort.open(cohort), path, Silent())
        result.write(path)
        return len(read)

    assert [passed(), passed()] == [1, 0]
    monkeypatch.chdir(cohort.parent)
    assert CheckResult.read(path).of(Cohort.open("cohort"))
    change_mask(cohort)
    assert [passed(), passed()] == [1, 0]
    os.utime(cohort / "s2_flair.nii.gz", ns=(1, 1))
    assert [passed(), passed()] == [1, 0]
    table = (cohort / "cohort.csv").read_text()
    (cohort / "cohort.csv").write_text(table.replace("\n", ",subject_age\n", 1).replace(".nii.gz\n", ".nii.gz,3\n"))
    assert passed() == 0, "an age is no part of what is checked"
    old = json.loads(path.read_text())
    del old["states"]
    path.write_text(json.dumps(old))
    assert passed() == 1, "of an older Striate: nothing tells which files it read"


def errors_of(kinds):
    """Return a result with the errors `kinds`: (code, number of cases, text with their number)."""
    found = [
        Problem(code, f"P{n}", "error", text.format(n=n), "none is needed", "Mend it.")
        for code, number, text in kinds
        for n in range(number)
    ]
    return CheckResult("heads", 20, tuple(found), ())


@pytest.mark.parametrize(
    ("kinds", "count", "end"),
    [
        ([("a", 2, "{n} holes")], "2 errors", r"case P1: 1 holes; none is needed\. Mend it\."),
        ([("a", 5, "{n} holes")], "5 errors", r"\n  5 cases: for instance P0: .*\n  Each by itself: striate check \S+ --json"),
        ([("a", 1, "hole"), ("b", 12, "{n} holes")], "13 errors", r"\(P0, P1, P2 and 9 more\)\.\n  Each by itself: .*"),
        ([(f"c{k}", 3, "hole") for k in range(5)], "15 errors", r"\n  and 5 more errors\n  Each by itself: .*"),
        ([*((f"c{k}", 4, "hole") for k in range(12)), ("z", 1, "x")], "49 errors", r"\n  and 9 more errors\n  Each .*"),
    ],
    ids=("few", "many", "both", "lines", "kinds"),
)  # fmt: skip
def test_errors_are_counted_and_all_can_be_seen(tiny_cohort, tmp_path, monkeypatch, kinds, count, end):
    monkeypatch.setattr(checked, "run_checks", lambda *_: errors_of(kinds))
    with pytest.raises(DataError, match=rf"(?s)^heads: {count} must be mended before training:.*{end}$"):
        checked.passed(Cohort.open(tiny_cohort), tmp_path / "none.json", Silent())
