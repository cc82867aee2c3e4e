import numpy as np
import pytest

from striate.core.errors import UsageError
from striate.phantoms.scanner import FIELD_OF_VIEW_MM, Raster, scan, sensitivity, stretched


def test_raster_covers_the_field_of_view_around_the_origin():
    raster = Raster.of((2.0, 2.0, 2.0))
    assert raster.shape == (84, 104, 88) and raster.parts == (2, 2, 2)
    corners = raster.affine @ np.array([[0, 0, 0, 1], [83, 103, 87, 1]]).T
    np.testing.assert_allclose(corners[:3, 0], -corners[:3, 1])
    np.testing.assert_allclose(corners[:3, 1] * 2 + 2, FIELD_OF_VIEW_MM)


def test_thick_slices_average_fine_ones():
    raster = Raster.of((4.0, 8.0, 2.0))
    fine = np.random.default_rng(0).normal(size=[n * p for n, p in zip(raster.shape, raster.parts, strict=True)])
    fine = fine.astype(np.float32)
    assert raster.averaged(fine)[1, 2, 3] == pytest.approx(fine[4:8, 16:24, 6:8].mean(), abs=1e-5)
    assert raster.averaged(np.ones_like(fine)).max() == 1


def test_fine_coordinates_average_to_the_voxel_centres():
    raster = Raster.of((1.0, 1.0, 3.0))
    centres = raster.fine_mm(2).reshape(-1, 3).mean(1)
    np.testing.assert_allclose(centres, raster.affine[2, 2] * np.arange(raster.shape[2]) + raster.affine[2, 3])


@pytest.mark.parametrize("spacing", [(0.1, 1, 1), (1, 1, 20), (2, 2), (float("nan"), 2, 2)])
def test_impossible_spacing_is_refused(spacing):
    with pytest.raises(UsageError, match=r"spacing: .* mm; three values from 0.7 to 8.0 mm"):
        Raster.of(spacing)


def test_background_is_rayleigh_noise():
    raster = Raster.of((4.0, 4.0, 4.0))
    image = scan(np.zeros(raster.shape, dtype=np.float32), raster, "none", np.random.default_rng(1)).astype(float)
    assert image.mean() / image.std() == pytest.approx(np.sqrt(np.pi / 2) / np.sqrt(2 - np.pi / 2), rel=0.05)


def test_low_snr_is_noisier():
    raster = Raster.of((4.0, 4.0, 4.0))
    signal = np.zeros(raster.shape, dtype=np.float32)
    clean, noisy = (scan(signal, raster, kind, np.random.default_rng(1)).mean() for kind in ("none", "low_snr"))
    assert noisy == pytest.approx(4 * clean, rel=0.1)


def test_sensitivity_is_smooth_positive_and_not_flat():
    field = sensitivity((40, 50, 40), np.random.default_rng(2))
    assert field.min() > 0.3 and field.max() < 3
    assert field.std() > 0.02
    assert max(float(np.abs(np.diff(field, axis=a)).max()) for a in range(3)) < 0.05


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_stretched_is_linear_interpolation(axis):
    field = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    positions = np.linspace(0, field.shape[axis] - 1, 9)
    expected = np.apply_along_axis(lambda row: np.interp(positions, np.arange(len(row)), row), axis, field)
    np.testing.assert_allclose(stretched(field, positions, axis), expected, atol=1e-6)
