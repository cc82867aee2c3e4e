"""A run and a prediction folder as `train` and `predict` leave them, small and made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_folders import make_prediction, make_run


@pytest.fixture
def prediction_folder(tmp_path: Path) -> Path:
    return make_prediction(tmp_path / "out")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """A run whose case names try to become markup."""
    return make_run(tmp_path / "hostile", ("<script>alert(1)<", '"><img src=x onerror=alert(2)>', "a' & b"))
