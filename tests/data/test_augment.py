"""Augmentation: neutral parameters change nothing, images and labels move together, statistics are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from scipy.interpolate import BSpline

from striate.data import intensity, spatial
from striate.data.augment import Augmentation, Parameters, draw_parameters, flat_axis

INTENSITY = ("noise", "blur", "brightness", "contrast", "gamma", "low_resolution", "bias_field")
OFF = dict.fromkeys(("affine", "elastic", *INTENSITY), 0.0)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _smooth(*shape: int, seed: int = 0, sigma: float = 2.0) -> np.ndarray:
    noise = _rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, (0, *(sigma for _ in shape[1:])))
    return (smooth / smooth.std()).astype(np.float32)


def _only(name: str, patch=(20, 24, 28), spacing=(1.0, 1.0, 1.0), seed=0, channels=2, **values) -> Parameters:
    return draw_parameters(_rng(seed), Augmentation(**{**OFF, name: 1.0, **values}), patch, spacing, channels)


def _mapped(image: np.ndarray, matrix: np.ndarray, centre, patch, bend=None, order=1) -> np.ndarray:
    """What scipy makes of the same movement."""
    offsets = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in patch), indexing="ij"))
    where = np.tensordot(matrix, offsets, axes=1) + np.reshape(centre, (-1, *(1 for _ in patch)))
    where = where if bend is None else where + bend
    return ndimage.map_coordinates(image, where, order=order, mode="constant", prefilter=False)


def test_switched_off_draws_nothing():
    parameters = draw_parameters(_rng(), Augmentation(**OFF), (8, 8, 8), (1, 1, 1), 2)
    image = torch.randn(2, 8, 8, 8)
    assert parameters.matrix is None and parameters.elastic is None and parameters.mirror == ()
    assert torch.equal(intensity.apply(image.clone(), parameters), image)


def test_neutral_parameters_change_nothing():
    images, classes = _smooth(2, 30, 32, 34), _rng().integers(0, 4, (30, 32, 34)).astype(np.uint8)
    plain = spatial.cut(images, classes, (15, 16, 17), (20, 24, 28), Parameters())
    neutral = Parameters(matrix=np.eye(3), elastic=np.zeros((3, 7, 7, 7)))
    moved = spatial.cut(images, classes, (15, 16, 17), (20, 24, 28), neutral)
    np.testing.assert_allclose(plain[0], images[:, 5:25, 4:28, 3:31])
    np.testing.assert_allclose(moved[0], plain[0], atol=1e-4)
    assert torch.equal(moved[1], plain[1])
    same = Parameters(
        bias_field=np.zeros((2, 5, 5, 5)), brightness=(1.0, 1.0), contrast=(1.0, 1.0), gamma=(1.0, -1.0), zoom=(1.0, 1.0),
        blur_sigma=(0.0, 0.0),
    )  # fmt: skip
    np.testing.assert_allclose(intensity.apply(plain[0].clone(), same), plain[0], atol=1e-5)


@pytest.mark.parametrize("patch", [(20, 24, 28), (12, 13, 11)])
def test_affine_equals_scipy(patch):
    images = _smooth(2, 40, 38, 36)
    classes = (images[0] > 0).astype(np.uint8) * 3
    parameters = _only("affine", patch, (1.0, 1.5, 2.0), seed=3)
    image, label = spatial.cut(images, classes, (20, 19, 18), patch, parameters)
    for channel in range(2):
        expected = _mapped(images[channel], parameters.matrix, (20, 19, 18), patch)
        np.testing.assert_allclose(image[channel], expected, atol=2e-4)
    expected = _mapped(classes, parameters.matrix, (20, 19, 18), patch, order=0)
    assert (label.numpy() != expected).mean() < 1e-3  # positions exactly between two voxels round either way


def test_elastic_equals_scipy():
    images = _smooth(1, 40, 38, 36)
    patch = (20, 24, 28)
    parameters = _only("elastic", patch, seed=1)
    bend = spatial.spline(parameters.elastic, patch).numpy()
    assert np.abs(bend).max() > 0.3
    image, _ = spatial.cut(images, np.zeros((40, 38, 36), np.uint8), (20, 19, 18), patch, parameters)
    np.testing.assert_allclose(image[0], _mapped(images[0], np.eye(3), (20, 19, 18), patch, bend), atol=2e-4)


@pytest.mark.parametrize("seed", range(4))
def test_elastic_never_folds(seed):
    parameters = _only("elastic", (32, 24, 40), (1.0, 2.0, 1.0), seed=seed)
    bend = spatial.spline(parameters.elastic, (32, 24, 40)).numpy()
    jacobian = np.stack([np.stack(np.gradient(b)) for b in bend]) + np.eye(3)[:, :, None, None, None]
    assert np.linalg.det(np.moveaxis(jacobian.reshape(3, 3, -1), -1, 0)).min() > 0


def test_spline_is_the_cubic_b_spline():
    coefficients = _rng().normal(size=(1, 7))
    ours = spatial.spline(coefficients[:, :], (50,)).numpy()[0]
    reference = BSpline(np.arange(-3, 8) * 1.0, coefficients[0], 3)((np.arange(50) + 0.5) / 50 * 4)
    np.testing.assert_allclose(ours, reference, atol=1e-5)
    np.testing.assert_allclose(spatial.spline(np.ones((1, 5, 6)), (9, 11)), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["affine", "elastic"])
@pytest.mark.parametrize("patch", [(24, 24, 24), (24, 1, 24), (24, 24, 6)])
def test_image_and_label_move_together(name, patch):
    """A phantom whose label is where the image is positive stays one, but for partial volume."""
    rows = np.indices((48, 44, 40)) - np.array([24, 22, 20]).reshape(3, 1, 1, 1)
    classes = ((rows**2).sum(axis=0) < 14**2).astype(np.uint8)
    for seed in range(3):
        parameters = _only(name, patch, seed=seed, rotation_degrees=90.0)
        image, label = spatial.cut(classes[None].astype(np.float16), classes, (26, 22, 20), patch, parameters)
        sure = (image[0] - 0.5).abs() > 0.49
        assert torch.equal((image[0] > 0.5)[sure], (label == 1)[sure])
        assert sure.float().mean() > 0.6
        assert image.shape == (1, *patch) and label.shape == patch


def test_rotation_turns_millimetres_and_scale_grows():
    """Thick voxels: a ball in mm stays a ball; with scale 1.5 its volume grows by 1.5³."""
    spacing = np.array([1.0, 1.0, 2.0])
    rows = (np.indices((60, 60, 30)) - np.array([30, 30, 15]).reshape(3, 1, 1, 1)) * spacing.reshape(3, 1, 1, 1)
    classes = ((rows**2).sum(axis=0) < 12**2).astype(np.uint8)
    turned = _only("affine", (60, 60, 30), tuple(spacing), seed=2, rotation_degrees=90.0, scale=(1.0, 1.0))
    _, label = spatial.cut(classes[None].astype(np.float32), classes, (30, 30, 15), (60, 60, 30), turned)
    assert (label.numpy() != classes).sum() < 0.12 * classes.sum()
    size = np.linalg.det(turned.matrix)
    assert size == pytest.approx(1)
    grown = Parameters(matrix=np.eye(3) / 1.5)
    _, label = spatial.cut(classes[None].astype(np.float32), classes, (30, 30, 15), (60, 60, 30), grown)
    assert int(label.sum()) == pytest.approx(1.5**3 * classes.sum(), rel=0.05)


def test_flat_axes_are_not_mixed():
    assert flat_axis((32, 1, 32), (1, 1, 1)) == 1
    assert flat_axis((64, 64, 16), (1, 1, 5)) == 2
    assert flat_axis((64, 64, 16), (1, 1, 1)) == 2
    assert flat_axis((64, 64, 64), (1, 1, 1)) is None
    assert flat_axis((64, 64), (1, 9)) is None
    images = np.broadcast_to(np.arange(12, dtype=np.float32), (1, 30, 30, 12)).copy()
    parameters = _only("affine", (16, 16, 8), (1, 1, 5), rotation_degrees=45.0, scale=(1.0, 1.0))
    image, _ = spatial.cut(images, np.zeros((30, 30, 12), np.uint8), (15, 15, 6), (16, 16, 8), parameters)
    np.testing.assert_allclose(image[0], np.broadcast_to(np.arange(2, 10), (16, 16, 8)), atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_named_axis_is_mirrored(axis):
    images, classes = _smooth(2, 10, 12, 14), _rng().integers(0, 3, (10, 12, 14)).astype(np.uint8)
    image, label = spatial.cut(images, classes, (5, 6, 7), (10, 12, 14), Parameters(mirror=(axis,)))
    assert np.array_equal(image, np.flip(images, axis + 1))
    assert np.array_equal(label, np.flip(classes, axis))
    drawn = [_only("affine", seed=s, mirror_axes=(axis,)).mirror for s in range(60)]
    assert 15 < sum(m == (axis,) for m in drawn) < 45
    assert all(m in ((), (axis,)) for m in drawn)


def test_outside_is_zero_and_background():
    images, classes = np.ones((1, 6, 6, 6), np.float16), np.full((6, 6, 6), 2, np.uint8)
    image, label = spatial.cut(images, classes, (3, 3, 3), (10, 10, 10), Parameters())
    assert (image.sum(), label.sum()) == (216, 432)
    assert (image[0, 2:8, 2:8, 2:8] == 1).all()
    image, label = spatial.cut(images, classes, (3, 3, 3), (10, 10, 10), Parameters(matrix=np.eye(3) * 0.99))
    assert image[0, 0].abs().max() == 0 and label[0].max() == 0


def test_two_dimensional_patches():
    images = _smooth(1, 40, 30)
    parameters = _only("affine", (20, 16), (1.0, 2.0), seed=5)
    image, _ = spatial.cut(images, np.zeros((40, 30), np.uint8), (20, 15), (20, 16), parameters)
    np.testing.assert_allclose(image[0], _mapped(images[0], parameters.matrix, (20, 15), (20, 16)), atol=2e-4)


@pytest.mark.parametrize("inverted", [1, -1])
@pytest.mark.parametrize("exponent", [0.7, 1.5])
def test_gamma_keeps_mean_and_deviation(exponent, inverted):
    image = torch.from_numpy(_smooth(1, 24, 24, 24) * 3 + 1)[0]
    changed = image.clone()
    intensity.gamma(changed, exponent * inverted)
    assert float(changed.mean()) == pytest.approx(float(image.mean()), abs=1e-3)
    assert float(changed.std()) == pytest.approx(float(image.std()), rel=1e-3)
    assert float((changed - image).abs().max()) > 0.1
    order = image.reshape(-1).argsort()
    assert (changed.reshape(-1)[order].diff() >= -1e-5).all()  # brighter stays brighter


def test_gamma_by_hand():
    image = torch.tensor([0.0, 1.0, 2.0, 4.0])
    intensity.gamma(image, 2.0, keep_moments=False)
    assert image.tolist() == [0.0, 0.25, 1.0, 4.0]
    image = torch.tensor([0.0, 2.0, 3.0, 4.0])
    intensity.gamma(image, -2.0, keep_moments=False)
    assert image.tolist() == [0.0, 3.0, 3.75, 4.0]
    constant = torch.full((5,), 3.0)
    intensity.gamma(constant, 2.0)
    assert constant.tolist() == [3.0] * 5


def test_contrast_and_bias_by_hand():
    image = torch.tensor([0.0, 1.0, 3.0, 4.0])
    intensity.contrast(image, 1.5)
    assert image.tolist() == [0.0, 0.5, 3.5, 4.0]  # spread about the mean of 2, cut to the range
    image = torch.tensor([-1.0, 1.0, 3.0])
    intensity.bias_field(image, torch.tensor([1.0, 2.0, 0.5]))
    assert image.tolist() == [-1.0, 3.0, 1.0]


def test_blur_equals_scipy_inside():
    image = _smooth(1, 24, 26, 28, sigma=0.5)[0]
    ours = torch.from_numpy(image.copy())
    intensity.blur(ours, 0.8)
    reference = ndimage.gaussian_filter(image, 0.8, truncate=6)
    np.testing.assert_allclose(ours[5:-5, 5:-5, 5:-5], reference[5:-5, 5:-5, 5:-5], atol=1e-4)


def test_low_resolution_takes_detail_and_keeps_the_mean():
    image = torch.from_numpy(_rng().normal(size=(30, 30, 1)).astype(np.float32)) + 5
    changed = image.clone()
    intensity.low_resolution(changed, 0.5)
    assert float(changed.std()) < 0.7 * float(image.std())
    assert float(changed.mean()) == pytest.approx(float(image.mean()), abs=0.05)


def test_noise_has_the_drawn_deviation():
    parameters = Parameters(noise_std=0.25, noise_seed=3)
    image = intensity.apply(torch.zeros(1, 40, 40, 40), parameters)
    assert float(image.std()) == pytest.approx(0.25, rel=0.02)
    assert torch.equal(image, intensity.apply(torch.zeros(1, 40, 40, 40), parameters))


@pytest.mark.parametrize("name", INTENSITY)
@pytest.mark.parametrize("patch", [(16, 18, 20), (1, 18, 20), (18, 20)])
def test_every_intensity_variation_is_finite_deterministic_and_does_something(name, patch):
    image = torch.from_numpy(_smooth(3, *patch))
    image[0] = 0.0  # an empty channel
    changed = []
    for seed in range(4):
        parameters = _only(name, patch, tuple(1.0 for _ in patch), seed=seed, channels=3)
        once = intensity.apply(image.clone(), parameters)
        assert torch.isfinite(once).all()
        assert torch.equal(once, intensity.apply(image.clone(), parameters))
        changed.append(bool((once[1:] - image[1:]).abs().max() > 1e-3))
    assert any(changed)


@pytest.mark.parametrize("name", INTENSITY)
def test_background_stays_zero_where_asked(name):
    image = torch.from_numpy(_smooth(2, 16, 16, 16))
    image[:, :6] = 0
    parameters = _only(name, (16, 16, 16), seed=1)
    changed = intensity.apply(image.clone(), parameters, (True, True))
    assert changed[:, :6].abs().max() == 0
    assert torch.equal(changed == 0, image == 0) or name == "contrast"


def test_frequencies_and_ranges():
    config = Augmentation()
    drawn = [draw_parameters(_rng(seed), config, (32, 32, 32), (1, 1, 1), 1) for seed in range(600)]
    assert sum(p.matrix is not None for p in drawn) / 600 == pytest.approx(config.affine, abs=0.06)
    assert sum(p.elastic is not None for p in drawn) / 600 == pytest.approx(config.elastic, abs=0.05)
    assert sum(p.noise_std > 0 for p in drawn) / 600 == pytest.approx(config.noise, abs=0.05)
    assert sum(bool(p.gamma) for p in drawn) / 600 == pytest.approx(config.gamma, abs=0.06)
    sizes = [np.linalg.det(p.matrix) ** (-1 / 3) for p in drawn if p.matrix is not None]
    assert 0.75 <= min(sizes) < 0.85 and 1.2 < max(sizes) <= 1.35
    assert all(0.7 <= abs(g) <= 1.5 for p in drawn for g in p.gamma)
    assert {g < 0 for p in drawn for g in p.gamma} == {True, False}


def test_drawing_is_deterministic():
    one, two = (_only("affine", seed=4, elastic=1.0, bias_field=1.0) for _ in range(2))
    assert np.array_equal(one.matrix, two.matrix) and np.array_equal(one.elastic, two.elastic)
    assert np.array_equal(one.bias_field, two.bias_field) and one.noise_seed == two.noise_seed


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        Augmentation(blur=1.5)
    with pytest.raises(ValidationError, match="blurr"):
        Augmentation(blurr=0.5)
