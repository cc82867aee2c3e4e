"""The fully connected CRF against the sums written out, and what it is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from striate.core.errors import UsageError
from striate.inference.crf import CRF, doubtful_box, refine

ONE = (1.0, 1.0, 1.0)


def written_out(probabilities: np.ndarray, image: np.ndarray, spacing: tuple[float, ...], crf: CRF) -> np.ndarray:
    """Mean field with every pair of voxels, in float64."""
    classes, *size = probabilities.shape
    axes = [np.arange(n) * mm for n, mm in zip(size, spacing, strict=True)]
    place = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(size))
    shade = np.clip(image.reshape(len(image), -1).T.astype(float), -crf.clip, crf.clip)

    def between(points: np.ndarray, sigma: Any) -> np.ndarray:
        scaled = points / np.asarray(sigma)
        return ((scaled[:, None] - scaled[None]) ** 2).sum(-1)

    def normalised(kernel: np.ndarray) -> np.ndarray:
        root = np.sqrt(kernel.sum(1))
        return kernel / root[:, None] / root[None]

    smooth = normalised(np.exp(-between(place, crf.smoothness_mm[: len(size)]) / 2))
    sigmas = [crf.intensity[min(c, len(crf.intensity) - 1)] for c in range(len(image))]
    similar = normalised(np.exp(-(between(place, crf.appearance_mm[: len(size)]) + between(shade, sigmas)) / 2))
    q = probabilities.reshape(classes, -1).astype(float)
    unary = np.log(q)
    for _ in range(crf.iterations):
        energy = unary + crf.smoothness_weight * q @ smooth + crf.appearance_weight * q @ similar
        q = np.exp(energy - energy.max(0))
        q /= q.sum(0)
    return q.reshape(probabilities.shape)


def noisy_ball(size: tuple[int, ...], channels: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a ball (mask), an image with it, and probabilities that are wrong in about one voxel of twelve."""
    draw = np.random.default_rng(0)
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij"))
    ball = (place**2).sum(0) < 0.4
    image = np.stack([1.5 * ball - 0.5 + draw.normal(0, 0.1, size) for _ in range(channels)]).astype(np.float32)
    inside = np.clip(0.5 + 0.35 * (2.0 * ball - 1) + draw.normal(0, 0.25, size), 0.02, 0.98)
    outside = (1 - inside)[None] * draw.dirichlet(np.full(classes - 1, 5.0), size).transpose(-1, *range(len(size)))
    return ball, image, np.concatenate((outside, inside[None])).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "channels", "classes", "options", "most", "mean"),
    [
        ((9, 8, 7), 1, 2, {}, 0.05, 0.001),
        ((9, 8, 7), 2, 2, {"intensity": (0.4,)}, 0.05, 0.001),
        ((9, 8, 7), 2, 3, {}, 0.15, 0.01),
        ((20, 18), 1, 3, {"appearance_mm": (4.0, 3.0)}, 0.05, 0.01),
        ((20, 18), 2, 2, {"iterations": 5}, 0.15, 0.002),
    ],
)
def test_near_the_sums_written_out(
    size: tuple[int, ...], channels: int, classes: int, options: dict[str, Any], most: float, mean: float
) -> None:
    """At most `most` in one voxel (its intensity is rare), at most `mean` on average; labels differ in less than 1 %."""
    ball, image, given = noisy_ball(size, channels, classes)
    crf = CRF(**options)
    spacing = (1.0, 1.5, 2.0)[: len(size)]
    found, want = refine(given, image, spacing, crf), written_out(given, image, spacing, crf)
    assert np.abs(found - want).max() < most
    assert np.abs(found - want).mean() < mean
    assert (found.argmax(0) != want.argmax(0)).mean() < 0.01
    wrong = [((p.argmax(0) == classes - 1) != ball).mean() for p in (given, found)]
    assert wrong[0] > 0.02
    assert wrong[1] < 0.01


def test_without_weights_the_labels_are_those_of_the_network() -> None:
    _, image, given = noisy_ball((8, 8, 8), 1, 3)
    found = refine(given, image, ONE, CRF(smoothness_weight=0, appearance_weight=0))
    np.testing.assert_allclose(found, given, atol=1e-6)
    assert (found.argmax(0) == given.argmax(0)).all()


