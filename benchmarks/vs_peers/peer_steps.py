"""Trains with nnU-Net's own trainer, step by step on demand; run by the peer's own Python (see peer.py and train.py).

    python peer_steps.py DEVICE DATASET CONFIGURATION TRAINER PLANS I J K     with nnU-Net's three variables set

Everything is as ``nnUNetv2_train DATASET CONFIGURATION all -device DEVICE`` does it, only with patches of I × J × K voxels of the
file. Each line of the input is a number of steps; for each, one line of JSON says how long they took and how much of that
was waiting for data.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time

import torch
from nnunetv2.run.run_training import get_trainer_from_args

THREADS = {"cpu": multiprocessing.cpu_count(), "cuda": 1}
"""As nnU-Net takes them."""


def wait(device: str) -> None:
    """Wait until the GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def main(device: str, dataset: str, configuration: str, name: str, plans: str, patch: list[int]) -> None:
    out, sys.stdout = sys.stdout, sys.stderr  # what the trainer prints must not enter the answers
    torch.set_num_threads(THREADS[device])
    torch.backends.cudnn.benchmark = device == "cuda"  # as nnUNetv2_train sets it
    trainer = get_trainer_from_args(dataset, configuration, "all", name, plans, device=torch.device(device))
    trainer.configuration_manager.configuration["patch_size"] = patch[::-1]
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    parameters = sum(p.numel() for p in trainer.network.parameters())
    shapes = tuple(next(trainer.dataloader_train)["data"].shape)
    print(
        json.dumps({"parameters": parameters, "batch": shapes, "threads": torch.get_num_threads()}),
        file=out,
        flush=True,
    )
    for line in sys.stdin:
        wait(device)
        begin, waited = time.perf_counter(), 0.0
        for _ in range(int(line)):
            asked = time.perf_counter()
            batch = next(trainer.dataloader_train)
            waited += time.perf_counter() - asked
            trainer.train_step(batch)
        wait(device)
        spent = time.perf_counter() - begin
        print(json.dumps({"seconds": spent, "data_wait": waited}), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:6], [int(n) for n in sys.argv[6:9]])
