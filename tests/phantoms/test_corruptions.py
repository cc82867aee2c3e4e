"""Artefacts with a dial: nothing at 0, the same for the same seed, worse the further it is turned."""

import itertools

import numpy as np
import pytest

from striate.core.errors import UsageError
from striate.core.image import Image
from striate.phantoms.corruptions import CORRUPTIONS, MEANINGS, corrupted

AFFINE = np.diag([3.0, 3.0, 4.0, 1.0])


@pytest.fixture(scope="module")
def scan():
    """A head with tissue and a lesion in air."""
    rng = np.random.default_rng(0)
    at = np.indices((40, 44, 32)) - np.array([20, 22, 16]).reshape(3, 1, 1, 1)
    inside = ((at / np.array([15, 18, 12]).reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 1
    tissue = 300 + 60 * np.sin(at[0] / 2) * np.cos(at[1] / 3) + 150 * ((at**2).sum(axis=0) < 12)
    array = np.where(inside, tissue, 0) + np.abs(rng.normal(0, 5, inside.shape))
    return Image(array[None].astype(np.float32), AFFINE)


def psnr_db(image, scan):
    error = float(((image.array - scan.array) ** 2).mean())
    return 10 * np.log10(float(scan.array.max()) ** 2 / error)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_artefact_grows_from_nothing_and_can_be_repeated(scan, name):
    assert np.array_equal(corrupted(scan, name, 0.0, 1).array, scan.array)
    levels = [psnr_db(corrupted(scan, name, s, 1), scan) for s in (0.2, 0.4, 0.6, 0.8, 1.0)]
    assert all(a > b for a, b in itertools.pairwise(levels)), levels
    assert levels[0] > 22 and levels[-1] < 30
    first, second = (corrupted(scan, name, 0.5, 7) for _ in range(2))
    assert np.array_equal(first.array, second.array) and np.array_equal(first.affine, scan.affine)
    assert np.isfinite(first.array).all() and name in MEANINGS
    if name not in ("blur", "anisotropy", "downsampling"):
        assert not np.array_equal(first.array, corrupted(scan, name, 0.5, 8).array)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_axes_of_the_file_do_not_matter(scan, name):
    """The phase direction is anterior-posterior, however the voxels are stored."""
    turn = np.array(
        [[0, -3, 0, 117], [3, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]], dtype=float
    )  # axes P/A and L/R exchanged
    turned = Image(np.ascontiguousarray(np.flip(scan.array.swapaxes(1, 2), 2)), turn)
    there = corrupted(turned, name, 0.5, 3).array
    back = np.flip(there, 2).swapaxes(1, 2)
    wanted = corrupted(scan, name, 0.5, 3).array
    assert np.allclose(back, wanted, atol=0.01 * float(scan.array.max()))


def test_what_surrounds_a_stripped_scan_stays(scan):
    array = np.where(scan.array > 100, scan.array - 400, -400).astype(np.float32)
    found = corrupted(Image(array, AFFINE), "noise", 0.5, 0).array
    assert np.array_equal(found[array == -400], array[array == -400])
    assert float(np.abs(found - array)[array > -400].mean()) > 5


def test_noise_is_that_part_of_the_tissue_contrast(scan):
    inside = corrupted(scan, "noise", 0.4, 0).array[0, 14:26, 14:30, 10:22] - scan.array[0, 14:26, 14:30, 10:22]
    tissue = scan.array[scan.array > 150]
    assert float(inside.std()) == pytest.approx(0.2 * np.subtract(*np.percentile(tissue, (95, 5))), rel=0.2)


def test_a_blur_widens_a_point_by_its_width():
    array = np.random.default_rng(0).uniform(0, 1e-3, (1, 33, 33, 33)).astype(np.float32)
    array[0, 16, 16, 16] = 1000
    row = corrupted(Image(array, np.diag([1.0, 1.0, 1.0, 1.0])), "blur", 0.6, 0).array[0, :, 16, 16]
    assert row[16 + 3] / row[16] == pytest.approx(0.5, abs=0.02)  # 6 mm full width at half maximum


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_channels_draw_for_themselves_whatever_file_they_lie_in(scan, name):
    both = corrupted(Image(np.repeat(scan.array, 2, axis=0), AFFINE), name, 0.5, 3).array
    apart = [corrupted(scan, name, 0.5, 3, channel).array[0] for channel in range(2)]
    assert np.array_equal(both, np.stack(apart))
    assert np.array_equal(*apart) is (name in ("blur", "anisotropy", "downsampling"))  # these draw nothing


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_voxel_that_is_not_finite_counts_as_zero(scan, name):
    wrong, right = scan.array.copy(), scan.array.copy()
    wrong[0, 2, 2, 2], wrong[0, 3, 3, 3], right[0, 2, 2, 2], right[0, 3, 3, 3] = np.inf, np.nan, 0, 0
    assert np.array_equal(
        corrupted(Image(wrong, AFFINE), name, 0.5, 1).array, corrupted(Image(right, AFFINE), name, 0.5, 1).array
    )


def test_pictures_are_spoilt_too():
    array = np.random.default_rng(0).uniform(50, 200, (1, 48, 48)).astype(np.float32)
    for name in CORRUPTIONS:
        found = corrupted(Image(array, np.diag([1.0, 1.0, 1.0, 1.0])), name, 0.7, 0)
        assert found.array.shape == array.shape and np.isfinite(found.array).all()


def test_unknown_artefacts_and_strengths_are_refused(scan):
    with pytest.raises(UsageError, match="unknown artefact 'moton'"):
        corrupted(scan, "moton", 0.5, 0)
    with pytest.raises(UsageError, match=r"artefact blur: strength 1\.5; a number from 0 to 1"):
        corrupted(scan, "blur", 1.5, 0)
