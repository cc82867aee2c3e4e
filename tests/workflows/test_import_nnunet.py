"""A model of nnU-Net v2 becomes one of Striate: same answers, and a sentence for what cannot be followed."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nnunet_folder import GOLDEN, filled, seen, weights, write_pictures, write_results

from striate.cli.main import run
from striate.core.errors import FormatError, ModelError, PlanError, UsageError
from striate.core.image import Image
from striate.core.progress import Silent
from striate.inference.engines.convert import convert
from striate.inference.engines.onnx import OnnxEngine
from striate.inference.engines.onnx_file import write_onnx
from striate.inference.engines.openvino import NETWORK, OpenVINOEngine
from striate.inference.engines.pytorch import TorchEngine
from striate.io.read import read_label
from striate.io.write import write_image
from striate.model.nnunet_weights import read_checkpoint, translate
from striate.workflows.import_nnunet import import_nnunet

AXES = {3: (2, 1, 0), 2: (1, 0)}


@pytest.mark.parametrize("tag", list(GOLDEN))
def test_the_network_answers_as_nnunets_does(tag: str, tmp_path: Path) -> None:
    model = import_nnunet(write_results(tmp_path, tag), tmp_path / "model")
    axes = [2 + a for a in AXES[int(tag[-2])]]
    with torch.no_grad():
        found = model.network()(seen(tag).permute(0, 1, *axes)).permute(0, 1, *axes)
    expected = GOLDEN[tag]
    assert list(found.shape) == expected["shape"]
    values = found.flatten()[torch.tensor(expected["at"])].numpy()
    np.testing.assert_allclose(values, expected["values"], atol=2e-4)


def test_the_plan_says_what_nnunet_did(tmp_path: Path) -> None:
    results = write_results(tmp_path, folds=("0", "1"))
    model = import_nnunet(results.parent, tmp_path / "model")
    plan = model.plan
    assert plan.task.channels == ("FLAIR", "CT")
    assert plan.targets.names == ("edema", "core")
    assert plan.preparation.spacing_mm == (1.5, 1.0, 2.0)
    assert plan.inference.patch == (16, 8, 4)
    assert plan.inference.mirror_axes == (0, 1, 2)
    assert plan.preparation.normalisation == ("zscore_inside", "ct")
    assert plan.preparation.intensities[1].p995 == 30
    assert model.facts["folds"] == ["0", "1"]
    assert [p.name for p in (model.folder / "snapshots").iterdir()] == ["fold_1.safetensors"]


def test_two_dimensions_see_slices_and_keep_their_distance(tmp_path: Path) -> None:
    plan = import_nnunet(write_results(tmp_path, "unet_2d"), tmp_path / "model").plan
    assert plan.inference.patch == (16, 8, 1)
    assert plan.preparation.native_axis == 2
    assert plan.inference.mirror_axes == (0, 1)


def test_regions_keep_their_order(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    model = import_nnunet(write_results(tmp_path, labels=labels, order=[1, 2, 3]), tmp_path / "model")
    assert dict(model.plan.targets.sets) == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert model.facts["nnunet"]["regions_class_order"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("labels", "order", "wanted"),
    [
        ({"whole": [1, 2, 3], "core": [2, 3]}, [1, 2], []),
        ({"whole": [1, 2, 3], "core": [2, 3]}, [7, 2], []),
        ({"whole": [1, 2, 3], "core": [2, 3]}, [3, 2], ["regions_class_order writes 3 for whole, a value of core"]),
        ({"whole": [1, 2], "core": [3]}, [1, 2], ["regions_class_order writes 2 for core, a value of whole"]),
    ],
)
def test_an_order_that_masks_cannot_be_read_back_by_is_told(
    labels: dict, order: list[int], wanted: list[str], tmp_path: Path
) -> None:
    heard = Silent()
    results = write_results(tmp_path, labels={"background": 0, **labels, "x": 4}, order=[*order, 4])
    import_nnunet(results, tmp_path / "model", progress=heard)
    assert [text.partition(":")[0] for text in heard.warnings] == wanted


def test_an_order_with_the_label_ignore_is_refused(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 2, "x": 3, "ignore": 4}
    with pytest.raises(FormatError, match=r"regions_class_order \[1, 2, 4\] holds background or the label ignore"):
        import_nnunet(write_results(tmp_path, labels=labels, order=[1, 2, 4]), tmp_path / "model")


def test_labels_in_lists_of_one_are_labels(tmp_path: Path) -> None:
    model = import_nnunet(
        write_results(tmp_path, labels={"background": 0, "edema": [1], "core": [2]}), tmp_path / "model"
    )
    assert model.plan.targets.exclusive
    assert model.plan.task.label_names == {0: "background", 1: "edema", 2: "core"}


def test_the_card_says_who_trained(tmp_path: Path) -> None:
    card = (import_nnunet(write_results(tmp_path), tmp_path / "model").folder / "card.md").read_text()
    assert "Trained by nnU-Net v2, nnUNetTrainer__nnUNetPlans__3d_fullres; imported by Striate" in card


def test_plans_of_the_older_form(tmp_path: Path) -> None:
    results = write_results(tmp_path)
    document = json.loads((results / "plans.json").read_text())
    configuration = document["configurations"]["3d_fullres"]
    inner = configuration.pop("architecture")["arch_kwargs"]
    configuration |= {
        "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 4, "unet_max_num_features": 8,
        "pool_op_kernel_sizes": inner["strides"], "conv_kernel_sizes": inner["kernel_sizes"],
        "n_conv_per_stage_encoder": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2],
    }  # fmt: skip
    (results / "plans.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"tensor .* is .*network of plans.json"):  # 4, 8, 8 maps, not 4, 6, 8
        import_nnunet(results, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    shapes = {n: [{6: 8, 12: 16}.get(k, k) for k in shape] for n, shape in GOLDEN["unet_3d"]["names"].items()}
    path = results / "fold_0" / "checkpoint_final.pth"
    torch.save({**read_checkpoint(path), "network_weights": filled("unet_3d", shapes)}, path)
    older = import_nnunet(results, tmp_path / "older")
    configuration["architecture"] = {"network_class_name": "PlainConvUNet", "arch_kwargs": inner}
    inner["features_per_stage"] = [4, 8, 8]
    (results / "plans.json").write_text(json.dumps(document))
    assert import_nnunet(results, tmp_path / "newer").plan.network == older.plan.network


class Foreign:
    """Would run code when a pickle is opened."""

    def __reduce__(self):
        return (os.mkdir, ("ran",))


@pytest.mark.parametrize("what", ["foreign", "truncated", "empty", "no weights"])
def test_broken_or_foreign_checkpoints_are_refused(what: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_results(tmp_path) / "fold_0" / "checkpoint_final.pth"
    if what == "foreign":
        torch.save({"network_weights": weights("unet_3d"), "logging": Foreign()}, path)
    elif what == "no weights":
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(path.read_bytes()[: 0 if what == "empty" else 5000])
    wanted = {"foreign": "refused", "no weights": "no 'network_weights'"}.get(what, "truncated")
    with pytest.raises(ModelError, match=wanted):
        import_nnunet(path.parents[1], tmp_path / "model")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("content", [np.zeros(3), np.zeros((2, 2), np.float32), np.array([True]), Foreign()])
def test_arrays_that_a_trainer_logged_are_skipped(content: object, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_results(tmp_path) / "fold_0" / "checkpoint_final.pth"
    logged = np.array([content], dtype=object) if isinstance(content, Foreign) else content
    torch.save({**read_checkpoint(path), "logging": {"lrs": logged}}, path)
    if isinstance(content, Foreign):
        with pytest.raises(ModelError, match="refused"):
            read_checkpoint(path)
        assert not (tmp_path / "ran").exists()
    else:
        assert not isinstance(read_checkpoint(path)["logging"]["lrs"], np.ndarray)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(number: float, tmp_path: Path) -> None:
    path = write_results(tmp_path) / "fold_0" / "checkpoint_final.pth"
    content = read_checkpoint(path)
    name = next(n for n in content["network_weights"] if "stages.0" in n and n.endswith("weight"))
    content["network_weights"][name].view(-1)[3] = number
    torch.save(content, path)
    with pytest.raises(
        ModelError, match=r"tensor \S+ holds numbers that are not finite; .* Take another fold or checkpoint"
    ):
        import_nnunet(path.parents[1], tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_sparse_weights_are_refused_by_name(tmp_path: Path) -> None:
    path = write_results(tmp_path) / "fold_0" / "checkpoint_final.pth"
    content = read_checkpoint(path)
    name = next(n for n in content["network_weights"] if "stages.0" in n and n.endswith("weight"))
    content["network_weights"][name] = content["network_weights"][name].to_sparse()
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"tensor \S+ is sparse.* Save the checkpoint again with dense tensors"):
        import_nnunet(path.parents[1], tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_wrapped_networks_are_unwrapped(prefix: str, tmp_path: Path) -> None:
    given = weights("unet_3d")
    wrapped = translate({prefix + name: tensor for name, tensor in given.items()}, "unet", (2, 1, 0), tmp_path)
    assert wrapped.keys() == translate(given, "unet", (2, 1, 0), tmp_path).keys()


def _configured(results: Path, **changes: object) -> dict:
    """Change arguments of the network in plans.json; return the document."""
    document = json.loads((results / "plans.json").read_text())
    document["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] |= changes
    (results / "plans.json").write_text(json.dumps(document))
    return document


def test_batch_normalisation_that_only_the_trainer_knows_of(tmp_path: Path) -> None:
    """nnUNetTrainerBN leaves plans.json as it was: with instance normalisation."""
    said = import_nnunet(write_results(tmp_path / "a", "unet_batch_3d"), tmp_path / "said").plan.network
    results = write_results(tmp_path / "b", "unet_batch_3d")
    instance = "torch.nn.modules.instancenorm.InstanceNorm3d"
    _configured(results, norm_op=instance, norm_op_kwargs={"eps": 0.1, "affine": True})
    assert said.options["norm"] == "batch"
    assert import_nnunet(results, tmp_path / "model").plan.network == said


@pytest.mark.parametrize("tag", ["unet_batch_3d", "residual_batch_2d"])
def test_other_engines_answer_so_too(tag: str, tmp_path: Path) -> None:
    network = import_nnunet(write_results(tmp_path, tag), tmp_path / "model").network()
    tile = torch.randn(1, 2, *(16, 8, 4)[: int(tag[-2])], generator=torch.Generator().manual_seed(0)).numpy()
    wanted = TorchEngine(network, True, "fp32")(tile)
    convert(network, True, torch.from_numpy(tile), tmp_path / NETWORK)
    write_onnx(network, True, tile, tmp_path / "network.onnx")
    for engine in (OpenVINOEngine(tmp_path / NETWORK, "fp32"), OnnxEngine(tmp_path / "network.onnx")):
        np.testing.assert_allclose(engine(tile), wanted, atol=1e-3)


def test_weights_in_half_precision(tmp_path: Path) -> None:
    path = write_results(tmp_path, "unet_batch_3d") / "fold_0" / "checkpoint_final.pth"
    whole = import_nnunet(path.parents[1], tmp_path / "whole").network().state_dict()
    content = read_checkpoint(path)
    halves = {n: t.half() if t.is_floating_point() else t for n, t in content["network_weights"].items()}
    torch.save({**content, "network_weights": halves}, path)
    for name, tensor in import_nnunet(path.parents[1], tmp_path / "half").network().state_dict().items():
        assert tensor.dtype == whole[name].dtype
        torch.testing.assert_close(tensor, whole[name], atol=1e-3, rtol=1e-3)


def test_a_training_without_mirroring(tmp_path: Path) -> None:
    path = write_results(tmp_path) / "fold_0" / "checkpoint_final.pth"
    given = {"trainer_name": "nnUNetTrainer_250epochs_NoMirroring", "inference_allowed_mirroring_axes": None}
    torch.save({**read_checkpoint(path), **given}, path)
    model = import_nnunet(path.parents[1], tmp_path / "model")
    assert model.plan.inference.mirror_axes == ()
    assert model.facts["nnunet"]["trainer"] == "nnUNetTrainer_250epochs_NoMirroring"


def test_one_number_for_all_stages(tmp_path: Path) -> None:
    results = write_results(tmp_path)
    _configured(results, n_conv_per_stage=2, n_conv_per_stage_decoder=2)
    assert import_nnunet(results, tmp_path / "one").plan.network == (
        import_nnunet(write_results(tmp_path / "b"), tmp_path / "several").plan.network
    )


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"nonlin": "torch.nn.GELU"}, "with nonlin torch.nn.GELU; LeakyReLU or ReLU is needed"),
        ({"norm_op": None}, "with norm_op None; InstanceNorm3d or BatchNorm3d is needed"),
        ({"norm_op": "torch.nn.BatchNorm2d"}, "with norm_op torch.nn.BatchNorm2d; InstanceNorm3d or BatchNorm3d"),
        ({"norm_op_kwargs": None}, "with norm_op_kwargs {}; affine: true is needed"),
        ({"nonlin_first": True}, "with nonlin_first"),
    ],
)
def test_layers_that_striate_has_not(changes: dict, wanted: str, tmp_path: Path) -> None:
    results = write_results(tmp_path)
    _configured(results, **changes)
    with pytest.raises(PlanError, match=wanted):
        import_nnunet(results, tmp_path / "model")


def test_a_channel_without_a_name_is_named_by_its_place(tmp_path: Path) -> None:
    results = write_results(tmp_path)
    _edit(results, "dataset.json", channel_names={"0": "", "1": "CT"})
    assert import_nnunet(results, tmp_path / "model").channels == ("channel0", "CT")


def _spoilt(path: Path) -> None:
    """Turn one bit of a weight over."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as parts:
        entry = max((e for e in parts.infolist() if "/data/" in e.filename), key=lambda e: e.file_size)
    name = len(entry.filename.encode())
    extra = int.from_bytes(data[entry.header_offset + 28 : entry.header_offset + 30], "little")
    data[entry.header_offset + 30 + name + extra + entry.file_size // 2] ^= 1
    path.write_bytes(data)


def test_a_checkpoint_with_one_bit_changed_is_refused(tmp_path: Path) -> None:
    path = write_results(tmp_path) / "fold_0" / "checkpoint_final.pth"
    _spoilt(path)
    with pytest.raises(
        ModelError, match=r"checkpoint_final\.pth: its part '.*data/.* is not as it was .* Copy it again\."
    ):
        import_nnunet(path.parents[1], tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("how", ["without sums", "before 1.6"])
def test_checkpoints_that_have_no_sums_are_read(how: str, tmp_path: Path) -> None:
    path = write_results(tmp_path) / "fold_0" / "checkpoint_final.pth"
    content = read_checkpoint(path) | {"nothing": torch.zeros(0)}  # whose sum is 0, as one that was left away
    sums = torch.serialization.get_crc32_options()
    try:
        torch.serialization.set_crc32_options(how != "without sums")
        torch.save(content, path, _use_new_zipfile_serialization=how != "before 1.6")
    finally:
        torch.serialization.set_crc32_options(sums)
    assert import_nnunet(path.parents[1], tmp_path / "model").network()


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    old = tmp_path / "old"
    (old / "fold_0").mkdir(parents=True)
    (old / "plans.pkl").touch()
    with pytest.raises(FormatError, match="nnU-Net v1"):
        import_nnunet(old, tmp_path / "model")
    with pytest.raises(FormatError, match="no such folder"):
        import_nnunet(tmp_path / "nowhere", tmp_path / "model")
    for place in (old.parent, old / "fold_0"):
        (old / "fold_0" / "model_final_checkpoint.model").touch()
        with pytest.raises(FormatError, match="nnU-Net v1"):
            import_nnunet(place, tmp_path / "model")
    results = write_results(tmp_path / "new" / "Dataset001_Tiny")
    with pytest.raises(FormatError, match="Give the folder above it"):
        import_nnunet(results / "fold_0", tmp_path / "model")
    with pytest.raises(FormatError, match=r"checkpoint_final\.pth: a file; its training's folder"):
        import_nnunet(results / "fold_0" / "checkpoint_final.pth", tmp_path / "model")
    with pytest.raises(UsageError, match="--fold 3"):
        import_nnunet(results, tmp_path / "model", fold="3")
    (results / "plans.json").write_text("{")
    with pytest.raises(FormatError, match="JSON"):
        import_nnunet(results, tmp_path / "model")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"architecture": {"network_class_name": "x.SwinUNETR", "arch_kwargs": {}}}, "network SwinUNETR"),
        ({"normalization_schemes": ["Own", "Own"]}, "normalisation Own"),
        ({"preprocessor_name": "OwnPreprocessor"}, "OwnPreprocessor"),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "resample_torch_fornnunet"),
    ],
)
def test_plans_that_cannot_be_followed(changes: dict, wanted: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=wanted):
        import_nnunet(write_results(tmp_path, **changes), tmp_path / "model")


