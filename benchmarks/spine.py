"""Measures what docs/benchmarks.md holds about the spine: start-up, demo, training within budgets, prediction, kills.

    python benchmarks/spine.py            everything (about two hours on two cores)
    python benchmarks/spine.py start predict kills brats-2m brats-10m brats-30m demo

Each part prints one JSON line and appends it to benchmarks/spine.jsonl (not committed); the figures are copied into
docs/benchmarks.md with the machine's name. Real cases come from ../shared/data or $STRIATE_TEST_DATA.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from striate.core.files import hash_file
from striate.core.machine import describe

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("STRIATE_TEST_DATA", ROOT.parent / "shared" / "data"))
BRATS = DATA / "Dataset015_BraTS"
CASES = ("brats0003", "brats0004", "brats0005", "brats0006")
STRIATE = [str(Path(sys.executable).with_name("striate"))]


def command(*arguments: object, check: bool = True) -> tuple[float, dict[str, object]]:
    """Run the command line with --json and return (seconds from process start to exit, its document)."""
    begin = time.monotonic()
    done = subprocess.run([*STRIATE, *map(str, arguments), "--json"], capture_output=True, text=True)
    seconds = time.monotonic() - begin
    if check and done.returncode not in (0, 1):
        raise SystemExit(f"striate {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
    return seconds, json.loads(done.stdout) if done.stdout.strip() else {}


def start(folder: Path) -> dict[str, object]:
    """Time ``striate --help`` and ``import striate``, median of 11."""

    def median(arguments: list[str]) -> float:
        times = []
        for _ in range(11):
            begin = time.monotonic()
            subprocess.run(arguments, capture_output=True, check=True)
            times.append(time.monotonic() - begin)
        return round(statistics.median(times), 3)

    return {
        "help_s": median([*STRIATE, "--help"]),
        "predict_help_s": median([*STRIATE, "predict", "--help"]),
        "import_s": median([sys.executable, "-c", "import striate"]),
        "python_s": median([sys.executable, "-c", "pass"]),
    }


def brats(budget: str, held_out: tuple[str, ...] = CASES) -> Callable[[Path], dict[str, object]]:
    """Return a benchmark: whole-tumour Dice, one run per held-out patient, each within `budget`."""

    def measure(folder: Path) -> dict[str, object]:
        runs = {}
        for case in held_out:
            run = folder / f"brats-{budget}-{case}"
            wish = ["--regions", "tumour=1+2+3+4", "--holdout", case, "--budget", budget, "--out", run]
            seconds, done = command("train", BRATS, *wish)
            values = done["evaluation"]["summary"]["tumour"]  # type: ignore[index]
            runs[case] = {
                "dice": round(values["dice"]["mean"], 4),
                "hd95_mm": round(values["hd95_mm"]["mean"], 1),
                "wall_s": round(seconds, 1),
                "steps": done["steps"],
                "waiting_share": round(float(str(done["waiting_share"])), 4),
            }
            print(case, runs[case], flush=True)
        return {"median_dice": statistics.median(r["dice"] for r in runs.values()), "runs": runs}

    return measure


def predict(folder: Path) -> dict[str, object]:
    """Time ``striate predict`` of one two-channel case from process start to mask on disk, median of 3."""
    run = next(iter(sorted(folder.glob("brats-10m-*"))), None)
    if run is None:
        run = folder / "brats-short"
        command("train", BRATS, "--regions", "tumour=1+2+3+4", "--holdout", "brats0004", "--budget", "2m", "--out", run)
    times, peaks = [], []
    for number in range(3):
        out = folder / f"prediction-{number}"
        files = [BRATS / "imagesTr" / f"brats0004_000{k}.nii.gz" for k in (0, 1)]
        times.append(command("predict", run, *files, "--out", out)[0])
        peaks.append(json.loads((out / "record.json").read_text())["facts"]["peak_rss_bytes"])
        shutil.rmtree(out)
    return {"seconds": round(statistics.median(times), 2), "peak_rss_gb": round(max(peaks) / 1e9, 2)}


def kills(folder: Path, count: int = 20) -> dict[str, object]:
    """Kill a training run at `count` random moments, go on each time, and compare with a run that nobody killed."""
    command("phantom", "--out", folder / "kills", "--subjects", 4, "--spacing", 4, 4, 4)
    wish = ["train", str(folder / "kills"), "--steps", "60", "--seed", "1"]
    command("plan", folder / "kills", "--steps", 60, "--seed", 1, "--out", folder / "kills.yaml")
    wish += ["--plan", str(folder / "kills.yaml")]
    seconds, _ = command(*wish, "--out", folder / "whole")
    draw, killed, began = random.Random(0), 0, False
    while killed < count:
        again = ["train", "--resume", str(folder / "parts")] if began else [*wish, "--out", str(folder / "parts")]
        process = subprocess.Popen([*STRIATE, *again], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.5, 0.6 * seconds))
        finished = process.poll() is not None
        process.kill()
        process.wait()
        killed += not finished
        began = (folder / "parts" / "run.json").exists()
        if finished and killed < count:
            shutil.rmtree(folder / "parts")
            began = False
    command(*(["train", "--resume", folder / "parts"] if began else [*wish, "--out", folder / "parts"]))
    hashes = [hash_file(folder / name / "model" / "weights.safetensors") for name in ("whole", "parts")]
    return {"kills": killed, "equal": hashes[0] == hashes[1]}


def demo(folder: Path) -> dict[str, object]:
    """Time ``make demo`` in a fresh clone, install included, and read its Dice on unseen phantoms."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    begin = time.monotonic()
    subprocess.run(["make", "demo"], cwd=clone, check=True, capture_output=True)
    seconds = time.monotonic() - begin
    summary = json.loads((clone / "demo" / "predictions" / "evaluation.json").read_text())["summary"]
    return {"seconds": round(seconds, 1), "dice": {label: round(m["dice"]["mean"], 4) for label, m in summary.items()}}


PARTS: dict[str, Callable[[Path], dict[str, object]]] = {
    "start": start,
    "kills": kills,
    "brats-2m": brats("2m"),
    "brats-10m": brats("10m"),
    "brats-30m": brats("30m", ("brats0004",)),
    "predict": predict,
    "demo": demo,
}


def main(wanted: list[str], parts: dict[str, Callable[[Path], dict[str, object]]], log: str) -> None:
    """Run the wanted parts, or all; append each one's line to benchmarks/`log`."""
    with tempfile.TemporaryDirectory(prefix="striate-bench-") as name:
        for part in wanted or list(parts):
            row = {"part": part, **parts[part](Path(name)), "machine": describe()}
            line = json.dumps(row)
            print(line, flush=True)
            with (ROOT / "benchmarks" / log).open("a") as stream:
                stream.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1:], PARTS, "spine.jsonl")
