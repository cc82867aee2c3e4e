"""The folder of a run."""

from __future__ import annotations

import pytest

from striate.core.errors import DataError, ModelError
from striate.training.run import Run, resuming


def test_round_trip(tmp_path):
    run = Run.start(tmp_path / "run", tmp_path / "cohort", {"steps": 3, "fold": None})
    assert Run.open(run.folder) == run
    assert run / "plan.yaml" == tmp_path / "run" / "plan.yaml"


def test_what_is_there_is_not_touched(tmp_path):
    Run.start(tmp_path / "my run", tmp_path, {})
    with pytest.raises(
        DataError, match=r"it exists and is not empty.*go on with that run: striate train --resume '.*my run'"
    ):
        Run.start(tmp_path / "my run", tmp_path, {})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("all of it")
    with pytest.raises(DataError, match=r"Choose another --out or remove it\."):
        Run.start(tmp_path / "other", tmp_path, {})
    with pytest.raises(DataError, match="it exists and is not empty"):
        Run.start(tmp_path / "other" / "thesis.txt", tmp_path, {})


def test_an_empty_folder_and_what_a_kill_left_are_no_hindrance(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".123.part.run.json").write_text("{")
    assert Run.start(folder, tmp_path, {}).folder == folder


def test_sweeping_takes_only_leftovers(tmp_path):
    run = Run.start(tmp_path / "run", tmp_path, {})
    for name in (".1.part.checkpoint.safetensors", ".cache.part.x1y2", ".1.new.model", ".model.old.ab"):
        (run / name).mkdir()
        (run / name / "file").write_text("x")
    for name in ("plan.yaml", ".hidden", "my.part.txt"):
        (run / name).write_text("x")
    (run / ".2.part.plan.yaml").write_text("x")
    run.sweep()
    assert sorted(p.name for p in run.folder.iterdir()) == [".hidden", "my.part.txt", "plan.yaml", "run.json"]


@pytest.mark.parametrize("text", [None, "{", '{"kind": "other"}', '{"kind": "striate-run", "schema_version": 7}'])
def test_what_is_no_run(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(ModelError, match=r"not the folder of a run.*made by striate train"):
        Run.open(tmp_path)


def test_the_command_can_be_pasted(tmp_path):
    assert resuming(tmp_path / "plain") == f"striate train --resume {tmp_path}/plain"
    assert resuming(tmp_path / "häm or") == f"striate train --resume '{tmp_path}/häm or'"
