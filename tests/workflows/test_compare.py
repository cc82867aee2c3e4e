"""`compare`: what is run and what is refused, going on after an interruption, and what is written."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from striate.cli.main import run as command
from striate.comparing.row import training_flops
from striate.comparing.trial import trials
from striate.core.errors import DataError, Interrupted, ModelError, TimeLimitError, UsageError
from striate.core.progress import Silent
from striate.data.checks.run import run_checks
from striate.data.split import Split
from striate.planning.plan import Plan
from striate.workflows import checked, compare_runs
from striate.workflows.compare import compare

TWO = ["mlp", "lenet5_modern"]


class Listener(Silent):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Twelve subjects with two pictures of 20 × 20 pixels each: with a bright square, or without."""
    folder = tmp_path_factory.mktemp("pictures") / "cohort"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["subject,image,class"]
    for subject in range(12):
        for n in range(2):
            array = rng.normal(80, 20, (20, 20))
            if subject % 2:
                array[6:14, 6:14] += 100
            name = f"s{subject}_{n}.png"
            Image.fromarray(array.clip(0, 255).astype(np.uint8)).save(folder / name)
            rows.append(f"s{subject},{name},{'square' if subject % 2 else 'nothing'}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def compared(pictures, tmp_path_factory):
    """A comparison that was stopped in its second run and gone on with."""
    out = tmp_path_factory.mktemp("compared") / "out"
    real, calls = compare_runs.train, []

    def stopping(*args, **options):
        calls.append(options)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **options)

    listener = Listener()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_runs, "train", stopping)
        with pytest.raises(Interrupted, match=rf"stopped in run 2 of 4 .*striate compare --out {out} --resume"):
            compare(pictures, TWO, out=out, steps=6, fractions=[0.5, 1], progress=listener)
    calls.clear()
    return compare(out=out, resume=True, progress=listener), listener


def test_it_goes_on_where_it_stopped(compared):
    done, listener = compared
    assert listener.notes.count("1 of 4 runs is finished already.") == 1
    assert [t.name for t in done.runs] == [
        "mlp_data1_seed0", "lenet5_modern_data1_seed0", "mlp_data0.5_seed0", "lenet5_modern_data0.5_seed0",
    ]  # fmt: skip
    assert done.failed == {}
    assert all((t.folder(done.folder) / "report.html").exists() for t in done.runs)
    assert not list(done.folder.glob("runs/*/cache")) + list(done.folder.glob("runs/*/checkpoint*"))


