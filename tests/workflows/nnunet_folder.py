"""A results folder as nnU-Net v2 writes it, with a tiny network whose weights follow from a formula."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "nnunet_forward.json").read_text())
"""What dynamic_network_architectures 0.4.4, the package of nnU-Net's networks, answers; its names and shapes of tensors."""
FIRST = ("encoder.stages.0.0.convs.0.conv.weight", "encoder.stem.convs.0.conv.weight")
CASCADE = "3d_cascade_fullres"
NAMES = {"unet": "PlainConvUNet", "residual": "ResidualEncoderUNet"}
VARIED = {
    "conv_bias": False, "nonlin": "torch.nn.modules.activation.ReLU", "n_conv_per_stage": [1, 3, 2],
    "n_conv_per_stage_decoder": [2, 1], "dropout_op_kwargs": {"p": 0.2}, "norm_op_kwargs": {"eps": 1e-3, "affine": True},
}  # fmt: skip
"""What plans of other hands say of the network."""


def weights(tag: str, masks: int = 0) -> dict[str, Any]:
    """Return the weights that the golden answers were made with.

    With `masks` the first layer has as many input channels more: those of the second stage of a cascade.
    """
    shapes = dict(GOLDEN[tag]["names"])
    for name in FIRST:
        if name in shapes:
            filters, channels, *kernel = shapes[name]
            shapes[name] = [filters, channels + masks, *kernel]
    return filled(tag, shapes)


def filled(tag: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return tensors whose values follow from their names and shapes; some appear twice, as in nnU-Net's checkpoints."""
    norm = 2 if "varied" in tag else 1  # after drop-out, where there is any
    import torch

    found = {}
    for name, shape in shapes.items():
        k = torch.arange(math.prod(shape), dtype=torch.float64)
        scale = math.prod(shape[1:]) ** 0.5 if len(shape) > 1 else 2
        base = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
        values = torch.sin(k * k * 0.7 + sum(map(ord, name)) % 97) / scale + base
        values = 0.2 + values.abs() if name.endswith("running_var") else values
        found[name] = torch.tensor(7) if name.endswith("tracked") else values.reshape(tuple(shape)).float()
        for part, number in ((".conv.", 0), (".norm.", norm)):
            if part in name:
                found[name.replace(part, f".all_modules.{number}.")] = found[name]
    return {**found, **{f"decoder.{name}": tensor for name, tensor in found.items() if name.startswith("encoder.")}}


def seen(tag: str) -> Any:
    """Return the image (1, 2, *size) of the golden answer."""
    import torch

    size = GOLDEN[tag]["size"]
    return torch.sin(torch.arange(2 * math.prod(size), dtype=torch.float64) ** 2 * 0.37).reshape(1, 2, *size).float()


def plans(tag: str, **changes: Any) -> dict[str, Any]:
    """Return ``plans.json``; `changes` are of the configuration.

    `tag` is the kind of network, then ``batch`` (normalisation) or ``varied`` (see `VARIED`) or nothing, then its axes.
    """
    (kind, *form), dims = tag.split("_")[:-1], int(tag[-2])
    residual = kind == "residual"
    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2]] if dims == 3 else [[1, 1], [2, 1] if residual else [2, 2], [2, 2]]
    inner = {
        "n_stages": 3, "features_per_stage": [4, 4, 8] if residual and dims == 2 else [4, 6, 8],
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d", "strides": strides,
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]] if dims == 3 else [[3, 3]] * 3,
        "n_conv_per_stage_decoder": [1, 1] if residual else [2, 2], "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
        ("n_blocks_per_stage" if residual else "n_conv_per_stage"): [1, 2, 2] if residual else [2, 2, 2],
    }  # fmt: skip
    if form == ["batch"]:
        inner["norm_op"] = f"torch.nn.modules.batchnorm.BatchNorm{dims}d"
    elif form:
        inner |= VARIED | {"dropout_op": f"torch.nn.modules.dropout.Dropout{dims}d"}
    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    configuration = {
        "preprocessor_name": "DefaultPreprocessor", "batch_size": 2, "patch_size": [4, 8, 16][3 - dims:],
        "spacing": [2.0, 1.0, 1.5][3 - dims:], "normalization_schemes": ["ZScoreNormalization", "CTNormalization"],
        "use_mask_for_norm": [True, False],
        "resampling_fn_data": "resample_data_or_seg_to_shape", "resampling_fn_data_kwargs": resampling | {"order": 3},
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": resampling | {"order": 1, "is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{NAMES[kind]}", "arch_kwargs": inner,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    } | changes  # fmt: skip
    return {
        "dataset_name": "Dataset001_Tiny", "plans_name": "nnUNetPlans", "image_reader_writer": "SimpleITKIO",
        "original_median_spacing_after_transp": [2.0, 1.0, 1.5], "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {
            str(c): {"mean": 10.0, "std": 5.0, "percentile_00_5": -3.0, "percentile_99_5": 30.0} for c in range(3)
        },
        "configurations": {"2d" if dims == 2 else "3d_fullres": configuration},
    }  # fmt: skip


