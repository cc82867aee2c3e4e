"""Real processes, killed and stopped at random moments of preparation, learning and finishing; then gone on with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killing.py")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="children are made by fork")


@pytest.fixture(scope="module")
def runs(tiny_cohort, tiny_plan, tmp_path_factory, python):
    """Do all runs; the moments differ from machine to machine, the outcome must not."""
    folder = tmp_path_factory.mktemp("kill ed")
    tiny_plan().write(folder / "plan.yaml")
    done = python(SCRIPT, tiny_cohort, folder / "plan.yaml", folder, 0)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_runs_of_one_seed_are_equal(runs):
    assert runs["straight"]["codes"] == runs["twin"]["codes"] == [0], runs["straight"]["text"]
    assert runs["straight"]["weights"] == runs["twin"]["weights"] is not None
    assert runs["straight"]["steps"] == 30


def test_killed_at_many_moments(runs):
    assert runs["killed"]["codes"] == [-9] * 12 + [0], runs["killed"]["text"]
    assert runs["killed"]["weights"] == runs["straight"]["weights"]
    assert runs["killed"]["steps"] == 30
    assert runs["killed"]["left"] == []  # nothing half-written stays


@pytest.mark.parametrize("name", ["interrupted", "terminated"])
def test_stopped_by_the_user(runs, name):
    found = runs[name]
    assert found["early"] == 130 and "striate train --resume" in found["told"], found["told"]
    assert found["late"] == 130 and found["middle"]["checkpoint"]
    assert "a checkpoint was written" in found["middle"]["text"] and "--resume '" in found["middle"]["text"]
    assert "Traceback" not in found["told"] + found["middle"]["text"]
    assert found["last"] == 0 and found["weights"] == runs["straight"]["weights"]


def test_a_finished_run_is_extended(runs):
    assert runs["extended"]["codes"] == [0, 2]
    assert runs["extended"]["steps"] == 36 and runs["extended"]["weights"] != runs["straight"]["weights"]
    assert "steps 12: the run" in runs["extended"]["text"] and "has done 36 already" in runs["extended"]["text"]


def test_a_finished_run_gone_on_with_stays_what_it_is(runs):
    assert runs["finished"]["codes"] == [0]
    assert runs["finished"]["weights"] == runs["straight"]["weights"] and runs["finished"]["steps"] == 30
