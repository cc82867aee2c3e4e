"""--adversarial may stand alone, wherever it stands."""

import pytest

from striate.cli.main import run
from striate.cli.optional_value import optional_value

A = "--adversarial"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        ([A, "COHORT"], [A, "0.05", "COHORT"]),
        (["COHORT", A], ["COHORT", A, "0.05"]),
        (["COHORT", A, "--steps", "5"], ["COHORT", A, "0.05", "--steps", "5"]),
        (["COHORT", A, "0.02"], ["COHORT", A, "0.02"]),
        ([A, "1e-2", "COHORT"], [A, "1e-2", "COHORT"]),
        ([f"{A}=0.2", "COHORT"], [f"{A}=0.2", "COHORT"]),
        (["--", A, "COHORT"], ["--", A, "COHORT"]),
    ],
)
def test_the_usual_value_is_put_where_none_is(given, expected):
    assert optional_value(given) == expected


@pytest.mark.parametrize("value", ["0", "-0.1", "nan", "1.5"])
def test_a_size_that_means_nothing_is_refused(tiny_cohort, value, capsys, tmp_path):
    assert run(["train", str(tiny_cohort), f"{A}={value}", "--out", str(tmp_path / "run")]) == 2
    assert "a fraction of the tissue contrast, above 0 and at most 1, is needed" in capsys.readouterr().err


def test_plan_shows_it(tiny_cohort, tiny_plan, tmp_path, capsys):
    """A run that follows a plan takes the option and measures the contrast."""
    tiny_plan(steps=2).write(tmp_path / "plan.yaml")
    out = tmp_path / "run"
    assert run(["train", str(tiny_cohort), "--plan", str(tmp_path / "plan.yaml"), A, "--out", str(out)]) == 0
    text = (out / "plan.yaml").read_text()
    assert "epsilon: 0.05" in text and "asked for: from 50 % of the schedule on" in text and "contrast: [" in text
