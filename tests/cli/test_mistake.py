"""What nobody foresaw ends with one line and its own exit code."""

from __future__ import annotations

import pytest

import striate.workflows.check
from striate.cli.main import MISTAKE, run


def test_a_mistake_of_ours_is_not_a_problem_of_the_data(monkeypatch, capsys, tmp_path):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(striate.workflows.check, "check", broken)
    assert run(["check", str(tmp_path)]) == MISTAKE
    shown = capsys.readouterr().err
    assert shown.startswith("striate: ZeroDivisionError: division by zero.") and "--debug" in shown
    with pytest.raises(ZeroDivisionError, match="division"):
        run(["check", str(tmp_path), "--debug"])
