"""Measures how near ``striate predict --exact`` comes to ``nnUNetv2_predict``, and what both take, on one case.

    python benchmarks/vs_peers/exact.py WORK DATASET [--case NAME] [--mirror] [--cut I J K]

WORK and DATASET as in peer.py, which sets up what is missing. Both predict the same case with the same network (nnU-Net's own
plan for DATASET, weights drawn and not trained, so that masks are noise in which every rounding shows; or what dice.py trained,
with WORK/joined/Dataset915_Tumour) on the processor, in single precision, with the cores that this process may use, one
after the other, and then Striate in its usual way, by the engine that it takes itself. Without --mirror nothing is mirrored
(nnU-Net's --disable_tta; no ``mirror_axes`` in Striate's plan.yaml), which takes an eighth of the time. --cut takes the
middle I × J × K voxels of the case alone. Prints one JSON document: per label the Dice of the masks of each way and nnU-Net's,
the voxels that differ, and of all the seconds from the start of the process to its exit, the seconds of processor time and
the peak of memory over all its processes. Figures of noise hold what noise costs too: a mask of noise has tens of thousands of
lesions to count.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from peer import Peer, add_arguments, cores, measured

from striate.core.image import LabelMap
from striate.core.machine import describe
from striate.io.read import read_label
from striate.measure.overlap import dice
from striate.model.model import PLAN, Model
from striate.workflows.import_nnunet import import_nnunet


def imported(peer: Peer, folder: Path, *, mirror: bool, fold: int = 0) -> Model:
    """Return nnU-Net's results as a model of Striate, mirrored or not."""
    model = import_nnunet(peer.results, folder, fold=str(fold))
    if mirror:
        return model
    model.plan.changed(inference=model.plan.inference.changed(mirror_axes=())).write(folder / PLAN)
    return Model.open(folder)


def cut(path: Path, size: list[int], folder: Path) -> Path:
    """Write the middle of an image into `folder` and return where it is."""
    image = nib.load(path)
    starts = [(n - m) // 2 for n, m in zip(image.shape, size, strict=True)]
    part = image.slicer[tuple(slice(s, s + m) for s, m in zip(starts, size, strict=True))]
    nib.save(part, folder / path.name)
    return folder / path.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--case", help="name of a training case; by default the first")
    parser.add_argument("--cut", type=int, nargs=3, metavar=("I", "J", "K"), help="the middle voxels alone")
    parser.add_argument("--mirror", action="store_true", help="average over eight mirrored copies")
    given = parser.parse_args()
    peer = Peer(given.work.resolve(), given.dataset.resolve())
    peer.set_up()
    case = given.case or min(peer.dataset.glob("imagesTr/*_0000.nii.gz")).name.removesuffix("_0000.nii.gz")
    images = sorted(peer.dataset.glob(f"imagesTr/{case}_????.nii.gz"))
    with tempfile.TemporaryDirectory(prefix="striate-exact-") as name:
        place = Path(name)
        if given.cut:
            images = [cut(path, given.cut, place) for path in images]
        model = imported(peer, place / "model", mirror=given.mirror)
        striate = str(Path(sys.executable).with_name("striate"))
        command = [striate, "predict", *map(str, (model.folder, *images)), "--out"]
        ours = measured([*command, str(place / "ours"), "--exact"])
        theirs = peer.predict(images, place / "theirs", mirror=given.mirror)
        usual = measured([*command, str(place / "usual"), *["--tta"][: given.mirror]])
        record = json.loads((place / "usual" / "record.json").read_text())
        first, second, third = (read_label(next((place / who).glob("*.nii.gz"))) for who in ("ours", "theirs", "usual"))

    def alike(one: LabelMap) -> dict[str, float]:
        """Return the Dice of each label of a mask and nnU-Net's."""
        sets = model.plan.targets.sets.items()
        return {n: round(dice(one.array == v, second.array == v), 6) for n, (v,) in sets}

    found = {
        "case": case, "network": f"{model.plan.network.name}, {model.facts['parameters']:,} parameters",
        "patch": model.plan.inference.patch, "mirrored": given.mirror, "voxels": first.array.size,
        "differ": int(np.count_nonzero(first.array != second.array)),
        "dice": alike(first),
        "voxels_of_labels": {
            n: int(np.count_nonzero(second.array == v)) for n, (v,) in model.plan.targets.sets.items()
        },
        "same_grid": first.grid.matches(second.grid, 1e-3),
        "usual": {"dice": alike(third), "differ": int(np.count_nonzero(third.array != second.array)),
                  "engine": record["facts"]["engine"], **usual.document()},
        "striate_exact": ours.document(),
        "nnunetv2_predict": theirs.document(),
        "machine": {**describe(), "cores_used": cores()},
    }  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
