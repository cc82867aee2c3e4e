"""Whether a network in int8 may be used is decided by Dice alone, case by case."""

from __future__ import annotations

import json

import pytest

from striate.inference.engines.int8 import FOLDER, VERDICT, Int8, int8_of
from striate.measure import statistics
from striate.measure.evaluation import CaseEvaluation


def evaluations(**dice):
    """Return evaluations from label → Dice of each case; two cases of one subject."""
    count = len(next(iter(dice.values())))
    return [
        CaseEvaluation(f"c{i}", {label: {"dice": values[i]} for label, values in dice.items()}, f"s{i // 2}")
        for i in range(count)
    ]


@pytest.fixture
def measured(tmp_path):
    def make(before, after, sha="a"):
        folder = tmp_path / FOLDER
        folder.mkdir(exist_ok=True)
        (folder / "network.bin").write_bytes(b"numbers")
        return Int8.measured(folder, evaluations(**before), evaluations(**after), sha)

    return make


def test_it_may_be_used_where_no_label_falls_by_more(measured):
    found = measured({"core": [0.8, 0.9], "oedema": [0.5, 0.7]}, {"core": [0.797, 0.9], "oedema": [0.6, 0.7]})
    assert found.allowed and found.falls["core"].mean == pytest.approx(0.0015)
    assert found.reason == (
        "in int8 Dice falls most for core, by 0.0015 in the mean over 1 held-out subject: it may be used"
    )


def test_one_label_that_falls_forbids_it(measured):
    before = {"core": [0.8, 0.9, 0.7, 0.8], "oedema": [0.5, 0.7, 0.5, 0.5]}
    found = measured(before, {"core": [0.8, 0.9, 0.7, 0.8], "oedema": [0.49, 0.7, 0.49, 0.49]})
    assert not found.allowed
    assert "most for oedema, by 0.0075 (95 % interval 0.0050 to 0.0100) in the mean over 2" in found.reason
    assert found.reason.endswith("more than 0.002, so that it is not used")


def test_a_label_without_dice_forbids_it(measured):
    found = measured({"core": [0.8], "oedema": [0.5]}, {"core": [0.9], "oedema": [float("nan")]})
    assert not found.allowed
    assert found.reason == (
        "in int8 Dice of oedema is not known in the mean over 1 held-out subject, so that it is not used"
    )


def test_a_case_without_dice_is_left_out_also_when_it_was_written_and_read(measured, model_of):
    model, nan = model_of(), float("nan")
    found = measured({"core": [nan, 0.8]}, {"core": [nan, 0.799]}, model.facts["weights_sha256"])
    found.write()
    found.folder.rename(model.folder / FOLDER)
    assert found.allowed and int8_of(model).allowed and int8_of(model).reason == found.reason


def test_whether_it_may_be_used_needs_no_interval(measured, monkeypatch):
    found, usual, asked = measured({"core": [0.8, 0.9]}, {"core": [0.8, 0.9]}), statistics.summarise, []
    monkeypatch.setattr(statistics, "summarise", lambda *given: asked.append(given) or usual(*given))
    assert found.allowed and asked == []
    assert found.reason and found.summary() and len(asked) == 1


def test_where_dice_rises_it_is_not_said_to_fall(measured):
    before = {"core": [0.8, 0.9, 0.7, 0.8], "oedema": [0.5, 0.7, 0.5, 0.5]}
    found = measured(before, {"core": [0.9, 0.9, 0.8, 0.9], "oedema": [0.51, 0.7, 0.51, 0.51]})
    assert found.reason == (
        "in int8 Dice falls for no label and rises least for oedema, by 0.0075 (95 % interval 0.0050 to 0.0100)"
        " in the mean over 2 held-out subjects: it may be used"
    )
    assert "falls for no label and stays for core in the mean" in measured({"core": [0.8]}, {"core": [0.8]}).reason


def test_a_change_that_rounds_to_nought_is_none(measured):
    before, after = {"core": [0.8, 0.8, 0.8, 0.8]}, {"core": [0.80001, 0.80001, 0.80001, 0.80001]}
    assert "falls for no label and stays for core in the mean" in measured(before, after).reason
    after = {"core": [0.80099, 0.80001, 0.80001, 0.79999]}
    assert "-0.0000" not in measured(before, after).reason


def test_the_verdict_holds_for_the_weights_that_it_was_made_of(measured, model_of):
    model = model_of()
    assert int8_of(model) is None
    found = measured({"core": [0.8]}, {"core": [0.8]}, model.facts["weights_sha256"])
    found.write()
    found.folder.rename(model.folder / FOLDER)
    known = int8_of(model)
    assert known.allowed and known.cases == found.cases and known.network_sha256 == found.network_sha256
    document = json.loads((model.folder / FOLDER / VERDICT).read_text())
    assert document["falls"]["core"]["mean"] == 0 and document["most_fall"] == 0.002
    (model.folder / FOLDER / VERDICT).write_text(json.dumps({**document, "weights_sha256": "b"}))
    assert int8_of(model) is None
    (model.folder / FOLDER / VERDICT).write_text("{")
    assert int8_of(model) is None
