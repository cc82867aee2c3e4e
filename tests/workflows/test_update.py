"""`update`: what is joined, what is refused, what a finished update leaves, and that it goes on after a stop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import striate
from striate.core.errors import DataError, Interrupted, ModelError, UsageError
from striate.core.progress import Silent
from striate.core.record import Record
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.measure.forgetting import SHARES, Forgetting
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.training.log import read_rows
from striate.training.run import Run
from striate.workflows.finish import Finished
from striate.workflows.material import open_material
from striate.workflows.train import train
from striate.workflows.update import update


def scanner(
    folder: Path, names: str, *, bright: float = 40.0, seed: int = 1, label: int = 1, channel: str = "flair"
) -> Path:
    """Write balls that are `bright`er than the noise around them; one subject of each letter in `names`, as a CSV."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = [f"subject,{channel},label"]
    for index, name in enumerate(names):
        place = np.indices((20, 20, 16)) - np.array([6 + 2 * index, 10, 8])[:, None, None, None]
        mask = label * ((place**2).sum(axis=0) < 16).astype(np.uint8)
        image = rng.normal(100, 5, mask.shape).astype(np.float32) + bright * (mask > 0)
        for what, array in {"image": image, "mask": mask}.items():
            nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0])), folder / f"{name}_{what}.nii.gz")
        rows.append(f"{name},{name}_image.nii.gz,{name}_mask.nii.gz")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_plan) -> Path:
    """An earlier cohort of bright balls with a run on it, and a new one of dark balls."""
    folder = tmp_path_factory.mktemp("update")
    scanner(folder / "old", "abcde")
    scanner(folder / "new", "vwxyz", bright=-40.0, seed=2)
    tiny_plan(steps=60, learning_rate=0.02).write(folder / "plan.yaml")
    train(folder / "old", out=folder / "run", plan=folder / "plan.yaml", holdout=["a", "b"])
    return folder


@pytest.fixture(scope="module")
def finished(place):
    """An update that other tests only look at."""
    listener = Silent()
    found = update(
        place / "run", place / "new", place / "updated", steps=60, holdout=["v"], tolerance=1.0, progress=listener
    )
    return found, listener


def test_the_new_run_is_whole_and_names_its_parent(finished, place):
    found, _ = finished
    assert isinstance(found.finished, Finished)
    names = {path.name for path in found.folder.iterdir()}
    assert names >= {"run.json", "plan.yaml", "split.json", "metrics.csv", "model", "validation", "record.json", "report.html",
                     "update.json", "earlier", "cohort"}  # fmt: skip
    assert not [name for name in names if name.startswith(".")]
    split = Split.read(found.folder / "split.json")
    assert set(split.validation) == {"a", "b", "v"} and set(split.earlier) == set("abcde")
    source = Model.open(place / "run")
    assert Model.open(found.folder / "earlier").facts["weights_sha256"] == source.facts["weights_sha256"]
    record = Record.read(found.folder / "record.json")
    assert record.facts["update"]["from_sha256"] == source.facts["weights_sha256"]
    assert record.options["tolerance"] == 1.0 and record.options["run"] == str((place / "run").resolve())
    assert record.verb == "update"
    assert {"update.json", "earlier/weights.safetensors", "cohort/old+new.csv"} <= set(record.outputs)
    assert found.finished.model.facts["trust"] and len(found.finished.evaluation.cases) == 3


def test_the_plan_is_the_runs(finished, place):
    found, _ = finished
    before, after = Plan.read(place / "run" / "plan.yaml"), Plan.read(found.folder / "plan.yaml")
    assert after.training.learning_rate == before.training.learning_rate
    assert after.network == before.network and after.preparation == before.preparation
    assert "that of the earlier run" in after.reasons["training.learning_rate"]
    assert found.foreseen["subjects"] == {
        "earlier_train": 3,
        "earlier_validation": 2,
        "new_train": 4,
        "new_validation": 1,
    }


def test_learning_began_from_the_weights_of_the_run(finished, place):
    """The first validation is that of the run's own network on the held-out subjects."""
    found, _ = finished
    first = read_rows(found.folder / "validation.csv")[0]
    start = Forgetting.read(found.folder / "update.json").at(0.0)
    assert float(first["step"]) == 0 and float(first["dice_lesion"]) > 0.3
    assert start.weights_sha256 == Model.open(place / "run").facts["weights_sha256"]


