"""A cascade of nnU-Net: imported with its first stage, whose mask the second sees; how near both come is in test_exact_nnunet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from nnunet_folder import write_cascade, write_results
from test_exact_nnunet import write_case

from striate.cli.main import run
from striate.core.errors import FormatError, ModelError, PlanError, UsageError
from striate.core.image import LabelMap
from striate.core.progress import Silent
from striate.data.cohort import Cohort
from striate.data.prepare import prepare, prepare_images
from striate.inference.cascade import open_first, prepare_stage, shares_of_first
from striate.inference.engines.choose import macs_of
from striate.inference.engines.ensemble import open_ensemble
from striate.inference.exact import predict_exact
from striate.inference.memory import needed_bytes
from striate.inference.predict import predict_case
from striate.io.read import read_channels
from striate.io.write import write_label
from striate.model.model import Model
from striate.planning.cost import network_cost
from striate.workflows.calibrate import calibrate
from striate.workflows.export import export
from striate.workflows.import_nnunet import import_nnunet
from striate.workflows.predict import predict
from striate.workflows.refuse import refuse_other_data

LOW, HIGH = "nnUNetTrainer__nnUNetPlans__3d_lowres", "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"


@pytest.fixture(scope="module")
def cascade(tmp_path_factory) -> Model:
    folder = tmp_path_factory.mktemp("cascade")
    return import_nnunet(write_cascade(folder, folds=("0", "1"), bias=-0.4), folder / "model")


def test_both_stages_are_in_the_model(cascade: Model) -> None:
    assert cascade.plan.preparation.previous_labels == (1, 2)  # 'ignore' is never predicted, and never seen
    assert cascade.plan.in_channels == 4
    assert cascade.channels == ("FLAIR", "CT")
    assert cascade.previous.plan.preparation.spacing_mm == (2.2, 1.7, 3.1)
    assert cascade.previous.plan.preparation.previous_labels == ()
    assert cascade.previous.previous is None and cascade.previous is cascade.previous
    assert cascade.facts["nnunet"]["configuration"] == "3d_cascade_fullres"
    for stage in (cascade, cascade.previous):
        assert stage.facts["folds"] == ["0", "1"]
        assert [p.name for p in (stage.folder / "snapshots").iterdir()] == ["fold_1.safetensors"]
    assert "Second stage of a cascade" in (cascade.folder / "card.md").read_text()


def test_labels_of_regions_are_seen_each(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    model = import_nnunet(write_cascade(tmp_path, labels=labels, order=[1, 2, 3], masks=3), tmp_path / "model")
    assert model.plan.preparation.previous_labels == (1, 2, 3)


def test_one_fold_is_taken_of_both_stages(tmp_path: Path) -> None:
    results = write_cascade(tmp_path, folds=("0", "1"))
    model = import_nnunet(results, tmp_path / "model", fold="1")
    assert [stage.facts["folds"] for stage in (model.previous, model)] == [["1"], ["1"]]
    shutil.rmtree(tmp_path / LOW / "fold_1")
    with pytest.raises(UsageError, match=rf"--fold 1: .*{LOW} has no fold_1"):
        import_nnunet(results, tmp_path / "other", fold="1")


def test_the_first_stage_is_needed_beside_it(tmp_path: Path) -> None:
    results = write_cascade(tmp_path)
    (tmp_path / LOW / "fold_0" / "checkpoint_final.pth").unlink()
    with pytest.raises(FormatError, match=rf"{LOW}: no fold has checkpoint_final.pth"):
        import_nnunet(results, tmp_path / "model")
    shutil.rmtree(tmp_path / LOW)
    with pytest.raises(FormatError, match=rf"sees the masks of 3d_lowres, and .*{LOW} is not there.*side by side"):
        import_nnunet(results, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_stages_of_other_labels_are_no_cascade(tmp_path: Path) -> None:
    results = write_cascade(tmp_path)
    document = json.loads((tmp_path / LOW / "dataset.json").read_text())
    document["labels"] = {"background": 0, "edema": 1, "necrosis": 2}
    (tmp_path / LOW / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"draws edema, necrosis from FLAIR, CT.*first stage"):
        import_nnunet(results, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("what", ["three stages", "own resampling", "other weights"])
def test_cascades_that_cannot_be_followed(what: str, tmp_path: Path) -> None:
    changes = {"resampling_fn_seg": "own"} if what == "own resampling" else {}
    results = write_cascade(tmp_path, masks=1 if what == "other weights" else 2, **changes)
    if what == "three stages":
        for folder in (tmp_path / LOW, results):
            document = json.loads((folder / "plans.json").read_text())
            document["configurations"]["3d_lowres"]["previous_stage"] = "3d_fullres"
            (folder / "plans.json").write_text(json.dumps(document))
    wanted = {"three stages": "two stages", "own resampling": "resampling_fn_seg is own"}.get(what, "tensor")
    with pytest.raises((FormatError, PlanError, ModelError), match=wanted):
        import_nnunet(results, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_models_without_a_cascade_do_not_look_at_how_masks_are_resampled(tmp_path: Path) -> None:
    assert import_nnunet(write_results(tmp_path, resampling_fn_seg="own"), tmp_path / "model").previous is None


def test_a_model_without_its_first_stage_is_refused(cascade: Model, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(cascade.folder, folder)
    (folder / "previous" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="previous"):
        Model.open(folder)
    shutil.rmtree(folder / "previous")
    with pytest.raises(ModelError, match=r"previous: there is no such folder"):
        Model.open(folder)


@pytest.mark.parametrize("lost", ["previous", "previous/weights.safetensors"])
def test_it_is_told_that_the_first_stage_is_missing(cascade: Model, tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(cascade.folder, folder)
    shutil.rmtree(folder / lost) if lost == "previous" else (folder / lost).unlink()
    with pytest.raises(
        ModelError, match=r"previous: .*first stage of the cascade is needed.*Import the cascade again\.$"
    ):
        Model.open(folder)


@pytest.mark.parametrize("labels", [(1, 7), (2, 1)])
def test_labels_that_the_first_stage_does_not_draw_are_refused(
    cascade: Model, tmp_path: Path, labels: tuple[int, ...]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(cascade.folder, folder)
    plan = cascade.plan
    plan.changed(preparation=plan.preparation.changed(previous_labels=labels)).write(folder / "plan.yaml")
    with pytest.raises(PlanError, match=r"previous_labels \[.*the first stage draws are needed, rising: 1, 2\."):
        Model.open(folder)


def test_the_second_stage_sees_the_mask_of_the_first(cascade: Model, tmp_path: Path) -> None:
    case = write_case(tmp_path)
    seen = prepare_stage(cascade, case, mirror=True, exact=True).array
    images = list(read_channels(case).values())
    mask = predict_exact(cascade.previous, case).label
    assert set(np.unique(mask.array)) == {0, 1, 2}
    again = prepare_images(images, cascade.plan.preparation, "a", previous=mask).array
    np.testing.assert_array_equal(seen, again)
    assert set(np.unique(seen[2:])) == {0, 1}
    assert not (seen[2] * seen[3]).any()
    nothing = LabelMap(np.zeros_like(mask.array), mask.affine)
    blind = prepare_images(images, cascade.plan.preparation, "a", previous=nothing)
    assert not blind.array[2:].any()
    with_it, without = (predict_exact(cascade, case, prepared=p).label.array for p in (None, blind))
    assert (with_it != without).sum() > 100


def test_voxels_of_the_mask_count_as_inside(cascade: Model, tmp_path: Path) -> None:
    """nnU-Net's seg ≥ 0: what the first stage draws in the zeros around a head is normalised with the head."""
    case = write_case(tmp_path)
    images = list(read_channels(case).values())
    images = [images[0], images[0]]
    drawn = np.zeros(images[0].grid.shape, dtype=np.uint8)
    first = prepare_images(images, cascade.plan.preparation, "a", previous=LabelMap(drawn, images[0].affine))
    drawn[first.crop] = 1
    second = prepare_images(images, cascade.plan.preparation, "a", previous=LabelMap(drawn, images[0].affine))
    values = images[0].array[0][first.crop]
    assert first.array[0].min() != pytest.approx(second.array[0].min(), abs=0.01)
    if second.grid.shape == values.shape:
        np.testing.assert_allclose(second.array[0], (values - values.mean()) / values.std(), atol=1e-4)


