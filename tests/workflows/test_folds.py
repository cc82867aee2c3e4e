"""Which folds of nnU-Net predict, and whether mirrored, is said on the screen and in the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nnunet_folder import write_results
from test_exact_nnunet import write_case

from striate.cli.main import run
from striate.model.model import Model
from striate.workflows.folds import folds_told
from striate.workflows.import_nnunet import import_nnunet

EXACT = "--exact averages"


@pytest.mark.parametrize(
    ("folds", "way", "exact", "told"),
    [
        ("01", "none", False, f"fold 0 of 2, not mirrored; {EXACT} all 2 folds and 8 mirrored copies, as nnU-Net does"),
        ("01", "tta", False, f"fold 0 of 2, with 8 mirrored copies; {EXACT} all 2 folds, as nnU-Net does"),
        ("01", "ensemble", False, f"2 folds averaged, not mirrored; {EXACT} 8 mirrored copies, as nnU-Net does"),
        ("01", "none", True, "2 folds averaged, with 8 mirrored copies"),
        ("0", "none", False, f"fold 0, not mirrored; {EXACT} 8 mirrored copies, as nnU-Net does"),
        ("0", "tta", False, "fold 0, with 8 mirrored copies"),
    ],
)
def test_the_line_is_true(folds: str, way: str, exact: bool, told: str, tmp_path: Path) -> None:
    model = import_nnunet(write_results(tmp_path, folds=tuple(folds)), tmp_path / "model")
    assert folds_told(model, way, exact=exact) == told
    assert folds_told(model, way, exact=exact, others=True) == ""
    assert folds_told(Model(model.folder, model.plan, {}), way) == ""


def test_screen_and_record_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = import_nnunet(write_results(tmp_path, folds=("0", "1")), tmp_path / "model"), tmp_path / "out"
    files = [str(path) for path in write_case(tmp_path).channels.values()]
    assert run(["predict", str(model.folder), *files, "--out", str(out), "--engine", "torch"]) == 0
    told = folds_told(model, "none")
    assert told in " ".join(capsys.readouterr().err.split())
    assert json.loads((out / "record.json").read_text())["facts"]["nnunet"] == told
