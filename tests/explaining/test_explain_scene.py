"""Scenes: what the network sees of a target, and the way back to the grid of the files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import prepared_from

from striate import networks
from striate.core.errors import DataError
from striate.core.image import Image
from striate.data.prepare import Preparation
from striate.explaining.scene import Scene, on_working_grid
from striate.inference.predict import predict_classes
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training


def plan_of(patch=(8, 8, 8), *, dims=3, regions=None, spacing=(1.0, 1.0, 1.0)) -> Plan:
    return Plan(
        task=Task(channels=("flair",), label_names={1: "core", 2: "oedema"}, regions=regions),
        preparation=Preparation(spacing_mm=spacing, normalisation=("none",), intensities=(None,)),
        network=NetworkChoice(name="small_unet", spatial_dims=dims, options={"features": [4, 8]}),
        training=Training(patch=patch, batch=1, steps=1),
        inference=Inference(patch=patch),
    )


def network_of(plan: Plan) -> torch.nn.Module:
    torch.manual_seed(0)
    return networks.create(
        "small_unet", spatial_dims=plan.network.spatial_dims, in_channels=1, out_channels=plan.targets.out_channels,
        features=[4, 8],
    )  # fmt: skip


def rotated(spacing=(1.0, 2.0, 3.0)) -> np.ndarray:
    """An oblique affine: 30° about z and 20° about x, the first axis flipped."""
    a, b = np.deg2rad(30), np.deg2rad(20)
    z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = z @ x @ np.diag([-spacing[0], spacing[1], spacing[2]])
    affine[:3, 3] = [10, -20, 30]
    return affine


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.0, -1, 1, 1]), rotated(), rotated()[:, [2, 0, 1, 3]]])
def test_maps_lie_on_the_grid_of_the_files(affine):
    """A mask goes to the working grid and comes back to the same voxels, whatever the orientation and the crop."""
    array = np.zeros((1, 14, 12, 10), dtype=np.float32)
    array[0, 3:11, 2:10, 1:9] = 1 + np.random.default_rng(0).random((8, 8, 8))
    mask = np.zeros(array.shape[1:], dtype=bool)
    mask[4:6, 3:7, 2:5] = True
    spacing = tuple(np.linalg.norm(affine[:3, :3], axis=0)[np.argsort(np.abs(affine[:3, :3]).argmax(axis=0))])
    prepared = prepared_from(Image(array, affine), spacing)
    assert prepared.grid.shape == (8, 8, 8)
    working = on_working_grid(mask, prepared)
    assert working.sum() == mask.sum()
    plan = plan_of()
    scene = Scene.of_mask(plan, network_of(plan), prepared, working, "core")
    back = scene.restore(scene.inside[None].astype(np.float32))
    assert back.grid.matches(Image(array, affine).grid)
    assert np.array_equal(back.array[0] > 0.5, mask)
    image = scene.restore(scene.image[0].numpy())
    assert np.allclose(image.array[0][mask], array[0][mask], atol=1e-5)


def test_a_lesion_smaller_than_a_voxel_of_the_working_grid_is_kept():
    array = np.ones((1, 8, 8, 8), dtype=np.float32)
    prepared = prepared_from(Image(array, np.eye(4)), (4.0, 4.0, 4.0), crop=False)
    mask = np.zeros((8, 8, 8), dtype=bool)
    mask[5, 1, 1] = True
    found = on_working_grid(mask, prepared)
    assert found.shape == (2, 2, 2) and found.sum() == 1 and found[1, 0, 0]
    assert not on_working_grid(np.zeros((8, 8, 8)), prepared).any()


def test_the_score_over_windows_is_that_of_the_prediction():
    """Every window that sees the target is taken; the probability is the blended one of the sliding window."""
    rng = np.random.default_rng(0)
    prepared = prepared_from(Image(rng.normal(1, 1, (1, 12, 12, 12)).astype(np.float32), np.eye(4)), (1.0,) * 3)
    plan = plan_of()
    network = network_of(plan)
    target = np.zeros((12, 12, 12), dtype=bool)
    target[5:7, 5:7, 5:7] = True
    scene = Scene.of_mask(plan, network, prepared, target, "oedema")
    assert len(scene.score.tiles) > 1 and scene.decided > 0.95
    from striate.inference.predict import engine_of, window_of

    window = window_of(plan, engine_of(plan, network), target.shape)
    rows = torch.cat([torch.from_numpy(part.copy()) for _, part in window.slide(prepared.array)], dim=1)
    blended = rows.movedim(1, 1 + window.tiling.rolling_axis)[2]
    wanted = float(blended[torch.from_numpy(target)].mean())
    assert scene.score.probability(scene.image).item() == pytest.approx(wanted, abs=0.03)
    assert predict_classes(plan, network, prepared.array).shape == target.shape


def test_a_2d_network_sees_slices_and_regions_are_sigmoids():
    array = np.random.default_rng(0).normal(1, 1, (1, 8, 8, 5)).astype(np.float32)
    prepared = prepared_from(Image(array, np.eye(4)), (1.0,) * 3)
    plan = plan_of((8, 8, 1), dims=2, regions={"tumour": (1, 2)})
    target = np.zeros((8, 8, 5), dtype=bool)
    target[2:5, 2:5, 1:3] = True
    scene = Scene.of_mask(plan, network_of(plan), prepared, target, "tumour")
    assert scene.size == (8, 8, 2) and len(scene.score.tiles) == 2 and not scene.score.exclusive
    assert scene.first_tile.shape == (1, 1, 8, 8)
    from striate.explaining import method_named
    from striate.explaining.effort import Effort

    for name, channels in {"gradient_input": 1, "grad_cam": 1, "occlusion": 1}.items():
        found = method_named(name)(scene, Effort(boxes=20))
        assert found.shape == (channels, 8, 8, 2) and np.abs(found).sum() > 0


def test_an_empty_target_is_refused():
    plan = plan_of()
    prepared = prepared_from(Image(np.ones((1, 8, 8, 8), np.float32), np.eye(4)), (1.0,) * 3, crop=False)
    with pytest.raises(DataError, match="case c: an empty target of 'core'"):
        Scene.of_mask(plan, network_of(plan), prepared, np.zeros((8, 8, 8), dtype=bool), "core")