@pytest.mark.parametrize(
    ("key", "value"),
    [("label_manager", "OwnManager"), ("image_reader_writer", "Tiff3DIO"), ("transpose_forward", [0, 0, 1])],
)
def test_plans_that_say_so_for_all_configurations(key: str, value: object, tmp_path: Path) -> None:
    results = write_results(tmp_path)
    document = json.loads((results / "plans.json").read_text())
    document[key] = value
    (results / "plans.json").write_text(json.dumps(document))
    with pytest.raises(PlanError, match=value if isinstance(value, str) else key):
        import_nnunet(results, tmp_path / "model")


def test_pictures_of_three_dimensions_are_none(tmp_path: Path) -> None:
    results = write_results(tmp_path)
    _edit(results, "plans.json", image_reader_writer="NaturalImage2DIO")
    with pytest.raises(PlanError, match=r"pictures with transpose_forward \[0, 1, 2\] in configuration 3d_fullres"):
        import_nnunet(results, tmp_path / "model")


def test_pictures_in_colours_become_masks_of_the_same_size(tmp_path: Path) -> None:
    model = import_nnunet(write_pictures(tmp_path, spacing=[1.0, 1.0]), tmp_path / "model")
    assert model.plan.preparation.spacing_mm == (1.0, 1.0)
    assert model.plan.inference.patch == (16, 8)
    scans = tmp_path / "imagesTs"
    scans.mkdir()
    colours = np.random.default_rng(0).integers(0, 256, (3, 33, 21), dtype=np.uint8)
    write_image(scans / "one_0000.png", Image(colours, np.eye(4)))  # as nnU-Net names it
    for options in ([], ["--exact"]):
        out = tmp_path / f"out{len(options)}"
        assert run(["predict", str(model.folder), str(scans), "--out", str(out), *options]) == 0
        assert read_label(out / "one.png").array.shape == (33, 21)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    results = write_results(tmp_path)
    document = json.loads((results / "dataset.json").read_text())
    del document["labels"]
    (results / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="key 'labels' is missing"):
        import_nnunet(results, tmp_path / "model")


