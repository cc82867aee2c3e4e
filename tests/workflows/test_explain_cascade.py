"""`explain` of a cascade: the second stage is explained, and the mask of the first is one of its inputs."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nnunet_folder import write_cascade
from test_exact_nnunet import write_case

from striate.cli.main import run
from striate.core.case import Case
from striate.explaining.effort import Effort
from striate.explaining.held_norms import held_norms
from striate.explaining.integrated_gradients import attribute, completeness_error
from striate.explaining.random_weights import random_networks
from striate.explaining.scene import Scene
from striate.inference.cascade import prepare_stage
from striate.inference.predict import predict_case
from striate.io.read import read_image
from striate.model.model import Model
from striate.workflows import explain as verb
from striate.workflows.explain_case import Ask, Opened, look_at
from striate.workflows.import_nnunet import import_nnunet

CHANNELS = ["FLAIR", "CT", "previous label 1", "previous label 2"]
LEAST = Effort(steps=8, boxes=8, networks=1, orders=1, levels=2)


@pytest.fixture(scope="module")
def cascade(tmp_path_factory) -> Model:
    """Its windows hold a whole case, so that little is computed."""
    folder = tmp_path_factory.mktemp("cascade")
    return import_nnunet(write_cascade(folder, bias=-0.4, patch_size=[10, 12, 20]), folder / "model")


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """Images on the second stage's own grid, so that maps come back to the files unchanged."""
    found = write_case(tmp_path_factory.mktemp("case"))
    for path in found.channels.values():
        nib.save(nib.Nifti1Image(nib.load(path).get_fdata(dtype=np.float32), np.diag([1.5, 1, 2, 1])), path)
    return found


@pytest.fixture(scope="module")
def scene(cascade: Model, case: Case) -> Scene:
    """The largest oedema."""
    return look_at(Opened.of(cascade), case, Ask("edema")).scenes[0]


@pytest.fixture(scope="module")
def explained(cascade: Model, case: Case, tmp_path_factory) -> Path:
    """A folder of maps of the largest oedema, by the command, with few passes through the network."""
    patch, out = pytest.MonkeyPatch(), tmp_path_factory.mktemp("explained") / "out"
    patch.setattr(verb, "PATIENCE_S", 0.0)
    patch.setattr(verb, "LADDER", (LEAST,))
    files = [str(path) for path in case.channels.values()]
    methods = ["--method", "integrated_gradients", "--method", "occlusion"]
    assert run(["explain", str(cascade.folder), *files, "--label", "edema", *methods, "--out", str(out)]) == 0
    patch.undo()
    return out


def rows_of(folder: Path) -> dict[str, dict]:
    return {row["method"]: row for row in json.loads((folder / "explanations.json").read_text())["explanations"]}


def test_the_network_sees_what_it_sees_in_a_prediction(
    cascade: Model, scene: Scene, case: Case, explained: Path
) -> None:
    seen = prepare_stage(cascade, case).array
    np.testing.assert_array_equal(scene.prepared.array, seen)
    assert seen[2:].any()
    mask = predict_case(cascade, case).label
    assert scene.inside is not None
    drawn = scene.placed(scene.inside[None])[0][tuple(slice(0, n) for n in seen.shape[1:])] > 0
    whole = np.zeros(mask.grid.shape, dtype=bool)
    whole[scene.prepared.crop] = drawn
    assert (mask.array[whole] == 1).all()
    told = rows_of(explained)["integrated_gradients"]["target"]
    assert told["volume_ml"] == pytest.approx(np.count_nonzero(whole) * 1.5 * 1 * 2 / 1000)


def test_images_and_mask_add_up_to_the_score(scene: Scene) -> None:
    found = attribute(scene, Effort(steps=64))
    assert len(found) == len(CHANNELS)
    assert completeness_error(scene, found) < 0.02
    with torch.no_grad(), held_norms(scene.score, scene.image):
        said = float(scene.score(scene.image) - scene.score(torch.zeros_like(scene.image)))
    assert float(found.sum(dtype=np.float64)) == pytest.approx(said, rel=0.02)
    assert np.abs(found[2:]).sum() > 0.05 * np.abs(found).sum(), "the mask counts"
    assert not found[2:][scene.image[0, 2:].numpy() == 0].any(), "where nothing is drawn the mask adds nothing"


def test_the_command_writes_maps_that_add_up(cascade: Model, scene: Scene, explained: Path) -> None:
    row = rows_of(explained)["integrated_gradients"]
    assert sorted(row["channels"]) == sorted(CHANNELS)
    assert sum(row["channels"].values()) == pytest.approx(1)
    assert min(row["channels"][name] for name in CHANNELS[:3]) > 0
    values = attribute(scene, LEAST)
    written, mask = (read_image(explained / row[name]).array for name in ("file", "previous_file"))
    assert written.sum(dtype=np.float64) == pytest.approx(float(values.sum(dtype=np.float64)), rel=1e-3)
    assert mask.sum(dtype=np.float64) == pytest.approx(float(values[2:].sum(dtype=np.float64)), rel=1e-3)
    assert completeness_error(scene, values) == pytest.approx(row["completeness_error"], rel=1e-3)
    record = json.loads((explained / "record.json").read_text())
    assert record["facts"]["first_stage"] == {"weights_sha256": cascade.previous.facts["weights_sha256"]}


def test_a_method_that_hides_all_channels_tells_no_shares(explained: Path) -> None:
    row = rows_of(explained)["occlusion"]
    assert row["channels"] == {} and "previous_file" not in row
    page = (explained / "report.html").read_text()
    assert "mask of the first stage" in page and "previous label 1" in page and "_previous.nii.gz" in page


def test_networks_of_random_weights_see_the_mask_too(cascade: Model, scene: Scene) -> None:
    (network,) = random_networks(cascade.plan, 1, 0)
    assert torch.isfinite(scene.of(network).score(scene.image)).all()
