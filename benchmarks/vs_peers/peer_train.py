"""Trains with nnU-Net's own trainer for a time by the clock; run by the peer's own Python (see dice.py).

    python peer_train.py DEVICE DATASET CONFIGURATION TRAINER PLANS SECONDS     with nnU-Net's three variables set

As ``nnUNetv2_train DATASET CONFIGURATION 0 -device DEVICE``, but the learning rate falls over the time, and nothing is validated.
Writes ``checkpoint_final.pth`` of fold 0 and prints the number of updates.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import torch
from nnunetv2.run.run_training import get_trainer_from_args

BEGAN = time.monotonic()
POWER = 0.9
"""Of the polynomial by which nnU-Net's learning rate falls."""


def main(device: str, dataset: str, configuration: str, name: str, plans: str, seconds: float) -> None:
    out, sys.stdout = sys.stdout, sys.stderr  # what the trainer prints must not enter the answer
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]) if device == "cpu" else 1)
    torch.backends.cudnn.benchmark = device == "cuda"  # as nnUNetv2_train sets both
    trainer = get_trainer_from_args(dataset, configuration, 0, name, plans, device=torch.device(device))
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    steps, loss = 0, float("nan")
    while (passed := (time.monotonic() - BEGAN) / seconds) < 1:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - passed) ** POWER
        loss = float(trainer.train_step(next(trainer.dataloader_train))["loss"])
        steps += 1
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    print(json.dumps({"steps": steps, "loss": round(loss, 4)}), file=out, flush=True)
    for drawing in multiprocessing.active_children():  # they would be waited for
        drawing.kill()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:6], float(sys.argv[6]))
