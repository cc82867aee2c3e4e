"""`explain`: a folder of maps on the input's grid, each with its checks; or a sentence that says why not."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from striate import networks
from striate.core.errors import DataError, MemoryLimitError, ModelError, TimeLimitError, UsageError
from striate.core.image import Image
from striate.core.progress import Silent
from striate.core.record import Record
from striate.data.prepare import Preparation
from striate.explaining import METHODS
from striate.explaining.effort import LADDER, SHARE
from striate.io.read import read_image
from striate.io.write import write_image
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.workflows import explain as verb
from striate.workflows.explain import explain
from striate.workflows.explain_time import Allowance

SHAPE = (20, 18, 14)
AFFINE = np.array([[-0.9, 0.1, 0.0, 40], [0.1, 0.9, 0.2, -30], [0.0, -0.2, 1.1, 5], [0, 0, 0, 1.0]])


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def mask_model(folder, *, channels=("flair",), regions=None) -> Model:
    """Save a network that has learned that bright is lesion, without training: its last weights are set."""
    count = len(channels)
    plan = Plan(
        task=Task(channels=channels, label_names={1: "core", 2: "oedema"}, regions=regions),
        preparation=Preparation(
            spacing_mm=(1.0,) * 3, normalisation=("zscore_nonzero",) * count, intensities=(None,) * count
        ),
        network=NetworkChoice(name="small_unet", spatial_dims=3, options={"features": [4, 8]}),
        training=Training(patch=(16, 16, 16), batch=1, steps=1),
        inference=Inference(patch=(16, 16, 16)),
    )
    torch.manual_seed(3)
    outputs = plan.targets.out_channels
    network = networks.create("small_unet", spatial_dims=3, in_channels=count, out_channels=outputs, features=[4, 8])
    return Model.save(folder, plan, network.state_dict(), {})


def scan(path, seed=0, affine=AFFINE):
    """Write a head: noise within a box, a bright ball in it, zeros around."""
    rng, array = np.random.default_rng(seed), np.zeros((1, *SHAPE), dtype=np.float32)
    array[:, 2:-2, 2:-2, 1:-1] = rng.normal(100, 10, array[:, 2:-2, 2:-2, 1:-1].shape)
    place = np.indices(SHAPE) - np.array([9, 9, 7])[:, None, None, None]
    array[0] += 150 * ((place**2).sum(0) < 12)
    write_image(path, Image(array, affine))
    return path


@pytest.fixture(autouse=True)
def least(monkeypatch):
    """The least effort, whatever the pace of the machine."""
    monkeypatch.setattr(verb, "PATIENCE_S", 0.0)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One run with everything that can be asked for."""
    patch = pytest.MonkeyPatch()
    patch.setattr(verb, "PATIENCE_S", 0.0)
    root = tmp_path_factory.mktemp("explain")
    model, image, progress = mask_model(root / "model"), scan(root / "s1.nii.gz"), Notes()
    layer = "encoder.1"
    found = explain(model, image, root / "out", label="core", layer=layer, unit=f"{layer}:3", progress=progress)
    patch.undo()
    return root / "out", found, progress


def test_maps_lie_on_the_grid_of_an_oblique_flipped_input(done):
    out, found, _ = done
    given = read_image(out.parent / "s1.nii.gz")
    assert {row["method"] for row in found["explanations"]} == set(METHODS)
    for row in found["explanations"]:
        written = read_image(out / row["file"])
        assert written.grid.matches(given.grid)
        assert np.isfinite(written.array).all() and np.abs(written.array).max() > 0
        assert not written.array[0, :2].any(), "the crop is undone: nothing is said outside of the head"


