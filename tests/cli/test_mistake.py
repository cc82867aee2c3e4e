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


def test_a_package_that_is_not_installed_is_no_mistake(monkeypatch, capsys, tmp_path):
    def without(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    monkeypatch.setattr(striate.workflows.check, "check", without)
    assert run(["check", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert "pip install torch. Models that striate export wrote" in shown and "mistake" not in shown

    def broken(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'striate.gone'", name="striate.gone")

    monkeypatch.setattr(striate.workflows.check, "check", broken)
    assert run(["check", str(tmp_path)]) == MISTAKE


def test_a_package_is_named_as_pip_knows_it(monkeypatch, capsys, tmp_path):
    def without(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'PIL'", name="PIL")

    monkeypatch.setattr(striate.workflows.check, "check", without)
    assert run(["check", str(tmp_path)]) == 2 and "pip install pillow." in capsys.readouterr().err
