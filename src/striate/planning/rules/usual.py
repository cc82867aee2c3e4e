"""Reasons of the decisions that do not depend on the cohort."""

from __future__ import annotations

USUAL = {
    "preparation.crop": "what is only background teaches nothing and costs time",
    "training.batch": "two patches per update: one is centred on a label, one anywhere",
    "training.loss": "Dice looks at the overlap, cross-entropy gives every voxel a gradient (nnU-Net's choice)",
    "training.optimiser": "learns faster than SGD in the few updates that a short budget allows",
    "training.learning_rate": "usual for AdamW with instance normalisation",
    "training.warmup": "the first updates of AdamW are its least sure ones",
    "training.decay_power": "nnU-Net's polynomial decay",
    "training.clip_norm": "one odd patch cannot throw the weights away (nnU-Net's 12)",
    "training.ema": "the average of the last hundred weights is steadier than the last ones, at no cost",
    "training.foreground": "half of the patches hold what is looked for, half show everything else",
    "training.workers": "one process draws patches while the network learns",
    "inference.patch": "the patch of training: instance normalisation sees the same amount of context",
    "inference.overlap": "nnU-Net's half; neighbours are blended with Gaussian weights",
    "inference.mirror_axes": "only used with striate predict --tta",
}
