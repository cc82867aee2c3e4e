"""Trains as ``striate train`` does, step by step on demand (see train.py).

    python striate_steps.py DATASET RUN PLAN

The loop, the loader and what is written down are those of every run, in the folder RUN; the checks before, validations and
checkpoints are left out, as they are on the peer's side. Each line of the input is a number of steps; for each, one line of
JSON says how long they took, and how the parts of these steps are in metrics.csv.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from striate.core.progress import Silent
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.planning.plan import Plan
from striate.training import laps
from striate.training.clock import Clock
from striate.training.log import read_rows
from striate.training.loop import learn
from striate.training.run import Run
from striate.workflows.material import build, open_material

STEPS = 1_000_000


class OnDemand(Silent):
    """A listener that lets no more steps be done than it was asked for; the first warms up."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.wanted, self.left, self.begin = folder, 0, 1, 0.0

    def bar(self, title: str, total: float | None) -> OnDemand:
        """Return what counts the steps."""
        return self

    def update(self, done: float, **shown: object) -> None:
        """Count one step; when all are done answer and wait for more."""
        self.left -= 1
        if self.left:
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent = time.perf_counter() - self.begin
        if self.wanted:
            # the pause before a turn is in "rest" of its first row
            answer: dict[str, object] = {"seconds": spent, **laps.total(read_rows(self.folder)[-self.wanted :])}
        else:
            answer = {"threads": torch.get_num_threads()}
        print(json.dumps(answer), flush=True)
        asked = sys.stdin.readline()
        if not asked:
            raise SystemExit(0)
        self.wanted = self.left = int(asked)
        self.begin = time.perf_counter()

    def __enter__(self) -> OnDemand:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


def main(dataset: Path, folder: Path, plan: Plan) -> None:
    cohort = Cohort.open(dataset)
    run = Run.start(folder, dataset, {})
    split = Split(tuple(case.name for case in cohort.cases), ())
    build(run, plan, split, cohort, Silent())
    material = open_material(run, plan, split)
    learn(
        plan, material.loader, Clock(STEPS, None), folder, validate=lambda network: {},
        progress=OnDemand(folder / "metrics.csv"), organise=material.organise,
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Plan.read(Path(sys.argv[3])))