def test_half_of_what_it_learns_from_is_rehearsed(finished):
    found, _ = finished
    split = Split.read(found.folder / "split.json")
    material = open_material(Run.open(found.folder), Plan.read(found.folder / "plan.yaml"), split)
    drawn = list[str]()
    with material.loader(0, found.finished.model.network()) as loader:
        for step, batch in loader:
            drawn += batch.cases
            if step == 11:
                break
    counts = {name: drawn.count(name) for name in split.train}
    assert len(drawn) == 24 and all(counts[name] == 4 for name in "cde") and all(counts[name] == 3 for name in "wxyz")


def test_the_taken_network_is_the_measured_one(finished):
    found, listener = finished
    measured = Forgetting.read(found.folder / "update.json")
    assert measured == found.forgetting and {row.share for row in measured.rows} >= set(SHARES)
    assert measured.next_share is None
    assert found.forgetting.share > 0 and found.forgetting.kept
    assert all("looks like" in text for text in listener.warnings)  # which the checks say of balls of two cohorts
    assert len(listener.warnings) == len(set(listener.warnings))
    taken = measured.at(measured.share)
    assert found.finished.model.facts["weights_sha256"] == taken.weights_sha256
    for case in found.finished.evaluation.cases:  # the table and the evaluation are of one network, measured in one way
        assert taken.dice[case.case]["lesion"] == pytest.approx(case.labels["lesion"]["dice"])
    facts = found.finished.model.facts["update"]
    assert facts["new"]["after"]["mean"] > facts["new"]["before"]["mean"] and facts["new"]["subjects"] == 1


def test_the_model_knows_all_images_that_taught_it(finished, place):
    found, _ = finished
    before, after = (set(Model.open(p).facts["training_images"]) for p in (place / "run", found.folder))
    assert before < after and len(after) == 7


def test_the_report_and_the_card_tell_it(finished):
    found, _ = finished
    page = (found.folder / "report.html").read_text()
    assert "What was learned and what was forgotten" in page and "cannot be shown" not in page
    assert "chosen on these very subjects" in page and "whole update" in page
    card = (found.folder / "model" / "card.md").read_text()
    assert "Updated from the weights" in card and "slightly optimistic" in card


def test_an_update_can_be_updated(finished, place, tmp_path):
    """All that it learned from and was judged on is the earlier cohort then."""
    found, _ = finished
    again = update(found.folder, scanner(tmp_path / "third", "pq", seed=5), tmp_path / "out", dry_run=True)
    assert again.foreseen["subjects"] == {
        "earlier_train": 7,
        "earlier_validation": 3,
        "new_train": 1,
        "new_validation": 1,
    }


def test_a_run_that_was_moved_still_has_its_cohort(finished, tmp_path):
    found, _ = finished
    shutil.copytree(found.folder, tmp_path / "moved", ignore=shutil.ignore_patterns("cache"))
    run = Run.open(tmp_path / "moved")
    assert run.cohort == tmp_path.resolve() / "moved" / "cohort" / "old+new.csv" and run.cohort.is_file()
    run.write()
    assert json.loads((tmp_path / "moved" / "run.json").read_text())["cohort"] == str(Path("cohort", "old+new.csv"))


def test_a_stopped_update_goes_on_by_train_to_the_same_end(finished, place, tmp_path, monkeypatch):
    """Stopped while networks are measured: what was measured is not measured again, and nothing differs at the end."""
    from striate.workflows import forgetting

    found, _ = finished
    measure, done = forgetting._dice, list[float]()

    def stopped(model, cases, bar, index):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(index)
        return measure(model, cases, bar, index)

    monkeypatch.setattr(forgetting, "_dice", stopped)
    with pytest.raises(Interrupted, match=r"striate train --resume .*again"):
        update(place / "run", place / "new", tmp_path / "again", steps=60, holdout=["v"], tolerance=1.0)
    assert json.loads((tmp_path / "again" / "update.json").read_text())["chosen"] is None

    def counting(model, cases, bar, index):
        done.append(index)
        return measure(model, cases, bar, index)

    monkeypatch.setattr(forgetting, "_dice", counting)
    last = train(resume=tmp_path / "again")
    assert done == [0, 3, 6, 9, 12]
    assert last.model.facts["weights_sha256"] == found.finished.model.facts["weights_sha256"]
    assert not [p for p in (tmp_path / "again").iterdir() if p.name.startswith(".")]


def test_without_its_checkpoint_an_update_still_begins_from_the_learned_weights(finished, place, tmp_path):
    found, _ = finished
    shutil.copytree(found.folder, tmp_path / "run")
    for name in ("checkpoint.safetensors", "metrics.csv", "validation.csv", "update.json"):
        (tmp_path / "run" / name).unlink()
    last = train(resume=tmp_path / "run")
    assert last.model.facts["weights_sha256"] == found.finished.model.facts["weights_sha256"]


