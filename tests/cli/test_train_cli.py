"""``striate train`` as it is typed."""

from __future__ import annotations

import json

import pytest

from striate.cli.main import run


@pytest.fixture
def plan_path(tmp_path, tiny_plan):
    tiny_plan(steps=3).write(tmp_path / "plan.yaml")
    return tmp_path / "plan.yaml"


def test_train_then_go_on(tiny_cohort, plan_path, tmp_path, capsys):
    out = tmp_path / "my run"
    assert run(["train", str(tiny_cohort), "--plan", str(plan_path), "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    for text in (
        "3 steps; of their time the network waited",
        "Dice lesion: ",
        "1 validation case",
        "Model:  ",
        "report.html",
        "Next:   striate predict",
    ):
        assert text in shown.err
    assert run(["train", "--resume", str(out), "--steps", "5", "--json"]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["steps"] == 5 and document["run"] == str(out)
    assert document["seconds"]["forward"] > 0 and {"data_wait", "rest", "validation"} < set(document["seconds"])
    assert document["evaluation"]["summary"]["lesion"]["dice"]["n"] == 1
    assert shown.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["COHORT", "--budget", "2m", "--steps", "3"], 2, "give one of them"),
        (["COHORT", "--fold", "3"], 2, "fold '3': K/N"),
        (["COHORT", "--holdout", "nobody"], 2, "cannot hold out 'nobody'"),
        (["COHORT", "--network", "unett"], 2, "Did you mean 'unet'?"),
        (["COHORT", "--dims", "7"], 2, "dims 7: 2 or 3"),
        (["COHORT", "--steps", "many"], 2, "--steps"),
        (["COHORT", "--stpes", "3"], 2, "--stpes"),
        (["COHORT", "--budget", "3s"], 5, "at least 20 s"),
        (["COHORT", "--plan", "PLAN", "--memory", "50M"], 5, "52 MB may be used"),
        (["COHORT", "--plan", "nowhere.yaml"], 4, "striate plan COHORT --out plan.yaml"),
        (["nowhere"], 3, "nowhere"),
        ([], 2, "no cohort"),
        (["--resume", "nowhere"], 4, "not the folder of a run"),
        (["COHORT", "--resume", "nowhere"], 2, "give no cohort, plan or out with it"),
    ],
)
def test_one_sentence_and_an_exit_code(tiny_cohort, plan_path, tmp_path, capsys, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    known = {"COHORT": str(tiny_cohort), "PLAN": str(plan_path)}
    before = sorted(tmp_path.iterdir())
    assert run(["train", *(known.get(a, a) for a in arguments)]) == code
    shown = capsys.readouterr()
    assert message in shown.err and "Traceback" not in shown.err and shown.out == ""
    assert shown.err.count("\n") == 1 and shown.err.startswith("striate: ")
    assert sorted(tmp_path.iterdir()) == before


def test_an_existing_folder_is_exit_3(tiny_cohort, plan_path, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("all of it")
    assert run(["train", str(tiny_cohort), "--plan", str(plan_path), "--out", str(tmp_path / "run"), "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["exit_code"] == 3 and "it exists and is not empty" in error["message"]
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_a_plan_of_other_channels_is_exit_3(tiny_cohort, tiny_plan, tmp_path, capsys):
    tiny_plan(("flair", "t1c")).write(tmp_path / "plan.yaml")
    assert run(["train", str(tiny_cohort), "--plan", str(tmp_path / "plan.yaml"), "--out", str(tmp_path / "run")]) == 3
    assert "channels flair, t1c; one for the cohort's 3D images with channels flair" in capsys.readouterr().err


def test_help_tells_of_every_option(capsys):
    assert run(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    for option in ("--out", "--plan", "--resume", "--budget", "--steps", "--memory", "--regions", "--holdout", "--fold",
                   "--network", "--dims", "--seed", "--json"):  # fmt: skip
        assert option in shown
