"""The loop itself, in this process: killed, stopped, extended, replayed; always the same bits."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest
import torch

from striate.core.errors import Interrupted, ModelError
from striate.core.progress import Silent
from striate.data.patches import Batch
from striate.training import clock as clock_module
from striate.training import laps as laps_module
from striate.training.clock import Clock
from striate.training.laps import PARTS
from striate.training.log import TrainingLog, read_rows, recorded_fractions
from striate.training.loop import learn


class Killed(BaseException):
    """What a test throws in the place of SIGKILL: nothing is written any more."""


class FakeLoader:
    """Batches that are a pure function of the step; `at` maps a step to something that happens there."""

    def __init__(self, plan, start, at=None):
        self.plan, self.start, self.at, self.wait_s, self.workers = plan, start, at or {}, 0.0, 0

    def __iter__(self):
        step = self.start
        while True:
            if step in self.at:
                self.at[step]()
            draw = torch.Generator().manual_seed(1000 * self.plan.training.seed + step)
            images = torch.randn((2, 1, *self.plan.training.patch), generator=draw)
            yield step, Batch(images, (images[:, 0] > 1).to(torch.uint8), ("a", "b"))
            step += 1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None


def kill():
    raise Killed


def train(plan, folder, clock=None, at=None, validate=lambda network: {"dice_mean": 0.5}):
    """Run the loop over fake batches."""
    folder.mkdir(exist_ok=True)
    clock = clock or Clock(plan.training.steps, None)
    return learn(
        plan, lambda step, network: FakeLoader(plan, step, at), clock, folder, validate=validate, progress=Silent()
    )


def weights(learned):
    return torch.cat([p.flatten() for p in learned.network.state_dict().values()])


@pytest.fixture
def plan(tiny_plan):
    return tiny_plan(steps=20, patch=(8, 8, 8), learning_rate=0.01)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(plan, tiny_plan, tmp_path):
    first, second = train(plan, tmp_path / "a"), train(plan, tmp_path / "b")
    assert torch.equal(weights(first), weights(second)) and first.steps == 20
    other = train(tiny_plan(steps=20, patch=(8, 8, 8), seed=1), tmp_path / "c")
    assert not torch.equal(weights(first), weights(other))


def test_killed_at_every_step_and_resumed(plan, tmp_path):
    straight = train(plan, tmp_path / "straight")
    for step in range(0, 20, 3):
        folder = tmp_path / f"killed {step}"
        with pytest.raises(Killed):
            train(plan, folder, at={step: kill})
        assert torch.equal(weights(train(plan, folder)), weights(straight)), step
    columns = [
        [(r["step"], r["loss"], r["learning_rate"]) for r in read_rows(p / "metrics.csv")]
        for p in (tmp_path / "straight", folder)
    ]
    assert columns[0] == columns[1] and len(columns[0]) == 20


def test_killed_again_and_again(plan, tmp_path):
    straight, folder = train(plan, tmp_path / "straight"), tmp_path / "killed"
    for step in (1, 4, 4, 9, 11, 17, 19):
        with pytest.raises(Killed):
            train(plan, folder, at={step: kill})
    assert torch.equal(weights(train(plan, folder)), weights(straight))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_keeps_a_checkpoint(plan, tmp_path, number):
    folder = tmp_path / "a run"
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"stopped after step 8; a checkpoint was written.*--resume '.*a run'"):
        train(plan, folder, at={7: lambda: os.kill(os.getpid(), number)})
    assert signal.getsignal(number) is before
    assert torch.equal(weights(train(plan, folder)), weights(train(plan, tmp_path / "straight")))


def test_a_signal_during_the_last_validation_is_heard(plan, tmp_path):
    folder, seen = tmp_path / "run", []

    def validate(network):
        seen.append(0)
        if len(seen) == 11:
            os.kill(os.getpid(), signal.SIGINT)
        return {"dice_mean": 0.5}

    with pytest.raises(Interrupted, match=r"stopped after step 20; a checkpoint was written"):
        train(plan, folder, validate=validate)
    again = train(plan, folder)
    assert again.steps == 20 and torch.equal(weights(again), weights(train(plan, tmp_path / "straight")))


def test_a_second_signal_stops_at_once(plan, tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(plan, tmp_path / "run", at={7: twice})


def test_a_finished_run_goes_on_by_steps(plan, tiny_plan, tmp_path):
    train(plan, tmp_path / "run")
    again = train(plan, tmp_path / "run")
    assert again.steps == 20
    longer = train(tiny_plan(steps=30, patch=(8, 8, 8), learning_rate=0.01), tmp_path / "run")
    assert longer.steps == 30 and len(read_rows(tmp_path / "run" / "metrics.csv")) == 30


@pytest.fixture
def ticking(monkeypatch):
    """Let the clock's time pass by 1/4 s whenever it is asked, and a little more each time."""
    state = SimpleNamespace(s=0.0, by=0.25)

    def monotonic():
        state.s += state.by
        state.by *= 1.01
        return state.s

    monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=monotonic))