def test_what_falls_too_far_is_not_kept(place, tmp_path, monkeypatch):
    """Forgetting that nothing may make up for: the old weights stay, in a run that is whole."""
    from striate.workflows import forgetting

    fallen = lambda model, cases, bar, index: {  # noqa: E731
        c.name: {"lesion": 0.9 - 0.5 * (index > 0 and c.name in "ab") + 0.05 * (index > 0 and c.name not in "ab")} for c in cases
    }  # fmt: skip
    monkeypatch.setattr(forgetting, "_dice", fallen)
    listener = Silent()
    found = update(place / "run", place / "new", tmp_path / "out", steps=2, holdout=["v"], progress=listener)
    assert found.forgetting.share == 0 and not found.forgetting.kept
    assert found.finished.model.facts["weights_sha256"] == Model.open(place / "run").facts["weights_sha256"]
    assert any("Nothing of the update was kept" in text for text in listener.warnings)
    assert "Nothing of the update was kept" in (tmp_path / "out" / "report.html").read_text()


def test_the_network_between_is_that_of_both_ends(place, tmp_path, monkeypatch):
    from striate.workflows import forgetting

    best = lambda model, cases, bar, index: {c.name: {"lesion": 0.9 if index == 6 else 0.5} for c in cases}  # noqa: E731
    monkeypatch.setattr(forgetting, "_dice", best)
    found = update(place / "run", place / "new", tmp_path / "out", steps=4, holdout=["v"])
    assert found.forgetting.share == 0.5
    old = Model.open(place / "run").network().state_dict()
    learned = load_file(tmp_path / "out" / "checkpoint.safetensors")
    for name, taken in found.finished.model.network().state_dict().items():
        new = learned[f"average.{name}"]
        assert torch.allclose(taken, 0.5 * old[name] + 0.5 * new, atol=1e-6)
    assert any(not torch.equal(old[name], learned[f"average.{name}"]) for name in old)


def test_without_the_earlier_cohort_nothing_is_rehearsed_and_forgetting_is_not_known(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(document | {"cohort": str(tmp_path / "gone")}))
    listener = Silent()
    found = update(tmp_path / "run", place / "new", tmp_path / "out", steps=2, holdout=["v"], progress=listener)
    assert found.foreseen["rehearsal"] is False and found.foreseen["subjects"]["earlier_train"] == 0
    assert (
        found.forgetting.share == 1
        and not found.forgetting.kept
        and found.forgetting.facts()["earlier"]["subjects"] == 0
    )
    assert any("name it with --earlier" in text for text in listener.warnings)
    assert any("cannot be measured. The whole update was taken" in text for text in listener.warnings)
    taught = set(found.finished.model.facts["training_images"])
    assert set(Model.open(place / "run").facts["training_images"]) < taught
    facts = tmp_path / "run" / "model" / "model.json"
    facts.write_text(json.dumps({k: v for k, v in json.loads(facts.read_text()).items() if k != "training_images"}))
    update(tmp_path / "run", place / "new", tmp_path / "dry", dry_run=True, progress=listener)
    assert any("which images it learned from is not known" in text for text in listener.warnings)
    moved = update(tmp_path / "run", place / "new", tmp_path / "dry", earlier=place / "old", dry_run=True)
    assert moved.foreseen["subjects"]["earlier_train"] == 3 and not (tmp_path / "dry").exists()


def test_the_names_of_cohorts_are_no_names_of_the_runs_files(place, tmp_path):
    """A cohort called like the log of learning; who judged judges and who taught teaches, though the old cohort is gone."""
    shutil.copytree(place / "run", tmp_path / "run")
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(document | {"cohort": str(tmp_path / "gone")}))
    new = scanner(tmp_path / "validation", "vwxyz", bright=-40.0, seed=2)
    for what in ("image", "mask"):
        shutil.copy(place / "old" / f"a_{what}.nii.gz", new / f"z_{what}.nii.gz")
        shutil.copy(place / "old" / f"c_{what}.nii.gz", new / f"y_{what}.nii.gz")
    found = update(tmp_path / "run", new, tmp_path / "out", steps=2, holdout=["v"])
    split = Split.read(tmp_path / "out" / "split.json")
    assert set(split.validation) == {"v", "z"} and set(split.train) == {"w", "x", "y"}
    assert len(found.finished.evaluation.cases) == 2 and read_rows(tmp_path / "out" / "validation.csv")


