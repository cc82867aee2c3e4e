"""Measures what docs/benchmarks.md holds about the networks of the lecture, through the command line that users have.

    python benchmarks/networks.py                 everything (about an hour on two cores)
    python benchmarks/networks.py digits slices crf

``digits``: error of each classifier on the 5,000 MNIST images (4,000 to learn from, 1,000 to judge by, split by seed), each
within three minutes. ``slices``: does an axial slice of a glioma patient contain tumour? `striate compare`, each patient
held out in turn; its report with its plots stays in ./slices. ``crf``: Dice of one held-out glioma patient with and
without the CRF. Each part prints one JSON line and appends it to benchmarks/networks.jsonl (not committed). Real cases come
from ../shared/data or $STRIATE_TEST_DATA.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

from spine import BRATS, CASES, command, main

DIGITS = ("lenet5", "lenet5_modern", "hmax", "scattering", "neocognitron")
SLICES = (
    "mlp", "lenet5", "lenet5_modern", "hmax", "neocognitron", "scattering", "alexnet", "googlenet", "inception_3d",
    "inception_v3", "inception_v4", "inception_resnet_v2",
)  # fmt: skip
BUDGET = "150s"
SLICES_BUDGET = "28m"
REGION = ["--regions", "tumour=1+2+3+4"]


def accuracy(run: Path, *wish: object) -> dict[str, object]:
    """Train and return accuracy, AUC, steps and seconds."""
    seconds, done = command("train", *wish, "--out", run)
    overall = done["evaluation"]["summary"]["overall"]  # type: ignore[index]
    parts = ("accuracy", "balanced_accuracy", "macro_auc")
    return {
        **{name: overall[name]["value"] and round(overall[name]["value"], 4) for name in parts},
        "steps": done["steps"],
        "wall_s": round(seconds, 1),
    }


def digits(folder: Path) -> dict[str, object]:
    """Return the error of each classifier on MNIST-5k."""
    command("digits", "--out", folder / "digits")
    rows = {}
    for name in DIGITS:
        rows[name] = accuracy(
            folder / f"digits-{name}", folder / "digits", "--network", name, "--fold", "1/5", "--budget", BUDGET
        )
        print(name, rows[name], flush=True)
    return {"budget": BUDGET, "runs": rows}


def slices(_: Path) -> dict[str, object]:
    """Compare how well each classifier tells slices with tumour from others, each patient held out in turn."""
    wish = ["--task", "contains:tumour", *REGION, "--folds", len(CASES), "--budget", SLICES_BUDGET]
    seconds, _ = command("compare", BRATS, "--networks", ",".join(SLICES), *wish, "--out", "slices")
    with Path("slices/compare.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] == "network"]
    return {"budget": SLICES_BUDGET, "wall_s": round(seconds), "rows": rows}


def crf(folder: Path, held_out: str = "brats0004") -> dict[str, object]:
    """Return the Dice of the whole tumour with and without the CRF, for DeepMedic and for the small U-Net."""
    rows = {}
    for name in ("deepmedic", "small_unet"):
        run = folder / f"crf-{name}"
        command("train", BRATS, *REGION, "--holdout", held_out, "--budget", "5m", "--network", name, "--out", run)
        files = [BRATS / "imagesTr" / f"{held_out}_000{k}.nii.gz" for k in (0, 1)]
        for flag in ((), ("--crf",)):
            out = folder / f"{name}{'-crf' if flag else ''}"
            seconds, _ = command("predict", run, *files, *flag, "--out", out)
            _, found = command("evaluate", out, BRATS)
            values = found["summary"]["tumour"]  # type: ignore[index]
            key = name + (" with CRF" if flag else "")
            rows[key] = {
                "dice": round(values["dice"]["mean"], 4), "hd95_mm": round(values["hd95_mm"]["mean"], 1),
                "wall_s": round(seconds, 1),
            }  # fmt: skip
            print(key, rows[key], flush=True)
    return {"held_out": held_out, "runs": rows}


PARTS: dict[str, Callable[[Path], dict[str, object]]] = {"digits": digits, "slices": slices, "crf": crf}


if __name__ == "__main__":
    main(sys.argv[1:], PARTS, "networks.jsonl")
