"""``striate update``: what it prints, one JSON document, and the exit code of what was kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from striate.cli.main import run
from striate.measure.forgetting import SHARES, Forgetting, Measured
from striate.workflows import train, update
from striate.workflows.finish import Finished

SIDES = {"earlier_train": 3, "earlier_validation": 2, "new_train": 4, "new_validation": 1}
FORESEEN = {"subjects": SIDES, "rehearsal": True, "learning_rate": 2e-4, "seconds": 600.0}


class Told:
    """Stands in for a model."""

    plan = type("Plan", (), {"task": type("Task", (), {"kind": "segmentation"})})

    def __init__(self, kept: bool) -> None:
        self.facts = {"update": {"kept": kept}}


def done(fall: float, folder: Path = Path("new")) -> update.Updated:
    rows = tuple(Measured(a, f"{a}", {"p": {"core": 0.9 - fall * a}, "q": {"core": 0.4 + 0.3 * a}}) for a in SHARES)
    found = Forgetting(rows, {"p": "P", "q": "Q"}, frozenset("p"), 0.02, 3, "parent")
    finished = Finished(folder, Told(found.kept), None, folder / "report.html", 0.0, 7, {})  # type: ignore[arg-type]
    return update.Updated(folder, FORESEEN, finished, found)


@pytest.mark.parametrize(("fall", "code", "taken"), [(0.01, 0, "1  "), (0.04, 0, "0.5"), (0.2, 1, "0  ")])
def test_the_table_marks_what_was_taken(monkeypatch, capsys, fall, code, taken) -> None:
    monkeypatch.setattr(update, "update", lambda *given, **options: done(fall))
    assert run(["update", "RUN", "COHORT", "--out", "new"]) == code
    out, told = capsys.readouterr()
    line = next(line for line in told.splitlines() if "taken" in line and line.startswith("  "))
    assert line.strip().startswith(taken.strip()) and "slightly optimistic" in told and out == ""


def test_json_is_one_document(monkeypatch, capsys) -> None:
    monkeypatch.setattr(update, "update", lambda *given, **options: done(0.2))
    assert run(["update", "RUN", "COHORT", "--out", "new", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["chosen"]["share"] == 0 and len(document["points"]) == 5 and document["subjects"] == SIDES


def test_a_dry_run_tells_who_teaches_and_judges(monkeypatch, capsys) -> None:
    asked = dict[str, object]()
    monkeypatch.setattr(
        update, "update", lambda *given, **options: asked.update(options) or update.Updated(Path("new"), FORESEEN)
    )
    arguments = [
        "update",
        "RUN",
        "COHORT",
        "--out",
        "new",
        "--dry-run",
        "--tolerance",
        "0.05",
        "--holdout",
        "a",
        "--holdout",
        "b",
    ]
    assert run(arguments) == 0
    told = capsys.readouterr().err
    assert "rehearse 3 subjects of the earlier cohort" in told and "10 min" in told
    assert asked["dry_run"] is True and asked["tolerance"] == 0.05 and asked["holdout"] == ["a", "b"]
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["foreseen"] == FORESEEN


@pytest.mark.parametrize(("kept", "code"), [(True, 0), (False, 1)])
def test_gone_on_with_by_train_the_exit_code_is_the_same(monkeypatch, capsys, kept, code) -> None:
    finished = Finished(Path("new"), Told(kept), None, Path("report.html"), 0.0, 7, {})  # type: ignore[arg-type]
    monkeypatch.setattr(train, "train", lambda *given, **options: finished)
    assert run(["train", "--resume", "new"]) == code
