"""The plan of a model that nnU-Net v2 trained, in Striate's terms.

Axes: nnU-Net's arrays are (z, y, x) of the file, then permuted by ``transpose_forward``; Striate's are (x, y, z). `axes_of`
says which is which; strides, kernels, patch and spacing are given in Striate's order here, weights by
`striate.model.nnunet_weights.translate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from striate.core.config import sentences
from striate.core.counted import counted
from striate.core.errors import FormatError, PlanError, expected
from striate.data.prepare import Intensities, Preparation
from striate.io.nnunet_results import NnunetResults
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training

if TYPE_CHECKING:
    from striate.networks.layers.spatial import Norm

NETWORKS = {"PlainConvUNet": "unet", "ResidualEncoderUNet": "residual_unet"}
"""nnU-Net's name → Striate's."""
NORMALISATIONS = {
    "ZScoreNormalization": "zscore",
    "CTNormalization": "ct",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale",
    "RGBTo01Normalization": "rgb",
}
PICTURES = "NaturalImage2DIO"
READERS = {"SimpleITKIO": False, "NibabelIO": False, "NibabelIOWithReorient": True, PICTURES: False}
"""Reader → whether it turns images to RAS+."""
RESAMPLING = "resample_data_or_seg_to_shape"


def axes_of(results: NnunetResults) -> tuple[int, ...]:
    """Return, per axis of nnU-Net's arrays, the axis (0 x, 1 y, 2 z) of Striate's; of pictures, which have no z, two."""
    forward = results.plans.get("transpose_forward", [0, 1, 2])
    if sorted(forward) != [0, 1, 2]:
        raise _refused(results, f"transpose_forward is {forward}", "a permutation of 0, 1, 2 is needed")
    axes = tuple(2 - int(axis) for axis in forward)
    if results.plans.get("image_reader_writer") != PICTURES:
        return axes
    if axes[0] != 2 or len(results.settings["patch_size"]) != 2:
        raise _refused(results, f"pictures with transpose_forward {forward} in configuration {results.configuration}",
                       "configuration 2d, the first axis before the others, is needed")  # fmt: skip
    return axes[1:]


def network_axes(results: NnunetResults) -> tuple[int, ...]:
    """Return, per spatial axis of Striate's network, the axis of nnU-Net's network."""
    dims = len(results.settings["patch_size"])
    return tuple(int(a) for a in np.argsort(axes_of(results)[-dims:]))


def nnunet_plan(results: NnunetResults, mirror_axes: Sequence[int] | None, norm: Norm = "instance") -> Plan:
    """Return the plan.

    Parameters
    ----------
    results
        Plans and dataset.
    mirror_axes
        Axes of nnU-Net's network that predictions may be mirrored along, from the checkpoint.
    norm
        How the network normalises, from the checkpoint.

    Raises
    ------
    PlanError
        When the plans ask for something that Striate has not: another network, resampling or reader.
    FormatError
        When a key is missing or of another kind.
    """
    try:
        return _plan(results, tuple(mirror_axes or ()), norm)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        problem = " ".join(str(error).split())
        if isinstance(error, ValidationError):
            problem = "a plan with these values cannot be: " + " ".join(sentences(error)).rstrip(".")
        elif isinstance(error, KeyError):
            problem = f"key {problem} is missing"
        raise FormatError(
            expected(results.folder, f"plans.json or dataset.json: {problem}",
                     "the files as nnU-Net v2 wrote them are needed"), path=results.folder,
        ) from error  # fmt: skip


def _plan(results: NnunetResults, mirror_axes: tuple[int, ...], norm: Norm) -> Plan:
    plans, settings = results.plans, results.settings
    _refuse(results, settings)
    axes, patch = axes_of(results), [int(n) for n in settings["patch_size"]]
    dims = len(patch)
    spacing = [float(v) for v in settings["spacing"]]
    ours = axes[-dims:]
    whole_patch, whole_spacing = [1] * len(axes), [0.0] * len(axes)
    for axis, n, s in zip(ours, patch, spacing, strict=True):
        whole_patch[axis], whole_spacing[axis] = n, s
    native = None
    if dims < len(axes):
        native = axes[0]
        whole_spacing[native] = float(plans["original_median_spacing_after_transp"][0])
    labels, regions, written = _targets(results)
    schemes, intensities = _normalisation(results, settings)
    order = network_axes(results)
    training = Training(patch=tuple(whole_patch), batch=int(settings.get("batch_size", 2)), steps=250_000)
    return Plan(
        task=Task(channels=_channels(results), label_names=labels, regions=regions, region_values=written),
        preparation=Preparation(
            spacing_mm=tuple(whole_spacing), normalisation=schemes, intensities=intensities, rules="nnunet",
            turned=READERS[str(plans["image_reader_writer"])], native_axis=native, axis_order=axes,
            previous_labels=_foreground(results) if settings.get("previous_stage") else (),
        ),
        network=_network(results, settings, dims, order, norm),
        training=training,
        inference=Inference(
            patch=tuple(whole_patch), overlap=0.5, mirror_axes=tuple(sorted(ours[a] for a in mirror_axes))
        ),
        reasons={
            "preparation.rules": "nnU-Net trained the network on images prepared so",
            "network.name": f"nnU-Net's {_architecture(results, settings)[0]}",
            "inference.patch": f"nnU-Net's configuration {results.configuration}",
            "training.steps": "nnU-Net's 1000 epochs of 250; the other figures of training are Striate's, not those of nnU-Net",
        },
    )  # fmt: skip


def _channels(results: NnunetResults) -> tuple[str, ...]:
    """Return names of the channels, no two alike.

    nnU-Net's say how a channel is normalised ("CT", "noNorm"), so that several may have the same: they become CT0, CT1. One
    without a name becomes channel0, by its place.
    """
    given = results.dataset.get("channel_names") or results.dataset["modality"]
    names = [str(given[key]).strip() or f"channel{key}" for key in sorted(given, key=int)]
    lower = [name.lower() for name in names]
    return tuple(name if lower.count(name.lower()) == 1 else f"{name}{index}" for index, name in enumerate(names))


def _refuse(results: NnunetResults, settings: dict[str, Any]) -> None:
    """Refuse what would be predicted in another way than nnU-Net does."""
    reader = str(results.plans["image_reader_writer"])
    if reader not in READERS:
        hint = "Datasets of TIFF (Tiff3DIO) are not understood." if reader == "Tiff3DIO" else ""
        raise _refused(results, f"images are read by {reader}", f"one of {', '.join(READERS)} is needed", hint)
    preprocessor = settings.get("preprocessor_name", "DefaultPreprocessor")
    if preprocessor != "DefaultPreprocessor":
        raise _refused(results, f"images are prepared by {preprocessor}", "DefaultPreprocessor is needed")
    labels = results.plans.get("label_manager", "LabelManager")
    if labels != "LabelManager":
        raise _refused(results, f"labels are handled by {labels}", "LabelManager is needed")
    used = {"resampling_fn_data": 3, "resampling_fn_probabilities": 1}
    for key, order in (used | {"resampling_fn_seg": 1} if settings.get("previous_stage") else used).items():
        options = settings.get(f"{key}_kwargs", {})
        wanted = {"order": order, "order_z": 0, "force_separate_z": None}
        other = {k: v for k, v in options.items() if k in wanted and v != wanted[k]}
        if settings.get(key, RESAMPLING) != RESAMPLING or other:
            raise _refused(
                results, f"{key} is {settings.get(key)} {other or ''}".rstrip(), f"{RESAMPLING} with {wanted} is needed"
            )


def _labelled(results: NnunetResults) -> dict[str, tuple[int, ...]]:
    """Return name → values of what ``dataset.json`` labels, background too, in its order; ``ignore`` is never predicted."""
    named = {str(name): value for name, value in results.dataset["labels"].items() if name != "ignore"}
    return {n: tuple(int(x) for x in (v if isinstance(v, (list, tuple)) else [v])) for n, v in named.items()}


def _foreground(results: NnunetResults) -> tuple[int, ...]:
    """Return the label values besides background, rising."""
    return tuple(sorted({value for values in _labelled(results).values() for value in values if value}))


def _targets(
    results: NnunetResults,
) -> tuple[dict[int, str], dict[str, tuple[int, ...]] | None, tuple[int, ...] | None]:
    """Return value → name of the labels, the regions, and the value that is written for each region.

    A written value that is no label of the dataset becomes one of its region: masks hold it, and no truth does.
    """
    given = _labelled(results)
    foreground = {n: v for n, v in given.items() if n != "background"}
    if all(len(values) == 1 for values in given.values()):
        labels = {v: n for n, (v,) in given.items()}
        return dict(sorted(labels.items())), None, None
    order = tuple(int(v) for v in results.dataset["regions_class_order"])
    if len(order) != len(foreground):
        entries = counted(len(order), "entry", "entries")
        raise ValueError(f"regions_class_order has {entries} for {counted(len(foreground), 'region')}")
    known, ignored = _foreground(results), results.dataset["labels"].get("ignore")
    if min(order) < 1 or ignored in order:
        raise ValueError(f"regions_class_order {list(order)} holds background or the label ignore")
    regions = {
        name: values if value in known else (*values, value)
        for (name, values), value in zip(foreground.items(), order, strict=True)
    }
    single = {v[0]: n for n, v in foreground.items() if len(v) == 1}
    names = {v: single.get(v, f"label_{v}") for v in sorted({*known, *order})}
    return {0: "background", **names}, regions, order


def odd_regions(plan: Plan) -> tuple[str, ...]:
    """Return a sentence for each region that cannot be read back from masks as the network drew it.

    nnU-Net writes ``regions_class_order`` as it is given, whether or not the values belong to the regions.
    """
    targets, said = plan.targets, list[str]()
    for index, (name, value) in enumerate(zip(targets.names, targets.region_values or (), strict=False)):
        inside = [n for n, values in targets.sets.items() if value in values]
        wrong = [n for n in targets.names[index + 1 :] if n in inside]
        if name not in inside:
            wrong = inside or ["no region"]
        if wrong:
            said.append(
                f"regions_class_order writes {value} for {name}, a value of {', '.join(wrong)}: masks, as those of nnU-Net, and"
                f" all that is measured on them say {', '.join(inside) or 'no region'} there."
            )
    return tuple(said)


def _normalisation(
    results: NnunetResults, settings: dict[str, Any]
) -> tuple[tuple[str, ...], tuple[Intensities | None, ...]]:
    schemes, intensities = list[str](), list[Intensities | None]()
    measured = results.plans.get("foreground_intensity_properties_per_channel") or results.plans.get(
        "foreground_intensity_properties_by_modality", {}
    )
    named, inside = settings["normalization_schemes"], settings["use_mask_for_norm"]
    if len(named) != len(inside):
        raise ValueError(f"{len(named)} normalization_schemes, {counted(len(inside), 'value')} of use_mask_for_norm")
    for index, (name, masked) in enumerate(zip(named, inside, strict=True)):
        if name not in NORMALISATIONS:
            raise _refused(results, f"normalisation {name}", f"one of {', '.join(NORMALISATIONS)} is needed")
        scheme = NORMALISATIONS[name]
        schemes.append("zscore_inside" if scheme == "zscore" and masked else scheme)
        known = measured.get(str(index))
        intensities.append(
            None if known is None or scheme != "ct"
            else Intensities(mean=known["mean"], std=known["std"], p005=known["percentile_00_5"], p995=known["percentile_99_5"])
        )  # fmt: skip
    return tuple(schemes), tuple(intensities)


def _architecture(results: NnunetResults, settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return nnU-Net's name of the network and its arguments, from plans of either form (before and since 2.4)."""
    if "architecture" in settings:
        name = str(settings["architecture"]["network_class_name"]).split(".")[-1]
        return name, dict(settings["architecture"]["arch_kwargs"])
    name = str(settings["UNet_class_name"])
    strides, base = settings["pool_op_kernel_sizes"], int(settings["UNet_base_num_features"])
    encoder, dims = settings["n_conv_per_stage_encoder"], len(settings["patch_size"])
    return name, {
        "features_per_stage": [min(base * 2**i, int(settings["unet_max_num_features"])) for i in range(len(strides))],
        "conv_op": f"Conv{dims}d", "norm_op": f"InstanceNorm{dims}d", "norm_op_kwargs": {"affine": True}, "nonlin": "LeakyReLU",
        "n_stages": len(strides), "strides": strides, "kernel_sizes": settings["conv_kernel_sizes"],
        "n_conv_per_stage": encoder, "n_blocks_per_stage": encoder,
        "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
    }  # fmt: skip


