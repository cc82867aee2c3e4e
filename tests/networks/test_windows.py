"""`Windows`: a convolution sees one window per cell, evenly spread."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
import torch
from torch.nn import functional as F

from striate.networks.layers.windows import Windows


@pytest.mark.parametrize(("before", "after"), [(16, 16), (16, 10), (10, 8), (8, 6), (6, 2), (7, 3)])
def test_each_window_lies_around_its_centre(before: int, after: int) -> None:
    image = torch.arange(1.0, before * before + 1).view(1, 1, before, before)
    windows = Windows((before, before), (after, after), (5, 5))
    for k in range(25):
        pick = F.one_hot(torch.tensor(k), 25).view(1, 1, 5, 5).float()
        found = F.conv2d(windows(image), pick, stride=windows.stride)[0, 0]
        assert found.shape == (after, after)
        for i in range(after):
            for j in range(after):
                row, column = (
                    floor(Fraction(2 * n + 1, 2) * before / after - Fraction(1, 2) + Fraction(1, 2)) + t - 2
                    for n, t in ((i, k // 5), (j, k % 5))
                )
                inside = 0 <= row < before and 0 <= column < before
                assert found[i, j] == (image[0, 0, row, column] if inside else 0)


def test_one_window_over_the_whole_map() -> None:
    image = torch.rand(1, 1, 2, 3)
    assert torch.equal(Windows((2, 3), (1, 1), (2, 3))(image), image)
