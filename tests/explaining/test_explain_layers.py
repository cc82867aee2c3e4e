"""Layers by name, their maps over a whole case, and the patches that excite one of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import conv, plain, scene_of
from test_explain_scene import network_of, plan_of  # the same plan and network
from torch import nn

from striate.core.errors import UsageError
from striate.core.image import Image
from striate.explaining.activating_patches import MOST, PER_CASE, activating_patches, unit_of
from striate.explaining.feature_maps import feature_maps
from striate.explaining.layers import deepest, layer_named, maps_of


def pyramid() -> nn.Module:
    first, second = conv(torch.ones(3, 1, 3, 3)), conv(torch.ones(2, 3, 1, 1))
    return nn.Sequential(first, nn.MaxPool2d(2), second, nn.Flatten(), nn.Linear(32, 2))


def test_maps_are_listed_and_the_deepest_is_found():
    tile = torch.zeros(1, 1, 8, 8)
    assert maps_of(pyramid(), tile) == {"0": (3, 8, 8), "1": (3, 4, 4), "2": (2, 4, 4)}
    assert deepest(pyramid(), tile) == "2"
    with pytest.raises(UsageError, match=r"unknown layer 'conv1'.*Known: 0, 1, 2"):
        layer_named(pyramid(), "conv1", tile)
    with pytest.raises(UsageError, match="layer '4': it does not put out exactly one map"):
        layer_named(pyramid(), "4", tile)
    with pytest.raises(UsageError, match="no layer with maps"):
        deepest(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), tile)


def test_feature_maps_cover_the_case_and_go_back_to_its_grid():
    plan = plan_of()
    network = network_of(plan)
    rng = np.random.default_rng(0)
    from scenes import prepared_from

    from striate.explaining.scene import Scene

    array = rng.normal(1, 1, (1, 12, 12, 12)).astype(np.float32)
    prepared = prepared_from(Image(array, np.diag([-1.0, 1, 1, 1])), (1.0,) * 3)
    target = np.zeros((12, 12, 12), dtype=bool)
    target[2:4, 2:4, 2:4] = True
    scene = Scene.of_mask(plan, network, prepared, target, "core")
    name = next(iter(maps_of(network, scene.first_tile)))
    found, where = feature_maps(scene, plan, name)
    assert found.maps.shape == (len(found.units), 12, 12, 12) and found.total == 4
    assert where.restore(found.maps[:1]).grid.matches(Image(array, np.diag([-1.0, 1, 1, 1])).grid)
    assert np.array_equal(where.inside, target)


def test_patches_that_excite_a_unit_are_found_where_they_were_put():
    """The unit answers to a bright voxel; each case has some, of known brightness."""
    cases = []
    for number in range(6):
        array = np.zeros((1, 20, 20), dtype=np.float32)
        for k in range(PER_CASE + 1):
            array[0, 4 + 4 * k, 6] = 10 * number + k + 1
        case = plain(array)
        cases.append(case)
    weight = torch.zeros(2, 1, 3, 3)
    weight[1, 0, 1, 1] = 1
    network = nn.Sequential(conv(weight), conv(torch.ones(1, 2, 1, 1))).eval()
    found = activating_patches(network, "0", 1, iter(cases), (4, 4), 2)
    assert len(found) == MOST
    assert [p.activation for p in found[:4]] == pytest.approx([54, 53, 52, 44])
    assert found[0].voxel == (16, 6) and found[0].centre_mm == (16.0, 6.0)
    assert found[0].picture.shape == (32, 32) and found[0].picture[16, 16] == 54
    with pytest.raises(UsageError, match="unit '0:2': the layer has 2 units, 0 to 1 are needed"):
        activating_patches(network, "0", 2, iter(cases), (4, 4), 2)


def test_units_are_written_as_layer_and_number():
    assert unit_of("encoder.2:5") == ("encoder.2", 5)
    for text in ("encoder.2", "5", "encoder.2:x"):
        with pytest.raises(UsageError, match="LAYER:NUMBER is needed"):
            unit_of(text)


def test_scenes_of_windows_keep_their_first_tile():
    scene = scene_of(conv(torch.ones(1, 1, 1, 1)), np.ones((1, 4, 4)), np.ones((4, 4), dtype=bool))
    assert scene.first_tile.shape == (1, 1, 4, 4)
