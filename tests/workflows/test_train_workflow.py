"""`train` and `plan` as functions: what is followed, what is refused, and that a refusal leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

import striate
from striate.core import disk, files
from striate.core.errors import (
    DataError,
    DiskFullError,
    MemoryLimitError,
    ModelError,
    PlanError,
    StriateError,
    TimeLimitError,
    UsageError,
)
from striate.core.progress import Silent
from striate.core.record import Record
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.data.store import PatchStore
from striate.io.read import read_image, read_label
from striate.model.model import Model
from striate.planning.fingerprint import Fingerprint
from striate.planning.plan import Plan
from striate.training import checkpoint
from striate.training.laps import PARTS
from striate.training.log import read_rows
from striate.workflows.disk import run_bytes
from striate.workflows.plan import plan
from striate.workflows.refuse import with_options
from striate.workflows.train import train


@pytest.fixture
def planned(tmp_path, tiny_plan):
    """Write a plan, perhaps changed as text; returns the path."""

    def write(old="", new="", **training):
        path = tmp_path / "plan.yaml"
        text = tiny_plan(**{"steps": 4, **training}).to_yaml()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return path

    return write


@pytest.fixture(scope="module")
def finished(tiny_cohort, tiny_plan, tmp_path_factory):
    """A run that other tests only look at."""
    folder = tmp_path_factory.mktemp("finished")
    tiny_plan(steps=8).write(folder / "plan.yaml")
    listener = Silent()
    done = train(tiny_cohort, out=folder / "run", plan=folder / "plan.yaml", holdout=["s1"], progress=listener)
    return done, listener


def test_everything_is_there(finished, tiny_cohort):
    done, _ = finished
    names = {p.name for p in done.folder.iterdir()}
    for name in [
        "run.json",
        "check.json",
        "split.json",
        "fingerprint.json",
        "plan.yaml",
        "metrics.csv",
        "validation.csv",
        "checkpoint.safetensors",
        "cache",
        "model",
        "validation",
        "record.json",
        "report.html",
        "tensorboard",
    ]:
        assert name in names
    assert {p.name for p in (done.folder / "validation").iterdir()} >= {
        "s1.nii.gz",
        "findings.json",
        "evaluation.json",
        "panels",
    }
    assert done.steps == 8 and done.report == done.folder / "report.html"
    assert set(done.seconds) == {*PARTS, "validation"} and min(done.seconds.values()) >= 0 < done.seconds["backward"]
    facts = Record.read(done.folder / "record.json").facts
    parts_s = [s for part, s in done.seconds.items() if part != "validation"]  # each rounded to the nearest millisecond
    least = (done.seconds["data_wait"] - 5e-4) / (sum(parts_s) + 5e-4 * len(parts_s))
    most = (done.seconds["data_wait"] + 5e-4) / (sum(parts_s) - 5e-4 * len(parts_s))
    assert least <= done.waiting_share <= most
    assert facts["waiting_share"] == round(done.waiting_share, 4)
    assert facts["seconds"] == done.seconds and sum(done.seconds.values()) == pytest.approx(
        facts["training_s"], abs=0.05
    )
    assert Split.read(done.folder / "split.json").validation == ("s1",)
    assert [c.name for c in Fingerprint.read(done.folder / "fingerprint.json").cases] == ["s0", "s2", "s3"]
    assert not [n for n in names if n.startswith(".")]


def test_the_model_knows_where_it_comes_from(finished):
    done, _ = finished
    model = Model.open(done.folder)
    assert model.facts["training_subjects"] == 3 and model.facts["steps"] == 8
    assert set(model.facts["reference_ranges"]) == {"flair"}
    assert set(model.facts["validation"]["lesion"]) >= {"dice", "hd95_mm"}
    record = Record.read(done.folder / "record.json")
    assert record.verb == "train" and record.seed == 0 and record.outputs["model/weights.safetensors"]
    assert len(record.inputs) == 8 and record.facts["processes"] == 1


def test_two_classes_of_curves(finished):
    done, _ = finished
    assert [int(r["step"]) for r in read_rows(done.folder / "metrics.csv")] == list(range(8))
    assert {"dice_lesion", "dice_mean"} <= set(read_rows(done.folder / "validation.csv")[-1])


def test_a_plan_edited_by_hand_is_followed(tiny_cohort, planned, tmp_path):
    path = planned("features: [4, 8]", "features: [4, 6, 8]", steps=2, learning_rate=0.003)
    path.write_text(path.read_text().replace("mirror_axes: [0]", "mirror_axes: []"))
    done = train(tiny_cohort, out=tmp_path / "run", plan=path)
    followed = Plan.read(done.folder / "plan.yaml")
    assert followed == Plan.read(path)
    assert done.model.plan.network.options == {"features": [4, 6, 8]} and done.steps == 2
    assert any(k.startswith("encoder.2.") for k in done.model.network().state_dict())
    assert float(read_rows(done.folder / "metrics.csv")[-1]["learning_rate"]) < 0.003


def test_a_network_of_unpadded_convolutions_draws_whole_masks(tiny_cohort, tiny_plan, tmp_path):
    """It learns from the inner part of its patches, and answers for every voxel of a scan."""
    made = tiny_plan(steps=2)
    options = {"features": [2, 2], "hidden": [3], "padding": "valid"}
    network = made.network.changed(name="deepmedic", options=options)
    training, inference = (part.changed(patch=(18, 18, 18)) for part in (made.training, made.inference))
    made.changed(network=network, training=training, inference=inference).write(tmp_path / "plan.yaml")
    done = train(tiny_cohort, out=tmp_path / "run", plan=tmp_path / "plan.yaml", holdout=["s1"])
    assert done.model.network().margin == (6, 6, 6)
    mask = read_label(done.folder / "validation" / "s1.nii.gz")
    assert mask.grid.matches(read_image(Path(tiny_cohort) / "s1_flair.nii.gz").grid)


def test_length_and_seed_may_be_given_beside_a_plan(tiny_cohort, planned, tmp_path):
    done = train(tiny_cohort, out=tmp_path / "run", plan=planned(steps=4), steps=2, seed=9)
    assert done.steps == 2 and done.model.plan.training.seed == 9
    changed = with_options(Plan.read(planned()), planned(), {"budget": "2m"})
    assert changed.training.budget_s == 120 and changed.training.steps is None


@pytest.mark.parametrize("option", [{"regions": ["a=1"]}, {"network": "unet"}, {"dims": 3}])
def test_what_the_plan_decides_is_changed_there(tiny_cohort, planned, tmp_path, option):
    with pytest.raises(UsageError, match=r"the plan .*plan\.yaml has decided that; change it there"):
        train(tiny_cohort, out=tmp_path / "run", plan=planned(), **option)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("channels: [flair]", "channels: [t1w]", DataError,
         r"a plan for 3D images with channels t1w; one for the cohort's 3D images with channels flair.*striate plan "),
        ("batch: 2", "batch: 200000", MemoryLimitError,
         r"plan\.yaml: training needs about [\d,.]+ GB; .* may be used\."
         r" In plan\.yaml lower training\.batch \(now 200000 patches of 16×16×16"),
        ("batch: 2", "bacth: 2", PlanError, r"unknown key 'training\.bacth'"),
        ("features: [4, 8]", "featurs: [4, 8]", PlanError, r"plan\.yaml: .*featurs.*features"),
        ("name: small_unet", "name: smal_unet", PlanError, r"plan\.yaml: unknown network 'smal_unet'. Did you mean 'small_unet'"),
        ("loss: cross_entropy", "loss: dise", PlanError, r"plan\.yaml: unknown loss 'dise'. Did you mean 'dice'"),
        ("patch: [16, 16, 16]", "patch: [18, 16, 16]", PlanError, r"plan\.yaml: .*size \(20, 16, 16\) would work"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused_before_anything(tiny_cohort, planned, tmp_path, old, new, error, message):
    with pytest.raises(error, match=message):
        train(tiny_cohort, out=tmp_path / "run", plan=planned(old, new))
    assert not (tmp_path / "run").exists()


def test_a_giant_patch_is_refused_before_it_is_tried(tiny_cohort, planned, tmp_path):
    path = planned("patch: [16, 16, 16]", "patch: [2048, 2048, 2048]", batch=1)
    with pytest.raises(
        MemoryLimitError, match=r"make training\.patch and inference\.patch smaller \(now 1 patch of 2048"
    ):
        train(tiny_cohort, out=tmp_path / "run", plan=path)
    assert not (tmp_path / "run").exists()


def test_the_memory_that_is_given_counts(tiny_cohort, planned, tmp_path):
    with pytest.raises(MemoryLimitError, match=r"105 MB may be used"):
        train(tiny_cohort, out=tmp_path / "run", plan=planned(), memory="100M")


def test_a_run_writes_no_more_than_was_foreseen(finished, tiny_cohort):
    done, _ = finished
    size = sum(path.stat().st_size for path in done.folder.rglob("*") if path.is_file())
    split = Split.read(done.folder / "split.json")
    facts = Fingerprint.read(done.folder / "fingerprint.json")
    assert size <= run_bytes(Plan.read(done.folder / "plan.yaml"), Cohort.open(tiny_cohort), split, facts) < 20 * size


def test_what_is_cut_away_is_not_foreseen_to_be_written(finished, tiny_cohort):
    done, _ = finished
    given = Plan.read(done.folder / "plan.yaml"), Cohort.open(tiny_cohort), Split.read(done.folder / "split.json")
    facts = Fingerprint.read(done.folder / "fingerprint.json")
    half = [case.changed(cropped=(10, 20, 16)).model_dump() for case in facts.cases]
    assert all(case.cropped == (20, 20, 16) for case in facts.cases)
    less = run_bytes(*given, facts) - run_bytes(*given, facts.changed(cases=half))
    assert less == 4 * (20 * 20 * 16 // 2) * (2 + 1 + 8)  # image, mask and places of classes; 3 cases and one held out


def test_a_disk_that_fills_up_while_learning_is_told_with_the_way_to_go_on(tiny_cohort, planned, tmp_path, monkeypatch):
    def full(tensors, path, **more):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(
        DiskFullError, match=r"checkpoint\.safetensors: the disk is full; .*go on with: .*--resume .*run"
    ):
        train(tiny_cohort, out=tmp_path / "run", plan=planned(steps=1))
    assert not list((tmp_path / "run").glob("*checkpoint*"))
    monkeypatch.undo()
    assert train(resume=tmp_path / "run").model is not None


def test_a_disk_with_too_little_room_is_refused_before_cases_are_prepared(tiny_cohort, planned, tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "disk_free_bytes", lambda folder: 1000)
    monkeypatch.setattr(PatchStore, "build", lambda *given: pytest.fail("begun"))
    says = r"run: 4 prepared cases, checkpoints and validation may take up to .* there; 1 kB are free on that disk"
    with pytest.raises(DiskFullError, match=says):
        train(tiny_cohort, out=tmp_path / "run", plan=planned())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("way", ["new", "resumed"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(
    finished, tiny_cohort, tmp_path, monkeypatch, way
):
    folder = tmp_path / "runs" / "new" if way == "new" else finished[0].folder
    refused = tmp_path if way == "new" else folder
    monkeypatch.setattr(files.os, "access", lambda place, asked: place != refused)  # root may write everywhere
    monkeypatch.setattr(Cohort, "open", lambda *given: pytest.fail("read"))
    with pytest.raises(DiskFullError, match=f"{refused.name}: writing is not permitted; .* Make it writable or choose"):
        train(**({"cohort": tiny_cohort, "out": folder} if way == "new" else {"resume": folder}))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"fold": "9"}, UsageError), ({"holdout": ["nobody"]}, UsageError), ({"regions": ["x=7"]}, StriateError),
        ({"budget": "1s"}, TimeLimitError), ({"budget": "later"}, UsageError), ({"memory": "-"}, UsageError),
        ({"network": "nunet"}, UsageError), ({"steps": 5, "budget": "1m"}, UsageError),
    ],
)  # fmt: skip
def test_bad_options_leave_nothing(tiny_cohort, tmp_path, options, error):
    with pytest.raises(error, match=r"\w"):
        train(tiny_cohort, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_no_cohort(tmp_path):
    with pytest.raises(UsageError, match=r"no cohort: .*--resume RUN"):
        train(out=tmp_path / "run")
    with pytest.raises(DataError, match=str(tmp_path / "nowhere")):
        train(tmp_path / "nowhere", out=tmp_path / "run")


def test_an_existing_folder_is_not_touched(tiny_cohort, planned, finished):
    done, _ = finished
    before = sorted(p.name for p in done.folder.iterdir())
    with pytest.raises(DataError, match=r"it exists and is not empty.*striate train --resume"):
        train(tiny_cohort, out=done.folder, plan=planned())
    assert sorted(p.name for p in done.folder.iterdir()) == before


def test_without_out_the_next_free_name(tiny_cohort, planned, tmp_path, monkeypatch):
    from striate.workflows.train import _expected_folder

    monkeypatch.chdir(tmp_path)
    assert _expected_folder(tiny_cohort, None) == Path("runs/cohort")
    (tmp_path / "runs" / "cohort").mkdir(parents=True)
    (tmp_path / "runs" / "cohort-2").mkdir()
    assert _expected_folder(tiny_cohort, None) == Path("runs/cohort-3")


@pytest.mark.parametrize("option", [{"seed": 3}, {"network": "unet"}, {"holdout": ["s0"]}, {"memory": "6G"}])
def test_going_on_only_the_length_can_change(finished, option):
    with pytest.raises(UsageError, match=rf"'{next(iter(option))}' cannot change in a run; only steps and budget"):
        train(resume=finished[0].folder, **option)


def test_going_on_needs_the_file_of_the_plan_no_more(tiny_cohort, planned, tmp_path):
    plan = Path(planned(steps=1))
    folder = train(tiny_cohort, out=tmp_path / "run", plan=plan).folder
    plan.unlink()
    assert train(resume=folder, steps=2).steps == 2


def test_going_on_knows_the_rest(finished, tiny_cohort, tmp_path):
    with pytest.raises(UsageError, match="give no cohort, plan or out with it"):
        train(tiny_cohort, resume=finished[0].folder)
    with pytest.raises(ModelError, match="not the folder of a run"):
        train(resume=tmp_path)


def test_broken_data_stop_before_learning(cohort_of, planned, tmp_path):
    folder = cohort_of(tmp_path / "cohort")
    (folder / "s2_flair.nii.gz").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"errors? must be mended before training.*\n.*s2"):
        train(folder, out=tmp_path / "run", plan=planned())
    assert not (tmp_path / "run").exists()


def test_data_that_were_mended_are_checked_again(cohort_of, planned, tmp_path, monkeypatch):
    """A run that was killed between the check and the refusal does not keep what the check found."""
    from striate.workflows import train as module

    folder = cohort_of(tmp_path / "cohort")
    whole = (folder / "s2_flair.nii.gz").read_bytes()
    (folder / "s2_flair.nii.gz").write_bytes(b"no image")
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(DataError, match="must be mended before training"):
            train(folder, out=tmp_path / "run", plan=planned(steps=2))
    (folder / "s2_flair.nii.gz").write_bytes(whole)
    assert train(resume=tmp_path / "run").steps == 2


def test_all_subjects_may_learn(cohort_of, planned, tmp_path):
    """One subject: nobody is left to validate with, and the run still ends with a model and a report."""
    done = train(cohort_of(tmp_path / "one", 1), out=tmp_path / "run", plan=planned(steps=2))
    assert done.evaluation is None and done.report.exists() and Model.open(done.folder).facts["training_subjects"] == 1


def test_made_by_itself(tiny_cohort, tmp_path):
    """Without a plan: one is made from facts of the training cases and real timings, and followed."""
    done = train(tiny_cohort, out=tmp_path / "run", steps=2, network="small_unet", regions=["ball=1"])
    made = done.model.plan
    assert made.targets.names == ("ball",) and made.training.steps == 2 and made.reasons["network.name"]
    assert done.evaluation.to_dict()["summary"]["ball"]["dice"]["n"] == 1
    assert json.loads((done.folder / "run.json").read_text())["options"]["regions"] == ["ball=1"]


def test_plan_alone(tiny_cohort, tmp_path):
    facts, made = plan(tiny_cohort, out=tmp_path / "plan.yaml", budget="1m", memory="2G")
    assert Plan.read(tmp_path / "plan.yaml") == made
    assert made.training.budget_s == 60 and len(facts.cases) == 3
    assert made.expected.peak_memory_bytes < 2 << 30
    assert 4 * (20 * 20 * 16) * (2 + 1) < made.expected.disk_bytes < 1 << 30
    assert striate.plan is plan


@pytest.mark.parametrize("options", [{"budget": "1s"}, {"memory": "1M"}, {"fold": "x"}])
def test_a_plan_refused_writes_nothing(tiny_cohort, tmp_path, options):
    with pytest.raises(StriateError, match=r"\w"):
        plan(tiny_cohort, out=tmp_path / "plan.yaml", **options)
    assert not list(tmp_path.iterdir())
