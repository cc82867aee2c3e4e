"""Writes a results folder of nnU-Net v2 whose network was never trained; run by the peer's own Python (see peer.py).

    python random_weights.py DATASET CONFIGURATION TRAINER PLANS FOLD BIAS     with nnU-Net's three variables set

nnU-Net's trainer builds the network, draws its weights (seed 0) and writes the checkpoint, so that the files are those of a
training that ended before its first step. BIAS is added to the logit of the background: with 0 masks are noise, in which every
rounding shows; with more they are mostly empty, as real ones are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels


def main(dataset: str, configuration: str, name: str, plans: str, fold: int, bias: float) -> None:
    torch.manual_seed(0)
    trainer = get_trainer_from_args(dataset, configuration, fold, name, plans, device=torch.device("cpu"))
    settings = trainer.configuration_manager
    channels = determine_num_input_channels(trainer.plans_manager, settings, trainer.dataset_json)
    kinds = trainer.label_manager.num_segmentation_heads
    trainer.network = trainer.build_network_architecture(
        trainer.plans_manager, settings, channels, kinds, enable_deep_supervision=True
    )
    with torch.no_grad():
        trainer.network.decoder.seg_layers[-1].bias[0] += bias
    trainer.optimizer, _ = trainer.configure_optimizers()
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # says what predictions are mirrored along
    folder = Path(trainer.output_folder_base)
    save_json(trainer.plans_manager.plans, str(folder / "plans.json"), sort_keys=False)
    save_json(trainer.dataset_json, str(folder / "dataset.json"), sort_keys=False)
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]), float(sys.argv[6]))
