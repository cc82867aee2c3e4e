"""Classes, sequences and reconstructions, from files to a report; tiny cohorts, networks and plans."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from striate import networks
from striate.cli.main import run
from striate.core.errors import DataError, GeometryError, Interrupted, PlanError
from striate.core.image import LabelMap
from striate.core.progress import Silent
from striate.core.record import Record
from striate.data.augment import Augmentation
from striate.data.cohort import Cohort
from striate.data.prepare import Preparation
from striate.data.samples import prepare_samples
from striate.inference.whole import form_of, predict_whole
from striate.io.write import write_label
from striate.measure.class_table import ClassTable
from striate.model.model import Model
from striate.networks.layers.feedback import Feedback
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.reporting.sample_panel import upright, write_samples, write_triples
from striate.training.log import TrainingLog, read_rows
from striate.workflows.evaluate import evaluate
from striate.workflows.predict import predict
from striate.workflows.predict_whole import truths_by_slice
from striate.workflows.task import whole_task
from striate.workflows.train import train
from striate.workflows.whole import class_table, measure_case, write_gallery, write_reconstructions

SIZE = 16
CLASSES = ("left", "right")


def picture(path: Path, kinds, seed) -> None:
    """Write noise, brighter on the left or the right half."""
    array = np.random.default_rng(seed).integers(0, 80, (SIZE, SIZE)).astype(np.uint8)
    if "left" in kinds:
        array[:, : SIZE // 2] += 120
    if "right" in kinds:
        array[:, SIZE // 2 :] += 120
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(array).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """A folder per class, six pictures in each."""
    root = tmp_path_factory.mktemp("folders") / "pictures"
    for n in range(12):
        kind = CLASSES[n % 2]
        picture(root / kind / f"p{n}.png", (kind,), n)
    return root


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """A CSV with any number of classes for each picture."""
    root = tmp_path_factory.mktemp("table") / "pictures"
    rows = ["subject,image,class"]
    for n in range(12):
        kinds = [(), ("left",), ("right",), CLASSES][n % 4]
        picture(root / f"p{n}.png", kinds, n)
        rows.append(f"s{n},p{n}.png,{';'.join(kinds) or 'none'}")
    (root / "cohort.csv").write_text("\n".join(rows) + "\n")
    return root


def plan_of(
    kind="classification", network="lenet5_modern", options=None, *, channels=("image",), size=(SIZE, SIZE), **more
) -> Plan:
    """Return a plan of four steps, without workers; `more` changes task and training."""
    task = {k: more.pop(k) for k in ("multi_label", "unit", "contains", "regions", "classes") if k in more}
    scan = task.get("unit") == "slice"
    patch = (*size, 1) if scan else size
    options = networks.sized(network, size, options or {})
    training = {"batch": 4, "steps": 4, "loss": "cross_entropy", "workers": 0, "length": 4, "ema": 0.5} | more
    return Plan(
        task=Task(kind=kind, channels=channels, **({} if kind == "reconstruction" else {"classes": CLASSES}) | task),
        preparation=Preparation(
            spacing_mm=(2.0,) * 3 if scan else (1.0,) * len(patch), normalisation=("rescale",), intensities=(None,), crop=scan
        ),
        network=NetworkChoice(name=network, spatial_dims=len(size), options=options),
        training=Training(patch=patch, augmentation=Augmentation(noise=0.3), **training),
        inference=Inference(patch=patch, overlap=0),
    )  # fmt: skip


def follow(plan: Plan, cohort: Path, folder: Path, **options):
    """Write a plan, train on it; returns what `train` returns."""
    path = folder / "plan.yaml"
    plan.write(path)
    return train(cohort, out=folder / "run", plan=path, **options)


def sections(page: Path) -> set[str]:
    """Return the titles of a report's sections."""
    return {re.sub("<[^>]*>", "", t).strip() for t in re.findall(r"<h2[^>]*>(.*?)</h2>", page.read_text(), re.DOTALL)}


