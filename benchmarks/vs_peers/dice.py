"""Measures what a stretch of training is worth: Dice of Striate, nnU-Net and MONAI on a patient that none of them saw.

    python benchmarks/vs_peers/dice.py WORK DATASET --hold-out brats0004 --minutes 5 [--crop 128 128 128] [--device cuda]

WORK and DATASET as in peer.py, which sets up what is missing; MONAI is installed beside nnU-Net. All labels of DATASET are
joined to one, ``tumour``, in a copy under WORK; all three learn from all cases but the one held out, one after the other, on the
cores that this process may use, for the same time by the clock from the start of their process. Within it falls

    Striate    everything: checks, planning, preparation, training, prediction and report (``striate train --budget``)
    nnU-Net    training alone; fingerprint, plans and preprocessing are made before and not counted. Its own trainer and plan,
               its learning rate falling over the time instead of over 1000 epochs
    MONAI      training alone: the recipe of its tutorial on brain tumours (SegResNet with 16 filters, Adam 1e-4, cosine, one crop
               per step, its augmentation), reading included; --crop sets the size of the crop

A mask is then drawn of the patient held out, not mirrored. Prints one JSON line per program; with --device cuda it also says how
busy the GPU was (`gpu_percent`). With --pairs Striate and nnU-Net
predict that patient so many times in turns, each with the network that it planned and trained: from the start of the process to
its exit, after one call of Striate's that is not counted, which compares engines and keeps the compiled network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from peer import (
    CONFIGURATION,
    CONSTRAINTS,
    PLANS,
    TRAINER,
    Peer,
    add_arguments,
    add_device,
    cores,
    gpu_busy,
    mean,
    measured,
    take_device,
)

from striate.core.machine import describe

HERE = Path(__file__).parent
NAME, MONAI = "Dataset915_Tumour", "1.6.1"
STRIATE = str(Path(sys.executable).with_name("striate"))


def joined(dataset: Path, into: Path) -> Path:
    """Write `dataset` with all labels joined to one into the folder `into`, where that is not done yet."""
    made = into / NAME
    if made.exists():
        return made
    beside = into / f"{NAME}.part"
    shutil.rmtree(beside, ignore_errors=True)
    (beside / "labelsTr").mkdir(parents=True)
    (beside / "imagesTr").symlink_to((dataset / "imagesTr").resolve(), target_is_directory=True)
    for path in sorted((dataset / "labelsTr").glob("*.nii.gz")):
        given = nib.load(path)
        mask = (np.asarray(given.dataobj) > 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(mask, given.affine), beside / "labelsTr" / path.name)
    about = json.loads((dataset / "dataset.json").read_text())
    (beside / "dataset.json").write_text(json.dumps({**about, "labels": {"background": 0, "tumour": 1}}))
    beside.rename(made)
    return made


def dice(mask: Path, truth: Path) -> float:
    """Return the Dice coefficient of two masks on the same grid."""
    a, b = (np.asarray(nib.load(path).dataobj) > 0 for path in (mask, truth))
    return round(float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1)), 4)


def striate(peer: Peer, case: str, minutes: float, out: Path) -> dict[str, object]:
    """Train within the time, everything included."""
    command = [STRIATE, "train", str(peer.dataset), "--holdout", case]
    command += ["--budget", f"{minutes:g}m", "--out", str(out), "--json"]
    done = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return {"steps": done["steps"], "mask": out / "validation" / f"{case}.nii.gz"}


def nnunet(peer: Peer, case: str, minutes: float, out: Path) -> dict[str, object]:
    """Train with nnU-Net's own trainer for the time, and predict."""
    names = sorted(p.name.removesuffix(".nii.gz") for p in (peer.dataset / "labelsTr").glob("*.nii.gz"))
    split = {"train": [n for n in names if n != case], "val": [case]}
    (peer.work / "preprocessed" / NAME / "splits_final.json").write_text(json.dumps([split]))
    command = peer.command(
        "python", HERE / "peer_train.py", peer.device, NAME, CONFIGURATION, TRAINER, PLANS, 60 * minutes
    )
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=peer.environment())
    images = sorted((peer.dataset / "imagesTr").glob(f"{case}_*.nii.gz"))
    peer.predict(images, out, mirror=False)
    return {**json.loads(done.stdout.splitlines()[-1]), "mask": out / "case.nii.gz"}


