"""Which part of the schedule is done, and how it is kept over kills and extensions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from striate.core.errors import UsageError
from striate.training import clock as clock_module
from striate.training import schedule
from striate.training.clock import Clock
from striate.training.log import COLUMNS, TrainingLog, read_rows, recorded_fractions
from striate.training.run import Run


@pytest.fixture
def now(monkeypatch):
    """Hold the time in our hand."""
    state = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: state.s))
    return state


def test_by_steps():
    clock = Clock(40, None)
    assert [clock.fraction(s) for s in (0, 10, 40, 50)] == [0, 0.25, 1, 1.25]


def test_by_time(now):
    clock = Clock(None, 10.0)
    assert clock.fraction(0) == 0
    now.s += 2.5
    assert clock.fraction(1) == pytest.approx(0.25)
    now.s += 10
    assert clock.fraction(2) > 1


def test_recorded_steps_repeat_and_time_goes_on_after_them(now):
    clock = Clock(None, 10.0, {0: 0.0, 1: 0.125, 2: 0.25})
    assert [clock.fraction(s) for s in (1, 2)] == [0.125, 0.25]
    now.s += 99  # the time of repeating does not count
    assert clock.fraction(3) == pytest.approx(0.25)
    now.s += 1
    assert clock.fraction(4) == pytest.approx(0.35)


def test_seconds_before_the_first_step_count(now):
    clock = Clock(None, 20.0, {}, done_s=10.0)
    assert clock.fraction(7) == pytest.approx(0.5)
    assert Clock(None, 20.0, {7: 0.6}, done_s=10.0).fraction(8) == pytest.approx(0.6)


@pytest.fixture
def run(tmp_path, tiny_plan):
    """A run of which 5 steps are logged, 3 of them in a checkpoint."""
    from striate.training import checkpoint, optimise
    from striate.training.loop import initialise

    run = Run.start(tmp_path / "run", tmp_path, {})
    plan = tiny_plan()
    network = initialise(plan)
    checkpoint.save(run / "checkpoint.safetensors", step=3, network=network, average=None,
                    optimiser=optimise.create(network, plan.training))  # fmt: skip
    log = TrainingLog(run.folder, 0)
    for step in range(5):
        log.step(dict.fromkeys(COLUMNS, 0.0) | {"step": step, "elapsed_s": step + 1.0, "fraction": step / 10})
    log.close()
    return run


def timed(tiny_plan, seconds=60.0):
    return tiny_plan(steps=None, budget_s=seconds).training


def test_the_seconds_are_decided_once(run, tiny_plan, now):
    first = schedule.clock_of(run, timed(tiny_plan), lambda: 10.0, write=True)
    again = schedule.clock_of(Run.open(run.folder), timed(tiny_plan), lambda: pytest.fail("asked twice"), write=True)
    assert first.seconds == again.seconds == 10.0
    assert again.fraction(4) == 0.4
    assert again.fraction(5) == pytest.approx(0.4)


def test_a_finished_run_is_not_trained_further(run, tiny_plan, now):
    schedule.clock_of(run, timed(tiny_plan), lambda: 10.0, write=True)
    schedule.ended(run, 5)
    assert schedule.clock_of(Run.open(run.folder), timed(tiny_plan), lambda: 0, write=True).fraction(5) == 1


def test_an_extended_run_has_new_seconds_and_keeps_those_spent(run, tiny_plan, now):
    schedule.clock_of(run, timed(tiny_plan), lambda: 4.0, write=True)
    schedule.ended(run, 5)
    longer = schedule.restarted(Run.open(run.folder), timed(tiny_plan, 120.0))
    assert longer.schedule == {"first_step": 3, "done_s": 3.0}
    assert len(read_rows(run / "metrics.csv")) == 3  # what the checkpoint has not is done again, by the new schedule
    clock = schedule.clock_of(longer, timed(tiny_plan, 120.0), lambda: 12.0, write=True)
    assert clock.fraction(3) == pytest.approx(0.25)
    now.s += 3
    assert clock.fraction(4) == pytest.approx(0.5)


def test_fewer_steps_than_were_done_are_refused(run, tiny_plan):
    with pytest.raises(UsageError, match=r"steps 2: the run .* has done 3 already"):
        schedule.restarted(run, tiny_plan(steps=2).training)
    assert schedule.restarted(run, tiny_plan(steps=60).training).schedule["first_step"] == 3


def test_a_torn_line_is_left_out(run):
    with (run / "metrics.csv").open("a") as file:
        file.write("5,6.0,0.")
    assert set(recorded_fractions(run.folder)) == set(range(5))
    with (run / "metrics.csv").open("a") as file:
        file.write("\n")
    assert set(recorded_fractions(run.folder)) == set(range(5))


def test_rows_that_are_done_again_are_dropped(run):
    log = TrainingLog(run.folder, 3)
    assert log.elapsed_s == 3.0
    log.step(dict.fromkeys(COLUMNS, 0.25) | {"step": 3})
    log.validation(3, 1.0, {"dice_lesion": 0.5, "dice_mean": 0.5})
    log.validation(3, 1.5, {"dice_lesion": 0.75, "dice_mean": 0.75})
    log.close()
    assert [int(r["step"]) for r in read_rows(run / "metrics.csv")] == [0, 1, 2, 3]
    assert [(r["step"], r["dice_mean"]) for r in read_rows(run / "validation.csv")] == [("3", "0.75")]
    assert list((run / "tensorboard").iterdir())


def test_fractions_survive_the_file_exactly(tmp_path):
    log = TrainingLog(tmp_path, 0)
    values = [1 / 3, 0.1 + 0.2, 1e-17]
    for step, value in enumerate(values):
        log.step(dict.fromkeys(COLUMNS, 0.0) | {"step": step, "fraction": value})
    log.close()
    assert list(recorded_fractions(tmp_path).values()) == values


def test_what_comes_before_the_first_step_counts(now):
    clock = Clock(None, 10.0)
    clock.start()
    now.s += 2.5
    assert clock.fraction(0) == pytest.approx(0.25)
    now.s += 2.5
    assert clock.fraction(1) == pytest.approx(0.5)


def test_something_is_left_to_learn_in(now):
    clock = Clock(None, 10.0)
    clock.start()
    now.s += 99
    assert clock.fraction(0) == pytest.approx(0.5)
    now.s += 5
    assert clock.fraction(1) == pytest.approx(1)


def test_a_start_does_not_change_what_is_recorded(now):
    clock = Clock(None, 10.0, {0: 0.2, 1: 0.3})
    clock.start()
    now.s += 99
    assert clock.fraction(1) == 0.3
    assert clock.fraction(2) == pytest.approx(0.3)


def test_a_column_that_comes_later_keeps_the_earlier_ones(tmp_path):
    log = TrainingLog(tmp_path, 0)
    for step, values in enumerate(({"mse": 1.0}, {"mse": 0.5, "angle_deg_a": 80.0}, {"mse": 0.25})):
        log.validation(step, 0.0, values)
    log.close()
    assert [(r["mse"], r["angle_deg_a"]) for r in read_rows(tmp_path / "validation.csv")] == [
        ("1.0", ""), ("0.5", "80.0"), ("0.25", ""),
    ]  # fmt: skip
