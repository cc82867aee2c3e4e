"""Makes the golden files of nnU-Net again: its masks and its networks' answers; tells how far the kept ones and Striate's are.

    python benchmarks/vs_peers/golden.py WORK [--write]       about ten minutes on one core, after peer.py's installation

The tiny networks and the case are those of tests/workflows: plain and residual, 3D and 2D, two folds, regions, cascades,
mirrored, with zeros that are cut away. Prints one JSON line per network: for tests/golden/nnunet_forward.json the largest
difference between nnU-Net's answers now and the kept ones; for tests/golden/nnunet_masks.json how many voxels differ between
nnU-Net's masks now and the kept ones, and between nnU-Net's now and `striate.inference.exact`. --write keeps the new ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peer import Peer, measured

from striate.inference.exact import predict_exact
from striate.io.read import read_label
from striate.workflows.import_nnunet import import_nnunet

HERE = Path(__file__).parent
TESTS = HERE.parents[1] / "tests"
sys.path.insert(0, str(TESTS / "workflows"))
from nnunet_folder import GOLDEN  # noqa: E402
from test_exact_nnunet import MASKS, RESULTS, write_case, write_named  # noqa: E402


def answers(peer: Peer) -> dict[str, Any]:
    """Return what nnU-Net's networks answer now."""
    command = peer.command("python", HERE / "forward.py")
    done = subprocess.run(command, env=peer.environment(), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def predicted(peer: Peer, results: Path, inputs: Path, out: Path, previous: Path | None = None) -> NDArray[Any]:
    """Return the mask that all folds of nnU-Net's `results` draw; of a cascade it sees the masks in `previous`."""
    folds = [path.name.removeprefix("fold_") for path in sorted(results.glob("fold_*"))]
    arguments = ["-i", inputs, "-o", out, "-m", results, "-f", *folds, "-npp", 1, "-nps", 1, "-device", "cpu"]
    more = [] if previous is None else ["-prev_stage_predictions", previous]
    measured(peer.command("nnUNetv2_predict_from_modelfolder", *arguments, *more), peer.environment())
    return read_label(out / "case.nii.gz").array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder of the environment; see peer.py")
    parser.add_argument("--write", action="store_true", help="keep the new ones")
    given = parser.parse_args()
    peer, made = Peer(given.work.resolve(), given.work.resolve() / "none"), {}
    peer.install()
    answered = answers(peer)
    for name, kept in GOLDEN.items():
        new = answered[name]
        apart = max(abs(a - b) for a, b in zip(new["values"], kept["values"], strict=True))
        same = {key: new[key] == kept[key] for key in ("names", "shape", "at")}
        print(json.dumps({"answers_of": name, "largest_difference": apart, "same": same}), flush=True)
    for name in RESULTS:
        with tempfile.TemporaryDirectory(prefix="striate-golden-") as temporary:
            place = Path(temporary)
            results = write_named(place, name)
            case = write_case(place)
            (place / "in").mkdir()
            for index, path in enumerate(case.channels.values()):
                (place / "in" / f"case_{index:04d}.nii.gz").symlink_to(path)
            first = results.with_name(results.name.replace("3d_cascade_fullres", "3d_lowres"))
            if first != results:
                predicted(peer, first, place / "in", place / "first")
            theirs = predicted(
                peer, results, place / "in", place / "out", place / "first" if first != results else None
            )
            ours = predict_exact(import_nnunet(results, place / "model"), case)
        found = {"network": name, "voxels": theirs.size, "labels": np.bincount(theirs.ravel()).tolist()}
        if name in MASKS:
            old = np.array(list(MASKS[name]), dtype=int).reshape(theirs.shape)
            found["kept_differ"] = int(np.count_nonzero(old != theirs))
        found["striate_differs"] = int(np.count_nonzero(ours.label.array != theirs))
        made[name] = "".join(map(str, theirs.ravel().tolist()))
        print(json.dumps(found), flush=True)
    if given.write:
        (TESTS / "golden" / "nnunet_masks.json").write_text(json.dumps(made, indent=1) + "\n")
        lines = (f"{json.dumps(name)}: {json.dumps(of, separators=(',', ':'))}" for name, of in answered.items())
        (TESTS / "golden" / "nnunet_forward.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
