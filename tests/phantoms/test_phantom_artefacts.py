import numpy as np
import pytest

from striate.core.errors import UsageError
from striate.phantoms.artefacts import ARTEFACTS, choose, ghosting, motion, none, spikes


@pytest.fixture(scope="module")
def ball():
    axes = np.meshgrid(*(np.linspace(-1.5, 1.5, n) for n in (40, 48, 36)), indexing="ij")
    return (np.sqrt(sum(a**2 for a in axes)) < 0.8).astype(np.float32)


@pytest.mark.parametrize("name", sorted(ARTEFACTS))
def test_every_artefact_keeps_the_shape_and_repeats_by_seed(name, ball):
    one, two = (ARTEFACTS[name](ball, np.random.default_rng(3)) for _ in range(2))
    assert one.shape == ball.shape and one.dtype == np.complex64 and np.isfinite(one).all()
    np.testing.assert_array_equal(one, two)
    if name not in ("none", "low_snr"):
        assert np.abs(np.abs(one) - ball).mean() > 0.003


def test_none_changes_nothing(ball):
    np.testing.assert_array_equal(none(ball, np.random.default_rng(0)).real, ball)


@pytest.mark.parametrize("seed", range(4))
def test_ghosts_lie_along_the_phase_axis(seed, ball):
    image = np.abs(ghosting(ball, np.random.default_rng(seed)))
    rows = image[20, :, 18]
    beside = image[:3].mean()  # far from the ball along axis 0: no ghost there
    assert rows[ball[20, :, 18] == 0].mean() > 3 * beside


def test_spikes_are_single_points_of_k_space(ball):
    change = np.abs(np.fft.fftn(spikes(ball, np.random.default_rng(1)) - ball))
    assert 1 <= (change > 0.05 * np.abs(np.fft.fftn(ball)).max()).sum() <= 3


@pytest.mark.parametrize("seed", range(4))
def test_motion_blurs_but_keeps_the_place(seed, ball):
    image = np.abs(motion(ball, np.random.default_rng(seed)))
    moved = image > 0.5
    assert 2 * (moved & (ball > 0)).sum() / (moved.sum() + ball.sum()) > 0.85
    assert image[ball == 0].mean() > 0.005


def test_mixed_draws_all_kinds_and_half_of_them_clean():
    rng = np.random.default_rng(0)
    drawn = [choose("mixed", rng) for _ in range(400)]
    assert set(drawn) == set(ARTEFACTS)
    assert 150 < drawn.count("none") < 250


def test_a_misspelt_artefact_gets_the_nearest_name():
    with pytest.raises(UsageError, match=r"unknown artefact 'ghosts'\. Did you mean 'ghosting'"):
        choose("ghosts", np.random.default_rng(0))
