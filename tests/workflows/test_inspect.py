"""`inspect`: what is shown is what `predict` computes, for every kind of task, down to a voxel of the scan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from test_explain import AFFINE, SHAPE, Notes, mask_model, picture, scan, whole_model

from striate import networks
from striate.core.errors import DataError, DiskFullError, ModelError, UsageError
from striate.core.image import Image, LabelMap
from striate.core.record import Record
from striate.data.prepare import Preparation, prepare
from striate.inference.engines import open_engine
from striate.inference.inputs import gather
from striate.inference.predict import predict_case, window_of
from striate.inference.whole import predict_whole
from striate.io.read import read_image
from striate.io.write import write_image
from striate.model.model import EXPORTED, Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.workflows.inspect import inspect, inspected
from striate.workflows.inspect_mask import LEFT
from striate.workflows.inspect_place import file_at, middle_of_largest, seen_at, world_mm


def small_windows(folder) -> Model:
    """A model whose windows are smaller than the scan, so that several are blended."""
    made = mask_model(folder / "whole")
    return Model.save(
        folder / "model", made.plan.changed(inference=Inference(patch=(8, 8, 8))), made.network().state_dict(), {}
    )


def true_sums(document) -> None:
    """Check that every sum is what the network computed, and that the way back ends at the image."""
    assert document["sums"] and set(document["chain"]) <= set(document["sums"])
    for key, one in document["sums"].items():
        assert key == f"{one['node']}:{one['unit']}:{','.join(map(str, one['at']))}"
        size = (
            sum(abs(t["product"]) for t in one["terms"]) + sum(map(abs, one["constants"].values())) + abs(one["total"])
        )
        assert one["error"] <= 1e-4 * size + 1e-6, key
    last = document["sums"][document["chain"][-1]]
    assert last["terms"][0]["source"] == 0
    for above, below in zip(document["chain"], document["chain"][1:], strict=False):
        first = document["sums"][above]["terms"][0]
        assert below == f"{first['source']}:{first['unit']}:{','.join(map(str, first['at']))}"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    root = tmp_path_factory.mktemp("inspect")
    model, image, progress = small_windows(root), scan(root / "s1.nii.gz"), Notes()
    document, inside = inspected(model, image, root / "out", unit="encoder.1:3", progress=progress)
    return root / "out", document, inside, progress


def test_the_point_is_the_middle_of_the_largest_lesion_of_an_oblique_flipped_scan(done):
    out, document, inside, _ = done
    model = Model.open(out.parent / "model")
    (case,) = gather([out.parent / "s1.nii.gz"], model.channels)
    mask = predict_case(model, case).label
    found = {name: middle_of_largest(model.plan.targets.mask(mask.array, name), mask) for name in ("core", "oedema")}
    name = max(found, key=lambda n: found[n][1])
    assert document["output"]["name"] == name and tuple(document["at"]) == found[name][0]
    assert document["at_world_mm"] == pytest.approx((AFFINE @ [*document["at"], 1])[:3], abs=0.01)
    assert inside.view.oriented and document["tile"]["flipped"] == [True, True]


def test_what_is_told_is_what_predict_computes_and_blends(done):
    _, document, inside, progress = done
    view, plan = inside.view, inside.plan
    engine = open_engine(view.network, exclusive=True, precision="fp32")
    window = window_of(plan, engine, view.prepared.array.shape[1:])
    assert window.tiling.count > 8
    whole = np.concatenate([np.moveaxis(r.copy(), 1, 0) for _, r in window.slide(view.prepared.array)])
    whole = np.moveaxis(whole, 0, 1 + window.tiling.rolling_axis)
    assert document["output"]["blended"] == pytest.approx(float(whole[(view.output.unit, *view.seen)]), abs=LEFT)
    with torch.no_grad():
        said = view.network(view.tile)[0][(slice(None), *view.output.at)]
    assert document["output"]["value"] == pytest.approx(float(said[view.output.unit]), abs=1e-5)
    assert document["output"]["probability"] == pytest.approx(float(said.softmax(0)[view.output.unit]), abs=1e-5)
    first = document["sums"][document["chain"][0]]
    assert first["value"] == pytest.approx(document["output"]["value"], abs=1e-6)
    assert any("window" in text for text in progress.notes)


def test_the_window_is_the_one_that_counts_most_at_the_point(done):
    _, document, inside, _ = done
    view = inside.view
    patch, corner = inside.plan.inference.patch, document["tile"]["corner"]
    assert view.inside == tuple(s - c for s, c in zip(view.seen, corner, strict=True))
    assert all(2 <= i < n - 2 for i, n in zip(view.inside, patch, strict=True)), "far from its border"
    box = tuple(slice(c, c + n) for c, n in zip(corner, patch, strict=True))
    assert np.array_equal(view.tile[0, 0], view.prepared.array[(0, *box)])


def test_every_sum_is_what_the_network_computed_and_the_way_back_ends_at_the_image(done):
    _, document, _, _ = done
    true_sums(document)
    opened = {one["node"] for one in document["sums"].values()}
    assert opened == {node["id"] for node in document["nodes"][1:] if node["closed"] is None}
    assert document["sums"][document["asked"]]["unit"] == 3


def test_nodes_maps_and_filters_are_there(done):
    out, document, inside, _ = done
    for node in document["nodes"]:
        assert set(node["sources"]) <= set(range(node["id"]))
        assert len(node["statistics"]["mean"]) == node["shape"][0]
        sheet = node["maps"]
        with Picture.open(out / sheet["file"]) as shown:
            assert shown.mode == "L" and shown.width == sheet["columns"] * sheet["tile"][1]
        assert len(sheet["low"]) == len(sheet["units"]) and max(sheet["tile"]) <= 64
    first = next(node for node in document["nodes"] if node["operation"] == "convolution")
    assert first["filters"]["units"] == [[u, 0] for u in range(4)] and first["macs"] == 27 * np.prod(first["shape"])
    whole = json.loads((out / "inspection.json").read_text())
    assert whole == json.loads(json.dumps(document)) and whole["live"] is None
    # a map's grey is its value, at the place where the page looks for it
    node, view = document["nodes"][first["id"]], inside.view
    with Picture.open(out / node["maps"]["file"]) as shown:
        grey = np.asarray(shown, dtype=float)
    (i, j, _), low, high = node["at"], node["maps"]["low"][0], node["maps"]["high"][0]
    wide, tall = node["shape"][1:3]
    value = inside.trace.planes[node["id"]][0, i, j]
    assert low + grey[tall - 1 - j, wide - 1 - i] / 255 * (high - low) == pytest.approx(value, abs=(high - low) / 200)
    assert view.oriented


def test_record_and_report_are_there(done):
    out, _, _, _ = done
    record = Record.read(out / "record.json")
    assert record.verb == "inspect" and record.options["unit"] == "encoder.1:3"
    assert set(record.outputs) == {
        str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.name not in ("record.json", "report.html")
    }
    assert "Inside the network" in (out / "report.html").read_text()


def test_one_number_can_be_opened_without_a_folder(tmp_path):
    model, image = mask_model(tmp_path / "model"), scan(tmp_path / "s1.nii.gz")
    before = sorted(tmp_path.rglob("*"))
    found = inspect(model, image, unit="encoder.0:1", at=(8, 9, 5))
    assert found["case"] == "s1" and found["voxel"] == [8, 9, 5] and found["unit"] == 1
    assert found["total"] == pytest.approx(found["value"], rel=1e-4) and found["terms"]
    costs = inspect(model, image)
    assert costs["passes"] > 2 and costs["seconds"] > 0
    assert sorted(tmp_path.rglob("*")) == before


TURNED = np.array([[0, 0, 2.0, 0], [-1, 0, 0, 9], [0, 1, 0, 4], [0, 0, 0, 1]])


@pytest.mark.parametrize("turned", [np.diag([1.0, 1, 1, 1]), AFFINE, TURNED])
def test_places_of_files_and_of_what_the_network_sees_are_the_same(tmp_path, turned):
    path = scan(tmp_path / "s1.nii.gz", affine=turned)
    (case,) = gather([path], ("flair",))
    for spacing in ((1.0,) * 3, (1.5, 0.7, 2.0)):
        ready = prepare(case, Preparation(spacing_mm=spacing, normalisation=("zscore",), intensities=(None,)))
        assert seen_at((0, 0, 0), ready) is None, "cut off"
        for at in np.ndindex(4, 4, 3):
            place = tuple(int(3 + 3 * i) for i in at)
            seen = seen_at(place, ready)
            assert seen is not None
            apart = ready.grid.affine @ [*seen, 1] - turned @ [*place, 1]
            along = np.linalg.inv(ready.grid.affine[:3, :3]) @ apart[:3]
            assert np.abs(along).max() <= 0.51
            there = file_at(seen, ready)
            apart = np.linalg.inv(turned[:3, :3]) @ (turned @ [*there, 1] - ready.grid.affine @ [*seen, 1])[:3]
            assert np.abs(apart).max() <= 0.51
        assert world_mm((3, 4, 5), ready) == pytest.approx((turned @ [3, 4, 5, 1])[:3], abs=0.01)


def test_the_middle_of_a_lesion_lies_in_it():
    """A ring: its centroid is outside."""
    place = np.indices((21, 21)) - 10
    far = (place**2).sum(0)
    mask = (far > 25) & (far <= 81)
    at, count = middle_of_largest(mask, LabelMap(mask.astype(np.uint8), np.eye(4)))
    assert mask[at] and count == mask.sum() and 36 <= far[at] <= 64


def test_a_network_of_slices_and_one_that_answers_for_its_inner_part(tmp_path):
    image = scan(tmp_path / "s1.nii.gz")
    flat = _masks(tmp_path / "flat", "small_unet", {"features": [4, 8]}, 2, (16, 16, 1))
    found = inspect(flat, image, tmp_path / "a", at=(9, 9, 7))
    assert found["tile"]["plane_axis"] is None and found["tile"]["shape"] == [16, 16]
    assert found["output"]["probability"] is not None
    true_sums(found)
    write_image(
        tmp_path / "p1.png", Image(np.random.default_rng(0).integers(0, 255, (1, 70, 60)).astype(np.uint8), np.eye(4))
    )
    inner = _masks(tmp_path / "inner", "unet_2015", {"features": [4, 6, 8]}, 2, (20, 20))
    found, inside = inspected(inner, tmp_path / "p1.png", tmp_path / "b", at=(33, 21), progress=Notes())
    assert min(found["tile"]["shape"]) > 40, "what is mirrored around the window is shown too"
    with torch.no_grad():
        said = inside.view.network(inside.view.tile)[0]
    assert found["output"]["value"] == pytest.approx(
        float(said[(inside.view.output.unit, *inside.view.output.at)]), abs=1e-4
    )
    true_sums(found)
    with Picture.open(tmp_path / "b" / found["image"]["prediction"]) as shown:
        (x, y), mask = found["at_tile"], np.asarray(shown)
    assert mask[y, x] == 255, "at the point the likeliest label was predicted"


def _masks(folder, name, options, dims, patch) -> Model:
    axes = len(patch)
    plan = Plan(
        task=Task(channels=("flair",), label_names={1: "lesion"}),
        preparation=Preparation(spacing_mm=(1.0,) * axes, normalisation=("zscore",), intensities=(None,)),
        network=NetworkChoice(name=name, spatial_dims=dims, options=options),
        training=Training(patch=patch, batch=1, steps=1),
        inference=Inference(patch=patch),
    )
    torch.manual_seed(5)
    network = networks.create(name, spatial_dims=dims, in_channels=1, out_channels=2, **options)
    return Model.save(folder, plan, network.state_dict(), {})


def _sliced(folder, kind, name, options, **more) -> Model:
    loss = "squared" if kind == "reconstruction" else "cross_entropy"
    size = (16, 16)
    plan = Plan(
        task=Task(kind=kind, channels=("flair",), unit="slice", **more),
        preparation=Preparation(spacing_mm=(1.0,) * 3, normalisation=("zscore_nonzero",), intensities=(None,)),
        network=NetworkChoice(name=name, spatial_dims=2, options=networks.sized(name, size, options)),
        training=Training(patch=(*size, 1), batch=1, steps=1, loss=loss, length=4),
        inference=Inference(patch=(*size, 1), overlap=0),
    )
    torch.manual_seed(1)
    outputs = plan.task.outputs.out_channels
    network = networks.create(name, spatial_dims=2, in_channels=1, out_channels=outputs, **plan.network.options)
    return Model.save(folder, plan, network.state_dict(), {})


WHOLE = {
    "picture": lambda f: whole_model(f, "classification", "lenet5_modern", {}, classes=("left", "right")),
    "several classes": lambda f: whole_model(f, "classification", "lenet5_modern", {}, classes=("a", "b"), multi_label=True),
    "reconstruction": lambda f: whole_model(f, "reconstruction", "autoencoder", {}),
    "slices": lambda f: _sliced(f, "classification", "lenet5_modern", {}, classes=("no", "yes")),
    "sequence": lambda f: _sliced(f, "sequence", "cnn_rnn", {"features": [4, 4], "hidden": 4}, classes=("no", "yes")),
}  # fmt: skip


@pytest.mark.parametrize("what", WHOLE)
def test_classes_sequences_and_reconstructions(tmp_path, what):
    model = WHOLE[what](tmp_path / "model")
    flat = what in ("picture", "several classes", "reconstruction")
    path = picture(tmp_path / "p1.png") if flat else scan(tmp_path / "p1.nii.gz")
    found, inside = inspected(model, path, tmp_path / "out", progress=Notes())
    true_sums(found)
    view, output = inside.view, inside.view.output
    with torch.no_grad():
        said = view.network(view.tile)[0]
    value = said[(output.at[0], output.unit)] if what == "sequence" else said[(output.unit, *output.at)]
    assert found["output"]["value"] == pytest.approx(float(value), abs=1e-5)
    (case,) = gather([path], model.channels)
    (told,) = predict_whole(model.plan, view.network, [case])
    if what == "reconstruction":
        assert found["output"]["probability"] is None and found["output"]["what"] == "channel"
        return
    row = 0 if flat else told.slices.index(view.seen[2] + view.prepared.crop[2].start)
    chance = float(told.probabilities[row, output.unit])
    assert found["output"]["blended"] == pytest.approx(chance, abs=1e-5)
    if what != "sequence":
        assert found["output"]["probability"] == pytest.approx(chance, abs=1e-5)
    assert chance == pytest.approx(float(told.probabilities[:, output.unit].max()), abs=1e-6), "the likeliest slice"


def test_a_reconstruction_by_dense_layers_is_followed_at_the_point(tmp_path):
    """Its last operation puts out one number per pixel and no map."""
    model = whole_model(tmp_path / "model", "reconstruction", "deep_autoencoder", {})
    found, inside = inspected(model, picture(tmp_path / "p1.png"), tmp_path / "out", progress=Notes())
    true_sums(found)
    output = inside.view.output
    with torch.no_grad():
        said = inside.view.network(inside.view.tile)[0]
    assert found["output"]["value"] == pytest.approx(float(said[(output.unit, *output.at)]), abs=1e-5)
    assert min(output.at) > 0


def test_what_is_told_is_the_number_that_the_way_back_begins_with_where_the_output_was_cut(tmp_path):
    """This network pads by more than it needs and cuts what is too much off its output."""
    options = {"padding": "same", "features": [2, 2], "hidden": [4]}
    model = _masks(tmp_path / "model", "deepmedic", options, 3, (16, 16, 16))
    found, inside = inspected(model, scan(tmp_path / "s1.nii.gz"), tmp_path / "out", at=(9, 9, 7), progress=Notes())
    with torch.no_grad():
        said = inside.view.network(inside.view.tile)[0][(slice(None), *inside.view.output.at)]
    assert found["output"]["value"] == pytest.approx(float(said[inside.view.output.unit]), abs=1e-6)
    assert found["sums"][found["chain"][0]]["value"] == pytest.approx(found["output"]["value"], abs=1e-6)
    assert found["output"]["probability"] == pytest.approx(found["output"]["blended"], abs=1e-5), "one window"


def test_a_window_that_predict_leaves_out_is_told(tmp_path):
    array = np.zeros((1, 32, *SHAPE[1:]), dtype=np.float32)
    array[:, [0, 31]] = np.random.default_rng(0).normal(100, 10, (1, 2, *SHAPE[1:]))
    write_image(tmp_path / "s1.nii.gz", Image(array, np.eye(4)))
    model = small_windows(tmp_path)
    found = inspect(model, tmp_path / "s1.nii.gz", tmp_path / "out", at=(16, 9, 7))
    assert found["output"]["blended"] == pytest.approx(1, abs=1e-6) and found["output"]["name"] == "background"
    assert "predict draws nothing in it" in found["told"]
    found = inspect(model, tmp_path / "s1.nii.gz", tmp_path / "two", at=(0, 9, 7))
    assert "predict draws nothing in it" not in found["told"]


@pytest.mark.filterwarnings("error")
def test_a_network_whose_numbers_have_no_end_is_told(tmp_path):
    made = mask_model(tmp_path / "model")
    model = Model.save(tmp_path / "huge", made.plan, {k: 1e30 * v for k, v in made.network().state_dict().items()}, {})
    found = inspect(model, scan(tmp_path / "s1.nii.gz"), tmp_path / "out", at=(9, 9, 7))
    assert "The network puts out no finite number there." in found["told"] and "nan" not in found["told"]
    assert "NaN" not in (tmp_path / "out" / "inspection.json").read_text()


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("striate.core.files.os.access", lambda *_: False)
    with pytest.raises(DiskFullError, match="writing is not permitted"):
        inspect(tmp_path / "no model", tmp_path / "no scan", tmp_path / "out")


def test_a_slice_or_a_place_says_which_slice_is_looked_at(tmp_path):
    model, path = WHOLE["slices"](tmp_path / "model"), scan(tmp_path / "s1.nii.gz")
    found, inside = inspected(model, path, tmp_path / "a", plane=4, label="yes", progress=Notes())
    assert inside.view.seen[2] + inside.view.prepared.crop[2].start == 4 and found["output"]["name"] == "yes"
    found, inside = inspected(model, path, tmp_path / "b", at=found["at"], progress=Notes())
    assert inside.view.seen[2] + inside.view.prepared.crop[2].start == 4
    with pytest.raises(DataError, match="--at 0,0,0 lies outside of what the network sees"):
        inspect(model, path, tmp_path / "c", at=(0, 0, 0))
    with pytest.raises(UsageError, match="--slice 99"):
        inspect(model, path, tmp_path / "c", plane=99)
    with pytest.raises(UsageError, match="--slice 4 was given with --at 1,2,3"):
        inspect(model, path, tmp_path / "c", plane=4, at=(1, 2, 3))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"at": (8, 9)}, UsageError, r"--at 8,9: 2 numbers were given, case s1 needs 3 \(I,J,K\)"),
        ({"at": (8, 9, 14)}, UsageError, r"--at 8,9,14: case s1 has 20 × 18 × 14 voxels, 0 to 19,17,13"),
        ({"at": (-1, 9, 3)}, UsageError, "--at -1,9,3: case s1 has"),
        ({"at": (0, 0, 0)}, DataError, "case s1: --at 0,0,0 lies outside of what the network sees; a voxel of 2 to 17"),
        ({"label": "tumor"}, UsageError, "unknown label 'tumor'"),
        ({"plane": 3}, UsageError, "--slice 3: the model does not look at single slices"),
        ({"unit": "encoder.1"}, UsageError, "LAYER:NUMBER is needed"),
        ({"unit": "encodr.1:0"}, UsageError, "unknown layer 'encodr.1'. Did you mean 'encoder.1"),
        ({"unit": "encoder.1:" + "9" * 5000}, UsageError, "LAYER:NUMBER is needed"),
        ({"unit": "encoder.1:99"}, UsageError, "the layer has 8 units, 0 to 7 are needed"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_leaves_nothing(tmp_path, options, error, sentence):
    model, image = mask_model(tmp_path / "model"), scan(tmp_path / "s1.nii.gz")
    with pytest.raises(error, match=sentence):
        inspect(model, image, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_one_case_is_looked_at(tmp_path):
    model = mask_model(tmp_path / "model")
    files = [scan(tmp_path / f"{name}.nii.gz") for name in ("a", "b")]
    with pytest.raises(UsageError, match=r"inspect: 2 cases were given \(a, b\); one is looked at"):
        inspect(model, files, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("")
    with pytest.raises(DataError, match="it exists and is not empty"):
        inspect(model, files[0], tmp_path / "out")


def test_an_exported_model_is_refused(tmp_path):
    model = mask_model(tmp_path / "model")
    (model.folder / "weights.safetensors").unlink()
    (model.folder / EXPORTED).mkdir(parents=True)
    with pytest.raises(ModelError, match="it was exported for OpenVINO; the weights are needed"):
        inspect(model.folder, scan(tmp_path / "s1.nii.gz"), tmp_path / "out")


def test_an_empty_prediction_is_looked_at_in_its_middle(tmp_path):
    made = mask_model(tmp_path / "model")
    weights = {name: torch.zeros_like(tensor) for name, tensor in made.network().state_dict().items()}
    weights[[name for name in weights if name.endswith("bias")][-1]][0] = 5
    model = Model.save(tmp_path / "empty", made.plan, weights, {})
    found = inspect(model, scan(tmp_path / "s1.nii.gz"), tmp_path / "out")
    assert found["output"]["name"] == "background" and found["output"]["probability"] > 0.98
    assert any(note.startswith("No voxel of core, oedema was predicted") for note in found["notes"])
    assert all(0 < i < n for i, n in zip(found["at"], SHAPE, strict=True))
    assert read_image(tmp_path / "s1.nii.gz").grid.shape == SHAPE


def test_the_second_stage_of_a_cascade_sees_the_mask_of_the_first(tmp_path):
    from nnunet_folder import write_cascade
    from test_exact_nnunet import write_case

    from striate.workflows.import_nnunet import import_nnunet

    model = import_nnunet(write_cascade(tmp_path, bias=-0.4, patch_size=[10, 12, 20]), tmp_path / "model")
    (tmp_path / "case").mkdir()
    case, progress = write_case(tmp_path / "case"), Notes()
    found = inspect(model, list(case.channels.values()), tmp_path / "out", progress=progress)
    assert found["tile"]["channels"][2:] == ["previous label 1", "previous label 2"]
    assert found["nodes"][0]["shape"][0] == 4 and any("cascade" in text for text in progress.notes)
    assert len(found["image"]["channels"]) == 4 and Path(tmp_path / "out" / "image" / "3.png").exists()
    true_sums(found)
