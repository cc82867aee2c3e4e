import importlib.resources

import numpy as np
import pytest
from scipy import ndimage

from striate.phantoms.anatomy import CSF, GREY, WHITE, template


def at(*points):
    return np.array(points, dtype=np.float32).T.copy()


def test_fractions_sum_to_one_inside_and_to_nothing_outside():
    levels = template().levels
    total = levels.astype(int).sum(0) / template().top
    inside = ndimage.binary_erosion(total > 0.5, iterations=3)
    assert np.abs(total[inside] - 1).max() <= 1.5 / template().top  # rounding of three fractions
    assert total[0, 0, 0] == 0


def test_volumes_are_those_of_an_adult_brain():
    litres = template().levels.reshape(3, -1).sum(1) / template().top / 1e6
    assert 0.7 < litres[GREY] < 1.1
    assert 0.5 < litres[WHITE] < 0.8
    assert 0.1 < litres[CSF] < 0.5


@pytest.mark.parametrize(
    ("point", "tissue"),
    [((9, 0, 22), CSF), ((-9, 0, 22), CSF), ((26, -10, 30), WHITE), ((-26, -10, 30), WHITE), ((12, 10, 10), GREY)],
)
def test_known_places_hold_the_right_tissue(point, tissue):
    points = at(point)
    parts = template().tissue(points, template().guide(template().depth_mm, points))
    assert parts[:, 0].argmax() == tissue


def test_guides_agree_with_the_tissue_maps():
    anatomy = template()
    rng = np.random.default_rng(0)
    size = np.array(anatomy.levels.shape[1:])
    index = rng.integers(2, size - 2, size=(4000, 3))
    points = (index + anatomy.origin_mm).T.astype(np.float32)
    total = anatomy.levels.sum(0)[tuple(index.T)] / anatomy.top
    depth = anatomy.guide(anatomy.depth_mm, points)
    assert (total[depth > 2] > 0.5).all()
    assert (total[depth < -2] < 0.5).all()
    white = anatomy.levels[WHITE][tuple(index.T)] / anatomy.top
    assert np.abs(anatomy.guide(anatomy.white, points) - white).mean() < 0.05


def test_the_surface_falls_off_outside_the_template():
    far = at((0, -130, 0), (90, 0, 0), (0, 0, 100), (0, -17, 90))
    assert (template().guide(template().depth_mm, far) < -5).all()


def test_distances_and_normals_of_the_ventricles():
    anatomy = template()
    assert anatomy.guide(anatomy.ventricle_mm, at((9, 0, 20)))[0] < 0
    assert anatomy.guide(anatomy.ventricle_mm, at((40, 0, 20)))[0] > 10
    lateral = np.array([anatomy.guide(n, at((30, -5, 20)))[0] for n in anatomy.normals])
    assert lateral[0] > 0.8  # to the right of the right ventricle the normal points right
    assert 0.8 < np.linalg.norm(lateral) < 1.1


def test_the_asset_is_small_and_carries_its_notice():
    assets = importlib.resources.files("striate.phantoms") / "assets"
    assert len((assets / "icbm152_tissue.npz").read_bytes()) < 4_000_000
    notice = (assets / "NOTICE").read_text()
    assert "Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre" in notice
    assert "provided\n    that the above copyright notice appear in all copies" in notice