def _network(
    results: NnunetResults, settings: dict[str, Any], dims: int, order: Sequence[int], norm: Norm
) -> NetworkChoice:
    name, given = _architecture(results, settings)
    if name not in NETWORKS:
        raise _refused(results, f"network {name}", f"Striate has {' and '.join(NETWORKS)} of nnU-Net's")
    known = {
        "conv_op": (f"Conv{dims}d",), "norm_op": (f"InstanceNorm{dims}d", f"BatchNorm{dims}d"), "nonlin": ("LeakyReLU", "ReLU"),
    }  # fmt: skip
    of = {key: str(given.get(key)).split(".")[-1] for key in known}  # plans name other modules of torch for the same
    for key, values in known.items():
        if of[key] not in values:
            raise _refused(results, f"network {name} with {key} {given.get(key)}", f"{' or '.join(values)} is needed")
    if given.get("nonlin_first"):
        raise _refused(results, f"network {name} with nonlin_first", "normalisation before the rectifier is needed")
    normed, changed = given.get("norm_op_kwargs") or {}, norm == "batch" and of["norm_op"].startswith("Instance")
    if not changed and not normed.get("affine", of["norm_op"].startswith("Batch")):
        raise _refused(results, f"network {name} with norm_op_kwargs {normed}", "affine: true is needed")
    features = _counts(given["features_per_stage"], int(given["n_stages"]))
    stages = len(features)
    slope = (given.get("nonlin_kwargs") or {}).get("negative_slope", 0.01) if of["nonlin"] == "LeakyReLU" else 0
    options: dict[str, Any] = {
        "features": features,
        "strides": [_moved(v, dims, order) for v in _each(given["strides"], stages)],
        "kernels": [_moved(v, dims, order) for v in _each(given["kernel_sizes"], stages)],
        "norm": norm,
        "norm_eps": 1e-5 if changed else float(normed.get("eps", 1e-5)),
        "negative_slope": float(slope),
    }
    decoder = _counts(given["n_conv_per_stage_decoder"], stages - 1)[::-1]  # finest first
    if NETWORKS[name] == "residual_unet":
        options |= {"blocks": _counts(given["n_blocks_per_stage"], stages), "convs_per_stage": decoder}
    else:
        options |= {"convs_per_stage": _counts(given["n_conv_per_stage"], stages), "decoder_convs": decoder}
    return NetworkChoice(name=NETWORKS[name], spatial_dims=3 if dims == 3 else 2, options=options)


def _each(value: Any, stages: int) -> list[Any]:
    """Return a value per stage."""
    return [value] * stages if isinstance(value, (int, float)) else list(value)


def _moved(value: Any, dims: int, order: Sequence[int]) -> list[int]:
    """Return a number per axis in Striate's order."""
    each = [int(value)] * dims if isinstance(value, (int, float)) else [int(v) for v in value]
    return [each[a] for a in order]


def _counts(value: Any, stages: int) -> list[int]:
    return [int(v) for v in _each(value, stages)]


def _refused(results: NnunetResults, got: str, want: str, hint: str = "") -> PlanError:
    where = results.folder / "plans.json"
    return PlanError(expected(where, got, want, hint), path=where)
