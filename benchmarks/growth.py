"""Measures how time and memory of ``striate predict`` grow with the size of the volume, the classes and the cases.

    python benchmarks/growth.py WORK                          all points (about ten minutes on two cores)
    python benchmarks/growth.py WORK size classes cases       the parts that are wanted
    python benchmarks/growth.py WORK size --most 256          points up to 256³ voxels (or so many classes or cases)
    python benchmarks/growth.py WORK --plot docs/growth.svg   the picture of all that WORK holds
    python benchmarks/growth.py WORK together                 neighbouring cases at one time against one after the other

Scans are ellipsoids of smooth random tissue with noise, 1 mm; the network is a small U-Net with weights drawn at random, which
finds lesions of all classes everywhere. Every point is a process of its own. Each is one line of
JSON, kept in WORK/growth.jsonl, and not measured again. Then, per part, the exponent p of cost = start + b · xᵖ, x being voxels,
classes or cases: 1 is linear growth; with fewer than four points the start is not told apart from the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from striate import networks
from striate.core.image import Image
from striate.core.machine import describe
from striate.data.prepare import Preparation
from striate.io.write import write_image
from striate.measure.power_law import fit_power_law
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training

STRIATE = str(Path(sys.executable).with_name("striate"))
PARTS = {"size": (64, 96, 128, 192, 256, 384, 512), "classes": (2, 8, 30, 60, 120), "cases": (1, 10, 40, 100, 200)}
"""What is varied: voxels along each axis, classes with the background, cases in one call."""
UNITS = {"size": "voxels", "classes": "classes", "cases": "cases"}
SIDE, FEW = 128, 64
"""Voxels along each axis where classes, and where cases are varied."""
CLASSES = 5
TOGETHER = (1, 8)
"""Cases in one call where neighbours at one time are compared with one after the other; of one, facts and network overlap."""
PATCH, FEATURES = (64, 64, 64), (8, 16)
BACKGROUND = 2.5
"""Added to its logit, so that the mask has a few hundred lesions per million voxels and not tens of thousands."""
GRAIN = 64
"""The tissue repeats itself after this many voxels, its noise does not."""
CALL = """
import sys
from striate.workflows import predict_masks
from striate.cli.main import main
whole = predict_masks.pipelined
if sys.argv[1] == "alone":
    predict_masks.pipelined = lambda *steps, together: whole(*steps, together=False)
