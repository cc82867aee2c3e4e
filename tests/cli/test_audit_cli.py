"""The command: one JSON document, exit 1 for a broken limit, usage errors before any work."""

import json

import pytest

from striate.cli.main import run as command
from striate.workflows.audit import Audited


@pytest.fixture
def audited(monkeypatch, tmp_path):
    """Stand for the workflow; what it was asked is kept."""
    asked = {}

    def audit(model, cohort, **options):
        from striate.trust.requirements import parse

        asked.update(options, model=model, cohort=cohort)
        if options["require"] is not None:
            parse(options["require"])
        document = {
            "answers": [{"con": "Annotation", "value": "0 of 5", "n_subjects": 5, "sentence": "No mask looks wrong."}],
            "parts": {"quality": {"status": "not done", "reason": "too short.", "seconds": 0.0}}, "requirements": [],
            "cohort": {"measured_cases": 5, "measured_subjects": 5},
        }  # fmt: skip
        broken = ("ece<=0.05: broken, 0.2 (5 subjects).",) if options["require"] else ()
        return Audited(tmp_path / "out", document, broken, tmp_path / "out" / "report.html")

    monkeypatch.setattr("striate.workflows.audit.audit", audit)
    return asked


def test_one_line_per_con_and_what_was_not_done(audited, capsys):
    assert command(["audit", "RUN", "COHORT", "--out", "DIR", "--budget", "5m"]) == 0
    told = capsys.readouterr()
    assert "No mask looks wrong." in told.err and "not done: quality: too short." in told.err and not told.out
    assert audited["budget"] == "5m" and audited["hardened"] is None


def test_a_broken_limit_is_exit_1_and_json_is_one_document(audited, capsys):
    assert command(["audit", "RUN", "COHORT", "--out", "DIR", "--require", "ece<=0.05", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["answers"][0]["value"] == "0 of 5"


def test_a_typing_error_is_exit_2(audited, capsys):
    assert command(["audit", "RUN", "COHORT", "--out", "DIR", "--require", "cover>=0.9", "--json"]) == 2
    assert "Did you mean 'coverage'" in json.loads(capsys.readouterr().out)["error"]["message"]