def test_a_budget_that_was_followed_is_followed_again(tiny_plan, tmp_path, ticking):
    plan, folder = tiny_plan(steps=None, budget_s=100.0, patch=(8, 8, 8)), tmp_path / "run"
    with pytest.raises(Killed):
        train(plan, folder, Clock(None, 5.0), at={11: kill})
    before = recorded_fractions(folder)
    assert set(before) == set(range(11))
    again = train(plan, folder, Clock(None, 5.0, before))
    after = recorded_fractions(folder)
    assert after.items() >= before.items() and again.steps == len(after) > 11
    assert list(after.values()) == sorted(after.values())
    replayed = train(plan, tmp_path / "replay", Clock(None, 5.0, {**after, len(after): 1.0}))
    assert torch.equal(weights(replayed), weights(again))


def test_organising_counts_under_a_budget(tiny_plan, tmp_path, monkeypatch):
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: now.s))

    def pass_s(seconds):
        now.s += seconds

    learned = learn(
        tiny_plan(steps=None, budget_s=100.0, patch=(8, 8, 8)), lambda step, network: FakeLoader(
            tiny_plan(patch=(8, 8, 8)), step, {0: lambda: pass_s(2), 1: lambda: pass_s(9)}
        ), Clock(None, 10.0), tmp_path, validate=lambda network: {}, progress=Silent(), organise=lambda network: pass_s(4),
    )  # fmt: skip
    assert recorded_fractions(tmp_path) == pytest.approx({0: 0.4, 1: 0.6}) and learned.steps == 2


def test_validations_and_checkpoints_come_ten_times(plan, tmp_path):
    seen = []
    train(plan, tmp_path / "run", validate=lambda network: seen.append(network.training) or {"dice_mean": 0.1})
    rows = read_rows(tmp_path / "run" / "validation.csv")
    assert [int(r["step"]) for r in rows] == [0, *range(2, 21, 2)]
    assert seen == [False] * 11  # the average of the weights, in evaluation mode


def test_without_validation_cases_nothing_is_written_about_them(plan, tmp_path):
    train(plan, tmp_path / "run", validate=lambda network: {})
    assert not (tmp_path / "run" / "validation.csv").exists()


def test_a_loss_that_is_no_number_leaves_the_last_checkpoint(plan, tiny_plan, tmp_path):
    wild = tiny_plan(steps=20, patch=(8, 8, 8), learning_rate=1e30, clip_norm=1e30, optimiser="sgd", warmup=0.0)
    with pytest.raises(ModelError, match=r"the loss became (nan|inf).*training\.learning_rate"):
        train(wild, tmp_path / "run")


def test_the_learning_rate_and_fraction_are_written_down(plan, tmp_path):
    from striate.training.optimise import learning_rate

    train(plan, tmp_path / "run")
    for row in read_rows(tmp_path / "run" / "metrics.csv"):
        assert float(row["fraction"]) == int(row["step"]) / 20
        assert float(row["learning_rate"]) == learning_rate(plan.training, float(row["fraction"]))
        assert float(row["elapsed_s"]) >= 0 and float(row["step_s"]) >= float(row["data_wait_s"]) >= 0


def test_the_seconds_of_every_step_are_split(plan, tmp_path):
    learned = train(plan, tmp_path / "run")
    rows = read_rows(tmp_path / "run" / "metrics.csv")
    for row in rows:
        parts = [float(row[f"{part}_s"]) for part in PARTS]
        assert min(parts) >= 0 and sum(parts) == pytest.approx(float(row["step_s"]), abs=1e-5)
        assert float(row["forward_s"]) > 0 and float(row["backward_s"]) > 0 and float(row["optimiser_s"]) > 0
    assert 0 < sum(float(row["step_s"]) for row in rows) <= learned.training_s


def test_validations_and_checkpoints_are_no_part_of_a_step(plan, tmp_path, monkeypatch):
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr(laps_module, "time", SimpleNamespace(perf_counter=lambda: now.s))

    def validate(network):
        now.s += 100
        return {"dice_mean": 0.5}

    def wait():
        now.s += 2

    def write(log, row):
        now.s += 5
        plain(log, row)

    plain = TrainingLog.step
    monkeypatch.setattr(TrainingLog, "step", write)
    train(plan, tmp_path / "run", at=dict.fromkeys(range(20), wait), validate=validate)
    rows = read_rows(tmp_path / "run" / "metrics.csv")
    found = [tuple(float(row[c]) for c in ("data_wait_s", "rest_s", "step_s")) for row in rows]
    assert found == [(2, 0, 2), (2, 5, 7)] * 10  # a validation every other step; writing a row down counts to the next
    assert now.s == 20 * (2 + 5) + 11 * 100
