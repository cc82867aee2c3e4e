"""nnU-Net v2 in a virtual environment of its own, with a results folder to predict from: the peer of other benchmarks.

    python benchmarks/vs_peers/peer.py WORK DATASET     sets up what is missing and prints where it lies

DATASET is a raw dataset in nnU-Net's layout, such as ../shared/data/Dataset015_BraTS; it is only read. WORK gets

    venv/                                                           nnunetv2 2.8.1 and the torch of this environment
    preprocessed/DATASET/nnUNetPlans.json                           nnU-Net's own fingerprint and plans
    results/DATASET/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/  weights as nnU-Net draws them with seed 0, not trained
    …/fold_1/                                                       the same with a logit of background that empties masks

What is there already is used as it is. Versions are held by constraints.txt; the torch is this environment's, so that a
processor build stays one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
import torch

VERSION = "2.8.1"
CONFIGURATION, PLANS, TRAINER = "3d_fullres", "nnUNetPlans", "nnUNetTrainer"
HERE = Path(__file__).parent
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
SAMPLED_S = 0.5
BIASES = {0: 0.0, 1: 6.0}
"""Fold → what is added to the logit of the background."""


@dataclass(frozen=True)
class Cost:
    """What a command and all its processes took.

    Seconds from start to exit; seconds of processor time, which tell more than these where other work shares the machine;
    the most memory at one time (PSS, sampled: a page that several processes share is counted once; Linux); and per cent
    of the time in which the GPU was busy (sampled), where one computes.
    """

    seconds: float
    processor_s: float
    peak_bytes: int
    gpu_percent: float | None = None

    def document(self) -> dict[str, float]:
        """Return it for a line of JSON."""
        gpu = {} if self.gpu_percent is None else {"gpu_percent": self.gpu_percent}
        return {
            "seconds": self.seconds, "processor_s": self.processor_s, "peak_gb": round(self.peak_bytes / 1e9, 2), **gpu,
        }  # fmt: skip


@dataclass(frozen=True)
class Peer:
    """nnU-Net in `work`, for the raw dataset `dataset`; it computes on `device`."""

    work: Path
    dataset: Path
    device: str = "cpu"

    @property
    def results(self) -> Path:
        """The results folder that nnU-Net and ``striate import nnunet`` read."""
        return self.work / "results" / self.dataset.name / f"{TRAINER}__{PLANS}__{CONFIGURATION}"

    def command(self, name: str, *arguments: object) -> list[str]:
        """Return the command line of a program of the environment."""
        return [str(self.work / "venv" / "bin" / name), *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        """Return the variables that nnU-Net needs; it may use the cores that this process may, no more."""
        folders = {"nnUNet_raw": self.dataset.parent, "nnUNet_preprocessed": self.work / "preprocessed",
                   "nnUNet_results": self.work / "results"}  # fmt: skip
        return {**os.environ, **{k: str(v) for k, v in folders.items()}, "nnUNet_def_n_proc": str(cores())}

    def install(self) -> None:
        """Make the environment, where that is not done yet."""
        ready = self.work / "venv" / f".nnunetv2-{VERSION}"
        if not ready.exists():
            venv.create(self.work / "venv", with_pip=True)
            wanted = [f"nnunetv2=={VERSION}", f"torch=={metadata.version('torch')}"]
            self._run(self.command("pip", "install", "--quiet", "-c", CONSTRAINTS, *wanted))
            ready.touch()

    def set_up(self) -> None:
        """Install, plan and draw weights, where that is not done yet."""
        self.install()
        if not (self.work / "preprocessed" / self.dataset.name / f"{PLANS}.json").exists():
            number = self.dataset.name.removeprefix("Dataset").split("_")[0]
            self._run(self.command("nnUNetv2_extract_fingerprint", "-d", number, "-np", 1))
            self._run(self.command("nnUNetv2_plan_experiment", "-d", number))
        for fold, bias in BIASES.items():
            if not (self.results / f"fold_{fold}" / "checkpoint_final.pth").exists():
                script = HERE / "random_weights.py"
                self._run(self.command("python", script, self.dataset.name, CONFIGURATION, TRAINER, PLANS, fold, bias))

    def preprocess(self) -> None:
        """Prepare the images that nnU-Net learns from, where that is not done yet; after `set_up`."""
        ready = self.work / "preprocessed" / self.dataset.name / f".{PLANS}_{CONFIGURATION}"
        if not ready.exists():
            number = self.dataset.name.removeprefix("Dataset").split("_")[0]
            self._run(self.command("nnUNetv2_preprocess", "-d", number, "-c", CONFIGURATION, "-np", 1))
            ready.touch()

    def predict(self, images: Iterable[Path], out: Path, *, mirror: bool = True, fold: int = 0) -> Cost:
        """Predict one case, its channels in order, with ``nnUNetv2_predict`` on the device: ``out/case.nii.gz``."""
        given = out.with_name(f"{out.name}-input")
        given.mkdir(parents=True)
        for index, path in enumerate(images):
            (given / f"case_{index:04d}.nii.gz").symlink_to(path.resolve())
        return self.predict_all(given, out, mirror=mirror, fold=fold)

    def predict_all(self, given: Path, out: Path, *, mirror: bool = True, fold: int = 0) -> Cost:
        """Predict all cases in the folder `given`, named as nnU-Net names them, in one call: ``out/CASE.nii.gz``."""
        arguments = ["-i", given, "-o", out, "-d", self.dataset.name, "-c", CONFIGURATION, "-tr", TRAINER, "-f", fold,
                     "-npp", 1, "-nps", 1, "-device", self.device, *([] if mirror else ["--disable_tta"])]  # fmt: skip
        return measured(self.command("nnUNetv2_predict", *arguments), self.environment(), self.device)

    def _run(self, command: list[str]) -> None:
        print("+", *command, file=sys.stderr, flush=True)
        subprocess.run(command, env=self.environment(), check=True, stdout=sys.stderr)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def measured(command: list[str], environment: dict[str, str] | None = None, device: str = "cpu") -> Cost:
    """Run a command to its end and return what it took; its output goes to stderr.

    On a GPU the processor time holds what its sampling takes, too.
    """
    begin, before, peak = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN), 0
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr)
    with gpu_busy(device) as busy:
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLED_S)
        seconds = time.monotonic() - begin
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(round(seconds, 1), round(used, 1), peak, mean(busy))


@contextlib.contextmanager
def gpu_busy(device: str) -> Iterator[list[float]]:
    """Fill a list with per cent of the time in which the GPU was busy, as nvidia-smi tells every `SAMPLED_S`; not on ``cpu``."""
    found: list[float] = []
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLED_S):
            with contextlib.suppress(ValueError, OSError, subprocess.CalledProcessError):  # no nvidia-smi, or "[N/A]"
                found.append(float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))

    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", first]
    thread = threading.Thread(target=sample, daemon=True)
    if device == "cuda":
        thread.start()
    try:
        yield found
    finally:
        over.set()
        if device == "cuda":
            thread.join()


def mean(values: list[float]) -> float | None:
    """Return the mean; None of nothing."""
    return round(statistics.mean(values), 1) if values else None


def _memory(pid: int) -> int:
    """Return the proportional memory of a process and all its children, in bytes; 0 where it has just ended."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return total
    return total


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark against this peer is told."""
    parser.add_argument("work", type=Path, help="folder of the environment and the results; kept")
    parser.add_argument("dataset", type=Path, help="raw dataset in nnU-Net's layout, named DatasetNNN_NAME")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add on what both programs compute."""
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="cuda: the first GPU; its share of time is sampled, too",
    )


def take_device(device: str) -> None:
    """Let Striate, which takes a GPU by itself, compute on `device`; before CUDA is used, here or by what is started."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        raise SystemExit(
            "--device cuda: PyTorch sees no CUDA GPU here; leave it away, or install a torch that sees yours."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    given = parser.parse_args()
    peer = Peer(given.work.resolve(), given.dataset.resolve())
    peer.set_up()
    print(json.dumps({"programs": str(peer.work / "venv" / "bin"), "results": str(peer.results)}))


if __name__ == "__main__":
    main()
