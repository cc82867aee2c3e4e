"""Draws masks by several results folders of nnU-Net in one process, on a processor; run by the peer's own Python (golden.py).

    python masks.py JOBS     a JSON file: [{"results": …, "images": [a file per channel], "out": …, "previous": null or …}, …]

All folds average, mirrored as the checkpoint allows. Of a cascade's second stage, ``previous`` holds the masks of the first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


def main(jobs: str) -> None:
    for job in json.loads(Path(jobs).read_text()):
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        folds = [path.name.removeprefix("fold_") for path in sorted(Path(job["results"]).glob("fold_*"))]
        predictor.initialize_from_trained_model_folder(job["results"], folds)
        Path(job["out"]).mkdir(parents=True)
        predictor.predict_from_files_sequential([job["images"]], job["out"], False, True, job["previous"])


if __name__ == "__main__":
    main(sys.argv[1])