def test_the_folder_may_be_where_one_stands_or_above(tmp_path: Path, monkeypatch) -> None:
    results = write_results(tmp_path / "Dataset001_Tiny")
    monkeypatch.chdir(results / "fold_0")
    assert import_nnunet("..", tmp_path / "one").facts["source"] == f"nnU-Net v2, {results.name}"
    monkeypatch.chdir(results)
    assert import_nnunet(".", tmp_path / "two").plan == import_nnunet(tmp_path, tmp_path / "three").plan


def test_a_folder_of_another_name_and_another_checkpoint(tmp_path: Path) -> None:
    results = write_results(tmp_path, folds=("0", "1")).rename(tmp_path / "our_brats_model_v3")
    (results / "fold_0" / "checkpoint_final.pth").rename(results / "fold_0" / "checkpoint_best.pth")
    (results / "crossval_results_folds_0_1").mkdir()
    (results / "crossval_results_folds_0_1" / "postprocessing.pkl").write_bytes(b"never opened")
    said = list[str]()
    heard = Silent()
    heard.note = said.append  # type: ignore[method-assign]
    model = import_nnunet(results, tmp_path / "model", checkpoint="best", progress=heard)
    assert [model.facts["nnunet"][name] for name in ("configuration", "checkpoint")] == [
        "3d_fullres",
        "checkpoint_best.pth",
    ]
    assert [text.split(": ")[1] for text in said if text.startswith("3d_fullres: ")] == [
        "fold 1 (checkpoint_final.pth) left out",
        "nnU-Net's postprocessing (crossval_results_folds_0_1/postprocessing.pkl) is not applied",
    ]


