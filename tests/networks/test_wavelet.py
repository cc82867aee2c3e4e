"""The wavelet pyramid is orthonormal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from striate.core.errors import UsageError
from striate.networks.layers.wavelet import WaveletPyramid, daubechies


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("moments", [1, 2, 4, 10])
@pytest.mark.parametrize("size", [(16, 24), (8, 16, 8)])
def test_perfect_reconstruction_and_parseval(moments: int, size: tuple[int, ...]) -> None:
    pyramid = WaveletPyramid(len(size), 3, moments).double()
    pyramid.filters = torch.from_numpy(daubechies(moments))
    x = image(2, 3, *size)
    coarse, details = pyramid(x)
    assert coarse.shape[2:] == tuple(n // 8 for n in size)
    assert [d.shape[2] for d in details] == [2 ** len(size) - 1] * 3
    energy = coarse.square().sum() + sum(d.square().sum() for d in details)
    tolerance = 1e-12 if moments < 10 else 1e-8  # zeros of order ten are less exact
    assert float((pyramid.inverse(coarse, details) - x).abs().max()) < tolerance
    assert float(energy / x.square().sum()) == pytest.approx(1, abs=tolerance)


def test_haar_counted_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])[None, None]
    coarse, (finest,) = WaveletPyramid(2, 1)(x)
    assert coarse.item() == pytest.approx(12 / 2)
    torch.testing.assert_close(finest.flatten(), torch.tensor([1 - 2 + 3 - 6, 1 + 2 - 3 - 6, 1 - 2 - 3 + 6]) / 2)


def test_filters_of_two_moments_are_the_printed_ones() -> None:
    root = math.sqrt(3)
    printed = np.array([1 + root, 3 + root, 3 - root, 1 - root]) / (4 * math.sqrt(2))
    np.testing.assert_allclose(daubechies(2)[0], printed, atol=1e-15)


@pytest.mark.parametrize("moments", [1, 2, 3, 5])
def test_polynomials_below_the_number_of_moments_have_no_details(moments: int) -> None:
    line = torch.arange(64, dtype=torch.float64)
    x = ((line / 64) ** (moments - 1)).expand(1, 1, 64, 64)
    pyramid = WaveletPyramid(2, 1, moments)
    pyramid.filters = torch.from_numpy(daubechies(moments))
    _, (finest,) = pyramid(x)
    inner = 32 - moments  # the last windows see both ends of the period
    assert float(finest[..., :inner].abs().max()) < 1e-10


@pytest.mark.parametrize("size", [(12, 16), (16, 10)])
def test_sizes_that_cannot_be_halved_so_often_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="multiples of 8 are needed"):
        WaveletPyramid(2, 3)(image(1, 1, *size))


def test_moments_out_of_reach_are_refused() -> None:
    with pytest.raises(UsageError, match="1 to 10 are needed"):
        daubechies(11)