def test_a_run_that_was_begun_is_gone_on_with(pictures, tmp_path, monkeypatch):
    real = compare_runs.train
    seen = []

    def told(*args, **options):
        seen.append((args, options))
        return real(*args, **options)

    from striate.training import loop

    monkeypatch.setattr(loop.losses, "create", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(Interrupted):
        compare(pictures, ["mlp"], out=tmp_path / "out", steps=2)
    spent = json.loads((tmp_path / "out/runs/mlp_data1_seed0/cost.json").read_text())["seconds"]
    monkeypatch.undo()
    monkeypatch.setattr(compare_runs, "train", told)
    done = compare(pictures, ["mlp"], out=tmp_path / "out", resume=True)
    assert [options["resume"].name for _, options in seen] == ["mlp_data1_seed0"]
    assert done.result["runs"][0]["seconds"] > spent


@pytest.mark.parametrize("killed_at", ["cost", "probe", "removal"])
def test_what_a_kill_left_of_a_trained_run_is_done_without_training_again(pictures, tmp_path, monkeypatch, killed_at):
    out = tmp_path / "out"
    run = out / "runs" / "mlp_data1_seed0"

    class Killed(BaseException):
        """Ends the process: nothing after it runs."""

    def kill(*_, **__):
        raise Killed

    from striate.workflows import compare_probe

    with monkeypatch.context() as patch:
        home, name = {
            "cost": (compare_runs, "_spend"), "probe": (compare_probe, "probe"), "removal": (compare_runs.shutil, "rmtree"),
        }[killed_at]  # fmt: skip
        real = getattr(home, name)
        patch.setattr(home, name, lambda *a, **k: kill() if (run / "record.json").exists() else real(*a, **k))
        with pytest.raises(Killed):
            compare(pictures, ["mlp"], out=out, steps=2, probe="invariance")
    assert (run / "record.json").exists() and (run / "cache").exists()
    monkeypatch.setattr(compare_runs, "train", kill)
    done = compare(out=out, resume=True)
    assert done.result["runs"][0]["seconds"] > 0 and "mlp" in done.result["invariance"]
    assert done.result["runs"][0]["kwh_source"].startswith("estimate: seconds") == (killed_at == "cost")
    assert not (run / "cache").exists()
    compare(out=out, resume=True)  # nothing is left to do


def test_the_cohort_is_checked_once_for_all_runs(pictures, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(checked, "run_checks", lambda cohort, progress: read.append(cohort.name) or run_checks(cohort))
    listener = Listener()
    done = compare(pictures, TWO, out=tmp_path / "out", steps=2, progress=listener)
    assert len(read) == 1 and len(done.runs) == 2 and not done.failed
    check = (done.folder / "check.json").read_text()
    assert {(run / "check.json").read_text() for run in (done.folder / "runs").iterdir()} == {check}
    compare(out=done.folder, resume=True)
    assert len(read) == 1


def test_errors_of_the_cohort_are_told_before_any_run(pictures, tmp_path):
    broken = shutil.copytree(pictures, tmp_path / "broken")
    Image.new("L", (20, 20), 80).save(broken / "s3_0.png")
    with pytest.raises(DataError, match=r"1 error must be mended before training:\n  case s3_0"):
        compare(broken, TWO, out=tmp_path / "out", steps=2)
    assert not (tmp_path / "out").exists()


def test_every_network_sees_the_same_subjects_and_shares_are_nested(compared):
    done, _ = compared
    splits = {t.name: Split.read(t.folder(done.folder) / "split.json") for t in done.runs}
    assert splits["mlp_data1_seed0"] == splits["lenet5_modern_data1_seed0"]
    half = splits["mlp_data0.5_seed0"]
    assert half == splits["lenet5_modern_data0.5_seed0"]
    assert set(half.train) < set(splits["mlp_data1_seed0"].train)
    assert half.validation == splits["mlp_data1_seed0"].validation
    options = json.loads((done.folder / "runs/mlp_data0.5_seed0/run.json").read_text())["options"]
    assert (options["fraction"], options["steps"]) == (0.5, 6)


def test_the_table(compared):
    done, _ = compared
    with (done.folder / "compare.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["kind"] for r in rows] == ["network"] * 4 + ["run"] * 4
    one = next(r for r in rows if r["kind"] == "run" and r["run"] == "lenet5_modern_data1_seed0")
    from striate.networks import cost

    counted = cost("lenet5_modern", (20, 20), out_channels=2, training=False)
    assert (int(one["parameters"]), int(one["macs"]), int(one["layers"]), int(one["depth"])) == (
        counted.parameters, counted.macs, 5, 5,
    )  # fmt: skip
    assert (one["training_subjects"], one["training_samples"], one["steps"]) == ("10", "20", "6")
    assert float(one["training_flops_by_operations"]) == 2 * 3 * counted.macs * float(one["batch"]) * 6
    assert float(one["samples_per_parameter"]) == pytest.approx(20 / counted.parameters)
    assert float(one["kwh"]) > 0 and one["kwh_source"]
    assert float(one["peak_memory_bytes"]) > 5e7
    for name in ("accuracy", "balanced_accuracy", "macro_auc"):
        assert 0 <= float(one[name]) <= 1 and f"{name}_low" in one
    evaluation = json.loads((done.folder / "runs" / one["run"] / "validation/evaluation.json").read_text())
    assert float(one["accuracy"]) == evaluation["summary"]["overall"]["accuracy"]["value"]


def test_the_document(compared):
    done, _ = compared
    document = json.loads((done.folder / "compare.json").read_text())
    assert document["asked"]["networks"] == TWO
    assert (document["main"], document["task"], document["run_s"]) == ("balanced_accuracy", "classification", None)
    assert document["missing"] == [] and document["failed"] == {}
    assert [(c["label"], len(c["points"])) for c in document["curves"]] == [("mlp", 2), ("lenet5_modern", 2)]
    assert "cannot be said, because there are 2 different amounts of data" in document["curves"][0]["sentence"]
    assert [(p["first"], p["second"], p["n"]) for p in document["pairs"]] == [("mlp", "lenet5_modern", 4)]
    front = document["doubling"]["macs"]
    assert front[0]["label"] == "lenet5_modern" and front[0]["gain"] is None


def test_the_page(compared):
    done, _ = compared
    page = done.report.read_text()
    for text in (
        "2 networks on cohort",
        "lenet5_modern",
        "What accuracy costs",
        "cannot be said",
        "McNemar",
        "estimate",
    ):
        assert text in page or (text == "estimate" and "RAPL" in page)
    assert "cannot be shown" not in page


def test_going_on_refuses_other_options(compared, pictures):
    done, _ = compared
    with pytest.raises(UsageError, match=r"steps 9: the comparison in .* was begun with 6\."):
        compare(out=done.folder, resume=True, steps=9)
    with pytest.raises(UsageError, match=r"networks mlp,lenet5: .*begun with mlp,lenet5_modern\."):
        compare(pictures, ["mlp", "lenet5"], out=done.folder, resume=True)
    with pytest.raises(DataError, match=r"not empty; .*or go on with it: --resume"):
        compare(pictures, TWO, out=done.folder, steps=6)


def test_a_dry_run_says_how_much_and_runs_nothing(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [
        "compare",
        str(pictures),
        "--networks",
        "mlp,lenet5_modern",
        "--budget",
        "20m",
        "--fractions",
        "0.5,1.0",
    ]
    assert command([*arguments, "--seeds", "2", "--folds", "3", "--out", str(out), "--dry-run"]) == 0
    told = capsys.readouterr().err
    assert "24 runs (2 networks × 2 fractions × 2 seeds × 3 folds), 50 s each, 20 min 00 s in all" in told
    assert "lenet5_modern  20×20" in told
    assert not out.exists()
    assert command([*arguments, "--out", str(out), "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["runs_planned"]) == 4 and document["run_s"] == 300
    assert document["sizes"]["mlp"]["size"] == [20, 20]


def test_a_network_for_larger_images_is_told_with_those_that_take_them(pictures, tmp_path):
    listener = Listener()
    compare(pictures, ["mlp", "lenet5"], out=tmp_path / "out", steps=2, dry_run=True, progress=listener)
    (told,) = [note for note in listener.notes if "are needed" in note]
    assert told.startswith("network lenet5: images of 20×20 voxels; at least 32×32 are needed. They are set into 32×32")
    assert "For classification these take 20×20: " in told and "mlp" in told.split("take 20×20: ")[1]


def test_a_budget_too_small_says_what_would_do(pictures, tmp_path):
    with pytest.raises(
        TimeLimitError,
        match=r"1 min 30 s for 4 runs is 22 s each; at least 30 s .*at least 2 min 00 s or fewer .*\(at most 3 runs fit\)",
    ):
        compare(pictures, TWO, out=tmp_path / "out", budget="90s", seeds=2)
    assert not (tmp_path / "out").exists()


def test_networks_that_do_not_fit_are_refused_with_those_that_do(pictures, tmp_path):
    with pytest.raises(
        UsageError, match=r"(?s)networks unet, conv_lstm do not fit cohort .*These do: .*lenet5.*it does segmentation"
    ):
        compare(pictures, ["mlp", "unet", "conv_lstm"], out=tmp_path / "out", steps=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": ["mlp", "lenet"]}, r"unknown network 'lenet'\. Did you mean 'lenet5'\?"),
        ({"networks": ["mlp", "mlp"]}, r"networks mlp, mlp: at least one is needed, each once"),
        ({"networks": []}, r"networks: none is given; names are needed"),
        ({"fractions": [0.5, 1.5]}, r"fraction 1\.5: at most 1"),
        ({"fractions": [0, 1]}, r"fractions \[0\.0, 1\.0\]: shares above 0"),
        ({"budget": "9m", "steps": 3}, r"budget 9m and steps 3: give one"),
        ({"fold": "1/3", "folds": 3}, r"fold and folds: give one"),
        ({"fractions": 0.5}, r"fractions 0\.5: a list of numbers is needed"),
        ({"fractions": ["half"]}, r"fractions \('half',\): a list of numbers is needed"),
        ({"folds": 1}, r"folds 1: at least 2"),
        ({"fold": "1"}, r"fold '1': K/N is needed"),
        ({"sedes": 3}, r"unknown option 'sedes'\. Did you mean 'seeds'\?"),
        ({"probe": "tilt"}, r"'probe' is 'tilt'"),
    ],
)
def test_what_is_refused(pictures, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        compare(pictures, out=tmp_path / "out", **{"networks": TWO, **options})


def test_a_network_that_fails_leaves_the_others(pictures, tmp_path, monkeypatch):
    real = compare_runs.train

    def failing(*args, **options):
        if options.get("network") == "mlp":
            raise ModelError("the loss is not finite")
        return real(*args, **options)

    monkeypatch.setattr(compare_runs, "train", failing)
    done = compare(pictures, TWO, out=tmp_path / "out", steps=2, progress=Silent())
    assert done.failed == {"mlp_data1_seed0": "the loss is not finite"}
    assert [r["network"] for r in done.result["runs"]] == ["lenet5_modern"]
    assert "mlp_data1_seed0 has no result: the loss is not finite" in done.report.read_text()


def test_segmentation_is_compared_by_dice(tiny_cohort, tmp_path):
    done = compare(tiny_cohort, ["small_unet"], out=tmp_path / "out", steps=1, holdout=["s1", "s2"], dims=2)
    row = done.result["networks"][0]
    assert done.result["main"] == "dice" and 0 <= row["dice"] <= 1
    assert row["validation_subjects"] == 2
    evaluation = json.loads((done.folder / "runs/small_unet_data1_seed0/validation/evaluation.json").read_text())
    assert row["dice"] == pytest.approx(np.mean([c["label_1"]["dice"] for c in evaluation["cases"]]))


def test_fixed_features_are_counted_as_they_are_trained(compared):
    done, _ = compared
    plan = Plan.read(done.folder / "runs/mlp_data1_seed0/plan.yaml")
    fixed = plan.changed(
        network={**plan.network.model_dump(), "name": "scattering", "options": {}},
        training=plan.training.changed(patch=(32, 32)),
        inference=plan.inference.changed(patch=(32, 32)),
    )
    from striate.networks import cost

    layers = {layer.name: layer.macs for layer in cost("scattering", (32, 32), out_channels=2).layers}
    whole, batch = sum(layers.values()), plan.training.batch
    assert training_flops(fixed, 10, 1.0, 7)[0] == 2 * 3 * layers["readout"] * batch * 10 + 2 * whole * 7


def test_runs_come_one_repetition_after_the_other():
    from striate.comparing.asked import Asked

    asked = Asked(cohort="x", networks=("mlp", "hmax"), fractions=(0.5, 1.0), seeds=2, seed=3, folds=2)
    found = trials(asked, {"mlp": ("random", "frozen")})
    assert len(found) == 2 * 2 * 2 * 3
    assert [t.name for t in found[:4]] == [
        "mlp_data1_seed3_fold1of2", "mlp_frozen_data1_seed3_fold1of2", "hmax_data1_seed3_fold1of2",
        "mlp_data0.5_seed3_fold1of2",
    ]  # fmt: skip
    assert len({t.name for t in found}) == len(found)


def test_four_starts_with_an_encoder(compared, pictures, tmp_path):
    import torch

    done, _ = compared
    encoder = done.folder / "runs/lenet5_modern_data1_seed0"
    found = compare(pictures, TWO, out=tmp_path / "out", steps=2, encoder=str(encoder), progress=Silent())
    assert [t.name for t in found.runs] == [
        "mlp_data1_seed0", "lenet5_modern_data1_seed0", "lenet5_modern_transfer_data1_seed0", "lenet5_modern_frozen_data1_seed0",
        "lenet5_modern_random_frozen_data1_seed0",
    ]  # fmt: skip
    from striate.model.model import Model
    from striate.planning.plan import Plan
    from striate.training.loop import initialise

    before, tuned, frozen, kept = (
        Model.open(f).network().state_dict() for f in (encoder, *(t.folder(found.folder) for t in found.runs[2:]))
    )
    drawn = initialise(Plan.read(found.runs[1].folder(found.folder) / "plan.yaml")).state_dict()
    names = list(before)
    same = {name: torch.equal(before[name], frozen[name]) for name in names}
    assert [n for n, kept in same.items() if not kept] == names[-2:]  # weight and bias of the last layer
    assert not torch.equal(before[names[0]], tuned[names[0]])
    assert [n for n in names if not torch.equal(drawn[n], kept[n])] == names[
        -2:
    ]  # the weights that "random" starts from
    labels = {r["label"] for r in found.result["networks"]}
    assert labels >= {f"lenet5_modern ({start})" for start in ("transfer", "frozen", "random, frozen")}
    page = found.report.read_text(encoding="utf-8")
    assert "Random weights" in page and "Only the last layer learns" in page


def test_an_encoder_that_has_seen_validation_subjects_is_refused(compared, pictures, tmp_path):
    """By the content of the files, whatever they are called; also through a model that started from it."""
    import shutil

    from striate.model.model import Model
    from striate.workflows.train import train

    done, _ = compared
    encoder = done.folder / "runs/lenet5_modern_data1_seed0"
    split = Split.read(encoder / "split.json")
    learned, held = sorted({n.split("_")[0] for n in split.train}), sorted({n.split("_")[0] for n in split.validation})
    assert len(Model.open(encoder).facts["training_images"]) == len(split.train) == 20
    again = tmp_path / "cohort"
    shutil.copytree(pictures, again)
    told = rf"it learned from 1 of the 2 validation subjects \({learned[0]}\).*--holdout"
    options = {"network": "lenet5_modern", "steps": 1, "holdout": [learned[0], held[0]]}
    with pytest.raises(DataError, match=told):
        train(again, out=tmp_path / "a", encoder=str(encoder), **options)
    assert not (tmp_path / "a").exists()
    with pytest.raises(DataError, match=r"from 2 of the 4 validation subjects \(s6, s9\)"):  # seed 1 draws others
        compare(again, ["lenet5_modern"], out=tmp_path / "b", steps=1, seeds=4, encoder=str(encoder))
    assert not (tmp_path / "b").exists()
    middle = train(again, out=tmp_path / "c", encoder=str(encoder), **{**options, "holdout": held})
    with pytest.raises(DataError, match=told):
        train(again, out=tmp_path / "d", encoder=str(middle.folder), **options)


def test_an_encoder_that_does_not_say_what_it_has_seen(compared, pictures, tmp_path):
    import shutil

    from striate.workflows.train import train

    done, _ = compared
    old = tmp_path / "old"
    shutil.copytree(done.folder / "runs/lenet5_modern_data1_seed0/model", old)
    facts = json.loads((old / "model.json").read_text())
    del facts["training_images"]
    (old / "model.json").write_text(json.dumps(facts))
    listener = Listener()
    made = train(pictures, out=tmp_path / "run", network="lenet5_modern", steps=1, encoder=str(old), progress=listener)
    assert any("does not say which images it learned from" in w for w in listener.warnings)
    assert "training_images" not in made.model.facts


def test_an_encoder_of_another_kind_and_frozen_without_one(compared, pictures, tmp_path):
    from striate.workflows.train import train

    done, _ = compared
    with pytest.raises(ModelError, match=r"a 2D lenet5_modern; the weights of a 2D mlp are needed"):
        train(
            pictures,
            out=tmp_path / "a",
            network="mlp",
            steps=1,
            encoder=str(done.folder / "runs/lenet5_modern_data1_seed0"),
        )
    with pytest.raises(UsageError, match=r"frozen True: an encoder is needed"):
        train(pictures, out=tmp_path / "b", network="mlp", steps=1, frozen=True)


def test_probing_invariance(pictures, tmp_path):
    done = compare(pictures, ["mlp"], out=tmp_path / "out", steps=2, probe="invariance")
    found = done.result["invariance"]["mlp"]
    assert (found["images"], found["edge"], len(found["shift"]), len(found["scale"])) == (4, 20, 3, 4)
    assert found["shift"][0]["amount"] == [1, 0]
    page = done.report.read_text()
    assert "shift 5 %" in page and "neighbour at 50 %" in page and "cannot be shown" not in page