def write_results(
    folder: Path,
    tag: str = "unet_3d",
    folds: tuple[str, ...] = ("0",),
    labels: dict[str, Any] | None = None,
    order: list[int] | None = None,
    masks: int = 0,
    bias: float = 0.0,
    **changes: Any,
) -> Path:
    """Write the results folder and return it; see `write_cascade`."""
    name = "2d" if tag.endswith("2d") else "3d_fullres"
    return _write(folder, tag, plans(tag, **changes), name, folds, labels, order, masks, bias)


def write_pictures(folder: Path, tag: str = "unet_2d", **changes: Any) -> Path:
    """Write the results of a training on PNG in three colours, the first z-scored inside of what is not black."""
    schemes = ["ZScoreNormalization", "ZScoreNormalization", "RGBTo01Normalization"]
    results = write_results(
        folder, tag, masks=1, normalization_schemes=schemes, use_mask_for_norm=[True, False, False], **changes
    )
    for name, values in {
        "plans.json": {"image_reader_writer": "NaturalImage2DIO", "original_median_spacing_after_transp": [999.0, 1.0, 1.0]},
        "dataset.json": {"channel_names": {"0": "R", "1": "G", "2": "B"}, "file_ending": ".png"},
    }.items():  # fmt: skip
        (results / name).write_text(json.dumps({**json.loads((results / name).read_text()), **values}))
    return results


def write_cascade(
    folder: Path,
    tag: str = "unet_3d",
    folds: tuple[str, ...] = ("0",),
    labels: dict[str, Any] | None = None,
    order: list[int] | None = None,
    masks: int = 2,
    low_mm: Sequence[float] = (3.1, 1.7, 2.2),
    bias: float = -0.3,
    **changes: Any,
) -> Path:
    """Write the results of both stages of a cascade side by side; return the folder of the second.

    `masks` is how many labels there are; `bias` is added to the first logit of both, so that masks are of half the image.
    """
    document = plans(tag, **changes)
    known = document["configurations"]
    known["3d_lowres"] = {**known["3d_fullres"], "spacing": list(low_mm), "next_stage": CASCADE}
    known[CASCADE] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    _write(folder, tag, document, "3d_lowres", folds, labels, order, 0, bias)
    return _write(folder, tag, document, CASCADE, folds, labels, order, masks, bias)


def _write(
    folder: Path,
    tag: str,
    document: dict[str, Any],
    name: str,
    folds: tuple[str, ...],
    labels: dict[str, Any] | None,
    order: list[int] | None,
    masks: int = 0,
    bias: float = 0.0,
) -> Path:
    import torch

    results = folder / f"nnUNetTrainer__nnUNetPlans__{name}"
    results.mkdir(parents=True)
    dataset = {
        "channel_names": {"0": "FLAIR", "1": "CT"}, "numTraining": 3, "file_ending": ".nii.gz",
        "labels": labels or {"background": 0, "edema": 1, "core": 2, "ignore": 3},
        **({"regions_class_order": order} if order else {}),
    }  # fmt: skip
    (results / "dataset.json").write_text(json.dumps(dataset))
    (results / "plans.json").write_text(json.dumps(document))
    for index, fold in enumerate(folds):
        (results / f"fold_{fold}").mkdir()
        given = weights(tag, masks)
        given["decoder.seg_layers.1.bias"][0] += bias
        if index:
            given = {n: t * (1 + 0.1 * index) for n, t in given.items()}
        mirrored = tuple(range(2 if name == "2d" else 3))
        checkpoint = {
            "network_weights": given, "optimizer_state": {}, "grad_scaler_state": None, "_best_ema": np.float64(0.5),
            "logging": {"train_losses": [np.float64(0.1), np.float32(0.2)], "epoch_end_timestamps": [1.5]},
            "current_epoch": 1, "trainer_name": "nnUNetTrainer", "inference_allowed_mirroring_axes": mirrored,
            "init_args": {"configuration": name, "fold": index},
        }  # fmt: skip
        torch.save(checkpoint, results / f"fold_{fold}" / "checkpoint_final.pth")
    return results
