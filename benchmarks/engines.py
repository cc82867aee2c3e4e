"""Measures all engines and precisions on one window: a network with weights drawn at random, one channel, two classes.

    taskset -c 0 env OMP_NUM_THREADS=1 python benchmarks/engines.py NETWORK [PATCH] [--rounds 5] [--int8]

Each round asks every engine in turn, after one that does not count, and once measures the greatest rate of matrix products in
bf16 and the greatest bandwidth of memory (`vs_peers/predict.py`). On one core what counts is processor time, which other work on
the machine disturbs less; on more it is the clock. Prints one JSON document: of each engine seconds (median), how many times as
fast as PyTorch it is (median of the ratios within a round, least, greatest), its share of the rate of matrix products, its share
of the bandwidth (of weights, and of what convolutions answer written and read once, in its precision), and how far its
probabilities lie from those in single precision in the mean. --int8 also brings the network to 8 bits, by four windows of
noise: its time is that of a trained one, its distance is not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch

from striate import networks
from striate.core.machine import cores, describe
from striate.inference.engines import Engine
from striate.inference.engines.convert import convert, converted
from striate.inference.engines.onnx import OnnxEngine
from striate.inference.engines.onnx_file import write_onnx
from striate.inference.engines.openvino import NETWORK, OpenVINOEngine, runtime
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.engines.quantise import rounded
from striate.inference.engines.separate import separate
from striate.networks.counting import count

sys.path.insert(0, str(Path(__file__).parent / "vs_peers"))
from predict import bandwidth_bytes_s, matmul_peak_flops

BASE, BYTES = "torch bf16", {"fp32": 4, "bf16": 2, "int8": 1}


def opened(network: torch.nn.Module, tile: np.ndarray, work: Path, int8: bool) -> dict[str, Engine]:
    """Return every engine of `network`, ready for windows of the shape of `tile`, by its name and precision."""
    convert(deepcopy(network), True, torch.from_numpy(tile), work / NETWORK)
    single = converted(deepcopy(network), True, torch.from_numpy(tile))
    separate(single)
    runtime().save_model(single, work / "single.xml", compress_to_fp16=False)  # as where there is no bf16
    write_onnx(deepcopy(network), True, tile, work / "network.onnx")
    engines: list[Engine] = [
        OpenVINOEngine(work / NETWORK, "bf16"), OpenVINOEngine(work / "single.xml", "fp32"),
        OnnxEngine(work / "network.onnx"), TorchEngine(network, True, "fp32"), TorchEngine(network, True, "bf16"),
    ]  # fmt: skip
    if int8:
        found = [np.random.default_rng(i).normal(size=tile.shape).astype(np.float32) for i in range(4)]
        runtime().save_model(
            rounded(converted(deepcopy(network), True, torch.from_numpy(tile)), found), work / "int8.xml"
        )
        engines.append(OpenVINOEngine(work / "int8.xml", "int8"))
    return {f"{engine.name} {engine.precision}": engine for engine in engines}


def measured(
    engines: dict[str, Engine], tile: np.ndarray, operations: float, numbers: float, rounds: int
) -> dict[str, object]:
    """Return what is known of each engine."""
    clock = time.process_time if cores() == 1 else time.perf_counter
    answers = {name: engine(tile) for name, engine in engines.items()}
    taken: dict[str, list[float]] = {name: [] for name in engines}
    peaks, widths = list[float](), list[float]()
    for i in range(rounds):
        peaks.append(matmul_peak_flops(clock))
        widths.append(bandwidth_bytes_s(clock))
        turn = i % len(engines)
        for name in [*list(engines)[turn:], *list(engines)[:turn]]:
            start = clock()
            engines[name](tile)
            taken[name].append(clock() - start)
    rows = {}
    for name, seconds in taken.items():
        ratios = sorted(base / s for base, s in zip(taken[BASE], seconds, strict=True))
        shares = [operations / s / peak for s, peak in zip(seconds, peaks, strict=True)]
        moved = numbers * BYTES[name.rpartition(" ")[2]]
        rows[name] = {
            "share_of_bandwidth": round(statistics.median(moved / s / w for s, w in zip(seconds, widths, strict=True)), 3),
            "seconds": round(statistics.median(seconds), 4), "ratio": round(statistics.median(ratios), 2),
            "spread": [round(ratios[0], 2), round(ratios[-1], 2)], "share": round(statistics.median(shares), 3),
            "mean_difference": float(f"{np.abs(answers[name] - answers['torch fp32']).mean():.2g}"),
        }  # fmt: skip
    rates = {"matmul_tflops": statistics.median(peaks) / 1e12, "bandwidth_gb_s": statistics.median(widths) / 1e9}
    return {**{name: round(rate, 3) for name, rate in rates.items()}, "engines": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("patch", type=int, nargs="?", default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--int8", action="store_true")
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(cores())
    patch = (given.patch,) * 3
    form = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}
    network = networks.create(given.network, **form).eval()
    with torch.device("meta"):
        counted = count(networks.create(given.network, **form), (1, *patch))
    parameters = sum(p.numel() for p in network.parameters())
    operations, numbers = 2.0 * counted.macs, 2.0 * counted.activations + parameters
    tile = np.random.default_rng(0).normal(size=(1, 1, *patch)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="striate-engines-") as name:
        found = measured(opened(network, tile, Path(name), given.int8), tile, operations, numbers, given.rounds)
    about = {
        "network": given.network, "parameters": parameters, "patch": patch,
        "tflop": round(operations / 1e12, 4), "rounds": given.rounds, "machine": {**describe(), "cores_used": cores()},
    }  # fmt: skip
    print(json.dumps({**about, **found}))


if __name__ == "__main__":
    main()
