"""Examinations of a subject in order of time: whose history is whose, and what a sequence of them is."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image as Picture
from whole import FLAT

from striate.core.case import Case
from striate.core.errors import DataError
from striate.data.cohort import Cohort
from striate.data.samples import SampleForm, SampleStore, prepare_samples
from striate.data.time_points import followed, histories
from striate.measure.class_table import ClassTable
from striate.workflows.predict import predict
from striate.workflows.task import whole_task
from striate.workflows.train import train


def examined(name, subject, time, *, path="x.png", classes=None) -> Case:
    return Case(name, subject, {"grey": path}, metadata={"time": time} if time else {}, classes=classes)


def test_history_is_what_came_before():
    cases = [examined("c", "s", "10"), examined("a", "s", "2"), examined("b", "s", "9.5"), examined("d", "t", "")]
    found = histories(cases)
    assert {n: [c.name for c in h] for n, h in found.items()} == {
        "a": ["a"], "b": ["a", "b"], "c": ["a", "b", "c"], "d": ["d"],
    }  # fmt: skip
    named = histories([examined("late", "s", "m10"), examined("early", "s", "m2")])
    assert [c.name for c in named["late"]] == ["early", "late"]
    dates = histories([examined("late", "s", "2019-11-01"), examined("early", "s", "2019-04-30")])
    assert [c.name for c in dates["late"]] == ["early", "late"]


def test_followed_needs_two_times_of_one_subject():
    assert followed([examined("a", "s", "0"), examined("b", "s", "1")])
    assert not followed([examined("a", "s", "0"), examined("b", "t", "1"), examined("c", "s", "")])


@pytest.mark.parametrize(("times", "word"), [(("0", ""), "no time"), (("1", "1"), "two cases of time 1")])
def test_times_that_give_no_order_are_refused(times, word):
    with pytest.raises(DataError, match=word):
        histories([examined("a", "s", times[0]), examined("b", "s", times[1])])


def pictures(folder, values) -> list[Case]:
    """Write one picture per value of one subject; the corner keeps the scale of all the same."""
    cases = []
    for n, value in enumerate(values):
        array = np.full((4, 4), value, np.uint8)
        Picture.fromarray(array).save(folder / f"v{n}.png")
        last = n == len(values) - 1
        cases.append(
            examined(f"v{n}", "s", str(n), path=folder / f"v{n}.png", classes=("up",) if last else None),
        )
    return cases


def test_sequence_holds_the_latest_and_repeats_the_oldest(tmp_path):
    cases = pictures(tmp_path, [10, 20, 30])
    form, before = SampleForm(size=(4, 4), length=2, classes=("down", "up")), histories(cases)
    long = prepare_samples(cases[2], FLAT, form, before["v2"]).images
    assert long.shape == (1, 2, 1, 4, 4) and long[0, :, 0, 0, 0].tolist() == [20, 30]
    assert prepare_samples(cases[0], FLAT, form, before["v0"]).images[0, :, 0, 0, 0].tolist() == [10, 10]
    assert prepare_samples(cases[1], FLAT, form).images[0, :, 0, 0, 0].tolist() == [20, 20]
    store = SampleStore.build(cases[2:], FLAT, form, tmp_path / "store", histories=before)
    assert store.truth.tolist() == [[1, 1]]  # the class of the last stands for those before it
    assert len(store.inputs) == 3
    again = SampleStore.build(cases[2:], FLAT, form, tmp_path / "store", histories={"v2": cases[1:]})
    assert again.key != store.key


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """Subjects at three times; what is there says nothing, only whether it grows or shrinks; the last has a class."""
    folder = tmp_path_factory.mktemp("visits")
    rng, rows = np.random.default_rng(0), []
    for n in range(8):
        radii = (2, 3, 5) if n % 2 else (5, 3, 2)
        for time, radius in enumerate(radii):
            i, j = np.ogrid[:16, :16]
            array = rng.integers(0, 40, (16, 16)) + 180 * ((i - 8) ** 2 + (j - 8) ** 2 <= radius**2)
            Picture.fromarray(array.astype(np.uint8)).save(folder / f"p{n}_{time}.png")
            rows.append([f"p{n}", time, f"p{n}_{time}.png", ("growing" if n % 2 else "shrinking") if time == 2 else ""])
    with (folder / "cohort.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["subject", "time", "image", "class"], *rows])
    return folder / "cohort.csv"


@pytest.mark.parametrize("network", ["cnn_rnn", "conv_lstm"])
def test_time_points_from_files_to_report(visits, network, tmp_path):
    task = whole_task(Cohort.open(visits), "sequence", None)
    assert task is not None and (task.kind, task.unit) == ("sequence", "case")
    done = train(visits, out=tmp_path / "run", task="sequence", network=network, steps=12, holdout=["p0", "p1"])
    assert done.model is not None and done.model.plan.training.length == 3
    table = ClassTable.read(tmp_path / "run" / "validation" / "predictions.csv")
    assert set(table.cases) == {"p0_2", "p1_2"} and table.truth == (("shrinking",), ("growing",))
    predict(tmp_path / "run", visits, tmp_path / "out")
    again = ClassTable.read(tmp_path / "out" / "predictions.csv")
    assert len(again) == 24 and sum(t is not None for t in again.truth) == 8
    rows = [again.cases.index(c) for c in table.cases]
    np.testing.assert_allclose(again.probabilities[rows], table.probabilities, atol=1e-3)
    assert "examinations in order of time" in (tmp_path / "run" / "report.html").read_text()
