"""Measures ``striate predict`` against ``nnUNetv2_predict``: the same weights, windows and overlap, nothing mirrored.

    python benchmarks/vs_peers/predict.py WORK DATASET [pairs network cases cohort] [--pairs 5] [--cases 20] [--cut 160 160 96]
                                           [--device cuda]

WORK and DATASET as in peer.py, which sets up what is missing. Both are whole programs on the cores that this process may use.

    pairs     one case, from the start of the process to its exit, alternating; ratios of times pair by pair
    network   one window: seconds, and the shares of the greatest bf16 rate of matrix products and of the greatest bandwidth of
              memory in the same minute; bytes are those of weights, and of what convolutions answer, written and read once,
              in bf16
    cases     Striate alone: several cases in one call, seconds and the most memory held at one time
    cohort    as many cases as the last of --cases in one call, both programs, alternating; of each the middle of --cut voxels,
              because nnU-Net takes an hour for 20 whole ones; pairs are kept in WORK, and what is missing of --pairs is measured

What Striate converts once per model is made before and timed by itself. Prints one JSON document per word.
With --device cuda both compute on the GPU, Striate with PyTorch; it is said how busy it was (per cent of the time, sampled), and
`network` counts the way there and back.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from exact import imported
from peer import Cost, Peer, add_arguments, add_device, cores, mean, measured, take_device

from striate.core.case import Case
from striate.core.image import Image
from striate.core.machine import describe
from striate.data.prepare import cut as cut_grid
from striate.inference.engines.choose import choose
from striate.io.read import read_image, read_label
from striate.io.write import write_image
from striate.measure.overlap import dice
from striate.model.model import Model

WORDS = ("pairs", "network", "cases", "cohort")
STRIATE = str(Path(sys.executable).with_name("striate"))
FOLD = 1
"""Whose masks are mostly empty: of noise, hundreds of thousands of lesions would be listed."""
SIZES = (1024, 2048, 4096)
GPU_SIZES = (4096, 8192)
ENGINES = {"cpu": "openvino", "cuda": "torch"}
COPIED = 1 << 26
"""Numbers of four bytes: far more than any cache holds."""


def prepared_model(peer: Peer, images: list[Path]) -> tuple[Model, float]:
    """Return the imported model with what its engine needs, and the seconds that this took (0 where it was there)."""
    folder = peer.work / "striate-unmirrored"
    model = Model.open(folder) if folder.exists() else imported(peer, folder, mirror=False, fold=FOLD)
    begin = time.monotonic()
    chosen = choose(model, Case("case", "case", dict(zip(model.channels, images, strict=True))), ENGINES[peer.device])
    del chosen
    return model, round(time.monotonic() - begin, 1)


def pairs(peer: Peer, model: Model, images: list[Path], count: int) -> dict[str, object]:
    """Measure both programs on one case, in turns."""
    rows, agreement = [], {}
    with tempfile.TemporaryDirectory(prefix="striate-pairs-") as name:
        place = Path(name)
        for pair in range(count):
            out = place / f"ours{pair}"
            ours = measured(
                [STRIATE, "predict", str(model.folder), *map(str, images), "--out", str(out)], device=peer.device
            )
            theirs = peer.predict(images, place / f"theirs{pair}", mirror=False, fold=FOLD)
            rows.append((ours, theirs))
            print(f"pair {pair + 1}: {ours.seconds} s, {theirs.seconds} s", file=sys.stderr, flush=True)
        first, second = (read_label(next((place / who).glob("*.nii.gz"))) for who in ("ours0", "theirs0"))
        for label, values in model.plan.targets.sets.items():
            agreement[label] = round(dice(np.isin(first.array, values), np.isin(second.array, values)), 4)
        engine = json.loads((place / "ours0" / "record.json").read_text())["facts"]["engine"]
    ratios = sorted(theirs.seconds / ours.seconds for ours, theirs in rows)
    return {
        "pairs": count, "ratio": round(statistics.median(ratios), 2), "ratios": [round(r, 2) for r in ratios],
        "striate_s": statistics.median(o.seconds for o, _ in rows), "nnunet_s": statistics.median(t.seconds for _, t in rows),
        "striate_peak_gb": round(max(o.peak_bytes for o, _ in rows) / 1e9, 2),
        "nnunet_peak_gb": round(max(t.peak_bytes for _, t in rows) / 1e9, 2),
        "dice_of_both_masks": agreement, "engine": engine, **_busy(rows),
    }  # fmt: skip


def _busy(rows: list[tuple[Cost, Cost]]) -> dict[str, float | None]:
    """Return the mean per cent of time in which the GPU was busy, of both programs; nothing where none was."""
    both = {
        who: [r[i].gpu_percent for r in rows if r[i].gpu_percent is not None]
        for i, who in enumerate(("striate", "nnunet"))
    }
    return {f"{who}_gpu_percent": mean(found) for who, found in both.items() if found}


def wait(device: str) -> None:
    """Wait until the GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def matmul_peak_flops(clock: Callable[[], float] = time.perf_counter, device: str = "cpu") -> float:
    """Return the greatest rate of bf16 matrix products, in operations per second, over `SIZES` (a GPU: `GPU_SIZES`)."""
    best = 0.0
    for size in GPU_SIZES if device == "cuda" else SIZES:
        a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
        out = torch.empty(size, size, dtype=torch.bfloat16, device=device)
        for _ in range(8):
            wait(device)
            start = clock()
            torch.matmul(a, b, out=out)
            wait(device)
            best = max(best, 2 * size**3 / (clock() - start))
    return best


