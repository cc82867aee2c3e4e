"""Predictions of several cases that are killed, stopped or changed, and gone on with: the same files, nothing computed twice."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from striate.core.files import hash_file, read_json
from striate.core.progress import Silent
from striate.workflows import predict_masks
from striate.workflows.predict import predict
from striate.workflows.train import train

SCRIPT = Path(__file__).with_name("killing_prediction.py")
CASES = 6
TIMES = ("started", "duration_s", "seconds", "peak_rss_bytes", "announced_bytes", "neighbours_together", "out")


@pytest.fixture(scope="module")
def cohort(cohort_of, tmp_path_factory):
    return cohort_of(tmp_path_factory.mktemp("cases") / "cohort", count=CASES)


@pytest.fixture(scope="module")
def model(cohort, tiny_plan, tmp_path_factory):
    """A model that knows its limits and whom it learned from."""
    folder = tmp_path_factory.mktemp("resumed")
    tiny_plan(steps=20).write(folder / "plan.yaml")
    return train(cohort, out=folder / "run", plan=folder / "plan.yaml", holdout=["s1", "s2"]).model.folder


def _files(out: Path) -> dict[str, object]:
    """Path → hash of every file; of the record what is not time or memory of the call."""
    files = {str(p.relative_to(out)): hash_file(p) for p in out.rglob("*") if p.is_file()}
    return {**files, "record.json": _timeless(read_json(out / "record.json"))}


def _timeless(document):
    if isinstance(document, dict):
        return {key: _timeless(value) for key, value in document.items() if key not in TIMES}
    return document


@pytest.fixture(scope="module")
def killed(model, cohort, tmp_path_factory, python):
    if sys.platform == "win32":
        pytest.skip("children are made by fork")
    folder = tmp_path_factory.mktemp("kill ed")
    done = python(SCRIPT, model, cohort, folder, 0)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_killed_at_many_moments_and_gone_on_with(killed):
    folder, report = killed
    text = report["texts"]["killed"]
    assert report["straight"] == 0 and report["killed"] == [-9, -9, -9, -9, 0], text
    assert [int(n) for n in re.findall(r"resumed: (\d) of 6 cases were there", text)][-1] >= 4
    assert _files(folder / "killed") == _files(folder / "straight")
    assert len(_files(folder / "straight")) == CASES * (1 + 1 + 1 + 1) + 3


@pytest.mark.parametrize("name", ["interrupted", "terminated"])
def test_stopped_by_the_user_and_gone_on_with(killed, name):
    folder, report = killed
    assert report[name]["early"] == 130 and report[name]["last"] == 0
    kept, text = report[name]["kept"], report["texts"][name]
    assert (
        f"stopped; {kept} of 6 cases are kept in {folder / name}.unfinished, the same call goes on with them." in text
    )
    assert f"resumed: {kept} of 6 cases were there" in text and "Traceback" not in text
    assert _files(folder / name) == _files(folder / "straight")


def test_nothing_is_left_and_what_a_living_process_does_is_not_touched(killed):
    folder, report = killed
    assert report["lives"] == {"other": 3, "untouched": True, "itself": 0}
    assert "another process fills it" in report["texts"]["lives"]
    assert _files(folder / "lives") == _files(folder / "straight")
    names = {path.name for path in folder.iterdir() if path.is_dir()}
    assert names == {"straight", "killed", "interrupted", "terminated", "lives"}


class _Told(Silent):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def data(model, cohort, tmp_path):
    """A copy of model and cohort, and a prediction that was stopped when the last case was to be computed."""
    shutil.copytree(model, tmp_path / "model")
    shutil.copytree(cohort, tmp_path / "cohort")
    return tmp_path


@pytest.fixture
def call(data, monkeypatch):
    """Predict; returns which cases were computed, and what was told. With `stop` it ends before that case."""
    answer = predict_masks.answer

    def called(stop: str = "", **options):
        computed, told = [], _Told()

        def watched(model, case, *rest, **more):
            if case.name == stop:
                raise KeyboardInterrupt
            computed.append(case.name)
            return answer(model, case, *rest, **more)

        monkeypatch.setattr(predict_masks, "answer", watched)
        try:
            predict(data / "model", data / "cohort", data / "out", **{"engine": "torch", **options}, progress=told)
        except Exception as error:
            told.note(str(error))
        return computed, told.notes

    return called


NAMES = [f"s{n}" for n in range(CASES)]


def _new_image(data):
    shutil.copy(data / "cohort" / "s0_flair.nii.gz", data / "cohort" / "s2_flair.nii.gz")


def _new_truth(data):
    shutil.copy(data / "cohort" / "s0_label.nii.gz", data / "cohort" / "s2_label.nii.gz")


def _damaged(data):
    (data / "out.unfinished" / "files" / "s2.nii.gz").write_bytes(b"half")


def _new_plan(data):
    path = data / "model" / "plan.yaml"
    path.write_text(path.read_text().replace("overlap: 0.5", "overlap: 0.25"))


def _new_limits(data):
    (data / "model" / "trust.json").unlink()


CHANGES = {
    "nothing": (lambda data: None, {}, [], ""),
    "an image": (_new_image, {}, ["s2"], "predicted from other images: s2;"),
    "a truth": (_new_truth, {}, ["s2"], "predicted beside another truth: s2;"),
    "a file": (_damaged, {}, ["s2"], "not whole: s2;"),
    "the plan": (_new_plan, {}, NAMES[:5], "predicted with another model: s0, s1, s2 and 2 more;"),
    "the limits": (_new_limits, {}, NAMES[:5], "predicted with another model: "),
    "an option": (lambda data: None, {"save_uncertainty": True}, NAMES[:5], "predicted with other options: "),
}


def test_a_single_case_is_told_in_the_singular(data, call):
    kept = call(stop="s1")[1][-1]
    assert "stopped; 1 of 6 cases is kept in " in kept and kept.endswith("the same call goes on with it.")
    assert f"resumed: 1 of 6 cases was there in {data / 'out.unfinished'}" in call(stop="s2")[1]


@pytest.mark.parametrize("change", CHANGES)
def test_only_what_has_changed_is_predicted_anew(data, call, change):
    alter, options, again, told = CHANGES[change]
    computed, notes = call(stop="s5")
    assert computed == NAMES[:5] and "stopped; 5 of 6 cases are kept" in notes[-1]
    alter(data)
    computed, notes = call(**options)
    assert computed == [*again, "s5"]
    assert f"resumed: {5 - len(again)} of 6 cases were there in {data / 'out.unfinished'}" in notes
    lines = [line for line in notes if line.startswith("kept, but")]
    assert len(lines) == bool(again) and (not again or told in lines[0])
    predict(data / "model", data / "cohort", data / "fresh", engine="torch", **options)
    fresh, found = _files(data / "fresh"), _files(data / "out")
    assert {**found["record.json"], "options": None} == {**fresh["record.json"], "options": None}
    assert {**found, "record.json": None} == {**fresh, "record.json": None}
    assert sorted(p.name for p in data.iterdir()) == ["cohort", "fresh", "model", "out"]
