"""One case from files to mask: probabilities, warnings, memory known beforehand, engines."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from striate.core.case import Case
from striate.core.errors import MemoryLimitError, ModelError, UsageError
from striate.core.image import Grid, Image
from striate.core.machine import native_precision
from striate.inference import memory
from striate.inference.engines import open_engine, pytorch
from striate.inference.engines.choose import macs_of
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.memory import check_memory, needed_bytes, peak_bytes
from striate.inference.predict import engine_of, predict_case
from striate.inference.prediction import Prediction
from striate.inference.probabilities import file_names
from striate.io.read import read_image, read_label
from striate.io.write import write_image, write_label


@pytest.fixture
def case(tmp_path):
    rng, files = np.random.default_rng(0), {}
    affine = np.array([[-1.0, 0, 0, 9], [0, 0, 1.5, -4], [0, 1, 0, 2], [0, 0, 0, 1]])
    for name in ("flair", "t1c"):
        array = np.zeros((1, 20, 18, 14), dtype=np.float32)
        array[:, 2:-2, 3:-1, 1:-1] = rng.normal(100, 20, (1, 16, 14, 12))
        files[name] = tmp_path / f"{name}.nii.gz"
        write_image(files[name], Image(array, affine))
    return Case("P1", "P1", files)


def test_the_mask_lies_on_the_grid_of_the_files(model_of, case):
    found = predict_case(model_of(), case)
    assert found.label.grid.matches(read_image(case.channels["flair"]).grid, 1e-5)
    assert set(found.label.values()) <= {1, 2, 5}
    assert found.facts["seconds"].keys() == {"prepare", "network"} and found.facts["engine"] == "torch"
    assert not found.label.array[:2].any()


@pytest.mark.parametrize("regions", [None, {"all": (1, 2, 5), "core": (1,)}])
def test_probabilities_add_up_and_agree_with_the_mask(model_of, case, tmp_path, regions):
    model = model_of(regions=regions)
    found = predict_case(model, case, save_probabilities=tmp_path / "maps")
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == sorted(
        f"P1_{n}.nii.gz" for n in model.plan.targets.names
    )
    maps = np.stack([read_image(found.probabilities[n]).array[0] for n in model.plan.targets.names])
    image = read_image(case.channels["flair"])
    assert read_image(found.probabilities[model.plan.targets.names[0]]).grid.matches(image.grid, 1e-5)
    assert maps.min() >= 0 and maps.max() <= 1
    inside = image.array[0] != 0
    if regions is None:
        shares, values = np.concatenate([1 - maps.sum(0, keepdims=True), maps]), [0, 1, 2, 5]
    else:
        shares = np.stack([(1 - maps[0]) * (1 - maps[1]), maps[0] * maps[1], maps[0] * (1 - maps[1])])
        values = [0, 1, 2]
    said = np.take_along_axis(shares, np.searchsorted(values, found.label.array)[None], 0)[0]
    assert (shares.max(0) - said)[inside].max() < 1e-6  # the maps are in single precision


def test_mirroring_is_asked_for(model_of, case):
    model = model_of(mirror=(0, 1, 2))
    plain, mirrored = predict_case(model, case), predict_case(model, case, tta=True)
    assert mirrored.facts["tta"] and not plain.facts["tta"]
    assert not np.array_equal(plain.label.array, mirrored.label.array)


def test_a_mirrored_image_gets_the_mirrored_mask_with_tta(plan_of, network_of):
    from striate.inference.predict import predict_classes

    plan = plan_of(mirror=(0, 1, 2))
    network, array = network_of(plan), np.random.default_rng(0).normal(size=(2, 16, 16, 16)).astype(np.float32)
    engine = open_engine(network, exclusive=True, precision="fp32")
    first = predict_classes(plan, engine, array, tta=True)
    second = predict_classes(plan, engine, np.ascontiguousarray(array[:, ::-1, :, ::-1]), tta=True)
    assert (first == second[::-1, :, ::-1]).mean() > 0.999


def test_a_network_in_training_serves_and_stays_in_training(plan_of, network_of, case):
    plan = plan_of()
    network = network_of(plan).train()
    found = predict_case(plan, case, network=network)
    assert network.training
    assert np.array_equal(found.label.array, predict_case(plan, case, network=network.eval()).label.array)


def test_a_plan_alone_is_not_enough(plan_of, case):
    with pytest.raises(UsageError, match="network is None and only a plan was given"):
        predict_case(plan_of(), case)


def test_wrong_number_of_channels(model_of, case):
    with pytest.raises(ModelError, match="case P1: 1 channel; the plan needs 2"):
        predict_case(model_of(), Case("P1", "P1", {"flair": case.channels["flair"]}))


def test_voxels_coarse_along_several_axes_are_said_once(model_of, tmp_path):
    path = tmp_path / "a.nii.gz"
    image = np.random.default_rng(0).normal(100, 9, (1, 8, 8, 3)).astype(np.float32)
    write_image(path, Image(image, np.diag([4.0, 2.0, 6.0, 1])))
    found = predict_case(model_of(channels=("flair",)), Case("a", "a", {"flair": path}))
    (told,) = [str(one) for one in found.warnings if one.code == "coarse-voxels"]
    assert "voxels of 4 × 6 mm along axes x, z, the model works at 1 × 1 mm; what is finer" in told


def test_thick_slices_constant_images_and_empty_masks_are_said(model_of, tmp_path):
    model = model_of(channels=("flair",))
    path = tmp_path / "a.nii.gz"
    write_image(path, Image(np.full((1, 8, 8, 3), 4.0, dtype=np.float32), np.diag([1, 1, 6.0, 1])))
    found = predict_case(model, Case("a", "a", {"flair": path}))
    assert any("voxels of 6 mm along axis z, the model works at 1 mm" in str(text) for text in found.warnings)
    assert any("the image is constant" in str(text) for text in found.warnings)
    assert not found.label.array.any()


def test_a_prediction_reads_its_mask_back(model_of, case, tmp_path):
    found = predict_case(model_of(), case)
    write_label(tmp_path / "m.nii.gz", found.label)
    stored = found.stored(tmp_path / "m.nii.gz")
    assert stored.held is None
    assert np.array_equal(stored.label.array, read_label(tmp_path / "m.nii.gz").array)
    with pytest.raises(UsageError, match="path is None and no mask is held"):
        _ = Prediction(case, found.targets).label


def test_two_dimensions(model_of, tmp_path):
    model = model_of(channels=("image",), dims=2, patch=(16, 16), spacing_mm=(1.0, 1.0), scheme="zscore")
    array = np.random.default_rng(0).integers(0, 255, (1, 40, 23)).astype(np.uint8)
    write_image(tmp_path / "a.png", Image(array, np.eye(4)))
    found = predict_case(model, Case("a", "a", {"image": tmp_path / "a.png"}), save_probabilities=tmp_path / "maps")
    assert found.label.array.shape == (40, 23)
    assert read_image(found.probabilities["core"]).array.shape == (1, 40, 23)


def test_a_2d_network_on_a_volume(model_of, case):
    found = predict_case(model_of(dims=2, patch=(16, 16, 1)), case)
    assert found.label.array.shape == (20, 18, 14)


def test_names_of_files_are_different_and_safe():
    many = file_names(["core", "core-3", "core ", "Core"])
    assert list(many.values()) == ["core", "core-3", "core-3-3", "Core-4"]
    names = file_names(["left/right", "left right", "..", "ödem"])
    assert len(set(names.values())) == 4
    assert all("/" not in n and " " not in n for n in names.values())
    assert names["ödem"] == "ödem" and names[".."] == "target3"


GRID = Grid((240, 240, 155), np.eye(4))


def test_memory_does_not_grow_with_classes_times_volume(plan_of):
    few = needed_bytes(plan_of(patch=(96, 96, 96)), GRID, 2, {})
    labels = {i: f"l{i}" for i in range(1, 101)}
    plan = plan_of(patch=(96, 96, 96))
    many = needed_bytes(plan.changed(task=plan.task.changed(label_names=labels)), GRID, 2, {})
    voxels = 240 * 240 * 155
    assert many["rows"] == 2 * 101 * 96 * 240 * 155 < 0.41 * 4 * 101 * voxels  # in half precision: more than 1 GB
    assert all(many[name] == few[name] for name in ("images", "prepared", "gate", "mask", "findings"))
    assert peak_bytes([few], together=False) < 2e9


def test_slices_that_a_2d_network_sees_as_they_are_all_count(plan_of, model_of):
    """Its plan tells the distance of slices in training (5 mm); those of a case are not resampled."""
    plan = plan_of(patch=(16, 16, 1), dims=2, spacing_mm=(1.0, 1.0, 5.0))
    native = plan.changed(preparation=plan.preparation.changed(rules="nnunet", native_axis=2))
    assert needed_bytes(native, GRID, 2, {})["prepared"] == 4 * 2 * 240 * 240 * 155
    model = model_of(patch=(16, 16, 1), dims=2)
    one, all_slices = (macs_of(replace(model, plan=p), [GRID]) for p in (plan, native))
    assert all_slices == 5 * one > 0


def test_memory_is_refused_before_starting_with_the_line_to_change(plan_of, monkeypatch):
    monkeypatch.setattr(memory, "memory_available_bytes", lambda: 300_000_000)
    plan = plan_of(patch=(96, 96, 96))
    says = r"case P1: shape \(240, 240, 155\) with 2 channels needs about .* 300 MB of memory are free"
    with pytest.raises(MemoryLimitError, match=says) as caught:
        check_memory(plan, GRID, 2, {"activations_per_voxel": 500}, "case P1", "model/plan.yaml")
    assert "inference.patch [96, 96, 96] in model/plan.yaml" in str(caught.value)
    assert caught.value.exit_code == 5


def test_memory_counts_the_crf_where_it_is_asked_for(plan_of, monkeypatch):
    plan = plan_of(patch=(96, 96, 96))
    plain, refined = needed_bytes(plan, GRID, 2, {}), needed_bytes(plan, GRID, 2, {}, crf=True)
    voxels = 240 * 240 * 155
    assert refined == {**plain, "crf": (8 * plan.targets.out_channels + 100) * voxels}
    monkeypatch.setattr(memory, "memory_available_bytes", lambda: peak_bytes([plain], together=False))
    assert check_memory(plan, GRID, 2, {}, "case P1", "plan.yaml") == plain
    with pytest.raises(MemoryLimitError, match=r"case P1: .*crf 1\.2 GB.*Leave --crf away\."):
        check_memory(plan, GRID, 2, {}, "case P1", "plan.yaml", crf=True)


def test_memory_counts_what_is_kept_to_compare_with_a_truth(plan_of, monkeypatch):
    voxels = 240 * 240 * 155
    for regions, bytes_each in ((None, 3 + 4), ({"all": (1, 2, 5), "core": (1,)}, 4)):  # three labels keep a map each
        plan = plan_of(patch=(96, 96, 96), regions=regions)
        plain, compared = needed_bytes(plan, GRID, 2, {}), needed_bytes(plan, GRID, 2, {}, truth=True)
        more = {name: compared[name] - plain[name] for name in plain}
        assert more == {**dict.fromkeys(plain, 0), "mask": bytes_each * voxels, "findings": bytes_each * voxels}
        monkeypatch.setattr(memory, "memory_available_bytes", lambda plain=plain: peak_bytes([plain], together=False))
        assert check_memory(plan, GRID, 2, {}, "case P1", "plan.yaml") == plain
        with pytest.raises(MemoryLimitError, match="case P1"):
            check_memory(plan, GRID, 2, {}, "case P1", "plan.yaml", truth=True)


def test_memory_of_the_network_goes_by_engine_and_precision(plan_of):
    plan, facts = plan_of(patch=(160, 160, 96)), {"activations_per_voxel": 218.6, "parameters": 30_789_273}

    def network(engine, precision):
        return needed_bytes(plan, GRID, 2, facts, engine=engine, precision=precision)["network"]

    assert network("openvino", "bf16") < network("torch", "bf16") < network("torch", "fp32")
    assert network("openvino", "bf16") < network("openvino", "fp32") < network("torch", "fp32")
    assert network("another", "fp32") == network("torch", "fp32") - 2 * facts["parameters"]  # which hold copies in bf16
    measured = {("torch", "bf16"): 1.339e9, ("openvino", "bf16"): 0.867e9, ("openvino", "fp32"): 1.457e9}
    for (engine, precision), used in measured.items():  # resident memory of one window, nnU-Net's network
        assert used < network(engine, precision) < 1.5 * used
    plan, facts = (
        plan_of(channels=("flair",), patch=(96, 96, 96)),
        {"activations_per_voxel": 215.2, "parameters": 31_195_594},
    )
    for (engine, precision), used in {("onnx", "fp32"): 0.745e9, ("openvino", "int8"): 0.192e9}.items():
        assert used < network(engine, precision)


def test_memory_of_neighbours_is_that_of_three_cases(plan_of):
    small, large = (needed_bytes(plan_of(), Grid((n, n, n), np.eye(4)), 2, {}) for n in (40, 80))
    alone = peak_bytes([large], together=False)
    assert peak_bytes([small, large, small], together=False) == peak_bytes([large] * 200, together=False) == alone
    three = peak_bytes([large] * 3, together=True)
    assert three == peak_bytes([large] * 200, together=True)
    assert alone < peak_bytes([small, large, small], together=True) < three
    computed = sum(large[name] for name in ("prepared", "rows", "mask", "gate"))
    assert three == large["network"] + computed + large["images"] + large["findings"]


def test_memory_of_resampling_is_counted_only_where_something_is_resampled(plan_of):
    grid = Grid((40, 50, 60), np.diag([1.0, 1.0, 2.0, 1.0]))
    same, finer, coarser = (needed_bytes(plan_of(spacing_mm=s), grid, 2, {})["images"] for s in SPACINGS)
    assert same == 18 * 40 * 50 * 60
    assert coarser == same + 4 * 2 * (20 * 50 * 60)  # the first axis: what it gives beside what it takes
    assert finer == same + 4 * 2 * (2 * 40 * 50 * 120 + 40 * 50 * 60)  # the last axis is turned to the front and back


SPACINGS = ((1.0, 1.0, 2.0), (1.0, 1.0, 1.0), (2.0, 2.0, 4.0))


@pytest.mark.parametrize(("exclusive", "precision"), itertools.product((True, False), ("fp32", "bf16", None)))
def test_torch_gives_probabilities(plan_of, network_of, exclusive, precision):
    network = network_of(plan_of()).eval()
    tiles = torch.randn(2, 2, 16, 16, 16)
    engine = open_engine(network, exclusive=exclusive, precision=precision)
    found = engine(tiles.numpy())
    with torch.no_grad():
        logits = network(tiles)
    expected = logits.softmax(1) if exclusive else logits.sigmoid()
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert engine.precision == (precision or native_precision())
    assert np.abs(found - expected.numpy()).max() < (1e-4 if engine.precision == "fp32" else 0.05)
    assert np.array_equal(found, engine(tiles.numpy()))


@pytest.mark.parametrize("exclusive", [True, False])
def test_many_logits_are_made_probabilities_some_rows_at_a_time(plan_of, network_of, exclusive, monkeypatch):
    network, tiles = network_of(plan_of()).eval(), torch.randn(2, 2, 16, 16, 16).numpy()
    at_once = open_engine(network, exclusive=exclusive)(tiles)
    monkeypatch.setattr(pytorch, "ALL_AT_ONCE", 0)
    monkeypatch.setattr(pytorch, "AT_ONCE", 3 * at_once.shape[1] * 256)  # 3 rows of 16
    seen, shares = [], TorchEngine._shares
    monkeypatch.setattr(
        TorchEngine, "_shares", lambda self, logits: seen.append(logits.shape[2]) or shares(self, logits)
    )
    assert np.array_equal(open_engine(network, exclusive=exclusive)(tiles), at_once)
    assert seen == 2 * [3, 3, 3, 3, 3, 1]


def test_unknown_precisions(plan_of, network_of):
    with pytest.raises(UsageError, match="precision 'fp8': one of bf16, fp32"):
        open_engine(network_of(plan_of()), exclusive=True, precision="fp8")


def test_an_engine_is_taken_as_it_is(plan_of, function_engine):
    engine = function_engine(lambda x: x)
    assert engine_of(plan_of(), engine) is engine