def test_the_document_holds_target_checks_and_numbers(done):
    out, found, _ = done
    document = json.loads((out / "explanations.json").read_text())
    assert document["kind"] == "striate-explanations" and document["schema_version"] == 1
    assert document["passed"] == all(row["passed"] for row in document["explanations"])
    assert len(document["explanations"]) == len(found["explanations"])
    for row in document["explanations"]:
        assert row["target"]["kind"] == "lesion" and row["target"]["lesion"] == 1
        assert row["target"]["volume_ml"] > 0 and len(row["target"]["centroid_mm"]) == 3
        assert [c["check"] for c in row["checks"]] == ["random_weights", "faithfulness", "inside"]
        assert all(c["sentence"].endswith(".") for c in row["checks"])
        assert row["passed"] == all(c["passed"] is not False for c in row["checks"])
        assert 0.95 <= row["decided"] <= 1.001 and row["seconds"] > 0 and row["effort"]["orders"] == 19
    grad_cam = next(row for row in document["explanations"] if row["method"] == "grad_cam")
    assert grad_cam["layer"] == "encoder.1"
    integrated = next(row for row in document["explanations"] if row["method"] == "integrated_gradients")
    assert integrated["completeness_error"] < 0.2


def test_feature_maps_patches_record_and_report_are_there(done):
    out, found, progress = done
    features = found["features"][0]
    assert features["layer"] == "encoder.1" and features["total"] == 8
    given = read_image(out.parent / "s1.nii.gz").grid
    assert all(read_image(out / name).grid.matches(given) for name in features["files"])
    assert found["patches"]["patches"][0]["case"] == "s1" and found["patches"]["unit"] == 3
    record = Record.read(out / "record.json")
    assert record.verb == "explain" and record.seed == 0 and record.options["layer"] == "encoder.1"
    assert set(record.outputs) == {
        str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.name not in ("record.json", "report.html")
    }
    page = (out / "report.html").read_text()
    assert "Why the model said so" in page and "Integrated gradients" in page
    assert any("passes through the network, about" in text for text in progress.notes)


def test_the_same_seed_gives_the_same_maps(tmp_path):
    model, image = mask_model(tmp_path / "model"), scan(tmp_path / "s1.nii.gz")
    runs = [
        explain(model, image, tmp_path / name, methods=["grad_cam"], label="core", seed=4)["explanations"][0]
        for name in ("a", "b")
    ]
    assert str(runs[0]["checks"]) == str(runs[1]["checks"])
    maps = [read_image(tmp_path / name / runs[0]["file"]).array for name in ("a", "b")]
    assert np.array_equal(*maps)


def test_regions_whole_labels_and_several_channels(tmp_path):
    """Gradients tell channels apart: their shares are given."""
    model = mask_model(tmp_path / "model", channels=("flair", "t1"), regions={"tumour": (1, 2)})
    files = [scan(tmp_path / "s1_flair.nii.gz", 0), scan(tmp_path / "s1_t1.nii.gz", 1)]
    found = explain(model, files, tmp_path / "out", methods=["gradient_input"], whole=True)
    (row,) = found["explanations"]
    assert row["target"]["kind"] == "label" and row["target"]["label"] == "tumour"
    assert sum(row["channels"].values()) == pytest.approx(1) and set(row["channels"]) == {"flair", "t1"}
    assert row["file"] == "s1_tumour_gradient_input.nii.gz"


