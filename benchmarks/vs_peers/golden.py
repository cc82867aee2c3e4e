"""Makes the masks of tests/golden/nnunet_masks.json again with nnU-Net, and tells how far the kept ones and Striate's are.

    python benchmarks/vs_peers/golden.py WORK [--write]       about five minutes on one core, after peer.py's installation

The tiny networks and the case are those of tests/workflows: plain and residual, 3D and 2D, two folds, regions, mirrored, with
zeros that are cut away. Prints one JSON line per network: voxels, and how many of them differ between nnU-Net now and the
kept masks, and between nnU-Net now and ``predict(…, exact=True)``. --write keeps the new ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from peer import Peer, measured

from striate.io.read import read_label
from striate.workflows.import_nnunet import import_nnunet
from striate.workflows.predict import predict

TESTS = Path(__file__).parents[2] / "tests"
sys.path.insert(0, str(TESTS / "workflows"))
from nnunet_folder import write_results  # noqa: E402
from test_exact_nnunet import MASKS, RESULTS, write_case  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder of the environment; see peer.py")
    parser.add_argument("--write", action="store_true", help="keep the new masks")
    given = parser.parse_args()
    peer, made = Peer(given.work.resolve(), given.work.resolve() / "none"), {}
    peer.install()
    for name, kept in MASKS.items():
        with tempfile.TemporaryDirectory(prefix="striate-golden-") as temporary:
            place = Path(temporary)
            results = write_results(place, **{"tag": name, **RESULTS.get(name, {})})
            files = list(write_case(place).channels.values())
            (place / "in").mkdir()
            for index, path in enumerate(files):
                (place / "in" / f"case_{index:04d}.nii.gz").symlink_to(path)
            folds = [path.name.removeprefix("fold_") for path in sorted(results.glob("fold_*"))]
            arguments = ["-i", place / "in", "-o", place / "out", "-m", results, "-f", *folds, "-npp", 1, "-nps", 1]
            measured(
                peer.command("nnUNetv2_predict_from_modelfolder", *arguments, "-device", "cpu"), peer.environment()
            )
            theirs = read_label(place / "out" / "case.nii.gz").array
            (ours,) = predict(import_nnunet(results, place / "model"), files, place / "ours", exact=True)
            old = np.array(list(kept), dtype=int).reshape(theirs.shape)
            found = {
                "network": name, "voxels": theirs.size, "kept_differ": int(np.count_nonzero(old != theirs)),
                "striate_differs": int(np.count_nonzero(ours.label.array != theirs)),
            }  # fmt: skip
        made[name] = "".join(map(str, theirs.ravel().tolist()))
        print(json.dumps(found), flush=True)
    if given.write:
        (TESTS / "golden" / "nnunet_masks.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
