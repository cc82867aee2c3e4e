"""Measures what worker processes that draw batches are worth: updates in the same time, and the share of waiting.

    python benchmarks/loading.py COHORT [--patch 32 64] [--workers 0 1 2] [--seconds 30] [--rounds 5]

COHORT is a folder that `striate check` knows, such as ``striate phantom --out COHORT --subjects 4`` makes. The network that
`striate plan` chooses learns with full augmentation from all cases, by the loop of `striate train`, with cubic patches of each
side and each number of workers in turn; 0 draws in the process that trains. ``adapts`` is what `striate train` does: one
worker at first, and more where the network waits. Each turn starts anew, and its updates in the second half of the seconds,
when all workers are there, are compared with those with one worker in the same round. Prints one JSON line per side and number.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import striate
from striate.core.machine import cores, describe
from striate.core.progress import Silent
from striate.data.cohort import Cohort
from striate.data.loader import Loader
from striate.data.patches import Sampling
from striate.data.store import PatchStore
from striate.planning.plan import Plan
from striate.training.clock import Clock
from striate.training.log import read_rows
from striate.training.loop import learn

ADAPTS = "adapts"


def turn(plan: Plan, store: PatchStore, workers: str, seconds: float) -> tuple[float, float]:
    """Train for `seconds`; return updates per second and the share of waiting, of the second half."""
    most = cores() if workers == ADAPTS else 0
    at_first = 1 if workers == ADAPTS else int(workers)
    t = plan.training
    sampling = Sampling(store.cases, t.patch, t.batch, t.foreground, t.seed, t.augmentation)

    def batches(step: int, network: object) -> Loader:
        return Loader(store, sampling, start_step=step, workers=at_first, most=most)

    with tempfile.TemporaryDirectory() as folder:
        learn(plan, batches, Clock(None, seconds), Path(folder), validate=lambda network: {}, progress=Silent())
        rows = [row for row in read_rows(Path(folder) / "metrics.csv") if float(row["fraction"]) >= 0.5]
    took = sum(float(row["step_s"]) for row in rows)
    return len(rows) / took, sum(float(row["data_wait_s"]) for row in rows) / took


def measure(plan: Plan, store: PatchStore, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what each number of workers reached."""
    names = [*given.workers, ADAPTS]
    reached: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for index in range(given.rounds):
        for name in names if index % 2 == 0 else reversed(names):
            reached[name].append(turn(plan, store, name, given.seconds))
    rows = []
    for name in names:
        ratios = sorted(a / b for (a, _), (b, _) in zip(reached[name], reached["1"], strict=True))
        rates, waits = zip(*reached[name], strict=True)
        rows.append({
            "network": plan.network.name, "patch": plan.training.patch, "workers": name, "rounds": given.rounds,
            "updates_per_s": round(statistics.median(rates), 3), "waiting": round(statistics.median(waits), 4),
            "ratio": round(statistics.median(ratios), 3), "ratios": [round(r, 3) for r in ratios],
        })  # fmt: skip
    return rows


def run() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--patch", nargs="+", type=int, default=[32, 64], help="sides of patches, voxels")
    parser.add_argument("--workers", nargs="+", default=["0", "1", "2"], help="numbers; 1 must be among them")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(json.dumps({"machine": describe()}), flush=True)
    _, plan = striate.plan(given.cohort, steps=1)
    cohort = Cohort.open(given.cohort)
    with tempfile.TemporaryDirectory() as folder:
        store = PatchStore.build(cohort.cases, plan.preparation, plan.targets, Path(folder), Silent())
        for side in given.patch:
            training = plan.training.model_copy(update={"patch": (side,) * plan.network.spatial_dims})
            made = plan.model_copy(update={"training": training})
            for row in measure(made, store, given):
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    run()
