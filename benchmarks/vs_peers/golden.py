"""Makes the golden files of nnU-Net again: its masks and its networks' answers; tells how far the kept ones and Striate's are.

    python benchmarks/vs_peers/golden.py WORK [--write]       about a minute on one core, after peer.py's installation
    python benchmarks/vs_peers/golden.py WORK --images FLAIR.nii.gz T1C.nii.gz     the same networks on two channels of a patient

The tiny networks and the case are those of tests/workflows: plain and residual, 3D and 2D, two folds, regions, cascades, batch
normalisation, layers of other plans, pictures; mirrored, with zeros that are cut away; --only takes some of them. Prints one JSON
line per network: for tests/golden/nnunet_forward.json the largest difference between nnU-Net's answers now and the kept ones; for
tests/golden/nnunet_masks.json how many voxels differ between nnU-Net's masks now and the kept ones, and between nnU-Net's now and
`striate.inference.exact`, and the Dice per label of these two. --write keeps the new ones. With --images, the middle
60 × 72 × 48 voxels of a scan (a whole slice as a picture) are predicted instead, and nothing is kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from exact import cut
from numpy.typing import NDArray
from peer import Peer

from striate.core.case import Case
from striate.core.image import Image
from striate.inference.exact import predict_exact
from striate.io.read import read_image, read_label
from striate.io.write import write_image
from striate.measure.overlap import dice
from striate.workflows.import_nnunet import import_nnunet

HERE = Path(__file__).parent
CUT = [60, 72, 48]
TESTS = HERE.parents[1] / "tests"
sys.path.insert(0, str(TESTS / "workflows"))
from nnunet_folder import GOLDEN  # noqa: E402
from test_exact_nnunet import MASKS, RESULTS, write_case, write_named  # noqa: E402


def answers(peer: Peer) -> dict[str, Any]:
    """Return what nnU-Net's networks answer now."""
    command = peer.command("python", HERE / "forward.py")
    done = subprocess.run(command, env=peer.environment(), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def drawn(peer: Peer, place: Path, cases: Mapping[str, Case]) -> dict[str, NDArray[Any]]:
    """Return by name the masks that nnU-Net draws of `cases` now; results folders are written into `place`."""
    jobs, masks = list[dict[str, Any]](), dict[str, Path]()
    for name, case in cases.items():
        results, images = write_named(place / name, name), list[str]()
        for index, path in enumerate(dict.fromkeys(case.channels.values())):
            ending = path.name[path.name.index(".") :]
            images.append(str(place / name / f"case_{index:04d}{ending}"))
            Path(images[-1]).symlink_to(path)
        first = results.with_name(results.name.replace("3d_cascade_fullres", "3d_lowres"))
        before = place / name / "first" if first != results else None
        if before is not None:
            jobs.append({"results": str(first), "images": images, "out": str(before), "previous": None})
        out = place / name / "out"
        previous = None if before is None else str(before)
        jobs.append({"results": str(results), "images": images, "out": str(out), "previous": previous})
        masks[name] = out / f"case{ending}"
    (place / "jobs.json").write_text(json.dumps(jobs))
    command = peer.command("python", HERE / "masks.py", place / "jobs.json")
    subprocess.run(command, env=peer.environment(), check=True, stdout=sys.stderr)
    return {name: read_label(path).array for name, path in masks.items()}


def cut_case(images: Sequence[Path], folder: Path, name: str) -> Case:
    """Write the middle of two channels of a scan into `folder`; for a picture its middle slice, in three colours."""
    if name.startswith("picture"):
        slices = [image.array[0, :, :, image.array.shape[3] // 2] for image in map(read_image, images)]
        colours = [(s - s.min()) / (s.max() - s.min()) * 255 for s in (slices[0], slices[1], slices[0] * slices[1])]
        write_image(folder / "a.png", Image(np.stack(colours).astype(np.uint8), np.eye(4)))
        return Case("a", "a", dict.fromkeys("RGB", folder / "a.png"))
    return Case("a", "a", {n: cut(path, CUT, folder) for n, path in zip(("FLAIR", "CT"), images, strict=True)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder of the environment; see peer.py")
    parser.add_argument("--write", action="store_true", help="keep the new ones")
    parser.add_argument("--only", nargs="+", choices=list(RESULTS), default=list(RESULTS), metavar="NAME")
    parser.add_argument("--images", nargs=2, type=Path, help="two channels to predict, one grid")
    given = parser.parse_args()
    peer, made = Peer(given.work.resolve(), given.work.resolve() / "none"), {}
    peer.install()
    answered = {} if given.images else answers(peer)
    for name, new in answered.items():
        kept = GOLDEN[name]
        apart = max(abs(a - b) for a, b in zip(new["values"], kept["values"], strict=True))
        same = {key: new[key] == kept[key] for key in ("names", "shape", "at")}
        print(json.dumps({"answers_of": name, "largest_difference": apart, "same": same}), flush=True)
    with tempfile.TemporaryDirectory(prefix="striate-golden-") as temporary:
        place = Path(temporary)
        cases = {n: cut_case(given.images, place, n) if given.images else write_case(place, n) for n in given.only}
        for name, theirs in drawn(peer, place, cases).items():
            results = next(path.parent for path in sorted((place / name).glob("*/fold_0")))
            found = {"network": name, "voxels": theirs.size, "labels": np.bincount(theirs.ravel()).tolist()}
            ours = predict_exact(import_nnunet(results, place / name / "model"), cases[name])
            sets = ours.targets.sets.items()
            found["dice"] = {n: round(dice(np.isin(ours.label.array, v), np.isin(theirs, v)), 6) for n, v in sets}
            if name in MASKS and not given.images:
                old = np.array(list(MASKS[name]), dtype=int).reshape(theirs.shape)
                found["kept_differ"] = int(np.count_nonzero(old != theirs))
            found["striate_differs"] = int(np.count_nonzero(ours.label.array != theirs))
            made[name] = "".join(map(str, theirs.ravel().tolist()))
            print(json.dumps(found), flush=True)
    if given.write and not given.images:
        (TESTS / "golden" / "nnunet_masks.json").write_text(json.dumps({**MASKS, **made}, indent=1) + "\n")
        lines = (f"{json.dumps(name)}: {json.dumps(of, separators=(',', ':'))}" for name, of in answered.items())
        (TESTS / "golden" / "nnunet_forward.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