def test_the_cost_can_be_asked_for_without_anything_being_written(tmp_path):
    model, image = mask_model(tmp_path / "model"), scan(tmp_path / "s1.nii.gz")
    before = sorted(tmp_path.rglob("*"))
    found = explain(model, image, None, methods=["grad_cam"])
    assert found["seconds"] > 0 and found["cases"][0]["passes"] > 100
    assert [(t["label"], t["lesion"]) for t in found["cases"][0]["targets"]] == [("core", 1), ("oedema", 1)]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"label": "tumor"}, UsageError, "unknown label 'tumor'"),
        ({"lesion": 999}, UsageError, r"--lesion 999: case s1 has \d+ lesions? of '\w+', the largest is number 1"),
        ({"lesion": 0}, UsageError, "--lesion 0"),
        ({"lesion": 1, "whole": True}, UsageError, "--whole was given with --lesion 1"),
        ({"methods": ["lime"]}, UsageError, "unknown method 'lime'"),
        ({"layer": "conv9"}, UsageError, "unknown layer 'conv9'"),
        ({"unit": "encoder.1"}, UsageError, "LAYER:NUMBER is needed"),
        ({"unit": "encoder.1:99", "methods": ["grad_cam"]}, UsageError, "the layer has 8 units, 0 to 7 are needed"),
        ({"plane": 3}, UsageError, "--slice 3: the model does not look at single slices"),
        ({"budget_s": 0.001}, TimeLimitError, r"--budget: 0\.0 s; about .* needed"),
        ({"cohort": "images"}, UsageError, "--cohort images: .* no --unit was given"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_leaves_nothing(tmp_path, options, error, sentence):
    model, image = mask_model(tmp_path / "model"), scan(tmp_path / "s1.nii.gz")
    with pytest.raises(error, match=sentence):
        explain(model, image, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["out", None])
def test_a_time_that_cannot_suffice_is_refused_before_a_case_is_read(tmp_path, monkeypatch, out):
    monkeypatch.setattr(verb, "look_at", lambda *_: pytest.fail("the case was read"))
    model, image = mask_model(tmp_path / "model"), scan(tmp_path / "s1.nii.gz")
    with pytest.raises(
        TimeLimitError, match=r"--budget: 0\.0 s; about .* or more are needed for grad_cam with their checks"
    ):
        explain(model, image, out and tmp_path / out, methods=["grad_cam"], budget_s=0.001)


@pytest.mark.parametrize("at_once", [1, 8])
def test_a_prediction_that_will_take_too_long_is_stopped_as_soon_as_that_is_known(monkeypatch, at_once):
    """Of 100 s 50 are left, and the methods with their checks take 20 s."""
    now = [1050.0]
    monkeypatch.setattr("striate.workflows.explain_time.time", SimpleNamespace(monotonic=lambda: now[0]))
    pass_s = 20 * SHARE / LADDER[0].passes(["grad_cam"], 1.0)

    def predict(window_s):
        tell = Allowance(("grad_cam",), 100.0, 1000.0, 1, pass_s).telling()
        now[0] = 1055.0  # the first is slow, which says nothing of the others
        for group in range(1, 101):
            tell(group * at_once, 100 * at_once)
            now[0] += window_s

    predict(0.25)
    with pytest.raises(TimeLimitError, match="--budget: 1 min 40 s; about 1 min 55 s or more are needed"):
        predict(0.4)
    assert now[0] == pytest.approx(1055.4)  # at the second call: 55 s spent, 39 s to predict, 20 s to explain


def test_windows_and_cases_to_explain_are_counted(monkeypatch):
    monkeypatch.setattr("striate.workflows.explain_time.time", SimpleNamespace(monotonic=lambda: 0.0))
    pass_s = 20 * SHARE / LADDER[0].passes(["grad_cam"], 1.0)
    allowance = Allowance(("grad_cam",), 100.0, 0.0, 2, pass_s)
    allowance.refuse(windows=2)
    with pytest.raises(TimeLimitError, match="about 2 min 00 s or more"):
        allowance.refuse(windows=3)


def test_cases_larger_than_the_memory_are_told_before_one_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "look_at", lambda *_: pytest.fail("a case was read"))
    monkeypatch.setattr("striate.inference.memory.memory_available_bytes", lambda: 15_000)
    model = mask_model(tmp_path / "model")
    with pytest.raises(MemoryLimitError, match=r"^2 cases \(a, b\): images of 20 kB; 15 kB of memory are free"):
        explain(model, [scan(tmp_path / "a.nii.gz"), scan(tmp_path / "b.nii.gz")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cases_that_were_left_out_take_no_time(tmp_path, monkeypatch):
    seen = list[Allowance]()

    def look_at(opened, case, ask, allowance):
        seen.append(allowance)
        raise DataError(f"{case.name} is empty.")

    monkeypatch.setattr(verb, "look_at", look_at)
    model = mask_model(tmp_path / "model")
    with pytest.raises(DataError, match="none of 2 cases can be explained"):
        explain(model, [scan(tmp_path / "a.nii.gz"), scan(tmp_path / "b.nii.gz")], tmp_path / "out", budget_s=600)
    assert [allowance.cases for allowance in seen] == [2, 1]


def test_wrong_channels_are_refused(tmp_path):
    model = mask_model(tmp_path / "model", channels=("flair", "t1"))
    with pytest.raises(ModelError, match="channels"):
        explain(model, [scan(tmp_path / "a.nii.gz"), scan(tmp_path / "b.nii.gz"), scan(tmp_path / "c.nii.gz")], None)


def test_all_cases_that_do_not_fit_are_told_before_any_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(verb.Opened, "of", lambda *_: pytest.fail("work was begun"))
    model, folder = mask_model(tmp_path / "model"), tmp_path / "scans"
    names = [scan(folder / f"{name}.nii.gz").name for name in ("a", "b", "c")]
    for name in names[::2]:
        (folder / name).write_text("text")
    with pytest.raises(DataError) as caught:
        explain(model, folder, tmp_path / "out")
    first, *lines, last = str(caught.value).splitlines()
    assert first == "2 of 3 cases cannot be explained, so nothing was:"
    assert [line.strip().split(":")[0] for line in lines] == [str(folder / name) for name in names[::2]]
    assert last == f"  striate check {folder} shows every problem of files."
    fine = folder / names[1]
    with pytest.raises(DataError, match=r"^2 of 3 cases cannot be explained") as caught:
        explain(model, fine, tmp_path / "out", unit="encoder.1:0", cohort=folder)
    assert len(str(caught.value).splitlines()) == 3
    with pytest.raises(DataError) as single:
        explain(model, [fine, folder / names[0]], tmp_path / "out")
    assert str(single.value) == lines[0].strip() and not (tmp_path / "out").exists()


def test_an_empty_prediction_is_refused(tmp_path):
    """A model that says background everywhere has nothing to be explained."""
    made = mask_model(tmp_path / "model")
    weights = {name: torch.zeros_like(tensor) for name, tensor in made.network().state_dict().items()}
    weights[[name for name in weights if name.endswith("bias")][-1]][0] = 5
    model = Model.save(tmp_path / "empty", made.plan, weights, {})
    with pytest.raises(DataError, match=r"case s1: no voxel of core, oedema was predicted.*Try another --label"):
        explain(model, scan(tmp_path / "s1.nii.gz"), tmp_path / "out")
    scan(tmp_path / "s2.nii.gz")
    with pytest.raises(DataError, match="none of 2 cases can be explained"):
        explain(model, [tmp_path / "s1.nii.gz", tmp_path / "s2.nii.gz"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_case_that_cannot_be_explained_is_left_out_of_many(tmp_path):
    """The lesion asked for is in both; one file is broken."""
    model, first = mask_model(tmp_path / "model"), scan(tmp_path / "s1.nii.gz")
    broken = tmp_path / "s2.nii.gz"
    broken.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    progress = Notes()
    found = explain(model, [first, broken], tmp_path / "out", methods=["grad_cam"], label="core", progress=progress)
    assert {row["case"] for row in found["explanations"]} == {"s1"}
    assert any("s2" in text and text.endswith("The case is left out.") for text in progress.warnings)


def whole_model(folder, kind, name, options, **task) -> Model:
    size = (28, 28)
    plan = Plan(
        task=Task(kind=kind, channels=("image",), **task),
        preparation=Preparation(spacing_mm=(1, 1), normalisation=("rescale",), intensities=(None,), crop=False),
        network=NetworkChoice(name=name, spatial_dims=2, options=networks.sized(name, size, options)),
        training=Training(
            patch=size, batch=2, steps=2, loss="squared" if kind == "reconstruction" else "cross_entropy"
        ),
        inference=Inference(patch=size, overlap=0),
    )
    torch.manual_seed(0)
    outputs = plan.task.outputs.out_channels
    network = networks.create(name, spatial_dims=2, out_channels=outputs, **plan.network.options)
    return Model.save(folder, plan, network.state_dict(), {})


def picture(path):
    array = np.random.default_rng(0).integers(0, 255, (1, 30, 26)).astype(np.uint8)
    write_image(path, Image(array, np.eye(4)))
    return path


def test_classes_of_pictures_are_explained(tmp_path):
    model = whole_model(tmp_path / "model", "classification", "lenet5_modern", {}, classes=("left", "right"))
    image = picture(tmp_path / "p1.png")
    found = explain(model, image, tmp_path / "out", label="right")
    assert {row["method"] for row in found["explanations"]} == set(METHODS)
    for row in found["explanations"]:
        assert row["target"]["kind"] == "class" and 0 < row["target"]["probability"] < 1
        assert next(c for c in row["checks"] if c["check"] == "inside")["passed"] is None
        assert read_image(tmp_path / "out" / row["file"]).grid.shape == (30, 26)
    assert explain(model, image, None, methods=["gradient_input"], budget_s=3600)["seconds"] > 0
    with pytest.raises(UsageError, match="--lesion 1: the model tells classes"):
        explain(model, image, None, lesion=1)
    with pytest.raises(UsageError, match="unknown class 'middle'"):
        explain(model, image, None, label="middle")


def test_a_network_without_maps_has_no_grad_cam(tmp_path):
    model = whole_model(tmp_path / "model", "classification", "mlp", {"hidden": [4]}, classes=("left", "right"))
    with pytest.raises(UsageError, match="leave grad_cam out of --method"):
        explain(model, picture(tmp_path / "p1.png"), tmp_path / "out", methods=["grad_cam"])
    assert not (tmp_path / "out").exists()


def test_models_of_another_kind_are_refused(tmp_path):
    model = whole_model(tmp_path / "model", "reconstruction", "autoencoder", {"features": [4, 8]})
    with pytest.raises(ModelError, match="model: it does reconstruction; explain works for masks and for classes"):
        explain(model, picture(tmp_path / "p1.png"), tmp_path / "out")


def test_slices_of_scans_are_explained(tmp_path):
    """The likeliest slice is taken, or the one asked for; the map lies in that slice alone."""
    size = (16, 16)
    plan = Plan(
        task=Task(kind="classification", channels=("flair",), label_names={1: "lesion"}, regions={"lesion": (1,)}, unit="slice",
                  classes=("without", "lesion"), contains="lesion"),
        preparation=Preparation(spacing_mm=(1.0,) * 3, normalisation=("zscore_nonzero",), intensities=(None,)),
        network=NetworkChoice(name="lenet5_modern", spatial_dims=2, options=networks.sized("lenet5_modern", size, {})),
        training=Training(patch=(*size, 1), batch=1, steps=1),
        inference=Inference(patch=(*size, 1), overlap=0),
    )  # fmt: skip
    torch.manual_seed(0)
    network = networks.create("lenet5_modern", spatial_dims=2, in_channels=1, out_channels=2, **plan.network.options)
    model = Model.save(tmp_path / "model", plan, network.state_dict(), {})
    image = scan(tmp_path / "s1.nii.gz", affine=np.diag([-1.0, 1, 1, 1]))
    (row,) = explain(model, image, tmp_path / "out", methods=["gradient_input"], plane=5)["explanations"]
    assert row["target"]["slice"] == 5 and row["target"]["label"] == "lesion"
    said = read_image(tmp_path / "out" / row["file"]).array[0]
    assert np.flatnonzero(np.abs(said).sum(axis=(0, 1))).tolist() == [5]
    assert explain(model, image, None, methods=["gradient_input"], plane=5, budget_s=3600)["seconds"] > 0
    with pytest.raises(UsageError, match="--slice 99: of case s1 the model looks at slices 1 to 12"):
        explain(model, image, None, plane=99)
