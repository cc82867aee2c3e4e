"""Audits of a tiny network: who is measured, what is excluded, what each bad input is told, what does not fit the budget."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from striate.core.errors import DataError, Interrupted, ModelError, UsageError
from striate.core.progress import Silent
from striate.data.cohort import Cohort
from striate.measure.exact_share import clopper_pearson
from striate.model.model import Model
from striate.trust.attack_curve import AttackCurve
from striate.trust.requirements import check, parse
from striate.trust.trust import Trust
from striate.workflows import audit as workflow
from striate.workflows.audit import KEYS, audit
from striate.workflows.audit_answers import CONS, answers, numbers
from striate.workflows.audit_card import card_part
from striate.workflows.audit_cases import Sides, shuffled
from striate.workflows.audit_cheap import annotation, calibration, coverage, groups
from striate.workflows.audit_dear import adversarial, explanations_of
from striate.workflows.audit_measured import measure_cases
from striate.workflows.audit_refit import curve, points_within
from striate.workflows.train import train


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def run(place, cohort_of, tiny_plan):
    """A run that learned from s0 and s1 and validated on s2 and s3."""
    table = cohort_of(place / "cohort")
    plan = place / "plan.yaml"
    tiny_plan(steps=60).write(plan)
    return train(table, out=place / "run", plan=plan, holdout=["s2", "s3"]).folder


@pytest.fixture(scope="module")
def mixed(place, run, cohort_of):
    """The run's own cohort and three subjects that it never saw, one with a second rater, one without a mask."""
    new = Cohort.open(cohort_of(place / "new", count=8))
    own = Cohort.open(place / "cohort")
    rng, cases = np.random.default_rng(1), list(own.cases)
    for n, case in enumerate(new.cases[4:7]):
        image = nib.load(case.channels["flair"])
        noisy = image.get_fdata() + rng.normal(0, 1, image.shape)  # another scan, so another hash
        nib.save(nib.Nifti1Image(noisy.astype(np.float32), image.affine), case.channels["flair"])
        label = None if n == 2 else case.label
        raters = {"anna": new.cases[4].label} if n == 0 else {}
        cases.append(replace(case, label=label, raters=raters, metadata={"site": "AB"[n % 2], "empty": ""}))
    table = place / "mixed.csv"
    Cohort("mixed", tuple(cases)).write_csv(table)
    return table


@pytest.fixture(scope="module")
def unhurried():
    """Let all cases be measured, however slow the machine is."""

    def all_of(model, trust, cases, fresh, seconds, progress):
        return measure_cases(model, trust, cases, fresh, math.inf, progress)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("striate.workflows.audit_measured.measure_cases", all_of)
        yield


@pytest.fixture(scope="module")
def document(place, run, mixed, unhurried):
    return audit(run, mixed, out=place / "done", budget="20s", require="dice>=0, ece<=0.05, halves_at>0.1")


@pytest.fixture
def only_cheap(monkeypatch):
    """No part begins that looks at the network itself."""
    monkeypatch.setattr("striate.workflows.audit_dear.LEAST_S", 1e9)


def test_who_taught_and_who_fitted_are_known_by_their_images(run, mixed):
    sides = Sides.of(Model.open(run), Cohort.open(mixed), Silent())
    assert {c.name for c in sides.trained} == {"s0", "s1"} and {c.name for c in sides.fitted} == {"s2", "s3"}
    assert {c.name for c in sides.fresh} == {"s4", "s5"} and [c.name for c in sides.unlabelled] == ["s6"]
    assert "2 cases of 2 subjects were left out of every measurement" in sides.notes[0]
    assert any("without a mask" in note for note in sides.notes)


def test_the_document_has_every_key_with_its_subjects(document):
    told = document.document
    assert [row["con"] for row in told["answers"]] == list(CONS.values())
    for key in KEYS:
        assert isinstance(told[key]["n_subjects"], int), key
    assert told["cohort"]["measured_subjects"] == 4 and told["performance"]["n_cases"] == 4
    assert told["calibration"]["n_subjects"] == 2 and told["calibration"]["source"] == "fresh"
    assert told["forgetting"] == {"n_subjects": 0, "verb": "update", "done": False}
    assert told["annotation"]["raters"][0]["n_cases"] == 1
    assert told["subgroups"]["skipped"]["empty"] == "no case has a value"
    json.dumps(told, allow_nan=False)


def test_what_does_not_fit_the_budget_is_named(document):
    told = document.document
    assert told["parts"]["learning_curve"]["status"] == "not done"
    assert told["learning_curve"]["absent"]
    assert any(
        "Not, or only partly, audited" in line for line in told["card"]["sections"]["Caveats and recommendations"]
    )