def test_images_alone_are_not_enough(cascade: Model, tmp_path: Path) -> None:
    case = write_case(tmp_path)
    with pytest.raises(ModelError, match=r"case a: images alone.*second stage of a cascade"):
        prepare(case, cascade.plan.preparation)
    with pytest.raises(ModelError, match="second stage of a cascade"):
        predict_case(cascade.plan, case, network=cascade.network())


def test_the_usual_way_runs_both_stages(cascade: Model, tmp_path: Path) -> None:
    case = write_case(tmp_path)
    (found,) = predict(cascade, list(case.channels.values()), tmp_path / "out")
    mask = predict_case(cascade.previous, case).label
    seen = prepare_images(list(read_channels(case).values()), cascade.plan.preparation, "a", previous=mask)
    by_hand = predict_case(cascade.plan, case, network=cascade.network(), prepared=seen).label
    np.testing.assert_array_equal(found.label.array, by_hand.array)
    assert set(np.unique(by_hand.array)) == {0, 1, 2}
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["facts"]["first_stage"]["weights_sha256"] == cascade.previous.facts["weights_sha256"]
    assert record["facts"]["first_stage"]["engine"]["name"] == "torch"


class Bars(Silent):
    """Keeps what bars are told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, object]] = []

    def bar(self, title: str, total: float | None) -> Bars:
        return self

    def update(self, done: float, **shown: object) -> None:
        self.told.append((done, shown.get("case")))

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


@pytest.mark.parametrize("more", [{}, {"exact": True}])
def test_the_bar_runs_through_both_stages(cascade: Model, tmp_path: Path, more: dict[str, bool]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    cases = {name: write_case(tmp_path / name).channels for name in ("a", "b")}
    rows = ["case,subject,FLAIR,CT", *(f"{n},{n},{c['FLAIR']},{c['CT']}" for n, c in cases.items())]
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    bars = Bars()
    predict(cascade, tmp_path / "cohort.csv", tmp_path / "out", progress=bars, **more)
    done = [value for value, _ in bars.told]
    assert done == sorted(done) and done[-1] == 2
    grid = next(iter(read_channels(write_case(tmp_path)).values())).grid
    share = shares_of_first(cascade, {"P1": grid})["P1"]
    assert share == pytest.approx(
        macs_of(cascade.previous, [grid]) / sum(macs_of(m, [grid]) for m in (cascade.previous, cascade))
    )
    assert 0 < share < 1 and shares_of_first(cascade.previous, {"P1": grid}) == {"P1": 0}
    for start, name in enumerate(("a", "b")):
        inner = [value - start for value, case in bars.told if case == name]
        assert any(0 < value < share - 1e-9 for value in inner), "windows of the first stage"
        assert any(abs(value - share) < 1e-9 for value in inner), "its end"
        assert any(share + 1e-9 < value < 1 - 1e-9 for value in inner), "windows of the second"


def test_folds_of_both_stages_are_averaged_where_asked_for(cascade: Model, tmp_path: Path) -> None:
    case = write_case(tmp_path)
    files = list(case.channels.values())
    (found,) = predict(cascade, files, tmp_path / "out", uncertainty="ensemble")
    mask = predict_case(cascade.previous, case, network=open_ensemble([cascade.previous])).label
    seen = prepare_images(list(read_channels(case).values()), cascade.plan.preparation, "a", previous=mask)
    by_hand = predict_case(cascade.plan, case, network=open_ensemble([cascade]), prepared=seen).label
    np.testing.assert_array_equal(found.label.array, by_hand.array)
    assert open_first(cascade, "ensemble").name == "ensemble"
    assert open_first(cascade, "none").name == "torch"
    with pytest.raises(UsageError, match=r"--ensemble MODEL.*is a cascade"):
        predict(cascade, files, tmp_path / "other", ensemble=[cascade.folder])


def test_the_command_imports_and_predicts(tmp_path: Path, capsys) -> None:
    results, model = write_cascade(tmp_path, bias=-0.4), tmp_path / "model"
    assert run(["import", "nnunet", str(results), "--out", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["first_stage"] == f"nnU-Net v2, {LOW}"
    case = write_case(tmp_path)
    files = [str(path) for path in case.channels.values()]
    for out, more in (("usual", []), ("exact", ["--exact"])):
        assert run(["predict", str(model), *files, "--out", str(tmp_path / out), *more]) == 0
        assert len(list((tmp_path / out).glob("*.nii.gz"))) == 1
    record = json.loads((tmp_path / "exact" / "record.json").read_text())
    assert record["facts"]["first_stage"]["weights_sha256"] == Model.open(model).previous.facts["weights_sha256"]


def write_cohort(model: Model, folder: Path) -> Path:
    """Write two cases with the masks that `model` draws."""
    rows = ["case,subject,FLAIR,CT,label"]
    for name in ("a", "b"):
        (folder / name).mkdir()
        case = write_case(folder / name)
        drawn = predict_case(model, case).label
        write_label(folder / name / "mask.nii.gz", drawn)
        rows.append(",".join([name, name, *map(str, case.channels.values()), str(folder / name / "mask.nii.gz")]))
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder / "cohort.csv"


def test_the_first_stage_is_audited_by_itself(cascade: Model, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("striate.workflows.audit_dear.LEAST_S", 1e9)  # no part begins that looks at the network itself
    cohort = write_cohort(cascade.previous, tmp_path)
    assert (
        run(["audit", str(cascade.folder / "previous"), str(cohort), "--out", str(tmp_path / "out"), "--budget", "20s"])
        == 0
    )
    document = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert document["model"]["weights_sha256"] == cascade.previous.facts["weights_sha256"]
    assert document["numbers"]["dice"]["value"] == 1 and document["numbers"]["dice"]["n_subjects"] == 2


def test_an_imported_plan_can_be_trained_anew_whatever_capitals_its_channels_have(
    cascade: Model, tmp_path: Path
) -> None:
    opened = Cohort.open(write_cohort(cascade.previous, tmp_path))
    assert (opened.channels, cascade.channels) == (("flair", "ct"), ("FLAIR", "CT"))
    refuse_other_data(cascade.previous.plan, cascade.previous.folder / "plan.yaml", opened)


def test_calibration_keeps_both_stages_and_predicts_as_ever(cascade: Model, tmp_path: Path) -> None:
    done = calibrate(cascade, write_cohort(cascade, tmp_path), tmp_path / "out")
    assert Model.open(tmp_path / "out").previous.facts["folds"] == ["0", "1"]
    dice = [value for measures in done.evaluation.to_dict()["summary"].values() for value in [measures["dice"]["mean"]]]
    assert dice == [1.0, 1.0]


@pytest.mark.parametrize(
    ("command", "code", "wanted"),
    [
        (["audit", "MODEL", "COHORT", "--out", "OUT"], 2, "is a cascade.*Audit the first stage.*previous"),
        (["train", "COHORT", "--plan", "PLAN", "--out", "OUT", "--steps", "1"], 4, "plan of a cascade's second stage"),
    ],
)
def test_what_does_not_know_cascades_says_so(command, code, wanted, cascade: Model, tmp_path: Path, capsys) -> None:
    import re

    case = write_case(tmp_path)
    table = tmp_path / "cohort.csv"
    paths = list(case.channels.values())
    rows = "".join(f"{n},{n},{paths[0]},{paths[1]},{paths[0]}\n" for n in ("a", "b", "c"))
    table.write_text(f"case,subject,FLAIR,CT,label\n{rows}")
    given = {"MODEL": [str(cascade.folder)], "FILES": [str(p) for p in paths], "COHORT": [str(table)],
             "PLAN": [str(cascade.folder / "plan.yaml")], "OUT": [str(tmp_path / "out")]}  # fmt: skip
    assert run([word for part in command for word in given.get(part, [part])]) == code
    assert re.search(wanted, " ".join(capsys.readouterr().err.split()))


def test_memory_and_cost_count_the_mask(cascade: Model, tmp_path: Path) -> None:
    grid = next(iter(read_channels(write_case(tmp_path)).values())).grid
    alone = cascade.plan.changed(preparation=cascade.plan.preparation.changed(previous_labels=()))
    with_mask, without = (needed_bytes(plan, grid, 2, cascade.facts) for plan in (cascade.plan, alone))
    assert sum(with_mask.values()) >= sum(without.values()) + 2 * 4 * 16 * 12 * 7  # two labels, float32
    macs = network_cost(alone.task, alone.network, alone.inference.patch).macs / np.prod(alone.inference.patch)
    assert cascade.facts["macs_per_voxel"] > macs


def test_an_exported_cascade_predicts_both_stages_without_weights(cascade: Model, tmp_path: Path) -> None:
    """In single precision, as ONNX Runtime computes, so that few voxels of noise may fall otherwise."""
    case = write_case(tmp_path)
    export(cascade, tmp_path / "out", kind="onnx")
    exported = Model.open(tmp_path / "out")
    assert exported.exported and exported.previous is not None and exported.previous.exported
    images = list(case.channels.values())
    masks = [
        predict(model, images, tmp_path / name, engine=engine)[0].label.array
        for model, name, engine in ((exported, "a", "auto"), (cascade, "b", "torch"))
    ]
    assert (masks[0] == masks[1]).mean() > 0.9 and masks[0].any()
    first = json.loads((tmp_path / "a" / "record.json").read_text())["facts"]["first_stage"]
    assert first["engine"]["name"] == "onnx"
