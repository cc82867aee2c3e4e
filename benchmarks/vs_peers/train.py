"""Measures training: voxels per second of nnU-Net's own trainer and of Striate, with all their augmentation.

    python benchmarks/vs_peers/train.py WORK DATASET [--pairs 5] [--steps 1] [--patch 96 96 96] [--device cuda]

WORK and DATASET as in peer.py, which sets up what is missing. Both train the network that nnU-Net plans for DATASET on its
cases, with its batch, on patches of the same size (by default smaller than its plan's, so that a step takes seconds, not
minutes), each with its own optimiser, loss with deep supervision and augmentation, on the cores that this process may use.
nnU-Net computes in single precision on a processor, in half precision and compiled on a GPU; Striate in single precision on one
side, and in bfloat16 on another, where the device has it.

All sides live through the whole measurement and take turns of --steps updates. While one works, the processes of the others
are stopped, those that draw patches too, so that none of them works ahead. A first turn of each warms up and is not counted.
Prints JSON lines: what is measured, and per pair and in the middle voxels per second, ratios, and the share of waiting for
data. `share_of_peak` sets the operations of the convolutions (forward once, backward twice) against the greatest bf16 rate
of matrix products, measured before each turn. `gpu_percent` is the share of time in which a GPU was busy, sampled by
nvidia-smi: take so many --steps that a turn takes ten seconds. All sides stay in the memory of the GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from exact import imported
from peer import CONFIGURATION, PLANS, TRAINER, Peer, add_arguments, add_device, cores, gpu_busy, mean, take_device
from predict import matmul_peak_flops

from striate.core.machine import describe
from striate.inference.engines.place import precision_on
from striate.planning.cost import flops_by_operations, network_cost
from striate.planning.plan import Plan

HERE = Path(__file__).parent
NNUNET, BF16, FP32 = "nnunet", "striate_bf16", "striate_fp32"
WARM_STEPS = 2


class Side:
    """One program that trains on demand; stopped except in its turns."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.about = self._answer()
        self._signal(signal.SIGSTOP)

    def turn(self, steps: int) -> dict[str, float]:
        """Let it do some updates and return the seconds that they took, whole and by part."""
        self._signal(signal.SIGCONT)
        assert self._process.stdin is not None
        print(steps, file=self._process.stdin, flush=True)
        found = self._answer()
        self._signal(signal.SIGSTOP)
        return found

    def close(self) -> None:
        """End it and everything that it started."""
        with contextlib.suppress(ProcessLookupError):
            self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self._process.pid, number)

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise SystemExit(f"{self.name}: it ended before it answered; see above.")
        found: dict[str, float] = json.loads(line)
        return found


def plan_of(peer: Peer, patch: tuple[int, ...], folder: Path) -> Plan:
    """Return nnU-Net's plan in Striate's terms, with patches of `patch` voxels that are mirrored as nnU-Net does."""
    plan = imported(peer, folder / "imported", mirror=True).plan
    augmentation = plan.training.augmentation.changed(mirror_axes=plan.inference.mirror_axes)
    return plan.changed(
        training=plan.training.changed(patch=patch, augmentation=augmentation.model_dump()).model_dump()
    )


@contextlib.contextmanager
def sides(peer: Peer, plan: Plan, folder: Path) -> Iterator[list[Side]]:
    """Start what is compared, one after the other, and end it in any case."""
    patch = [str(n) for n in plan.training.patch]
    script = HERE / "peer_steps.py"
    theirs = peer.command("python", script, peer.device, peer.dataset.name, CONFIGURATION, TRAINER, PLANS, *patch)
    started: list[Side] = []
    try:
        started.append(Side(NNUNET, theirs, {**peer.environment(), "nnUNet_results": str(folder / "results")}))
        for name, precision in ((BF16, "bf16"), (FP32, "fp32")):
            if precision == "bf16" and precision_on(torch.device(peer.device)) != "bf16":
                continue
            written = folder / f"{name}.yaml"
            plan.changed(training=plan.training.changed(precision=precision).model_dump()).write(written)
            ours = [sys.executable, str(HERE / "striate_steps.py"), str(peer.dataset), str(folder / name), str(written)]
            started.append(Side(name, ours))
        yield started
    finally:
        for side in started:
            side.close()


