"""Label values resampled as nnU-Net does it, by hand; whole masks are compared in tests/workflows/test_exact_nnunet.py."""

from __future__ import annotations

import numpy as np
import pytest

from striate.data.prepare_nnunet import zoom_labels


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]),
        ([0, 1, 1, 2], [1, 2]),  # halves and halves: the nearest voxel's, which lies behind the middle
        ([1, 0, 2, 1], [0, 1]),
        ([-1, -1, 0, 3], [-1, 3]),
        ([5, 5, 5], [5, 5, 5, 5, 5]),
    ],
)
def test_along_a_line(before: list[int], after: list[int]) -> None:
    found = zoom_labels(np.array(before, np.int16)[:, None, None], (len(after), 1, 1), None)
    assert found[:, 0, 0].tolist() == after


def test_a_label_needs_no_half_to_win() -> None:
    block = np.array([3, 1, 1, 1, 2, 2, 2, 3]).reshape(
        2, 2, 2
    )  # shares 3/8, 3/8 and 1/4; the nearest voxel has the 1/4
    assert zoom_labels(block, (1, 1, 1), None).item() == 1
    assert zoom_labels(np.where(block == 1, 4, block), (1, 1, 1), None).item() == 2


def test_slices_that_are_far_apart_are_not_mixed() -> None:
    slices = np.zeros((4, 4, 2), np.int16)
    slices[..., 0], slices[:2, :, 1] = 1, 2
    found = zoom_labels(slices, (8, 4, 5), 2)
    assert found.shape == (8, 4, 5)
    assert [np.unique(found[..., k]).tolist() for k in range(5)] == [[1], [1], [0, 2], [0, 2], [0, 2]]
    np.testing.assert_array_equal(found[..., 4], [[2] * 4] * 4 + [[0] * 4] * 4)


@pytest.mark.parametrize("axis_order", [(2, 1, 0), (0, 1, 2), (1, 2, 0)])
def test_the_order_of_axes_only_rounds(axis_order: tuple[int, ...]) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (6, 5, 4))
    found = [zoom_labels(labels, (9, 4, 7), coarse, axis_order) for coarse in (None, 1)]
    for mine, coarse in zip(found, (None, 1), strict=True):
        assert mine.shape == (9, 4, 7)
        assert (mine != zoom_labels(labels, (9, 4, 7), coarse)).mean() < 0.02
