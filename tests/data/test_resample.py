"""Resampling against torch's own interpolation, and its promises."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.data.background import background_value, bounding_box
from striate.data.resample import coarse_axis, matrix, new_shape, resample, resample_classes


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_linear_upsampling_equals_torch_trilinear():
    image = _noise(2, 7, 8, 9)
    ours = resample(image, (15, 20, 18), "linear")
    reference = F.interpolate(torch.from_numpy(image)[None], size=(15, 20, 18), mode="trilinear", align_corners=False)[
        0
    ]
    np.testing.assert_allclose(ours, reference.numpy(), atol=1e-5)


@pytest.mark.parametrize(("kernel", "mode"), [("linear", "bilinear"), ("cubic", "bicubic")])
@pytest.mark.parametrize("size", [(11, 9), (40, 50), (11, 50)])
def test_both_kernels_equal_torch_with_antialiasing(kernel, mode, size):
    image = _noise(3, 24, 31)
    reference = F.interpolate(torch.from_numpy(image)[None], size=size, mode=mode, align_corners=False, antialias=True)[
        0
    ]
    np.testing.assert_allclose(resample(image, size, kernel), reference.numpy(), atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["nearest", "area", "linear", "cubic"]))
def test_constants_stay_and_rows_sum_to_one(before, after, kernel):
    weights = matrix(before, after, kernel)
    assert weights.shape == (after, before)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40))
def test_a_ramp_in_mm_stays_a_ramp(before, after):
    """Voxel i lies at (i + ½)·n/m − ½: the ramp that the affine promises."""
    ramp = np.arange(before, dtype=np.float32)
    expected = (np.arange(after) + 0.5) * before / after - 0.5
    inside = (expected > 2 * max(1, before / after)) & (expected < before - 1 - 2 * max(1, before / after))
    np.testing.assert_allclose((matrix(before, after, "cubic") @ ramp)[inside], expected[inside], atol=0.05)


def test_an_unchanged_axis_is_not_touched():
    image = _noise(1, 5, 6, 7)
    assert np.array_equal(resample(image, (5, 6, 7), "cubic"), image)
    assert np.array_equal(resample(np.repeat(image, 3, axis=2), (5, 6, 7), "linear").shape, image.shape)


def test_nearest_along_the_coarse_axis_makes_no_new_slices():
    image = _noise(1, 8, 8, 4)
    result = resample(image, (8, 8, 8), "cubic", coarse=2)
    assert np.array_equal(result, np.repeat(image, 2, axis=3))


def test_coarse_axis_and_shapes():
    assert coarse_axis((1.0, 1.0, 5.0)) == 2
    assert coarse_axis((1.0, 1.0, 3.0)) is None
    assert coarse_axis((1.0, 5.0, 5.0)) is None
    assert coarse_axis((1.0, 9.0)) is None
    assert new_shape((240, 240, 155), (1, 1, 1), (2, 2, 2)) == (120, 120, 78)
    assert new_shape((512, 3, 10), (0.488, 1, 1), (0.4883, 20, 0.5)) == (512, 1, 20)


def test_classes_by_the_largest_share():
    classes = np.zeros((4, 4), dtype=np.uint8)
    classes[:2, :2] = 2
    classes[2:, 2:] = 1
    half = resample_classes(classes, (2, 2))
    assert half.tolist() == [[2, 0], [0, 1]]
    assert resample_classes(classes, (4, 4)) is classes
    assert np.array_equal(resample_classes(resample_classes(classes, (12, 12)), (4, 4)), classes)
    assert resample_classes(np.full((3, 3), 3, np.uint8), (5, 5)).tolist() == [[3] * 5] * 5


def test_the_number_of_threads_changes_no_bit():
    code = (
        "import numpy as np, hashlib; from striate.data.resample import resample;"
        "x = np.random.default_rng(0).normal(size=(1, 71, 83, 67)).astype(np.float32);"
        "print(hashlib.sha256(resample(x, (97, 59, 41), 'cubic').tobytes()).hexdigest())"
    )
    found = set()
    for threads in "12":
        variables = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        found.add(subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, check=True).stdout)
    assert len(found) == 1


def test_a_sphere_keeps_its_volume_when_resampled():
    i = np.indices((40, 40, 40)) - 19.5
    sphere = ((i**2).sum(axis=0) < 15**2).astype(np.uint8)
    for n in (20, 30, 53):
        volume = resample_classes(sphere, (n, n, n)).sum() * (40 / n) ** 3
        assert volume == pytest.approx(sphere.sum(), rel=0.07)


def test_background_is_zero_or_the_constant_of_all_corners():
    image = np.full((6, 6, 6), -3.16, dtype=np.float32)
    image[2:5, 1:4, 2:5] = _noise(3, 3, 3)
    assert background_value(image) == pytest.approx(-3.16, abs=1e-6)
    assert background_value(np.zeros((3, 3))) == 0.0
    assert background_value(_noise(5, 5, 5)) == 0.0
    rare = np.arange(125, dtype=np.int16).reshape(5, 5, 5)
    rare[::4, ::4, ::4] = 777
    assert background_value(rare) == 0.0  # a tenth of the image is needed


def test_bounding_box():
    occupied = np.zeros((5, 6, 7), dtype=bool)
    assert bounding_box(occupied) == (slice(0, 5), slice(0, 6), slice(0, 7))
    occupied[1, 2, 3] = occupied[3, 2, 6] = True
    assert bounding_box(occupied) == (slice(1, 4), slice(2, 3), slice(3, 7))