main(sys.argv[2:])
"""
COSTS = ("seconds", "processor_s", "peak_rss_bytes")


def scan(folder: Path, side: int) -> Path:
    """Return a scan of `side`³ voxels, written where it is not there."""
    path = folder / f"scan{side}.nii.gz"
    if path.exists():
        return path
    rng = np.random.default_rng(side)
    grain = ndimage.gaussian_filter(rng.normal(size=(GRAIN,) * 3), 4, mode="wrap")
    grain = np.rint(400 + 100 * grain / grain.std()).astype(np.int16)
    along = np.linspace(-1.1, 1.1, side) ** 2
    array = np.zeros((1, side, side, side), dtype=np.int16)
    places = np.arange(side) % GRAIN
    for k in range(side):
        tissue = grain[:, :, k % GRAIN][np.ix_(places, places)] + rng.integers(-20, 21, (side, side), dtype=np.int16)
        array[0, :, :, k] = np.where(along[:, None] + along[None] + along[k] < 1, tissue, 0)
    write_image(path, Image(array, np.diag([1.0, 1.0, 1.0, 1.0])))
    return path


def model(folder: Path, classes: int) -> Path:
    """Return a model of so many classes, written where it is not there."""
    path = folder / f"model{classes}"
    if path.exists():
        return path
    labels = {k: f"tissue {k}" if k else "background" for k in range(classes)}
    plan = Plan(
        task=Task(channels=("image",), label_names=labels),
        preparation=Preparation(spacing_mm=(1.0,) * 3, normalisation=("zscore_nonzero",), intensities=(None,)),
        network=NetworkChoice(name="small_unet", spatial_dims=3, options={"features": list(FEATURES)}),
        training=Training(patch=PATCH, batch=1, steps=1),
        inference=Inference(patch=PATCH),
    )
    torch.manual_seed(classes)
    network = networks.create("small_unet", spatial_dims=3, in_channels=1, out_channels=classes, features=FEATURES)
    weights = network.state_dict()
    weights[[name for name in weights if name.endswith("bias")][-1]][0] += BACKGROUND
    return Model.save(path, plan, weights, {}).folder


def point(work: Path, part: str, value: int, engine: str) -> dict[str, Any]:
    """Predict in a process of its own and return what it took."""
    side = {"size": value, "classes": SIDE, "cases": FEW}[part]
    network, image = model(work, value if part == "classes" else CLASSES), scan(work, side)
    given, out = work / "given", work / "out"
    for place in (given, out):
        shutil.rmtree(place, ignore_errors=True)
    given.mkdir()
    for number in range(value if part == "cases" else 1):
        (given / f"case{number:03d}.nii.gz").symlink_to(image.absolute())
    begin = time.monotonic()
    command = [STRIATE, "predict", str(network), str(given), "--out", str(out), "--engine", engine]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(
        process.pid, 0
    )  # of this process alone; of memory it also counts what it was forked from
    seconds = time.monotonic() - begin
    if status:
        raise SystemExit(f"{' '.join(command)}: exit {os.waitstatus_to_exitcode(status)}")
    facts = json.loads((out / "record.json").read_text())["facts"]
    stages: dict[str, float] = {}
    for case in facts["cases"].values():
        for name, spent in case["seconds"].items():
            stages[name] = round(stages.get(name, 0.0) + spent, 3)
    return {
        "part": part, "value": value, "x": value**3 if part == "size" else value, "seconds": round(seconds, 2),
        "processor_s": round(used.ru_utime + used.ru_stime, 2), "peak_rss_bytes": facts["peak_rss_bytes"],
        "memory": facts["memory"], "stages": stages, "engine": facts["engine"]["name"],
    }  # fmt: skip


def together(work: Path, count: int, side: int = SIDE, pairs: int = 5) -> dict[str, Any]:
    """Predict `count` cases in alternating pairs: neighbours at one time, and one after the other."""
    network, image, given = model(work, CLASSES), scan(work, side), work / "given"
    shutil.rmtree(given, ignore_errors=True)
    given.mkdir()
    for number in range(count):
        (given / f"case{number:03d}.nii.gz").symlink_to(image.absolute())
    spent: dict[str, list[float]] = {"together": [], "alone": []}
    for _ in range(pairs):
        for way, lines in spent.items():
            shutil.rmtree(work / "out", ignore_errors=True)
            arguments = ["predict", str(network), str(given), "--out", str(work / "out"), "--engine", "torch"]
            begin = time.monotonic()
            subprocess.run([sys.executable, "-c", CALL, way, *arguments], check=True, capture_output=True)
            lines.append(round(time.monotonic() - begin, 2))
    ratios = sorted(a / t for a, t in zip(spent["alone"], spent["together"], strict=True))
    middle = round(ratios[len(ratios) // 2], 3)
    return {
        "part": "together",
        "cases": count,
        "side": side,
        "ratio": middle,
        "ratios": np.round(ratios, 3).tolist(),
        **spent,
    }


def exponents(points: list[dict[str, Any]]) -> dict[str, float]:
    """Return the exponent of growth of each cost and of each stage of the work."""
    x = [p["x"] for p in points]
    found = {name: -fit_power_law(x, [p[name] for p in points]).b for name in COSTS}
    for stage in points[-1]["stages"]:
        spent = [p["stages"][stage] for p in points]
        if min(spent) >= 0.01:  # less is rounding
            found[f"{stage}_s"] = -fit_power_law(x, spent).b
    return {name: round(value, 2) for name, value in found.items()}


def held(work: Path) -> list[dict[str, Any]]:
    """Return the points that were measured."""
    log = work / "growth.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def plot(points: list[dict[str, Any]], out: Path) -> None:
    """Draw seconds and peak memory against voxels, classes and cases: linear growth is a straight line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes = figure.subplots(2, len(PARTS))
    rows = (("seconds", 1.0, "time, s"), ("peak_rss_bytes", 1e9, "peak memory, GB"))
    for column, part in enumerate(PARTS):
        own = sorted((p for p in points if p["part"] == part), key=lambda p: p["x"])
        millions = 1e6 if part == "size" else 1.0
        for row, (name, scale, unit) in enumerate(rows):
            axis = axes[row, column]
            axis.set(xlabel=("million " if part == "size" else "") + UNITS[part] if row else "")
            axis.set_ylabel("" if column else unit)
            axis.spines[["top", "right"]].set_visible(False)
            if len(own) < 2:
                continue
            x, y = np.array([p["x"] for p in own]) / millions, np.array([p[name] for p in own]) / scale
            axis.plot(x[[0, -1]], y[[0, -1]], ":", color="#8a8a8a", zorder=1)
            axis.plot(x, y, "o-", color="#00629b", markersize=4, zorder=2)
            axis.set(xlim=(0, None), ylim=(0, None))
            axis.set_title(f"exponent {exponents(own)[name]:.2f}", fontsize=9, loc="left")
    figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder of scans, models and what was measured; kept")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}, together")
    parser.add_argument("--most", type=int, default=10**9, help="leave larger points out")
    parser.add_argument("--engine", default="torch", help="of striate predict")
    parser.add_argument("--plot", type=Path, help="draw what was measured into this file, measure nothing")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.plot:
        plot(held(given.work), given.plot)
        return
    print(json.dumps({"machine": describe(), "engine": given.engine}), flush=True)
    for part in given.parts or PARTS:
        points = []
        if part == "together":
            for count in TOGETHER:
                print(json.dumps(together(given.work, count)), flush=True)
            continue
        for value in (v for v in PARTS[part] if v <= given.most):
            known = [p for p in held(given.work) if (p["part"], p["value"], p["engine"]) == (part, value, given.engine)]
            points.append(known[0] if known else point(given.work, part, value, given.engine))
            if not known:
                with (given.work / "growth.jsonl").open("a") as log:
                    log.write(json.dumps(points[-1]) + "\n")
            print(json.dumps(points[-1]), flush=True)
        if len(points) > 1:
            print(json.dumps({"part": part, "exponents": exponents(points)}), flush=True)


if __name__ == "__main__":
    main()
