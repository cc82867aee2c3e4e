"""Trains MONAI's SegResNet for a time by the clock and draws the mask of one case; run by the peer's own Python (see dice.py).

    python monai_train.py DEVICE DATASET CASE SECONDS OUT I J K

The numbers are those of MONAI's tutorial on brain tumour segmentation in 3D (network, loss, optimiser, augmentation), but for the
crop of I × J × K voxels; its cosine falls over the time. On a GPU its half precision and four readers are taken, too. Prints the
number of updates.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai import transforms as mt
from monai.data import DataLoader, Dataset
from monai.inferers import sliding_window_inference
from monai.losses import DiceLoss
from monai.networks.nets import SegResNet

BEGAN = time.monotonic()
RATE = 1e-4


def main(device: str, dataset: Path, held_out: str, seconds: float, out: Path, crop: list[int]) -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    fast = device == "cuda"
    torch.backends.cudnn.benchmark = fast
    names = sorted(p.name.removesuffix(".nii.gz") for p in (dataset / "labelsTr").glob("*.nii.gz"))
    cases = {
        name: {
            "image": [str(p) for p in sorted((dataset / "imagesTr").glob(f"{name}_*.nii.gz"))],
            "label": str(dataset / "labelsTr" / f"{name}.nii.gz"),
        }
        for name in names
    }
    both, normal = ["image", "label"], mt.NormalizeIntensityd("image", nonzero=True, channel_wise=True)
    read = [
        mt.LoadImaged(both),
        mt.EnsureChannelFirstd(both),
        mt.EnsureTyped(both),
        mt.Orientationd(both, axcodes="RAS"),
    ]
    drawn = [
        *read,
        mt.RandSpatialCropd(both, roi_size=crop, random_size=False),
        *(mt.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)),
        normal,
        mt.RandScaleIntensityd("image", factors=0.1, prob=1.0),
        mt.RandShiftIntensityd("image", offsets=0.1, prob=1.0),
    ]
    training = Dataset([c for n, c in cases.items() if n != held_out], mt.Compose(drawn))
    loader = DataLoader(training, batch_size=1, shuffle=True, num_workers=4 if fast else 1, persistent_workers=True)
    channels = len(cases[held_out]["image"])
    network = SegResNet(
        blocks_down=[1, 2, 2, 4],
        blocks_up=[1, 1, 1],
        init_filters=16,
        in_channels=channels,
        out_channels=1,
        dropout_prob=0.2,
    ).to(device)
    optimiser = torch.optim.Adam(network.parameters(), RATE, weight_decay=1e-5)
    error = DiceLoss(smooth_nr=0, smooth_dr=1e-5, squared_pred=True, to_onehot_y=False, sigmoid=True)
    scaler = torch.GradScaler(device, enabled=fast)
    steps, value = 0, float("nan")
    while time.monotonic() - BEGAN < seconds:
        for batch in loader:
            passed = (time.monotonic() - BEGAN) / seconds
            if passed >= 1:
                break
            for group in optimiser.param_groups:
                group["lr"] = RATE * (1 + math.cos(math.pi * passed)) / 2
            optimiser.zero_grad()
            with torch.autocast(device, enabled=fast):
                found = error(network(batch["image"].to(device)), batch["label"].to(device))
            scaler.scale(found).backward()
            scaler.step(optimiser)
            scaler.update()
            steps, value = steps + 1, float(found)
    given = mt.Compose([*read, normal])(cases[held_out])
    with torch.no_grad(), torch.autocast(device, enabled=fast):
        logits = sliding_window_inference(given["image"][None].to(device), crop, 1, network.eval(), overlap=0.5)
    mask = (logits[0, 0].float().sigmoid() > 0.5).cpu().numpy().astype(np.uint8)
    truth = nib.load(cases[held_out]["label"])
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.io_orientation(truth.affine)
    )
    out.mkdir(parents=True)
    back = nib.orientations.apply_orientation(mask, turn).astype(np.uint8)
    nib.save(nib.Nifti1Image(back, truth.affine), out / "case.nii.gz")
    print(json.dumps({"steps": steps, "loss": round(value, 4)}), flush=True)


if __name__ == "__main__":
    device, dataset, case, seconds, out, *crop = sys.argv[1:]
    main(device, Path(dataset), case, float(seconds), Path(out), [int(n) for n in crop])
