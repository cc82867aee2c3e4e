import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.phantoms.anatomy import template
from striate.phantoms.lesions import (
    FEWEST,
    LARGEST_ML,
    MOST,
    SMALLEST_ML,
    Lesion,
    draw_lesion,
    draw_lesions,
    draw_volumes_ml,
    evolve,
)
from striate.phantoms.shape import draw_shape, warp
from striate.phantoms.subject import lesion_sites


@pytest.fixture(scope="module")
def sites():
    return lesion_sites(warp(draw_shape(np.random.default_rng(5)), template()), template())


@pytest.fixture(scope="module")
def many(sites):
    return [draw_lesions(np.random.default_rng(seed), sites) for seed in range(12)]


def plain(radii, centre=(0, 0, 0)):
    return Lesion("deep", np.array(centre, float), np.eye(3), np.array(radii, float), 1.0, np.zeros((6, 5)))


def grid(half=16, step=0.5):
    axis = np.arange(-half, half + step, step, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij")), step**3 / 1000


def test_volume_of_a_ball_by_hand():
    assert plain((10, 10, 10)).volume_ml == pytest.approx(4.18879, abs=1e-5)


@pytest.mark.parametrize("radii", [(4, 4, 4), (8, 4, 3), (5, 2.5, 2.5)])
def test_rendered_volume_is_the_ellipsoid(radii):
    points, voxel_ml = grid()
    fraction, glow = plain(radii).render(points)
    assert (fraction >= 0.5).sum() * voxel_ml == pytest.approx(plain(radii).volume_ml, rel=0.05)
    assert fraction.min() == 0 and fraction.max() == 1
    assert ((fraction > 0.01) & (fraction < 0.99)).any()
    assert glow[fraction > 0.9].mean() > glow[(fraction > 0) & (fraction < 0.5)].mean()  # brighter core


def test_long_axis_follows_the_first_row():
    lesion = Lesion("deep", np.zeros(3), np.eye(3)[[1, 0, 2]], np.array([8.0, 3, 3]), 1.0, np.zeros((6, 5)))
    where = np.argwhere(lesion.render(grid()[0])[0] >= 0.5)
    assert (np.ptp(where, axis=0)).argmax() == 1


def test_reach_holds_the_whole_lesion(many):
    for lesion in many[0]:
        points, _ = grid(half=30, step=1.5)
        fraction, _ = lesion.render(points + lesion.centre_mm[:, None, None, None].astype(np.float32))
        assert np.linalg.norm(points[:, fraction > 0], axis=0).max(initial=0) <= lesion.reach_mm * 1.05


def test_shapes_are_irregular(many):
    lesion = max(many[0], key=lambda one: one.volume_ml)
    points, _ = grid(half=24, step=1)
    points = points + lesion.centre_mm[:, None, None, None].astype(np.float32)
    smooth = Lesion(lesion.kind, lesion.centre_mm, lesion.axes, lesion.radii_mm, 1.0, np.zeros((6, 5)))
    one, two = lesion.render(points)[0] >= 0.5, smooth.render(points)[0] >= 0.5
    assert (one ^ two).sum() > 0.05 * two.sum()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), number=st.integers(1, 60))
def test_volumes_stay_within_their_range(seed, number):
    volumes = draw_volumes_ml(np.random.default_rng(seed), number)
    assert len(volumes) == number and volumes.min() >= SMALLEST_ML and volumes.max() <= LARGEST_ML


def test_numbers_and_kinds(many):
    assert all(FEWEST - 1 <= len(lesions) <= MOST for lesions in many)
    assert len({len(lesions) for lesions in many}) > 4
    kinds = [lesion.kind for lesions in many for lesion in lesions]
    assert kinds.count("juxtacortical") < kinds.count("deep")
    assert kinds.count("periventricular") > 0.3 * len(kinds)


def test_periventricular_lesions_point_away_from_the_ventricles(many, sites):
    for lesion in (one for lesions in many for one in lesions if one.kind == "periventricular"):
        nearest = np.linalg.norm(sites.points_mm - lesion.centre_mm[:, None], axis=0).argmin()
        normal = sites.normals[:, nearest] / np.linalg.norm(sites.normals[:, nearest])
        assert abs(lesion.axes[0] @ normal) > 0.75
        assert lesion.radii_mm[0] > lesion.radii_mm[1:].min()
        assert sites.ventricle_mm[nearest] < lesion.radii_mm[0] + 6  # it reaches the wall


def test_axes_are_perpendicular_unit_vectors(many):
    for lesion in many[1]:
        np.testing.assert_allclose(lesion.axes @ lesion.axes.T, np.eye(3), atol=1e-9)


def test_no_room_gives_no_lesion(sites):
    giant = plain((400, 400, 400))
    assert draw_lesion(np.random.default_rng(0), sites, 0.5, [giant]) is None


def test_second_visit_counts_are_true(many, sites):
    changes = []
    for seed, before in enumerate(many):
        after, change = evolve(np.random.default_rng(seed), sites, before)
        assert len(after) == len(before) - change.vanished + change.new
        places = {tuple(lesion.centre_mm): lesion for lesion in before}
        kept = [lesion for lesion in after if tuple(lesion.centre_mm) in places]
        fresh = [lesion for lesion in after if tuple(lesion.centre_mm) not in places]
        assert len(fresh) == change.new
        grown = [one for one in kept if one.volume_ml > 1.5 * places[tuple(one.centre_mm)].volume_ml]
        assert len(grown) == change.grown
        for lesion in fresh:
            for other in kept:
                gap = np.linalg.norm(lesion.centre_mm - other.centre_mm)
                assert gap > max(lesion.radii_mm.max(), other.radii_mm.max())
        changes.append(change)
    assert sum(c.new for c in changes) and sum(c.grown for c in changes) and sum(c.vanished for c in changes)