def _edit(results: Path, file: str, **changes: object) -> None:
    document = json.loads((results / file).read_text())
    (results / file).write_text(json.dumps({**document, **changes}))


def test_channels_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """nnU-Net's channel names say how to normalise, so that two channels of a CT are both called CT."""
    results = write_results(tmp_path)
    _edit(results, "dataset.json", channel_names={"0": "CT", "1": "CT"})
    model = import_nnunet(results, tmp_path / "model")
    assert model.channels == ("CT0", "CT1")
    array = np.random.default_rng(0).normal(10, 5, (20, 12, 9))
    for channel in range(2):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"P1_000{channel}.nii.gz")
    files = [str(tmp_path / f"P1_000{channel}.nii.gz") for channel in range(2)]
    assert run(["predict", str(model.folder), *files, "--out", str(tmp_path / "masks")]) == 0


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"labels": {"background": 0, "edema": 1}}, "its weights are not those of plans.json and dataset.json"),
        ({"channel_names": {"0": "CT"}}, r"has 2 entries for 1 channel\b"),
    ],
)
def test_files_of_two_trainings(changes: dict, wanted: str, tmp_path: Path) -> None:
    results = write_results(tmp_path)
    _edit(results, "dataset.json", **changes)
    with pytest.raises((ModelError, FormatError), match=wanted) as caught:
        import_nnunet(results, tmp_path / "model")
    assert ".part." not in str(caught.value) and "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"patch_size": [4, 8, 0]}, "key 'patch.0' is 0; input should be greater than 0"),
        ({"use_mask_for_norm": [True]}, "2 normalization_schemes, 1 value of use_mask_for_norm"),
    ],
)
def test_values_that_cannot_be(changes: dict, wanted: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=wanted):
        import_nnunet(write_results(tmp_path, **changes), tmp_path / "model")


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="another architecture"):
        translate(weights("residual_3d"), "unet", (0, 1, 2), tmp_path)


def test_the_command_imports_and_predicts(tmp_path: Path, capsys) -> None:
    results, model = write_results(tmp_path, folds=("0", "1")), tmp_path / "model"
    assert run(["import", "nnunet", str(results), "--out", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folds"] == ["0", "1"]
    rng = np.random.default_rng(0)
    files = [str(tmp_path / f"{channel}.nii.gz") for channel in ("FLAIR", "CT")]
    for path in files:
        image = nib.Nifti1Image(rng.normal(10, 5, (20, 12, 9)).astype(np.float32), np.diag([-1.2, -1, 2, 1]))
        nib.save(image, path)
    assert run(["predict", str(results), *files, "--out", str(tmp_path / "masks")]) == 4
    assert f"It is nnU-Net's: striate import nnunet {results} --out MODEL" in capsys.readouterr().err
    assert run(["predict", str(model), *files, "--out", str(tmp_path / "masks")]) == 0
    mask = nib.load(next((tmp_path / "masks").glob("*.nii.gz")))
    assert mask.shape == (20, 12, 9)