def monai(peer: Peer, case: str, minutes: float, out: Path, crop: list[int]) -> dict[str, object]:
    """Train with MONAI's recipe for the time, and predict."""
    script = HERE / "monai_train.py"
    command = peer.command("python", script, peer.device, peer.dataset, case, 60 * minutes, out, *crop)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "mask": out / "case.nii.gz"}


def measure(peer: Peer, case: str, minutes: float, crop: list[int], programs: list[str]) -> Iterator[dict[str, object]]:
    """Yield what each program reached."""
    folder = peer.work / "dice" / f"{case}-{minutes:g}m"
    run = {
        "striate": lambda out: striate(peer, case, minutes, out),
        "nnunet": lambda out: nnunet(peer, case, minutes, out),
        "monai": lambda out: monai(peer, case, minutes, out, crop),
    }
    for name in programs:
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.rmtree(folder / f"{name}-input", ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        with gpu_busy(peer.device) as busy:
            found = run[name](folder / name)
        if busy:
            found["gpu_percent"] = mean(busy)
        reached = dice(Path(str(found.pop("mask"))), peer.dataset / "labelsTr" / f"{case}.nii.gz")
        yield {"program": name, "held_out": case, "minutes": minutes, "dice": reached, **found}


def predicted(peer: Peer, case: str, minutes: float, count: int) -> dict[str, object]:
    """Predict the patient held out in turns, each program with what it planned and learned in the time."""
    place = peer.work / "dice" / f"{case}-{minutes:g}m"
    images, truth = (
        sorted((peer.dataset / "imagesTr").glob(f"{case}_*.nii.gz")),
        peer.dataset / "labelsTr" / f"{case}.nii.gz",
    )
    rows, reached = [], []
    for left in place.glob("pair*"):
        shutil.rmtree(left)
    for pair in range(-1, count):
        out = place / f"pair{pair}"
        ours = measured(
            [STRIATE, "predict", str(place / "striate"), *map(str, images), "--out", str(out)], device=peer.device
        )
        reached.append(dice(next(out.glob("*.nii.gz")), truth))
        if pair < 0:
            continue
        theirs = peer.predict(images, place / f"pair{pair}-nnunet", mirror=False)
        rows.append((ours, theirs))
        print(f"pair {pair + 1}: {ours.seconds} s, {theirs.seconds} s", file=sys.stderr, flush=True)
    ratios = sorted(theirs.seconds / ours.seconds for ours, theirs in rows)
    return {
        "held_out": case, "minutes": minutes, "pairs": count, "dice": reached[-1],
        "ratio": round(statistics.median(ratios), 1), "ratios": [round(r, 1) for r in ratios],
        "striate_s": statistics.median(o.seconds for o, _ in rows), "nnunet_s": statistics.median(t.seconds for _, t in rows),
        "striate_peak_gb": round(max(o.peak_bytes for o, _ in rows) / 1e9, 2),
        "nnunet_peak_gb": round(max(t.peak_bytes for _, t in rows) / 1e9, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    add_device(parser)
    parser.add_argument("--hold-out", nargs="+", default=["brats0004"], metavar="CASE")
    parser.add_argument("--minutes", nargs="+", type=float, default=[5.0])
    parser.add_argument(
        "--crop", nargs=3, type=int, default=[128, 128, 128], help="of MONAI; its tutorial: 224 224 144"
    )
    parser.add_argument(
        "--programs", nargs="*", default=["striate", "nnunet", "monai"], help="none: --pairs of what was trained before"
    )
    parser.add_argument("--pairs", type=int, default=0, help="predictions of the patient held out, in turns")
    given = parser.parse_args()
    take_device(given.device)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    work = given.work.resolve()
    peer = Peer(work, joined(given.dataset.resolve(), work / "joined"), given.device)
    peer.set_up()
    peer.preprocess()
    install = peer.command("pip", "install", "--quiet", "-c", CONSTRAINTS, f"monai=={MONAI}")
    subprocess.run(install, check=True, stdout=sys.stderr)
    print(json.dumps({"machine": describe(), "device": given.device, "monai": MONAI, "crop": given.crop}), flush=True)
    for minutes in given.minutes:
        for case in given.hold_out:
            for found in measure(peer, case, minutes, given.crop, given.programs):
                print(json.dumps(found), flush=True)
            if given.pairs:
                print(json.dumps(predicted(peer, case, minutes, given.pairs)), flush=True)


if __name__ == "__main__":
    main()