def bandwidth_bytes_s(clock: Callable[[], float] = time.perf_counter, device: str = "cpu") -> float:
    """Return the greatest rate at which memory was read and written, in bytes per second, copying `COPIED` numbers."""
    source, out, best = torch.randn(COPIED, device=device), torch.empty(COPIED, device=device), 0.0
    for _ in range(4):
        wait(device)
        start = clock()
        out.copy_(source)
        wait(device)
        best = max(best, 2 * 4 * COPIED / (clock() - start))
    return best


def network(model: Model, images: list[Path], device: str, repeats: int = 7) -> dict[str, object]:
    """Measure one window, in turns with matrix products."""
    engine = choose(model, Case("case", "case", dict(zip(model.channels, images, strict=True))), ENGINES[device]).engine
    shape = (1, len(model.channels), *model.plan.inference.patch)
    tile = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    operations = 2 * float(model.facts["macs_per_voxel"]) * math.prod(model.plan.inference.patch)
    engine(tile)
    maps = float(model.facts["activations_per_voxel"]) * math.prod(model.plan.inference.patch)
    moved = 2 * (2 * maps + float(model.facts["parameters"]))
    seconds, peaks, widths = [], [], []
    for _ in range(repeats):
        peaks.append(matmul_peak_flops(device=device))
        widths.append(bandwidth_bytes_s(device=device))
        start = time.perf_counter()
        engine(tile)
        seconds.append(time.perf_counter() - start)
    shares = sorted(operations / s / p for s, p in zip(seconds, peaks, strict=True))
    middle, peak = statistics.median(seconds), statistics.median(peaks)
    return {
        "window": model.plan.inference.patch, "seconds": round(middle, 3),
        "tflop": round(operations / 1e12, 3), "tflops": round(operations / middle / 1e12, 2),
        "matmul_tflops": round(peak / 1e12, 2), "share": round(statistics.median(shares), 3),
        "shares": [round(s, 3) for s in shares],
        "gb": round(moved / 1e9, 2), "bandwidth_gb_s": round(statistics.median(widths) / 1e9, 1),
        "share_of_bandwidth": round(statistics.median(moved / s / w for s, w in zip(seconds, widths, strict=True)), 3),
    }  # fmt: skip


def cases(peer: Peer, model: Model, counts: list[int]) -> list[dict[str, object]]:
    """Measure calls with several cases; those of the dataset are repeated."""
    names = sorted(p.name.removesuffix("_0000.nii.gz") for p in peer.dataset.glob("imagesTr/*_0000.nii.gz"))
    found = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="striate-cases-") as name:
            place = Path(name)
            (place / "in").mkdir()
            for i in range(count):
                for path in sorted(peer.dataset.glob(f"imagesTr/{names[i % len(names)]}_????.nii.gz")):
                    (place / "in" / f"case{i:03d}{path.name[-12:]}").symlink_to(path.resolve())
            cost = measured(
                [STRIATE, "predict", str(model.folder), str(place / "in"), "--out", str(place / "out")],
                device=peer.device,
            )
        found.append({"cases": count, **cost.document()})
        print(found[-1], file=sys.stderr, flush=True)
    return found


