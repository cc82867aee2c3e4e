"""Progress as the log of a batch system gets it: lines now and then, also where one JSON document is asked for."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest

from striate.cli.screen import Screen


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [1000.0]
    monkeypatch.setattr("striate.cli.screen.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.parametrize("quiet", [True, False])
def test_long_work_tells_how_far_it_is_and_how_long_it_took(clock, capsys, quiet):
    with Screen(quiet).bar("Training", 1.0) as bar:
        for step in range(1, 34):
            clock[0] += 3
            bar.update(step / 100, loss=0.5)
    told = capsys.readouterr()
    assert told.out == "" and told.err.splitlines() == [
        "Training: 10%, 4 min 30 s left  loss 0.5", "Training: 20%, 4 min 00 s left  loss 0.5",
        "Training: 30%, 3 min 30 s left  loss 0.5", "Training: 1 min 39 s",
    ]  # fmt: skip


def test_the_time_left_of_a_resumed_run_is_that_of_the_rest(clock, capsys):
    with Screen().bar("Training", 1.0) as bar:
        for step in range(50, 62):
            clock[0] += 3
            bar.update(step / 100)
    assert capsys.readouterr().err.splitlines()[0] == "Training: 59%, 2 min 03 s left"


@pytest.mark.parametrize(("count", "each_s"), [(1000, 20), (500, 40)])
def test_many_short_bars_tell_as_one_long_one(clock, capsys, count, each_s):
    screen = Screen(quiet=True)
    for case in range(count):
        with screen.bar(f"explain {case}", 1) as bar:
            clock[0] += each_s
            bar.update(1)
    told = [int(line.split()[1].rstrip(":")) for line in capsys.readouterr().err.splitlines()]
    apart = [each_s * (b - a) for a, b in pairwise(dict.fromkeys(told))]
    assert apart[0] == 40 and apart[-1] == 600 and apart == sorted(apart) and 50 < len(told) < 100


def test_short_work_and_notes_beside_json_are_silent(clock, capsys):
    screen = Screen(quiet=True)
    screen.note("a decision")
    with screen.bar("prepare", 4) as bar:
        for done in range(4):
            clock[0] += 7
            bar.update(done + 1)
    assert capsys.readouterr().err == ""
