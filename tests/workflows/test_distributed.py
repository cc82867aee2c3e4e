"""Two processes learn one network: gradients are averaged, one model is written."""

from __future__ import annotations

import json
from pathlib import Path

from striate.core.record import Record
from striate.model.model import Model

SCRIPT = Path(__file__).with_name("two_processes.py")


def test_two_processes(tiny_cohort, tiny_plan, tmp_path, python):
    tiny_plan(steps=6).write(tmp_path / "plan.yaml")
    run = tmp_path / "run"
    done = python("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", SCRIPT, tmp_path,
                  "train", tiny_cohort, "--plan", tmp_path / "plan.yaml", "--out", run, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank{n}.json").read_text()) for n in (0, 1)]
    assert [r["world"] for r in ranks] == [2, 2]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert len(ranks[0]["losses"]) == len(ranks[1]["losses"]) == 6
    assert ranks[0]["losses"] != ranks[1]["losses"]  # each draws its own patches
    assert json.loads(done.stdout)["steps"] == 6  # one document, from one process
    assert Model.open(run).facts["steps"] == 6
    assert Record.read(run / "record.json").facts["processes"] == 2
    assert not [p for p in run.iterdir() if p.name.startswith(".")]
