"""What a prediction writes is never more than was foreseen: the worst masks and maps are noise."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from striate.core.image import Grid, Image, LabelMap
from striate.data.prepare import Preparation
from striate.inference.written import map_bytes, mask_bytes, panel_bytes
from striate.io.read import read_label
from striate.io.write import write_image, write_label
from striate.phantoms.anatomy import template
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training
from striate.reporting.panel import write_panel

DATA = Path(os.environ.get("STRIATE_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
GRID = Grid((70, 60, 50), np.eye(4))


def _plan(values):
    return Plan(
        task=Task(channels=("flair",), label_names={0: "background", **{v: f"l{v}" for v in values}}),
        preparation=Preparation(spacing_mm=(1.0,) * 3, normalisation=("zscore",), intensities=(None,)),
        network=NetworkChoice(name="small_unet", spatial_dims=3, options={"features": [4, 8]}),
        training=Training(patch=(16,) * 3, batch=1, steps=1),
        inference=Inference(patch=(16,) * 3),
    )


@pytest.mark.parametrize(("values", "ending"), [
    ((1,), ".nii.gz"), ((1, 2), ".nii.gz"), (range(1, 9), ".nii.gz"), (range(1, 120), ".nii.gz"), ((1, 300), ".nii.gz"),
    ((1,), ".nii"), ((7,), ".npz"),
])  # fmt: skip
def test_masks_and_panels_of_noise_take_no_more_than_was_foreseen(tmp_path, values, ending):
    rng, plan = np.random.default_rng(0), _plan(values)
    noise = rng.choice([0, *values], GRID.shape).astype(np.uint16)
    path = tmp_path / f"a{ending}"
    write_label(path, LabelMap(noise, GRID.affine))
    assert path.stat().st_size <= mask_bytes(plan, GRID, ending)
    if ending == ".nii.gz" and max(values) < 256:
        assert path.stat().st_size > 0.6 * mask_bytes(plan, GRID)
    write_panel(
        tmp_path / "p.npz", {"flair": rng.normal(size=GRID.shape)}, noise, GRID.spacing_mm, truth=noise[::-1], case="a"
    )
    assert (tmp_path / "p.npz").stat().st_size <= panel_bytes(plan, GRID, 1)


def test_masks_of_anatomy_take_no_more_than_is_usual(tmp_path):
    """The tissues of the phantom's template, voxel by voxel, as a network that smooths nothing would draw them."""
    brain = template()
    mask = np.where(brain.levels.sum(axis=0) > brain.top / 2, 1 + brain.levels.argmax(axis=0), 0)
    plan, grid = _plan((1, 2, 3)), Grid(mask.shape, np.eye(4))
    for ending in (".nii.gz", ".nii", ".npz"):
        write_label(tmp_path / f"a{ending}", LabelMap(mask.astype(np.uint8), grid.affine))
        size, usual = (tmp_path / f"a{ending}").stat().st_size, mask_bytes(plan, grid, ending, noise=False)
        assert size <= usual and (usual < 0.3 * mask_bytes(plan, grid, ending)) == (ending != ".nii")
    image = np.random.default_rng(0).normal(size=mask.shape)
    write_panel(tmp_path / "p.npz", {"flair": image}, mask, grid.spacing_mm, truth=mask, case="a")
    usual = panel_bytes(plan, grid, 1, noise=False)
    assert (tmp_path / "p.npz").stat().st_size <= usual < 0.8 * panel_bytes(plan, grid, 1)


@pytest.mark.parametrize("name", ["Dataset015_BraTS/labelsTr", "Dataset015_BraTS/brainmasksTr", "ms-lesion-masks-mni"])
def test_real_masks_take_no_more_than_is_usual(tmp_path, name):
    paths = sorted((DATA / name).glob("*.nii.gz"))[:2]
    if not paths:
        pytest.skip(f"real masks are not at {DATA / name} (set STRIATE_TEST_DATA)")
    for path in paths:
        mask = read_label(path)
        write_label(tmp_path / path.name, mask)
        plan = _plan(mask.values())
        assert (tmp_path / path.name).stat().st_size <= mask_bytes(plan, mask.grid, noise=False)


def test_maps_of_noise_take_no_more_than_was_foreseen(tmp_path):
    write_image(
        tmp_path / "a.nii.gz", Image(np.random.default_rng(0).random((1, *GRID.shape), np.float32), GRID.affine)
    )
    assert 0.5 * map_bytes(GRID) < (tmp_path / "a.nii.gz").stat().st_size <= map_bytes(GRID)
