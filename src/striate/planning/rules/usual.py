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
    "training.workers": "one process draws patches while the network learns; more are added where it waits for them",
    "inference.patch": "the patch of training: instance normalisation sees the same amount of context",
    "inference.overlap": "nnU-Net's half; neighbours are blended with Gaussian weights",
    "inference.mirror_axes": "only used with striate predict --tta",
}

USUAL_WHOLE = {
    "training.batch": "as many images as fit into the memory, at most 64",
    "training.loss": "cross-entropy for classes; squared error for images",
    "training.optimiser": USUAL["training.optimiser"],
    "training.learning_rate": "usual for AdamW on classifiers",
    "training.warmup": USUAL["training.warmup"],
    "training.decay_power": USUAL["training.decay_power"],
    "training.clip_norm": USUAL["training.clip_norm"],
    "training.ema": USUAL["training.ema"],
    "training.balanced": "each class is shown equally often, however rare it is",
    "training.workers": "one process draws images while the network learns; more are added where it waits for them",
    "training.augmentation": "small turns, sizes and intensities that could equally well have been scanned",
}