def test_an_isolated_voxel_vanishes_and_a_lesion_stays() -> None:
    image = np.random.default_rng(0).normal(0, 0.05, (1, 24, 24, 24)).astype(np.float32)
    lesion = np.full((24, 24, 24), 0.02, dtype=np.float32)
    lesion[4:12, 4:12, 4:12] = 0.95
    image[0, 4:12, 4:12, 4:12] += 2
    lesion[18, 18, 18] = 0.9  # in tissue like all around it
    found = refine(np.stack((1 - lesion, lesion)), image, ONE).argmax(0)
    assert not found[18, 18, 18]
    assert found[4:12, 4:12, 4:12].all()
    assert found.sum() == 8**3


def test_labels_follow_the_edge_of_the_image() -> None:
    image = np.zeros((1, 24, 24), dtype=np.float32)
    image[0, :, 12:] = 1
    likely = np.broadcast_to(1 / (1 + np.exp(-(np.arange(24) - 9.5) / 2)), (24, 24)).astype(np.float32)
    found = refine(np.stack((1 - likely, likely)), image, (1, 1)).argmax(0)
    assert (likely[:, 10:12] > 0.5).all()
    assert (found == (image[0] > 0.5)).all()


def test_millimetres_are_what_counts() -> None:
    _, image, given = noisy_ball((9, 8, 7), 1)
    crf = CRF()
    double = CRF(
        smoothness_mm=tuple(2 * s for s in crf.smoothness_mm), appearance_mm=tuple(2 * s for s in crf.appearance_mm)
    )
    np.testing.assert_allclose(refine(given, image, ONE, crf), refine(given, image, (2.0, 2.0, 2.0), double), atol=1e-6)
    assert not np.allclose(refine(given, image, ONE, crf), refine(given, image, (4.0, 4.0, 4.0), crf), atol=1e-3)


def test_only_the_neighbourhood_of_doubt_takes_part() -> None:
    sure = np.full((40, 40, 40), 1e-6, dtype=np.float32)
    sure[20, 21, 22] = 0.4
    crf = CRF(appearance_mm=(4.0, 3.0, 2.0))
    given = np.stack((1 - sure, sure))
    assert doubtful_box(given, (1, 1, 0.5), crf) == (slice(12, 29), slice(15, 28), slice(14, 31))
    found = refine(given, np.zeros((1, 40, 40, 40), dtype=np.float32), (1, 1, 0.5), crf)
    assert found[1, 20, 21, 22] < 0.01
    outside = np.ones((40, 40, 40), dtype=bool)
    outside[12:29, 15:28, 14:31] = False
    np.testing.assert_allclose(found[:, outside], given[:, outside], atol=1e-6)
    assert doubtful_box(np.stack((np.ones_like(sure), 0 * sure)), ONE, crf) is None


def test_probabilities_stay_probabilities_where_they_were_zero() -> None:
    given = np.zeros((3, 6, 6), dtype=np.float32)
    given[0] = 1
    given[:, 2, 2] = (0, 1, 0)
    given[:, 3, 3] = (0.4, 0.3, 0.3)
    found = refine(given, np.zeros((1, 6, 6), dtype=np.float32), (1, 1))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("probabilities", "image", "spacing", "options"),
    [
        ((2, 4, 4), (1, 4, 5), (1, 1), {}),
        ((2, 4, 4), (1, 4, 4), (1, 1, 1), {}),
        ((1, 4, 4), (1, 4, 4), (1, 1), {}),
        ((2, 4), (1, 4), (1,), {}),
        ((2, 4, 4, 4), (1, 4, 4, 4), (1, 1, 1), {"smoothness_mm": (3.0, 3.0)}),
    ],
)
def test_what_does_not_fit_is_refused(
    probabilities: tuple[int, ...], image: tuple[int, ...], spacing: tuple[float, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="CRF"):
        refine(
            np.full(probabilities, 0.5, dtype=np.float32), np.zeros(image, dtype=np.float32), spacing, CRF(**options)
        )
