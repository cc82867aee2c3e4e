"""The weights of the first U-Net's loss, by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from striate.core.class_set import ClassSet
from striate.core.errors import UsageError
from striate.core.targets import Targets
from striate.training import losses
from striate.training.losses.border_weighted import gap_weights, weights


def test_a_gap_of_one_voxel_by_hand():
    classes = torch.tensor([[[1, 1, 0, 1, 0, 0, 0, 0]]], dtype=torch.uint8)
    found = weights(classes)[0, 0].tolist()
    background, cell = 8 / 2 / 5, 8 / 2 / 3  # inverse frequencies of 5 and 3 voxels of 8, over 2 classes
    gap = [10 * np.exp(-((a + b) ** 2) / 50) for a, b in ((1, 1), (1, 3), (2, 4), (3, 5), (4, 6))]
    want = [cell, cell, background + gap[0], cell, *(background + g for g in gap[1:])]
    assert found == pytest.approx(want, rel=1e-5)
    assert max(found) == found[2]


@pytest.mark.parametrize("size", [(24, 20), (10, 11, 12)])
def test_distances_to_the_two_nearest_cells(size):
    draw = np.random.default_rng(0)
    foreground = ndimage.binary_dilation(draw.random(size) < 0.02)
    cells, count = ndimage.label(foreground)
    assert count > 2
    places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, len(size))
    to = [np.sqrt(((places[:, None] - np.argwhere(cells == n)[None]) ** 2).sum(-1)).min(1) for n in range(1, count + 1)]
    first, second = np.sort(np.stack(to), axis=0)[:2]
    want = np.where(foreground, 0, 10 * np.exp(-((first + second) ** 2) / 50).reshape(size))
    np.testing.assert_allclose(gap_weights(foreground), want, atol=0.004)


@pytest.mark.parametrize("foreground", [np.zeros((5, 6), bool), np.ones((5, 6), bool), np.eye(5, 6) > 1])
def test_no_gap_without_two_cells(foreground):
    assert not gap_weights(foreground).any()


def test_the_loss_is_the_weighted_cross_entropy():
    draw = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (2, 6, 7), generator=draw, dtype=torch.uint8)
    logits = torch.randn(2, 3, 6, 7, generator=draw)
    loss = losses.create("border_weighted", Targets.of_labels({1: "core", 2: "oedema"}))
    entropy = functional.cross_entropy(logits, classes.long(), reduction="none")
    assert float(loss(logits, classes)) == pytest.approx(float((weights(classes) * entropy).mean()))
    assert float(weights(classes)[classes > 0].sum()) == pytest.approx(classes.numel() * 2 / 3)


def test_whole_images_have_no_borders():
    with pytest.raises(UsageError, match="classes of whole images"):
        losses.create("border_weighted", ClassSet(("healthy", "ill"), exclusive=True))