def test_limits_are_judged_and_unknown_numbers_break_them(document):
    verdicts = {v["name"]: v for v in document.document["requirements"]}
    assert verdicts["dice"]["met"] and verdicts["dice"]["n_subjects"] == 4
    if document.document["adversarial"].get("absent"):
        assert not verdicts["halves_at"]["met"] and "not known" in verdicts["halves_at"]["sentence"]
        assert any("halves_at" in sentence for sentence in document.broken)
    assert set(numbers(document.document)) >= set(verdicts)


def test_attacks_that_tried_too_little_prove_nothing(run, monkeypatch):
    golden = json.loads((Path(__file__).parents[1] / "golden" / "audit.json").read_text())
    assert golden["adversarial"]["status"] == golden["parts"]["adversarial"]["status"] == "partial"
    (verdict,) = check(parse("halves_at>=0.01"), numbers(golden))
    assert not verdict.met and "PGD made 10 steps and 1 restart" in verdict.sentence
    assert "not known, so not met" in verdict.sentence and "too little was tried" in verdict.sentence
    told = golden["adversarial"]
    curves = [
        AttackCurve.from_dict({**told, "effort": told["effort"] | more}) for more in ({}, {"steps": 40, "restarts": 2})
    ]
    answer = iter([curves[0], curves[1], curves[1], curves[0]])
    monkeypatch.setattr("striate.workflows.audit_dear.attack_curve", lambda *_, **__: next(answer))
    model = Model.open(run)
    short, whole, hardened = (adversarial(model, [], other, 60.0, Silent()) for other in (None, None, model))
    assert [part["status"] for part in (short, whole, hardened)] == ["partial", "done", "partial"]
    assert any(note.startswith("The hardened model: PGD made 10 steps") for note in hardened["notes"])
    document = {**golden, "adversarial": whole}
    (verdict,) = check(parse("halves_at>=0.01"), numbers(document))
    assert verdict.met and verdict.value == min(e for e in told["halves_at"].values() if e is not None)
    values = {row["part"]: row["value"] for row in answers(document)}
    assert values["adversarial"] == "0.039" and "≤ 0.039" in {row["value"] for row in golden["answers"]}


def test_the_folder_is_complete(document):
    names = {p.name for p in document.folder.iterdir()}
    assert {"audit.json", "card.md", "record.json", "report.html", "parts"} <= names and "refits" not in names
    assert "## Factors" in (document.folder / "card.md").read_text()
    page = (document.folder / "report.html").read_text()
    assert "Catastrophic forgetting" in page and "cannot be shown" not in page


