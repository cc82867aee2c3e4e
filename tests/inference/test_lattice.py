"""The permutohedral lattice against the sum that it approximates."""

from __future__ import annotations

import numpy as np
import pytest

from striate.inference import lattice
from striate.inference.lattice import Lattice


def gaussian(points: np.ndarray) -> np.ndarray:
    distances = ((points[:, None].astype(float) - points[None]) ** 2).sum(-1)
    return np.exp(-distances / 2)


@pytest.mark.parametrize(
    ("dims", "most", "mean"), [(2, 0.01, 0.002), (3, 0.015, 0.003), (4, 0.02, 0.005), (5, 0.04, 0.006)]
)
def test_weighted_means_are_near_the_exact_ones(dims: int, most: float, mean: float) -> None:
    draw = np.random.default_rng(0)
    points = draw.uniform(0, 4, (1500, dims)).astype(np.float32)
    values = draw.random(1500, dtype=np.float32)  # standard deviation 0.29
    filtering, kernel = Lattice(points), gaussian(points)
    found = filtering(values) / filtering(np.ones(1500, dtype=np.float32))
    error = np.abs(found - kernel @ values / kernel.sum(1))
    assert error.max() < most
    assert error.mean() < mean


def test_impulses_become_gaussians_of_variance_one() -> None:
    """On average over where they lie; at a corner of the lattice it is less, far from all corners more."""
    steps = np.arange(-6, 6.01, 0.25, dtype=np.float32)
    points = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    filtering, variances = Lattice(points), []
    for at in np.flatnonzero(np.abs(points).max(1) <= 1):
        share = filtering((np.arange(len(points)) == at).astype(np.float32))
        share /= share.sum()
        assert share @ points == pytest.approx(points[at], abs=0.05)
        variances.append((share[:, None] * (points - points[at]) ** 2).sum(0))
    assert np.mean(variances, axis=0) == pytest.approx([1, 1], abs=0.05)
    assert np.min(variances) > 0.8
    assert np.max(variances) < 1.2


def test_it_is_linear_and_does_not_depend_on_how_points_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    points = draw.normal(0, 3, (300, 3)).astype(np.float32)
    a, b = draw.random((2, 300), dtype=np.float32)
    whole = Lattice(points)
    np.testing.assert_allclose(whole(2 * a + b), 2 * whole(a) + whole(b), rtol=1e-5)
    monkeypatch.setattr(lattice, "AT_ONCE", 7)
    np.testing.assert_allclose(Lattice(points)(a), whole(a), rtol=1e-5)


def test_barycentric_weights_are_shares() -> None:
    points = np.random.default_rng(2).normal(0, 5, (500, 4)).astype(np.float32)
    weights = Lattice(points).spread
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert weights.data.min() > -1e-5
    assert (np.diff(weights.indptr) == 5).all()