def given_cases(peer: Peer, place: Path, count: int, cut: tuple[int, ...]) -> Path:
    """Return a folder of `count` cases, the middle of `cut` voxels of those of the dataset, which are repeated."""
    names = sorted(p.name.removesuffix("_0000.nii.gz") for p in peer.dataset.glob("imagesTr/*_0000.nii.gz"))
    given = place / "in"
    given.mkdir()
    for i in range(count):
        for path in sorted(peer.dataset.glob(f"imagesTr/{names[i % len(names)]}_????.nii.gz")):
            if i < len(names):
                image = read_image(path)
                box = tuple(
                    slice((n - c) // 2, (n - c) // 2 + min(c, n)) for n, c in zip(image.grid.shape, cut, strict=True)
                )
                part = np.ascontiguousarray(image.array[(slice(None), *box)])
                write_image(place / path.name, Image(part, cut_grid(image.grid, box).affine))
            (given / f"case{i:03d}{path.name[-12:]}").symlink_to(place / path.name)
    return given


def cohort(peer: Peer, model: Model, count: int, pairs: int, cut: tuple[int, ...]) -> dict[str, object]:
    """Measure both programs on `count` cases in one call each, in turns, until there are `pairs` in WORK."""
    on = "" if peer.device == "cpu" else f"-{peer.device}"
    log = peer.work / f"cohort{on}-{count}-{'x'.join(map(str, cut))}.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    while len(rows) < pairs:
        with tempfile.TemporaryDirectory(prefix="striate-cohort-") as name:
            place = Path(name)
            given = given_cases(peer, place, count, cut)
            ours = measured(
                [STRIATE, "predict", str(model.folder), str(given), "--out", str(place / "ours")], device=peer.device
            )
            theirs = peer.predict_all(given, place / "theirs", mirror=False, fold=FOLD)
        rows.append({"striate": ours.document(), "nnunet": theirs.document()})
        with log.open("a") as stream:
            stream.write(json.dumps(rows[-1]) + "\n")
        print(f"pair {len(rows)}: {rows[-1]}", file=sys.stderr, flush=True)
    ratios = sorted(row["nnunet"]["seconds"] / row["striate"]["seconds"] for row in rows)
    return {
        "cases": count, "cut": cut, "pairs": len(rows),
        "ratio": round(statistics.median(ratios), 2), "ratios": [round(r, 2) for r in ratios],
        **{f"{who}_s": statistics.median(row[who]["seconds"] for row in rows) for who in ("striate", "nnunet")},
        **{f"{who}_peak_gb": max(row[who]["peak_gb"] for row in rows) for who in ("striate", "nnunet")},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    add_device(parser)
    parser.add_argument("words", nargs="*", default=list(WORDS), help=f"of {', '.join(WORDS)}")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cases", type=int, nargs="*", default=[1, 4, 20])
    parser.add_argument("--cut", type=int, nargs=3, default=[160, 160, 96])
    given = parser.parse_args()
    take_device(given.device)
    peer = Peer(given.work.resolve(), given.dataset.resolve(), given.device)
    peer.set_up()
    case = min(peer.dataset.glob("imagesTr/*_0000.nii.gz")).name.removesuffix("_0000.nii.gz")
    images = sorted(peer.dataset.glob(f"imagesTr/{case}_????.nii.gz"))
    model, once_s = prepared_model(peer, images)
    about = {
        "case": case, "network": f"{model.plan.network.name}, {model.facts['parameters']:,} parameters",
        "converted_once_s": once_s, "device": given.device, "machine": {**describe(), "cores_used": cores()},
    }  # fmt: skip
    print(json.dumps(about), flush=True)
    for word in given.words:
        if word == "pairs":
            found: object = pairs(peer, model, images, given.pairs)
        elif word == "network":
            found = network(model, images, given.device)
        elif word == "cohort":
            found = cohort(peer, model, given.cases[-1], given.pairs, tuple(given.cut))
        else:
            found = cases(peer, model, given.cases)
        print(json.dumps({word: found}), flush=True)


if __name__ == "__main__":
    main()
