"""Anomaly maps: exact on networks that are known, and lesions of phantoms that no network has seen are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from striate import networks
from striate.core.config import Config
from striate.core.errors import DataError, UsageError
from striate.inference import anomaly
from striate.networks.network import Network
from striate.phantoms.slices import draw_slices


class Constant(Network):
    """Reconstructs a constant, from images whose sides are multiples of 4; remembers what it was given."""

    task = "reconstruction"

    def __init__(self, channels: int = 1, dims: int = 2) -> None:
        super().__init__(dims, channels, channels, Config())
        self.divisor = self.least = (4,) * dims
        self.value = torch.nn.Parameter(torch.ones(()))
        self.seen = torch.empty(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        self.seen = x
        assert not self.training
        return torch.zeros_like(x) + self.value


def image(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [(9, 14), (5, 4, 11)])
def test_residual_by_hand(size: tuple[int, ...]) -> None:
    network, x = Constant(2, len(size)).train(), image(2, *size)
    found = anomaly.residual(network, x, smoothing_voxels=1.5)
    want = np.stack([ndimage.gaussian_filter(np.abs(channel - 1), 1.5) for channel in x])
    assert np.allclose(found, want, atol=1e-6)
    assert found.dtype == np.float32
    assert network.training
    assert network.seen.shape == (1, 2, *(-(-n // 4) * 4 for n in size))


def test_the_border_continues_to_a_size_that_fits() -> None:
    network, x = Constant(), image(1, 5, 8)
    anomaly.residual(network, x)
    assert np.array_equal(network.seen[0].numpy(), np.pad(x, [(0, 0), (1, 2), (0, 0)], mode="edge"))


def test_z_scores_by_hand() -> None:
    network, healthy = Constant(2), [image(2, 8, 12, seed=s) * np.float32([1, 3])[:, None, None] for s in range(3)]
    calibration = anomaly.calibrate(network, healthy, 0)
    apart = np.abs(np.stack(healthy).astype(np.float64) - 1)
    mean, std = apart.mean((0, 2, 3)), apart.std((0, 2, 3))
    assert np.allclose(calibration.mean.ravel(), mean)
    assert np.allclose(calibration.std.ravel(), std)
    x = image(2, 4, 4, seed=9)
    want = ((np.abs(x - 1) - mean[:, None, None]) / std[:, None, None]).max(0)
    assert np.allclose(anomaly.anomaly_map(network, x, calibration), want, atol=1e-5)


def test_training_images_have_z_scores_of_mean_0_and_deviation_1() -> None:
    network, healthy = Constant(), [image(1, 16, 16, seed=s) for s in range(5)]
    calibration = anomaly.calibrate(network, healthy)
    maps = np.stack([anomaly.anomaly_map(network, x, calibration) for x in healthy])
    assert maps.mean() == pytest.approx(0, abs=1e-5)
    assert maps.std() == pytest.approx(1, abs=1e-5)


def test_a_place_that_is_always_badly_drawn_is_usual_there() -> None:
    network, healthy = Constant(), [image(1, 16, 16, seed=s) for s in range(40)]
    for x in healthy:
        x[:, 4:12, 4:12] *= 5
    outside, inside = healthy[0].copy(), healthy[0].copy()
    outside[:, 1:3, 13:15] += 12
    inside[:, 7:9, 7:9] += 12
    ratio = {}
    for per_place in (False, True):
        calibration = anomaly.calibrate(network, healthy, 0.5, per_place=per_place)
        found = [anomaly.anomaly_map(network, x, calibration) for x in (outside, inside)]
        ratio[per_place] = found[0][1:3, 13:15].max() / found[1][7:9, 7:9].max()
    assert ratio[False] < 1.2
    assert ratio[True] > 2


def test_the_score_is_a_percentile() -> None:
    values = np.arange(101, dtype=np.float32).reshape(1, 101)
    assert anomaly.score(values) == 99
    assert anomaly.score(values, 50) == 50


def test_what_cannot_be_used_is_refused() -> None:
    network = Constant()
    with pytest.raises(DataError, match="0 training images"):
        anomaly.calibrate(network, [])
    with pytest.raises(DataError, match=r"\(1, 8, 8\) and \(1, 8, 12\); one size is needed"):
        anomaly.calibrate(network, [image(1, 8, 8), image(1, 8, 12)], per_place=True)
    calibration = anomaly.calibrate(network, [image(1, 8, 8)], per_place=True)
    with pytest.raises(DataError, match=r"\(1, 8, 12\); \(1, 8, 8\) is needed"):
        anomaly.anomaly_map(network, image(1, 8, 12), calibration)
    with pytest.raises(UsageError, match=r"\(B, 1, I, J\) is needed"):
        anomaly.residual(network, image(1, 8, 8, 8))
    with pytest.raises(UsageError, match="a network for segmentation; one for reconstruction"):
        anomaly.residual(networks.create("small_unet", features=(4, 8)), image(1, 8, 8))


def area(found: Any, others: Any) -> float:
    """Return the share of pairs in which the first is higher (area under the ROC curve)."""
    found, others = np.asarray(found), np.asarray(others)
    return float((found[:, None] > others[None]).mean())


def test_residuals_that_are_all_alike_have_a_deviation_too() -> None:
    for value in np.linspace(0.01, 1, 40, dtype=np.float32):
        found = anomaly.usual([np.full((1, 5, 7, 3), value)] * 3, per_place=True)
        assert (found.std >= anomaly.FLAT).all()


def test_lesions_that_were_never_seen_are_found() -> None:
    """Learn from healthy slices; then find lesions in those of other subjects, by place and by slice."""
    healthy = np.concatenate([draw_slices(1, s, lesions=False)[0] for s in range(16)])
    torch.manual_seed(0)
    network = networks.create("autoencoder", features=(8, 16, 32), code=32, code_kernel=5, output="linear")
    x = torch.from_numpy(np.pad(healthy[:, None], [(0, 0), (0, 0), (3, 3), (2, 2)], mode="edge"))
    optimiser, draw = torch.optim.Adam(network.parameters(), 3e-3), torch.Generator().manual_seed(0)
    for _ in range(200):
        batch = x[torch.randint(len(x), (16,), generator=draw)]
        optimiser.zero_grad()
        (network(batch) - batch).square().mean().backward()
        optimiser.step()

    calibration = anomaly.calibrate(network, healthy[:, None], 0.5, per_place=True)
    maps_healthy = np.stack([
        anomaly.anomaly_map(network, image[None], calibration)
        for s in range(100, 108) for image in draw_slices(1, s, lesions=False)[0]
    ])  # fmt: skip
    slices = [pair for s in range(110, 118) for pair in zip(*draw_slices(1, s), strict=True)]
    maps_sick = np.stack([anomaly.anomaly_map(network, image[None], calibration) for image, _ in slices])
    masks = np.stack([mask > 0 for _, mask in slices])
    seen = masks.sum((1, 2)) >= 5

    voxels = area(maps_sick[masks][::2], maps_sick[~masks][::50])
    images = area([anomaly.score(m) for m in maps_sick[seen]], [anomaly.score(m) for m in maps_healthy])
    assert voxels > 0.87
    assert images > 0.75