def test_who_is_kept_for_testing_neither_teaches_nor_judges(place, tmp_path):
    """By name and by image; a further update knows it, too."""
    shutil.copytree(place / "run", tmp_path / "run")
    old = scanner(tmp_path / "old", "abcdetu")
    for file in (place / "old").glob("*.nii.gz"):
        shutil.copy(file, old / file.name)
    rows = [f"{n},{n}_image.nii.gz,{n}_mask.nii.gz,{'test' if n in 'tu' else ''}" for n in "abcdetu"]
    (old / "cohort.csv").write_text("\n".join(["subject,flair,label,split", *rows]) + "\n")
    new = scanner(tmp_path / "new", "tvwx", bright=-40.0, seed=3)
    (new / "cohort.csv").write_text("\n".join([
        "case,subject,flair,label", *(f"{n},{n},{n}_image.nii.gz,{n}_mask.nii.gz" for n in "tvwx"),
        f"twin,w,{old}/u_image.nii.gz,{old}/u_mask.nii.gz",
    ]) + "\n")  # fmt: skip
    found = update(tmp_path / "run", new, tmp_path / "out", steps=2, holdout=["v"], earlier=old)
    split, joint = Split.read(tmp_path / "out" / "split.json"), Cohort.open(Run.open(tmp_path / "out").cohort)
    assert set(split.train) == {"c", "d", "e", "x"} and set(split.validation) == {"a", "b", "v"}
    assert {case.subject for case in joint.cases if case.split == "test"} == {"t", "u"} and found.forgetting is not None


def test_cases_without_a_mask_are_told(place, tmp_path):
    new, listener = scanner(tmp_path / "new", "vwxy", bright=-40.0, seed=3), Silent()
    table = (new / "cohort.csv").read_text().replace("y_mask.nii.gz", "")
    (new / "cohort.csv").write_text(table)
    found = update(place / "run", new, tmp_path / "out", dry_run=True, progress=listener)
    assert found.foreseen["subjects"]["new_train"] + found.foreseen["subjects"]["new_validation"] == 3
    assert listener.warnings == ["cohort new: 1 of 4 cases has no mask and is left out."]


def test_subjects_keep_the_side_that_they_had(place, tmp_path):
    """By name: a follow-up of one who judged judges, of one who taught teaches; by image: whatever the name."""
    new = scanner(tmp_path / "new", "acvw", bright=-40.0, seed=7)
    for what in ("image", "mask"):
        shutil.copy(place / "old" / f"b_{what}.nii.gz", new / f"twin_{what}.nii.gz")
        shutil.copy(place / "old" / f"d_{what}.nii.gz", new / f"copy_{what}.nii.gz")
    rows = [f"{name},{name}" for name in "acvw"] + ["twin,v", "copy,v"]
    table = [f"{row},{row.split(',')[0]}_image.nii.gz,{row.split(',')[0]}_mask.nii.gz" for row in rows]
    (new / "cohort.csv").write_text("\n".join(["case,subject,flair,label", *table]) + "\n")
    said = list[str]()
    listener = Silent()
    listener.note = said.append
    found = update(place / "run", new, tmp_path / "out", steps=2, progress=listener)
    split, joint = Split.read(tmp_path / "out" / "split.json"), Cohort.open(tmp_path / "out" / "cohort" / "old+new.csv")
    sides = {name: side for side in ("train", "validation") for name in getattr(split, side)}
    assert sides["a_new"] == "validation" and sides["c_new"] == "train" and joint.case("a_new").subject == "a"
    follow_up = next(name for name in sides if joint.case(name).subject == "b" and name not in split.earlier)
    assert sides[follow_up] == "validation"  # v holds an image of b, who judged
    images = [joint.case(name).channels["flair"].read_bytes() for name in (*split.train, *split.validation)]
    assert len(set(images)) == len(images)  # nobody is counted twice
    assert any("not counted twice" in text for text in said) and any("stay on the side" in text for text in said)
    owners = {side: {joint.case(name).subject for name in getattr(split, side)} for side in ("train", "validation")}
    assert not owners["train"] & owners["validation"] and found.finished.model is not None
    with pytest.raises(UsageError, match=r"holdout c: the model learned from this subject, so it cannot judge"):
        update(place / "run", new, tmp_path / "other", holdout=["c"], dry_run=True)


