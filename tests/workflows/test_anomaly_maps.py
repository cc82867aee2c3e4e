"""Anomaly maps of models that reconstruct: on the grid of the files, in units of what is usual, scored and shown."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from striate import networks
from striate.cli.main import run
from striate.core.image import Image, LabelMap
from striate.data.prepare import Preparation
from striate.inference.anomaly import Calibration, deviation, difference, score
from striate.inference.whole import predict_whole
from striate.io.read import read_image, read_label
from striate.io.write import write_image, write_label
from striate.measure.anomaly import anomaly_measures
from striate.measure.reconstruction import ReconstructionEvaluation
from striate.model.model import Model
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.reporting.anomaly_panel import FILE, read_anomaly_panel
from striate.workflows.anomaly import GREYS_PER_Z
from striate.workflows.evaluate import evaluate
from striate.workflows.predict import predict
from striate.workflows.report import report
from striate.workflows.train import train

SIZE = (28, 28)
KNOWN = {"mean": [0.5], "std": [0.25], "smoothing_voxels": 0.5, "samples": 3}


def plan_of(*, slices: bool) -> Plan:
    options = networks.sized("autoencoder", SIZE, {"features": [4, 8], "output": "linear"})
    patch = (*SIZE, 1) if slices else SIZE
    return Plan(
        task=Task(kind="reconstruction", channels=("image",), unit="slice" if slices else "case"),
        preparation=Preparation(
            spacing_mm=(1, 1, 2) if slices else (1, 1), normalisation=("rescale",), intensities=(None,), crop=slices
        ),
        network=NetworkChoice(name="autoencoder", spatial_dims=2, options=options),
        training=Training(patch=patch, batch=2, steps=2, workers=0, loss="squared"),
        inference=Inference(patch=patch, overlap=0),
    )


def model_of(folder, *, slices, facts):
    plan = plan_of(slices=slices)
    torch.manual_seed(0)
    network = networks.create("autoencoder", spatial_dims=2, **plan.network.options)
    return Model.save(folder, plan, network.state_dict(), facts)


@pytest.fixture
def scan(tmp_path):
    """A scan of 20 × 36 × 5 voxels in LAS with an empty border, and a lesion in its label map."""
    array = np.zeros((20, 36, 5), np.float32)
    array[2:18, 3:33, 1:] = np.random.default_rng(0).random((16, 30, 4)) + 0.5
    label = np.zeros(array.shape, np.uint8)
    label[5:9, 10:14, 2] = 1
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / "scans" / name).mkdir(parents=True)
    write_image(tmp_path / "scans" / "imagesTr" / "a_0000.nii.gz", Image(array[None], affine))
    write_label(tmp_path / "scans" / "labelsTr" / "a.nii.gz", LabelMap(label, affine))
    (tmp_path / "scans" / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "image"}, "labels": {"background": 0, "lesion": 1}, "numTraining": 1,
                    "file_ending": ".nii.gz"})
    )  # fmt: skip
    return tmp_path / "scans"


def test_a_map_lies_on_the_grid_of_its_scan(scan, tmp_path, capsys):
    model = model_of(tmp_path / "model", slices=True, facts={"anomaly": KNOWN})
    (done,) = predict(model, scan, tmp_path / "out")
    found, source = (
        read_image(tmp_path / "out" / "anomaly" / "a.nii.gz"),
        read_image(scan / "imagesTr" / "a_0000.nii.gz"),
    )
    assert found.grid.matches(source.grid) and found.array.shape == source.array.shape
    (seen,) = predict_whole(model.plan, model.network(), [done.case])
    calibration = Calibration.from_dict(KNOWN, 2)
    pairs = zip(seen.images, seen.reconstructions, strict=True)
    z = np.stack([np.maximum(deviation(difference(i, m, 0.5), calibration), 0) for i, m in pairs])
    want = np.zeros((20, 36, 5), np.float32)  # fit: 6 columns more on either side of 16, one row less of 30
    want[2:18, 4:32, 1:] = np.moveaxis(z[:, 6:22, :], 0, -1)[::-1]
    assert np.allclose(found.array[0], want, atol=1e-5) and want.any()
    with (tmp_path / "out" / "anomaly.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["case"], row["map"]) == ("a", "anomaly/a.nii.gz")
    assert float(row["score"]) == pytest.approx(score(z), rel=1e-5)
    assert run(["predict", str(tmp_path / "model"), str(scan), "--out", str(tmp_path / "b"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["anomaly"] == {"a": float(row["score"])}


def test_the_most_unusual_slice_is_shown_with_the_label(scan, tmp_path):
    model = model_of(tmp_path / "model", slices=True, facts={"anomaly": KNOWN})
    (done,) = predict(model, scan, tmp_path / "out")
    (one,), total = read_anomaly_panel(tmp_path / "out" / FILE)
    assert total == 1 and one.case == "a" and one.mask is not None
    (seen,) = predict_whole(model.plan, model.network(), [done.case])
    assert one.place in {f"axial slice {k}" for k in seen.slices}
    assert one.mask.any() == (one.place == "axial slice 2")
    assert one.image.shape == one.made.shape == one.values.shape == one.mask.shape == SIZE
    page = report(tmp_path / "out").read_text(encoding="utf-8")
    assert "What is unusual" in page and "z-score" in page and "Reconstruction of image in a" in page


def test_maps_are_compared_with_masks(scan, tmp_path, capsys):
    model = model_of(tmp_path / "model", slices=True, facts={"anomaly": KNOWN})
    predict(model, scan, tmp_path / "out")
    found = evaluate(tmp_path / "out", scan)
    values = read_image(tmp_path / "out" / "anomaly" / "a.nii.gz").array[0]
    mask = read_label(scan / "labelsTr" / "a.nii.gz").array
    assert found.anomaly == {"a": anomaly_measures(values, mask)} and found.anomaly["a"]["auroc"] is not None
    assert found.anomaly_summary["auroc"].mean == found.anomaly["a"]["auroc"]
    found.write(tmp_path / "out" / "evaluation.json")
    assert ReconstructionEvaluation.read(tmp_path / "out") == found
    assert "an upper bound" in report(tmp_path / "out").read_text(encoding="utf-8")
    assert run(["evaluate", str(tmp_path / "out"), str(scan)]) == 0
    told = capsys.readouterr().err
    assert "only the masks are read" in told and "voxel AUROC" in told and "upper bound" in told


def test_a_mask_on_another_grid_is_left_out(scan, tmp_path, capsys):
    model = model_of(tmp_path / "model", slices=True, facts={"anomaly": KNOWN})
    predict(model, scan, tmp_path / "out")
    write_label(
        scan / "labelsTr" / "a.nii.gz", LabelMap(np.ones((20, 36, 4), np.uint8), np.diag([-1.0, 1.0, 2.0, 1.0]))
    )
    assert run(["evaluate", str(tmp_path / "out"), str(scan)]) == 0
    told = capsys.readouterr().err
    assert "lies on another grid" in told and "is not read" in told


def pictures(root):
    rng = np.random.default_rng(0)
    root.mkdir()
    for n in range(4):
        Picture.fromarray(rng.integers(0, 255, SIZE).astype(np.uint8)).save(root / f"p{n}.png")
    return root


def test_training_learns_what_is_usual_and_pictures_get_pictures(tmp_path):
    cohort = pictures(tmp_path / "cohort")
    plan_of(slices=False).write(tmp_path / "plan.yaml")
    done = train(cohort, plan=tmp_path / "plan.yaml", out=tmp_path / "run", holdout=["p0"])
    known = done.model.facts["anomaly"]
    assert known["samples"] == 3 and known["std"][0] > 0
    found = predict(done.folder, cohort, tmp_path / "out")
    stored = read_image(tmp_path / "out" / "anomaly" / "p1.png").array[0]
    seen = next(iter(predict_whole(done.model.plan, done.model.network(), [found[1].case])))
    z = deviation(difference(seen.images[0], seen.reconstructions[0]), Calibration.from_dict(known, 2))
    assert np.abs(stored - GREYS_PER_Z * np.clip(z, 0, 25.5)).max() <= 0.51
    residuals = [
        difference(p.images[0], p.reconstructions[0])
        for p in predict_whole(done.model.plan, done.model.network(), [f.case for f in found[1:]])
    ]
    assert known["mean"][0] == pytest.approx(np.mean(residuals), rel=1e-3)  # the store holds half precision
    assert known["std"][0] == pytest.approx(np.std(residuals), rel=1e-3)


def test_a_model_without_what_is_usual_says_so(tmp_path):
    cohort = pictures(tmp_path / "cohort")
    model = model_of(tmp_path / "model", slices=False, facts={})
    predict(model, cohort, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert any("does not know what is usual" in text for text in record["warnings"])
    assert (tmp_path / "out" / "anomaly" / "p0.png").exists()
