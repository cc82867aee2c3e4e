"""Candidates: by hand, and equal to the definition carried out voxel by voxel."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from striate.core.errors import GeometryError
from striate.measure import candidates
from striate.measure.candidates import FAINT, STEPS, level_of, with_hills
from striate.measure.components import components


def line(*values):
    return np.array(values, dtype=np.float32)[:, None]


def found(probability, mask=None):
    """Return the voxels of hills of a line."""
    mask = probability > 0.5 if mask is None else mask
    return np.flatnonzero(with_hills(mask, level_of(probability)) & ~mask).tolist()


def test_by_hand():
    # a lesion with its border; a hill of three voxels down to half of 0.4; below half of FAINT nothing
    assert found(line(0, 0.3, 0.9, 0.2, 0, 0.21, 0.4, 0.25, 0.15, 0)) == [5, 6, 7]
    assert found(line(0, 0.009, 0)) == [] and found(line(0, 0.011, 0)) == [1]
    assert found(line(0.2, 0.2, 0.2)) == [0, 1, 2]  # a plain is one hill


def test_a_peak_needs_a_valley_below_half_of_its_height():
    assert found(line(0, 0.4, 0.1, 0.3, 0)) == [1, 3]  # 0.1 < 0.15
    assert found(line(0, 0.4, 0.18, 0.3, 0)) == [1]  # 0.18 > 0.15: the lower peak belongs to the higher one
    assert found(line(0, 0.9, 0.18, 0.3, 0)) == []  # or to the lesion
    assert found(line(0, 0.9, 0.1, 0.3, 0)) == [3]
    assert found(line(0, 0.9, 0.3, 0.0)) == []


def test_a_faint_hill_that_swallows_lesions_leaves_them():
    probability = np.full((30, 5), 0.2, np.float32)
    probability[3, 2] = probability[10:12, 2] = 0.9
    mask = probability > 0.5
    assert np.array_equal(with_hills(mask, level_of(probability)), mask)


def by_definition(mask, levels):
    """Flood from each voxel what has half of its height; it is a peak where nothing in that is higher or of the mask.

    A voxel as high as one whose flood has reached it has the same flood: it is not carried out again.
    """
    heights = np.where(mask, 255, levels).astype(int)
    hills, shape, known = mask.copy(), mask.shape, set()
    for start in np.argwhere(levels >= level_of(np.array([FAINT]))[0]):
        top = heights[tuple(start)]
        if top == 255 or tuple(start) in known:
            continue
        seen, todo = {tuple(start)}, [tuple(start)]
        while todo:
            here = todo.pop()
            for move in itertools.product((-1, 0, 1), repeat=len(shape)):
                there = tuple(a + b for a, b in zip(here, move, strict=True))
                inside = all(0 <= a < n for a, n in zip(there, shape, strict=True))
                if inside and there not in seen and heights[there] >= top - STEPS:
                    seen.add(there)
                    todo.append(there)
        known.update(place for place in seen if heights[place] == top)
        if max(heights[place] for place in seen) == top:
            hills[tuple(np.array(sorted(seen)).T)] = True
    return hills


@pytest.mark.parametrize(("shape", "shift"), [((13, 12, 11), -5), ((14, 13, 10), -7), ((40, 30), -4), ((9, 1, 14), -3)])
def test_equal_to_the_definition(shape, shift):
    rng = np.random.default_rng(sum(shape))
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 0.9)
    probability = 1 / (1 + np.exp(-(4 * smooth / smooth.std() + shift)))
    mask, levels = probability > 0.6, level_of(probability)  # voxels above ½ outside of the mask, as regions have
    got = with_hills(mask, levels)
    assert np.array_equal(got, by_definition(mask, levels))
    assert mask.any() and not (mask & ~got).any()
    lesions, hills = components(mask)[1], components(got & ~mask)[1]
    assert hills > 0 and components(got)[1] == lesions + hills  # nothing touches


def test_levels():
    known = level_of(np.array([0, FAINT / 2.1, FAINT / 2, FAINT, 2 * FAINT]))
    assert known.tolist() == [0, 0, 1, 1 + STEPS, 1 + 2 * STEPS]
    p = np.linspace(0, 1, 999)
    levels = level_of(p)
    assert (np.diff(levels.astype(int)) >= 0).all() and levels.max() < 70


def test_many_faint_voxels_raise_the_limit(monkeypatch):
    probability = np.zeros((20, 5), np.float32)
    probability[:9] = 0.007
    probability[3, 2], probability[12, 2] = 0.012, 0.4
    assert found_all(probability) == 2
    monkeypatch.setattr(candidates, "MOST_VOXELS", 40)
    assert found_all(probability) == 1  # 0.012 has no half above the limit
    monkeypatch.setattr(candidates, "MOST_VOXELS", 0)
    assert found_all(probability) == 0


def found_all(probability):
    return components(with_hills(probability > 0.5, level_of(probability)))[1]


def test_nothing_and_everything():
    none = np.zeros((4, 5, 6), bool)
    assert not with_hills(none, level_of(none)).any()
    assert with_hills(~none, level_of(~none)).all()
    with pytest.raises(GeometryError):
        with_hills(none, level_of(none[:2]))