def test_finished_parts_are_kept(document, run, mixed, only_cheap, monkeypatch):
    def fail(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr("striate.workflows.audit_measured.measure_cases", fail)
    again = audit(run, mixed, out=document.folder, budget="20s", resume=True)
    assert again.document["performance"] == document.document["performance"] and not again.broken


def test_an_interrupted_audit_says_how_to_go_on(place, run, mixed, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("striate.workflows.audit_measured.measure_cases", stop)
    with pytest.raises(Interrupted, match="--resume"):
        audit(run, mixed, out=place / "stopped", budget="20s")
    with pytest.raises(UsageError, match=r"--resume: the audit in .* has cohort"):
        audit(run, place / "cohort", out=place / "stopped", budget="20s", resume=True)


def test_a_dry_run_leaves_nothing(place, run, mixed):
    found = audit(run, mixed, out=place / "dry", budget="10m", dry_run=True)
    assert set(found.document["parts"]) == set(workflow.SHARES) and not (place / "dry").exists()
    assert sum(p["seconds"] for p in found.document["parts"].values()) == pytest.approx(600, abs=1)


def test_bad_input_gets_its_sentence(place, run, mixed, cohort_of):
    bare = place / "bare.csv"
    own = Cohort.open(place / "cohort")
    Cohort("bare", tuple(replace(c, label=None) for c in own.cases)).write_csv(bare)
    with pytest.raises(DataError, match="4 cases, none with a mask"):
        audit(run, bare, out=place / "x")
    other = cohort_of(place / "other", channels=("t1", "t2"))
    with pytest.raises(ModelError, match="trained on flair, so flair is missing"):
        audit(run, other, out=place / "x")
    renamed = cohort_of(place / "renamed")
    (renamed.parent if renamed.is_file() else renamed).joinpath("labels.json").write_text(
        '{"0": "background", "2": "lesion"}'
    )
    with pytest.raises(DataError, match="'lesion' is the value 2 of its masks; the model draws it as 1"):
        audit(run, renamed, out=place / "x")
    with pytest.raises(UsageError, match="Did you mean 'ece'"):
        audit(run, mixed, out=place / "x", require="ecce<=0.1")
    with pytest.raises(UsageError, match="at least 20 s are needed"):
        audit(run, mixed, out=place / "x", budget="5s")
    with pytest.raises(DataError, match="no audit is in it"):
        audit(run, mixed, out=place / "x", resume=True)
    with pytest.raises(DataError, match="exists and is not empty"):
        audit(run, mixed, out=place / "cohort")
    assert not (place / "x").exists()


def test_all_cases_that_do_not_fit_are_told_before_any_is_audited(place, run, cohort_of, monkeypatch):
    monkeypatch.setattr(workflow, "_Work", lambda *_: pytest.fail("work was begun"))
    folder = cohort_of(place / "broken")
    for name in ("s1", "s3"):
        (folder / f"{name}_flair.nii.gz").write_text("text")
    for given in (folder, folder / "cohort.csv"):
        with pytest.raises(DataError) as caught:
            audit(run, given, out=place / "x")
        first, *lines, last = str(caught.value).splitlines()
        assert first == "2 of 4 cases cannot be audited, so nothing was:"
        assert [Path(line.strip().split(":")[0]).name for line in lines] == ["s1_flair.nii.gz", "s3_flair.nii.gz"]
        assert last == f"  striate check {given} shows every problem of files."
    shutil.copy(folder / "s2_flair.nii.gz", folder / "s3_flair.nii.gz")
    with pytest.raises(DataError) as single:
        audit(run, folder, out=place / "x")
    assert str(single.value) == lines[0].strip() and not (place / "x").exists()


def test_a_cohort_that_taught_the_model_cannot_be_measured(place, run, only_cheap):
    own = Cohort.open(place / "cohort")
    table = place / "taught.csv"
    Cohort("taught", own.cases[:2]).write_csv(table)
    told = audit(run, table, out=place / "taught", budget="20s").document
    assert told["performance"]["n_subjects"] == 0 and "learned from all 2 cases" in told["quality"]["absent"]
    assert numbers(told)["dice"].value is None


def test_one_subject_and_no_calibration(place, run, only_cheap):
    model = place / "uncalibrated"
    shutil.copytree(run / "model", model)
    (model / "trust.json").unlink()
    own = Cohort.open(place / "cohort")
    table = place / "one.csv"
    Cohort("one", own.cases[2:3]).write_csv(table)
    told = audit(model, table, out=place / "one", budget="20s", require="ece<=0.9, coverage>=0.1").document
    assert any("One subject only" in note for note in told["cohort"]["notes"])
    assert "never calibrated" in told["calibration"]["absent"] and told["coverage"]["n_subjects"] == 0
    assert [v["met"] for v in told["requirements"]] == [False, False]
    assert all("never calibrated" in v["sentence"] for v in told["requirements"])


def test_cheap_parts_read_rows(place, run, mixed):
    model = Model.open(run)
    trust = Trust.read(model.folder)
    sides = Sides.of(model, Cohort.open(mixed), Silent())
    measured = measure_cases(model, trust, sides.unseen, set(), math.inf, Silent())
    rows = measured["rows"]
    assert len(rows) == 4 and {w for w, *_ in rows[0]["labels"]["lesion"]["spoilt"]} >= {"thinner", "thicker"}
    left_out = calibration(rows, trust, model)
    assert left_out["source"] == "left out" and left_out["n_subjects"] == trust.n_subjects
    assert coverage(rows, trust, model)["labels"]["lesion"]["why"].startswith("No intervals")
    assert annotation(rows)["n_subjects"] == 4
    found = groups(rows, ["site", "empty"], [{"site": "C"}])
    assert {"column": "site", "group": "A"} in found["not_taught"]


def test_of_too_short_a_time_one_case_is_measured(run, mixed):
    model = Model.open(run)
    sides = Sides.of(model, Cohort.open(mixed), Silent())
    measured = measure_cases(model, Trust.read(model.folder), sides.unseen, set(), 0.0, Silent())
    assert len(measured["rows"]) == 1 and "The budget allowed 1 of 4 cases." in measured["notes"]


def test_the_exact_interval_of_a_share():
    assert clopper_pearson(9, 10) == pytest.approx([0.555, 0.9975], abs=1e-3)
    assert clopper_pearson(0, 5)[0] == 0 and clopper_pearson(5, 5)[1] == 1


def test_every_subject_comes_once_before_any_comes_twice(place):
    own = Cohort.open(place / "cohort").cases
    twice = [*own, *(replace(c, name=f"{c.name}_2") for c in own)]
    assert len({c.subject for c in shuffled(twice)[:4]}) == 4
    assert Path(place).is_dir()


@pytest.fixture(scope="module")
def dozen(place, run, cohort_of):
    """Six subjects that the run never saw."""
    table = place / "dozen"
    cohort_of(table, count=6)
    for index in range(6):
        path = table / f"s{index}_flair.nii.gz"
        image = nib.load(path)
        noisy = image.get_fdata() + np.random.default_rng(index).normal(0, 1, image.shape)
        nib.save(nib.Nifti1Image(noisy.astype(np.float32), image.affine), path)
    return table


def test_the_licence_of_a_cohort_is_that_of_the_training_data_only_for_images_that_taught(place, run, dozen):
    golden = json.loads((Path(__file__).parents[1] / "golden" / "audit.json").read_text())
    model = Model.open(run)

    def told(source, name, keep):
        folder = place / name / "cohort"  # named as the cohort that taught the model
        shutil.copytree(source, folder)
        (folder / "LICENSE").write_text("CC BY 4.0\n")
        cohort = Cohort.open(folder)
        cohort = replace(cohort, cases=cohort.cases[keep])
        assert cohort.name == model.facts["cohort"]
        sides = Sides.of(model, cohort, Silent())
        card = card_part(model, cohort, {**golden, "cohort": {**golden["cohort"], **sides.to_dict()}})
        assert card["licence"] == "CC BY 4.0 (LICENSE)"
        return card["sections"]["Training data"][-1].removeprefix("Licence of the training data: ")

    assert told(place / "cohort", "same", slice(None)) == "CC BY 4.0 (LICENSE)."
    assert (
        told(place / "cohort", "half", slice(1, None))
        == "CC BY 4.0 (LICENSE), for 1 of 2 images; of the others not recorded."
    )
    assert told(dozen, "other", slice(None)) == "not recorded."


def test_a_learning_curve_has_points_of_refits(place, run, dozen, monkeypatch):
    monkeypatch.setattr("striate.workflows.audit_refit.LEAST_REFIT_S", 0.5)
    monkeypatch.setattr("striate.workflows.audit_refit.PER_CASE_S", 0.1)
    monkeypatch.setattr("striate.workflows.options.LEAST_BUDGET_S", 0.5)
    model, cohort = Model.open(run), Cohort.open(dozen)
    sides = Sides.of(model, cohort, Silent())
    found = curve(model, cohort, sides, 2.2, place / "curve", Silent())
    assert [p["subjects"] for p in found["points"]] == [1.0, 4.0] and found["n_subjects"] == 2
    assert all(0 <= p["error"] <= 1 for p in found["points"]) and "cannot be said" in found["sentence"]
    assert found["status"] == "partial" and not list((place / "curve").glob("subjects*/model"))
    none = curve(model, cohort, sides, 1.0, place / "curve", Silent())
    assert none["status"] == "not done" and none["absent"].startswith("Two refits need about")


def test_refits_take_what_the_time_allows(run, dozen):
    model = Model.open(run)
    cases = Sides.of(model, Cohort.open(dozen), Silent()).unseen
    names = [c.subject for c in cases] + [f"x{n}" for n in range(10)]
    cases = [replace(cases[0], subject=name) for name in names]
    got = {s: points_within(model, cases, names, 4, s) for s in (50.0, 75.0, 85.0, 100.0, 160.0)}
    assert [g if isinstance(g, str) else g[0] for g in got.values()] == [
        "two refits need about 1 min 14 s, the share of the budget is 50 s.", [2, 4], [2, 8], [4, 16], [4, 8, 16],
    ]  # fmt: skip


def test_explanations_get_verdicts(place, run, dozen):
    model, cohort = Model.open(run), Cohort.open(dozen)
    found = explanations_of(model, list(cohort.cases[:2]), [], 1e6, Silent())
    assert found["n_subjects"] >= 1 and set(found["methods"]) >= {"gradient_input", "grad_cam"}
    assert 0 <= found["passed"] <= 1 and {c["check"] for c in found["explained"][0]["checks"]} >= {"faithfulness"}
    json.dumps(found, allow_nan=False)


def test_a_part_that_takes_longer_than_its_share_is_named(place, run, mixed, only_cheap, monkeypatch):
    monkeypatch.setattr(workflow, "LEAST_OVER_S", 0.0)
    monkeypatch.setitem(workflow.SHARES, "measured", 1e-9)
    told = audit(run, mixed, out=place / "over", budget="20s").document["parts"]
    assert all(set(p) == {"status", "seconds", "over_s", "reason"} for p in told.values())
    assert told["measured"]["over_s"] > 0
    assert "Longer than their share of the budget: measured by" in (place / "over" / "report.html").read_text()