def weights(run_folder: Path) -> bytes:
    return (run_folder / "model" / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def classified(folders, tmp_path_factory):
    """A finished run on pictures in folders, that tests only look at."""
    return follow(plan_of(), folders, tmp_path_factory.mktemp("classified"), holdout=["p0", "p1", "p2", "p3"])


def test_classes_from_files_to_report(classified, folders, tmp_path):
    folder = classified.folder
    assert {"check.json", "fingerprint.json", "split.json", "plan.yaml", "cache", "model", "validation", "record.json",
            "report.html", "metrics.csv", "validation.csv"} <= {p.name for p in folder.iterdir()}  # fmt: skip
    assert classified.steps == 4 and classified.model.facts["training_cases"] == 8
    table = ClassTable.read(folder / "validation" / "predictions.csv")
    assert set(table.cases) == {"p0", "p1", "p2", "p3"} and dict(zip(table.cases, table.truth, strict=True)) == {
        f"p{n}": (CLASSES[n % 2],) for n in range(4)
    }
    assert table.probabilities.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    overall = classified.evaluation.to_dict()["summary"]["overall"]
    right = [CLASSES[int(p.argmax())] == t[0] for p, t in zip(table.probabilities, table.truth, strict=True)]
    assert overall["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert {"balanced_accuracy", "accuracy", "macro_auc"} <= set(read_rows(folder / "validation.csv")[-1])
    assert sections(classified.report) >= {"Learning", "Data check", "Plan", "Classes"}, sections(classified.report)
    found = predict(folder, folders, tmp_path / "out")
    again = ClassTable.read(tmp_path / "out" / "predictions.csv")
    assert len(found) == 12 and set(again.cases) == {f"p{n}" for n in range(12)}
    shared = [again.cases.index(name) for name in table.cases]
    assert again.probabilities[shared] == pytest.approx(
        table.probabilities, abs=2e-3
    )  # prepared images are kept in float16
    document = evaluate(tmp_path / "out", folders).to_dict()
    learned = json.loads((folder / "split.json").read_text())["train"]
    assert document["trained_on"] == sorted(learned, key=again.cases.index) and len(learned) == 8
    assert any(note.startswith("the model learned from 8 of 12 cases") for note in document["notes"])
    overall = document["summary"]["overall"]
    right = [
        CLASSES[int(p.argmax())] == CLASSES[int(c[1:]) % 2]
        for p, c in zip(again.probabilities, again.cases, strict=True)
    ]
    assert overall["accuracy"]["value"] == pytest.approx(np.mean(right))
    record = Record.read(tmp_path / "out" / "record.json")
    assert record.facts["task"]["kind"] == "classification" and len(record.inputs) == 12


def test_pictures_alone_are_predicted(classified, folders, tmp_path):
    one = predict(classified.folder, folders / "left" / "p0.png", tmp_path / "out")
    assert len(one) == 1 and one[0].probabilities.shape == (1, 2)
    assert "p0" in (tmp_path / "out" / "predictions.csv").read_text()


def test_a_class_that_the_model_does_not_know_is_no_truth(classified, folders, tmp_path):
    heard, file = Silent(), folders / "left" / "p0.png"
    (tmp_path / "cohort.csv").write_text(f"subject,image,class\np0,{file},left\nq0,{file},middle\n")
    found = predict(classified.folder, tmp_path / "cohort.csv", tmp_path / "out", progress=heard)
    made = ClassTable.read(tmp_path / "out" / "predictions.csv")
    assert len(found) == 2 and dict(zip(made.cases, made.truth, strict=True)) == {"p0": ("left",), "q0": None}
    told = [text for text in heard.warnings if "Its truth counts as unknown" in text]
    assert len(told) == 1 and re.search(r"case q0: class 'middle' is none of left, right\.", told[0])


def test_a_label_map_that_is_broken_or_elsewhere_is_no_truth(tiny_cohort, tmp_path):
    plan = plan_of(size=(16, 16), channels=("flair",), unit="slice", contains="lesion", regions={"lesion": (1,)},
                   classes=("no lesion", "lesion"))  # fmt: skip
    case, heard = Cohort.open(tiny_cohort).case("s1"), Silent()
    planes = tuple(range(16))
    assert truths_by_slice(plan, case, planes, heard)[8] == ("lesion",) and not heard.warnings
    broken, short = tmp_path / "broken.nii.gz", tmp_path / "short.nii.gz"
    broken.write_bytes(b"no image")
    write_label(short, LabelMap(np.ones((16, 16, 8), np.uint8), np.eye(4)))
    for label in (broken, short):
        assert truths_by_slice(plan, replace(case, label=label), planes, heard) == {}
    assert len(heard.warnings) == 2 and "short.nii.gz has shape (16, 16, 8)" in heard.warnings[1]


def test_a_truth_of_fewer_slices_than_were_predicted(tiny_cohort, tmp_path):
    plan = plan_of(size=(16, 16), channels=("flair",), unit="slice", contains="lesion", regions={"lesion": (1,)},
                   classes=("no lesion", "lesion"))  # fmt: skip
    plan.write(tmp_path / "plan.yaml")
    ClassTable(plan.task.classes, True, ("s1",), ("s1",), (16,), (None,), np.array([[0.5, 0.5]])).write(tmp_path)
    with pytest.raises(GeometryError, match=r"case s1: slice 16 was predicted, .* has 16 slices"):
        evaluate(tmp_path, tiny_cohort)


@pytest.mark.parametrize(("kind", "name", "options"), [
    ("classification", "lenet5_modern", {}), ("sequence", "cnn_rnn", {"features": [4, 4], "hidden": 4}),
    ("reconstruction", "autoencoder", {"features": [4, 4]}),
])  # fmt: skip
def test_pictures_are_those_of_all_images_at_once(tiny_cohort, tmp_path, kind, name, options):
    """Of 64 slices 48 are shown, or 16 with their reconstructions; a case that is shown is read again, once."""
    torch.manual_seed(0)
    classes = {"contains": "lesion", "regions": {"lesion": (1,)}, "classes": ("no lesion", "lesion")}
    more, size = (classes, (16, 16)) if kind != "reconstruction" else ({"loss": "squared"}, (28, 28))
    plan = plan_of(kind, name, options, size=size, channels=("flair",), unit="slice", **more)
    network = networks.create(name, spatial_dims=2, in_channels=1, out_channels=plan.task.outputs.out_channels,
                              **plan.network.options).eval()  # fmt: skip
    cases, form, asked = Cohort.open(tiny_cohort).cases, form_of(plan), []
    (tmp_path / "few").mkdir()

    def samples_of(name):
        asked.append(name)
        return prepare_samples(next(c for c in cases if c.name == name), plan.preparation, form)

    found = list(predict_whole(plan, network, cases))
    light = [p.without_images() for p in found]
    flat = [(upright(image[0], oriented=True), p, n) for p in found for n, image in enumerate(p.images)]
    if kind != "reconstruction":
        table = class_table(plan, light, lambda name, plane: ("lesion",) if plane < 9 else None)
        write_samples(tmp_path / "all", [image for image, _, _ in flat], table)
        write_gallery(tmp_path / "few", table, samples_of)
    else:
        made = [upright(p.reconstructions[n][0], oriented=True) for _, p, n in flat]
        captions = [f"{p.case.name}, slice {p.slices[n]}" for _, p, n in flat]
        write_triples(tmp_path / "all", [image for image, _, _ in flat], made, captions)
        write_reconstructions(tmp_path / "few", [measure_case(p) for p in found], light, plan, network, samples_of)
    one, other = (np.load(tmp_path / folder / "panels" / "samples.npz") for folder in ("all", "few"))
    assert len(asked) == len(set(asked)) <= 4 and set(one.files) == set(other.files)
    assert one["facts"] == other["facts"] and np.array_equal(one["images"], other["images"])
    for part in set(one.files) - {"facts", "images"}:  # made in batches of another size: the last bit may differ
        assert np.abs(one[part].astype(int) - other[part].astype(int)).max() <= 1


def test_any_number_of_classes(table, tmp_path):
    plan = plan_of(multi_label=True)
    done = follow(plan, table, tmp_path, holdout=["s0", "s1", "s2", "s3"])
    found = ClassTable.read(done.folder / "validation" / "predictions.csv", exclusive=False)
    assert dict(zip(found.subjects, found.truth, strict=True)) == {
        "s0": (), "s1": ("left",), "s2": ("right",), "s3": CLASSES,
    }  # fmt: skip
    assert not found.exclusive and done.evaluation.to_dict()["summary"]["left"]["auc"]["value"] is not None
    predict(done.folder, table / "cohort.csv", tmp_path / "out")
    assert evaluate(tmp_path / "out", table).to_dict()["summary"]["right"]


def test_a_plan_is_made_for_classes(folders, tmp_path):
    done = train(folders, out=tmp_path / "run", steps=2, network="lenet5_modern")
    made = done.model.plan
    assert made.task.kind == "classification" and made.task.classes == CLASSES and made.training.steps == 2
    assert made.training.patch == (SIZE, SIZE) and made.reasons["network.name"].startswith("you asked for it")
    assert len(json.loads((done.folder / "split.json").read_text())["validation"]) == 2  # one in five of each class


@pytest.mark.parametrize(("size", "told"), [((SIZE, SIZE), 0), ((32, 32), 1)])
def test_images_too_small_for_the_network_of_a_given_plan_are_told(folders, tmp_path, size, told):
    listener = Silent()
    listener.note = (notes := []).append
    name = "lenet5" if told else "lenet5_modern"
    follow(plan_of(network=name, size=size), folders, tmp_path, progress=listener)
    small = [
        note for note in notes if note.startswith("network lenet5: images of 16×16 voxels; at least 32×32 are needed")
    ]
    assert len(small) == told


def test_slices_that_contain_a_lesion(tiny_cohort, tmp_path):
    plan = plan_of(size=(16, 16), channels=("flair",), unit="slice", contains="lesion", regions={"lesion": (1,)},
                   classes=("no lesion", "lesion"))  # fmt: skip
    done = follow(plan, tiny_cohort, tmp_path, holdout=["s1"])
    found = ClassTable.read(done.folder / "validation" / "predictions.csv")
    assert found.slices == tuple(range(16)) and set(found.cases) == {"s1"}
    # a ball of radius < 4 about K = 8: slices 5 … 11
    assert [t == ("lesion",) for t in found.truth] == [5 <= k <= 11 for k in range(16)]
    predict(done.folder, tiny_cohort / "s1_flair.nii.gz", tmp_path / "one")
    assert (tmp_path / "one" / "predictions.csv").read_text().count("\n") == 17
    predict(done.folder, tiny_cohort, tmp_path / "all")
    again = ClassTable.read(tmp_path / "all" / "predictions.csv")
    right = [(p[1] > p[0]) == (5 <= k <= 11) for p, k in zip(again.probabilities, again.slices, strict=True)]
    overall = evaluate(tmp_path / "all", tiny_cohort).to_dict()["summary"]["overall"]
    assert len(right) == 64 and overall["accuracy"]["value"] == pytest.approx(np.mean(right))


def test_slices_read_in_order(tiny_cohort, tmp_path):
    plan = plan_of("sequence", "cnn_rnn", {"features": [4, 4], "hidden": 4}, size=(16, 16), channels=("flair",), batch=2,
                   unit="slice", contains="lesion", regions={"lesion": (1,)}, classes=("no lesion", "lesion"))  # fmt: skip
    done = follow(plan, tiny_cohort, tmp_path, holdout=["s1"])
    found = ClassTable.read(done.folder / "validation" / "predictions.csv")
    assert found.slices == tuple(range(16))
    assert [t == ("lesion",) for t in found.truth] == [5 <= k <= 11 for k in range(16)]
    predict(done.folder, tiny_cohort, tmp_path / "out")
    again = ClassTable.read(tmp_path / "out" / "predictions.csv")
    rows = [n for n, case in enumerate(again.cases) if case == "s1"]
    assert again.probabilities[rows] == pytest.approx(found.probabilities, abs=2e-3)
    assert [again.truth[n] for n in rows] == list(found.truth)


@pytest.mark.parametrize(("asked", "kind", "network"), [
    ("contains:1", "classification", "lenet5_modern"), ("sequence:lesion=1", "sequence", "cnn_rnn"),
])  # fmt: skip
def test_tasks_on_slices_are_planned(tiny_cohort, asked, kind, network):
    regions = ["lesion=1"] if "=" in asked else None
    task = whole_task(Cohort.open(tiny_cohort), asked.partition("=")[0], regions)
    assert task.kind == kind and task.unit == "slice" and len(task.classes) == 2
    assert task.classes == (f"no {task.contains}", task.contains) and task.regions == {task.contains: (1,)}
    assert network in networks.names(kind)


def test_a_cohort_that_lost_a_case_is_told(folders, tmp_path):
    cohort = tmp_path / "pictures"
    shutil.copytree(folders, cohort)
    done = follow(plan_of(network="mlp", options={"hidden": [4]}, steps=1), cohort, tmp_path, holdout=["p0", "p1"])
    gone = next(path for path in sorted(cohort.rglob("*.png")) if path.stem != "p0")
    gone.unlink()
    with pytest.raises(DataError, match=rf"case {gone.stem} is not in it any more; the run .* began with 12 cases"):
        train(resume=done.folder, steps=2)


@pytest.mark.parametrize(("classes", "message"), [
    (("a", "a"), "all cases have the class 'a'; at least two classes are needed to tell apart"),
    (("a", "overall"), "a class named 'overall'; this name stands for all classes together"),
])  # fmt: skip
def test_classes_that_cannot_be_learned_are_refused_before_anything_is_read(tmp_path, classes, message):
    rows = "".join(f"s{n},s{n}.png,{name}\n" for n, name in enumerate(classes))
    for n in range(len(classes)):
        picture(tmp_path / f"s{n}.png", (), n)
    (tmp_path / "cohort.csv").write_text(f"subject,image,class\n{rows}")
    with pytest.raises(DataError, match=message):
        train(tmp_path / "cohort.csv", out=tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()


def test_a_region_cannot_be_called_as_all_classes_are(tiny_cohort):
    with pytest.raises(DataError, match="a class named 'overall'"):
        whole_task(Cohort.open(tiny_cohort), "contains:overall", ["overall=1"])


def test_reconstruction(folders, tmp_path):
    plan = plan_of("reconstruction", "autoencoder", {"features": [4, 8]}, size=(28, 28), loss="squared")
    done = follow(plan, folders, tmp_path, holdout=["p0", "p1"])
    summary = done.evaluation.to_dict()["summary"]
    assert set(summary) == {"image"} and summary["image"]["mse"]["n"] == 2
    assert {"mse", "psnr_db"} <= set(read_rows(done.folder / "validation.csv")[-1])
    found = predict(done.folder, folders, tmp_path / "out")
    assert len(found) == 12 and found[0].reconstructions.shape == found[0].images.shape == (0, 1, 28, 28)
    assert found[0].probabilities.shape == (1, 0) and (tmp_path / "out" / "evaluation.json").exists()
    anew = list(predict_whole(plan, done.model.network(), [p.case for p in found]))
    values = {p.case.name: float(np.mean((p.images - p.reconstructions) ** 2)) for p in anew}
    again = json.loads((tmp_path / "out" / "evaluation.json").read_text())["cases"]
    assert {row["case"]: row["image"]["mse"] for row in again} == pytest.approx(values)
    assert "Image, reconstruction and difference" in sections(done.report), sections(done.report)


FIXED = [n for n in networks.names("classification") if networks.load(n).fixed_features]


def form_options(name):
    """Return the small options of the contract suite's golden form."""
    golden = json.loads((Path(__file__).parents[1] / "golden" / "networks.json").read_text())
    return {k: v for k, v in golden[f"{name}_2d"]["options"].items() if k != "input_size"}


@pytest.mark.parametrize("name", ["scattering", "neocognitron"])
def test_fixed_features_are_computed_once(folders, tmp_path, name):
    assert name in FIXED
    plan = plan_of(network=name, options=form_options(name))
    done = follow(plan, folders, tmp_path, holdout=["p0", "p1", "p2", "p3"])
    kept = list((done.folder / "features").iterdir())
    assert len(kept) == 1 and (kept[0] / "images.raw").exists()
    before = kept[0].stat().st_mtime_ns
    network = done.model.network()
    with torch.inference_mode():
        store = np.fromfile(kept[0] / "images.raw", np.float16).reshape(12, -1)
        images = (
            np.fromfile(done.folder / "cache" / "images.raw", np.float16).astype(np.float32).reshape(12, 1, SIZE, SIZE)
        )
        wanted = network.features(torch.from_numpy(images)).numpy()
    assert store == pytest.approx(wanted, rel=2e-3, abs=2e-3)
    straight = weights(done.folder)
    train(resume=done.folder, steps=6)
    assert kept[0].stat().st_mtime_ns == before and weights(done.folder) != straight
    assert len(predict(done.folder, folders, tmp_path / "out")) == 12


class Stop:
    """Raises SIGINT in this process when so many steps are written down."""

    def __init__(self, monkeypatch, after):
        plain = TrainingLog.step

        def step(log, row):
            plain(log, row)
            if row["step"] + 1 == after:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(TrainingLog, "step", step)


def behind(classifier: str, **options) -> tuple[str, dict]:
    """Return a scattering network of which `classifier` learns from 16 × 16 maps of 32 × 32 pixels."""
    few = {"scales": 1, "angles": 2, "order": 1}
    return "scattering", few | {"classifier": classifier, "classifier_options": options}


STOPPED = [
    ("lenet5_modern", {}), ("scattering", form_options("scattering")), ("neocognitron", form_options("neocognitron")),
    behind("lenet5_modern"), behind("inception_3d", stem=4, features=(16,), dropout=0.5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("network", "options"), STOPPED, ids=lambda v: v.get("classifier", "") if isinstance(v, dict) else v
)
def test_stopped_and_gone_on_with_it_is_the_same(folders, tmp_path, monkeypatch, network, options):
    """SIGINT after two of five steps: bit for bit the weights of a run that was not stopped; dropout draws the same."""
    side = 32 if "classifier" in options else SIZE
    plan = plan_of(network=network, options=options, size=(side, side), steps=5, seed=7)
    (tmp_path / "a").mkdir()
    straight = follow(plan, folders, tmp_path / "a", holdout=["p0", "p1"])
    (tmp_path / "b").mkdir()
    with monkeypatch.context() as patched:
        Stop(patched, 2)
        with pytest.raises(Interrupted, match="stopped after step 2; a checkpoint was written"):
            follow(plan, folders, tmp_path / "b", holdout=["p0", "p1"])
    assert not (tmp_path / "b" / "run" / "model").exists()
    resumed = train(resume=tmp_path / "b" / "run")
    assert resumed.steps == 5 and weights(resumed.folder) == weights(straight.folder)
    losses = [[r["loss"] for r in read_rows(d.folder / "metrics.csv")] for d in (straight, resumed)]
    assert losses[0] == losses[1] and len(losses[0]) == 5
    tables = [(d.folder / "validation" / "predictions.csv").read_text() for d in (straight, resumed)]
    assert tables[0] == tables[1]


def test_a_network_that_organises_itself_starts_from_its_encoder(folders, tmp_path):
    """What the encoder organised is taken, and not organised anew from other images."""
    (tmp_path / "a").mkdir()
    options = form_options("neocognitron")
    held = ["p0", "p1", "p2", "p3"]
    first = follow(plan_of(network="neocognitron", options=options), folders, tmp_path / "a", holdout=held)
    other = plan_of(network="neocognitron", options=options, encoder=str(first.folder), seed=3)
    second = follow(other, folders, tmp_path, holdout=held[:2])
    before, after = (d.model.network().state_dict() for d in (first, second))
    assert {k for k in before if not torch.equal(before[k], after[k])} == {"readout.weight", "readout.bias"}


def test_angles_of_feedback_alignment_are_written_down(folders, tmp_path):
    plan = plan_of(network="mlp", options={"hidden": (8, 6), "rule": "feedback_alignment"})
    done = follow(plan, folders, tmp_path, holdout=["p0", "p1"])
    rows = read_rows(done.folder / "validation.csv")
    columns = [name for name in rows[0] if name.startswith("angle_deg_")]
    layers = [n for n, m in done.model.network().named_modules() if isinstance(m, Feedback)]
    assert len(columns) == 2 and columns == [f"angle_deg_{name}" for name in layers]
    assert [r["step"] for r in rows] == ["0", "1", "2", "3", "4"] and not rows[0][columns[0]]
    assert all(0 < float(row[name]) < 180 for row in rows[1:] for name in columns)


def test_a_killed_run_goes_on_the_same(folders, tmp_path, python):
    """SIGKILL in the middle of learning, in a process of its own."""
    plan = plan_of(steps=5, seed=7)
    (tmp_path / "a").mkdir()
    straight = follow(plan, folders, tmp_path / "a", holdout=["p0", "p1"])
    script = (
        f"import os, signal, sys, torch\ntorch.set_num_threads({torch.get_num_threads()})  # as here: it changes the bits\n"
        "from striate.training.log import TrainingLog\nfrom striate.workflows.train import train\n"
        "plain = TrainingLog.step\n"
        "def step(log, row):\n    plain(log, row)\n"
        "    if row['step'] == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "TrainingLog.step = step\n"
        f"plan, out = {str(tmp_path / 'a' / 'plan.yaml')!r}, {str(tmp_path / 'run')!r}\n"
        f"train({str(folders)!r}, out=out, plan=plan, holdout=['p0', 'p1'])\n"
    )
    assert python("-c", script).returncode == -9
    resumed = train(resume=tmp_path / "run")
    assert resumed.steps == 5 and weights(resumed.folder) == weights(straight.folder)


def test_a_plan_edited_by_hand_is_followed(folders, tmp_path):
    path = tmp_path / "plan.yaml"
    plan_of().write(path)
    text = path.read_text()
    for old, new in (("steps: 4", "steps: 2"), ("balanced: true", "balanced: false"), ("noise: 0.3", "noise: 0.0")):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    done = train(folders, out=tmp_path / "run", plan=path)
    assert done.steps == 2 and not done.model.plan.training.balanced and done.model.plan == Plan.read(path)


REFUSED = [
    (["--task", "clasification"], 2, r"task 'clasification': unknown. Did you mean 'classification'"),
    (["--task", "has:lesion"], 2, r"task 'has:lesion': contains:REGION or sequence:REGION is needed"),
    (["--network", "autoencoder"], 2, r"network autoencoder: it does reconstruction"),
    (["--task", "sequence"], 3, r"2D images; sequences are the axial slices of 3D scans"),
    (["--task", "contains:lesion"], 3, r"no label maps; they tell which slices contain something"),
    (["--task", "segmentation"], 3, r"label"),
    (["--memory", "1M"], 5, r"memory: .*1.* may be used; training needs at least"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "code", "message"), REFUSED, ids=lambda v: v[-1] if isinstance(v, list) else "")
def test_what_cannot_be_is_a_sentence(folders, tmp_path, capsys, options, code, message):
    assert run(["train", str(folders), "--out", str(tmp_path / "run"), "--steps", "2", *options]) == code
    text = " ".join(capsys.readouterr().err.split())
    assert re.search(message, text), text
    assert "Traceback" not in text and not (tmp_path / "run").exists()


def test_a_loss_of_masks_is_refused_before_anything_is_prepared(folders, tmp_path):
    with pytest.raises(PlanError, match=r"loss border_weighted: classes of whole images; masks are needed"):
        follow(plan_of(loss="border_weighted"), folders, tmp_path)
    assert not (tmp_path / "run").exists()


def test_classes_that_are_missing_are_told(tiny_cohort, tmp_path, capsys):
    code = run(["train", str(tiny_cohort), "--out", str(tmp_path / "run"), "--task", "classification", "--steps", "2"])
    text = " ".join(capsys.readouterr().err.split())
    assert code == 3 and "no case has a class; classification needs them" in text and "--task contains:LABEL" in text
    assert not (tmp_path / "run").exists()


def test_an_unknown_region_is_answered_with_the_nearest(tiny_cohort, tmp_path, capsys):
    code = run(
        ["train", str(tiny_cohort), "--out", str(tmp_path / "run"), "--task", "contains:tumour", "--regions", "tumor=1"]
    )
    text = " ".join(capsys.readouterr().err.split())
    assert code == 2 and "unknown region 'tumour'. Did you mean 'tumor'" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--tta", "--save-probabilities"])
def test_options_of_masks_are_refused(classified, folders, tmp_path, capsys, option):
    code = run(["predict", str(classified.folder), str(folders), "--out", str(tmp_path / "out"), option])
    text = " ".join(capsys.readouterr().err.split())
    assert code == 2 and f"{option}: the model gives no masks; leave it away" in text
    assert not (tmp_path / "out").exists()


def test_a_model_of_pictures_does_not_take_scans(classified, tiny_cohort, tmp_path, capsys):
    scan = tiny_cohort / "s1_flair.nii.gz"
    code = run(["predict", str(classified.folder), str(scan), "--out", str(tmp_path / "out")])
    text = " ".join(capsys.readouterr().err.split())
    assert code in (3, 4) and "Traceback" not in text and not (tmp_path / "out").exists()


def test_the_model_s_card_says_what_it_is(classified):
    model = Model.open(classified.folder)
    assert model.plan.task.kind == "classification" and set(model.facts["validation"]["overall"]) >= {"accuracy"}