def measure(
    started: list[Side], pairs: int, steps: int, device: str
) -> tuple[list[dict[str, dict[str, float]]], list[float]]:
    """Return, per round, what each side's turn took, and the rates of matrix products; the order turns round each time."""
    for side in started:
        side.turn(WARM_STEPS)
    rounds, peaks = [], []
    for number in range(pairs):
        found = {}
        for side in started if number % 2 == 0 else started[::-1]:
            peaks.append(matmul_peak_flops(device=device))
            with gpu_busy(device) as busy:
                found[side.name] = side.turn(steps)
            if busy:
                found[side.name]["gpu_percent"] = statistics.mean(busy)
        rounds.append(found)
        shown = ", ".join(f"{name} {turn['seconds'] / steps:.2f} s" for name, turn in found.items())
        print(f"round {number + 1}, per update: {shown}", file=sys.stderr, flush=True)
    return rounds, peaks


def summary(
    rounds: list[dict[str, dict[str, float]]], name: str, steps: int, voxels: int, flop: float, peak: float
) -> dict[str, object]:
    """Return the figures of one side."""
    turns = [one[name] for one in rounds]
    middle = statistics.median(turn["seconds"] / steps for turn in turns)
    whole = sum(turn["seconds"] for turn in turns)
    found: dict[str, object] = {
        "seconds_per_update": round(middle, 3),
        "voxels_per_second": round(voxels / middle),
        "tflops": round(flop / middle / 1e12, 3),
        "share_of_peak": round(flop / middle / peak, 3),
        "waiting_percent": round(100 * sum(turn["data_wait"] for turn in turns) / whole, 2),
    }
    busy = mean([turn["gpu_percent"] for turn in turns if "gpu_percent" in turn])
    found |= {} if busy is None else {"gpu_percent": busy}
    if name != NNUNET:
        parts = [part for part in turns[0] if part not in ("seconds", "rest", "gpu_percent")]
        shares = {part: 100 * sum(turn[part] for turn in turns) / whole for part in parts}
        found["percent"] = {part: round(share, 2) for part, share in shares.items()}
        ratios = sorted(one[NNUNET]["seconds"] / one[name]["seconds"] for one in rounds)
        found |= {"times_as_fast": round(statistics.median(ratios), 2), "ratios": [round(r, 2) for r in ratios]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    add_device(parser)
    parser.add_argument("--pairs", type=int, default=5, help="turns of each side")
    parser.add_argument("--steps", type=int, default=1, help="updates of a turn")
    parser.add_argument("--patch", type=int, nargs=3, metavar=("I", "J", "K"), default=[96, 96, 96])
    given = parser.parse_args()
    take_device(given.device)
    peer = Peer(given.work.resolve(), given.dataset.resolve(), given.device)
    peer.set_up()
    peer.preprocess()
    with tempfile.TemporaryDirectory(prefix="striate-train-", dir=peer.work) as name:
        folder = Path(name)
        plan = plan_of(peer, tuple(given.patch), folder)
        training, cost = plan.training, network_cost(plan.task, plan.network, plan.training.patch)
        voxels = training.batch * math.prod(training.patch)
        flop = flops_by_operations(cost.macs, training.batch, 1)
        with sides(peer, plan, folder) as started:
            about = {
                "network": f"{plan.network.name}, {cost.parameters:,} parameters", "patch": training.patch,
                "batch": training.batch, "tflop_per_update": round(flop / 1e12, 3), "pairs": given.pairs,
                "updates_per_turn": given.steps, "device": given.device, "sides": {side.name: side.about for side in started},
                "machine": {**describe(), "cores_used": cores()},
            }  # fmt: skip
            print(json.dumps(about), flush=True)
            rounds, peaks = measure(started, given.pairs, given.steps, given.device)
    peak = statistics.median(peaks)
    print(json.dumps({"matmul_bf16_tflops": round(peak / 1e12, 3)}), flush=True)
    for side in rounds[0]:
        print(json.dumps({side: summary(rounds, side, given.steps, voxels, flop, peak)}), flush=True)


if __name__ == "__main__":
    main()