def test_who_is_drawn_to_judge_is_nobody_that_has_a_side(place, tmp_path):
    """Of five subjects one is held out; three have taught, and the draw must not fall on them."""
    new = scanner(tmp_path / "new", "cdevw", bright=-40.0, seed=8)
    for seed in range(6):
        found = update(place / "run", new, tmp_path / "out", seed=seed, dry_run=True)
        assert found.foreseen["subjects"]["new_validation"] == 1 and found.foreseen["subjects"]["new_train"] == 4
    judged = scanner(tmp_path / "judged", "avw", bright=-40.0, seed=9)
    found = update(place / "run", judged, tmp_path / "out", holdout=["a"], dry_run=True)
    assert found.foreseen["subjects"]["new_validation"] == 1 and found.foreseen["subjects"]["new_train"] == 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"channel": "t1"}, DataError, r"channels t1; those of the model .* flair \(flair is missing; t1 is not known\)"),
        ({"label": 2}, DataError, r"other labels than the model's: the model does not know value 2.*for others train anew"),
        ({"names": "c"}, DataError, r"1 subject, none held out, to judge what was learned"),
        ({"names": "a"}, DataError, r"1 subject, none to learn from"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything(place, tmp_path, change, error, message):
    new = scanner(tmp_path / "new", **{"names": "vw", "bright": -40.0, "seed": 3, **change})
    with pytest.raises(error, match=message):
        update(place / "run", new, tmp_path / "out", steps=2)
    assert not (tmp_path / "out").exists() and [p.name for p in tmp_path.iterdir()] == ["new"]


def test_errors_of_the_data_name_the_cohort_to_look_at(place, tmp_path):
    new = scanner(tmp_path / "new", "vwxyz", seed=3)
    for name in "vwxyz":
        scan = nib.load(new / f"{name}_mask.nii.gz")
        nib.save(nib.Nifti1Image(np.asanyarray(scan.dataobj)[2:], scan.affine), new / f"{name}_mask.nii.gz")
    with pytest.raises(
        DataError, match=r"5 errors must be mended.*\n.*\n  Each by itself: striate check .*/new --json"
    ) as told:
        update(place / "run", new, tmp_path / "out", steps=2)
    assert ".part." not in str(told.value) and not (tmp_path / "out").exists()


def test_labels_that_are_named_must_be_the_models(place, tmp_path):
    new = scanner(tmp_path / "new", "vw", seed=3)
    (new / "labels.json").write_text('{"1": "lesion", "2": "core"}')
    with pytest.raises(DataError, match=r"other labels than the model's: the model does not know core"):
        update(place / "run", new, tmp_path / "out", dry_run=True)


def test_only_a_finished_run_that_draws_masks_is_updated(place, tmp_path, tiny_cohort):
    shutil.copytree(place / "run" / "model", tmp_path / "model")
    with pytest.raises(ModelError, match=r"not the folder of a run.*a folder made by striate train is needed"):
        update(tmp_path / "model", place / "new", tmp_path / "out", dry_run=True)
    shutil.copytree(place / "run", tmp_path / "classes")
    for plan in (tmp_path / "classes" / "plan.yaml", tmp_path / "classes" / "model" / "plan.yaml"):
        text = (
            plan.read_text()
            .replace("kind: segmentation", "kind: classification")
            .replace("classes: []", "classes: [a, b]")
        )
        plan.write_text(text)
    with pytest.raises(UsageError, match=r"the model does classification; only models that draw masks can be updated"):
        update(tmp_path / "classes", place / "new", tmp_path / "out", dry_run=True)
    with pytest.raises(DataError, match=r"it exists and is not empty"):
        update(place / "run", place / "new", place / "run", dry_run=True)
    with pytest.raises(UsageError, match=r"tolerance -1: the Dice that may be lost, from 0 to 1, is needed"):
        update(place / "run", place / "new", tmp_path / "out", tolerance=-1.0, dry_run=True)
    with pytest.raises(DataError, match=r"none of the 5 cases of .* is in it"):
        update(place / "run", place / "new", tmp_path / "out", earlier=tiny_cohort, dry_run=True)
    other = scanner(tmp_path / "other", "abcde", seed=11)
    with pytest.raises(DataError, match=r"none of its images taught the model"):
        update(place / "run", place / "new", tmp_path / "out", earlier=other, dry_run=True)


def test_the_public_name_is_the_verb():
    assert striate.update is update


def test_an_audit_tells_what_was_forgotten_and_of_other_models_how_to_measure_it(finished, place):
    from striate.workflows import audit, audit_answers

    part = audit._forgetting(Model.open(finished[0].folder))
    value, sentence, count = audit_answers._TELL["forgetting"]({"forgetting": part})
    assert part["done"] and count == 2 and value[0] in "+−" and "Measured when the model was updated" in sentence
    part = audit._forgetting(Model.open(place / "run"))
    assert part == {"n_subjects": 0, "verb": "update", "done": False}
    value, sentence, count = audit_answers._TELL["forgetting"]({"forgetting": part})
    assert (value, count) == ("–", 0) and "striate update RUN COHORT" in sentence
