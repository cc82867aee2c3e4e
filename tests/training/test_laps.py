"""The parts of a step: every second belongs to one of them, and runs begun before they were written down go on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from striate.training import laps as laps_module
from striate.training.laps import PARTS, Laps, columns, total, waiting_share
from striate.training.log import COLUMNS, TrainingLog, read_rows, recorded_fractions

OLD = "step,elapsed_s,fraction,learning_rate,loss,data_wait_s,step_s\n"


@pytest.fixture
def now(monkeypatch):
    """Hold the time until it is set."""
    state = SimpleNamespace(s=100.0)
    monkeypatch.setattr(laps_module, "time", SimpleNamespace(perf_counter=lambda: state.s))
    return state


def test_every_second_belongs_to_a_part(now):
    laps = Laps()
    for part, second in (("data_wait", 101), ("forward", 103), ("optimiser", 104), ("optimiser", 106)):
        now.s = second
        laps.done(part)
    now.s = 107
    wanted = {"data_wait_s": 1, "host_to_device_s": 0, "forward_s": 2, "backward_s": 0, "optimiser_s": 3, "rest_s": 1}
    assert laps.end() == {**wanted, "step_s": 7}
    now.s = 112  # the next step has begun already
    laps.done("backward")
    assert laps.end() == {**dict.fromkeys(wanted, 0), "backward_s": 5, "step_s": 5}


def test_what_was_before_a_step_began_counts_to_none(now):
    laps = Laps()
    now.s = 150
    laps.begin()
    now.s = 151
    assert laps.end()["step_s"] == 1


def test_columns_end_with_the_sum():
    assert columns() == (*(f"{part}_s" for part in PARTS), "step_s") and COLUMNS[-len(columns()) :] == columns()


def test_an_unknown_part_is_a_mistake():
    with pytest.raises(KeyError):
        Laps().done("coffee")


def test_a_run_begun_before_the_parts_were_written_goes_on(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        OLD + "0,1.0,0.0,0.1,0.9,0.25,0.5\n1,2.0,0.1,0.1,0.8,0.25,0.5\n2,3.0,0.2,0.1,0.7,0.1,0"
    )
    log = TrainingLog(tmp_path, 2)
    assert log.elapsed_s == 2.0
    log.step(dict.fromkeys(COLUMNS, 0.125) | {"step": 2, "fraction": 0.2})
    log.close()
    rows = read_rows(tmp_path / "metrics.csv")
    assert [(r["step"], r["loss"], r["data_wait_s"], r["forward_s"], r["step_s"]) for r in rows] == [
        ("0", "0.9", "0.25", "", "0.5"), ("1", "0.8", "0.25", "", "0.5"), ("2", "0.125", "0.125", "0.125", "0.125")
    ]  # fmt: skip
    assert recorded_fractions(tmp_path) == {0: 0.0, 1: 0.1, 2: 0.2}
    assert total(rows) == {**dict.fromkeys(PARTS, 0.125), "data_wait": 0.625}
    assert waiting_share(rows) == pytest.approx(0.625 / 1.125) and waiting_share([]) == 0
