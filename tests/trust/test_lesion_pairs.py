"""Lesions of two masks, matched on two grids; what scan and rescan say of noise; masks that were exchanged."""

import numpy as np
import pytest

from striate.core.errors import FormatError, ModelError, UsageError
from striate.core.image import Grid, Image, LabelMap
from striate.measure.finding import Quantity
from striate.trust.change import Examined, compare_label, on_later_grid
from striate.trust.exchanged import contrasts, exchanged
from striate.trust.lesion_pairs import Side, pair_lesions
from striate.trust.repeatability import FEWEST, NEW_ML, SHELL, Noise, Repeatability

FINE = Grid((48, 48, 48), np.diag([1.0, 1.0, 1.0, 1.0]))
THICK = Grid((48, 48, 16), np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 1], [0, 0, 0, 1]]))


def turned(degrees, shift):
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    centre = np.array([24.0, 24.0, 24.0])
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + shift
    return matrix


def balls(grid, places, matrix=None):
    """Balls (centre mm, radius mm) on a grid whose mm are brought to the balls' by `matrix`."""
    index = np.stack([*np.indices(grid.shape), np.ones(grid.shape)]).reshape(4, -1)
    mm = ((np.eye(4) if matrix is None else matrix) @ grid.affine @ index)[:3].reshape(3, *grid.shape)
    found = np.zeros(grid.shape, bool)
    for centre, radius in places:
        found |= ((mm - np.array(centre)[:, None, None, None]) ** 2).sum(axis=0) <= radius**2
    return found


THERE = [((14, 14, 24), 4), ((34, 14, 24), 3), ((14, 34, 24), 5)]


def test_lesions_are_matched_across_grids_and_motion_and_keep_their_own_volumes():
    matrix = turned(8, [2.0, -1.0, 0.5])
    before, after = balls(FINE, THERE), balls(THICK, [*THERE, ((34, 34, 24), 4)], matrix)
    found = pair_lesions(before, FINE, after, THICK, matrix)
    assert len(found) == 4 and sum(x.before.volume_ml == 0 for x in found) == 1
    assert sum(x.before.volume_ml for x in found) == pytest.approx(before.sum() / 1000)
    assert sum(x.after.volume_ml for x in found) == pytest.approx(after.sum() * 3 / 1000)
    new = next(x for x in found if x.before.volume_ml == 0)
    np.testing.assert_allclose((matrix @ [*new.centroid_mm, 1])[:3], (34, 34, 24), atol=1.0)


def test_time_turned_round_turns_the_kinds_round():
    matrix = turned(5, [1.0, 0.0, 0.0])
    early = balls(FINE, [((14, 14, 24), 3), ((34, 14, 24), 5), ((14, 34, 24), 4)])
    late = balls(THICK, [((14, 14, 24), 5), ((34, 14, 24), 3), ((34, 34, 24), 4)], matrix)

    def kinds(before, its, after, other, across):
        seen = [Examined(m, g, Quantity(m.sum() * g.voxel_volume_ml)) for m, g in ((before, its), (after, other))]
        return sorted(x.kind for x in compare_label(*seen, across).change.lesions)

    forth = kinds(early, FINE, late, THICK, matrix)
    assert forth == ["enlarged", "new", "shrunken", "vanished"]
    assert kinds(late, THICK, early, FINE, np.linalg.inv(matrix)) == forth


def test_a_merge_and_a_split_are_one_lesion_and_a_small_shift_is_none():
    two, one = balls(FINE, [((20, 24, 24), 3), ((28, 24, 24), 3)]), balls(FINE, [((24, 24, 24), 8)])
    for before, after in ((two, one), (one, two)):
        (lesion,) = pair_lesions(before, FINE, after, FINE, np.eye(4))
        assert lesion.size_ml == pytest.approx(one.sum() / 1000)
    dot, beside = np.zeros(FINE.shape, bool), np.zeros(FINE.shape, bool)
    dot[20, 20, 20], beside[21, 21, 20] = True, True
    assert len(pair_lesions(dot, FINE, beside, FINE, np.eye(4))) == 1
    far = np.roll(beside, 2, axis=0)
    assert len(pair_lesions(dot, FINE, far, FINE, np.eye(4))) == 2


def test_a_cube_has_the_surface_and_edge_of_a_cube():
    cube = np.zeros(THICK.shape, bool)
    cube[10:14, 10:14, 5:8] = True
    (lesion,) = pair_lesions(cube, THICK, cube, THICK, np.eye(4))
    assert lesion.before == lesion.after == Side(pytest.approx(0.144), pytest.approx(2 * 16 + 4 * 4 * 9), 48 - 2 * 2)


def test_the_earlier_mask_is_shown_where_it_lies():
    matrix = turned(8, [2.0, -1.0, 0.5])
    label = balls(FINE, THERE).astype(np.uint8)
    moved, wanted = on_later_grid(label, FINE, THICK, matrix) > 0, balls(THICK, THERE, matrix)
    assert 2 * (moved & wanted).sum() / (moved.sum() + wanted.sum()) > 0.9


def sides(was_ml, now_ml, surface_mm2=100.0):
    return Side(was_ml, surface_mm2 * (was_ml > 0), 30), Side(now_ml, surface_mm2 * (now_ml > 0), 30)


def test_repeatability_is_the_edges_standard_error_and_covers_19_of_20():
    rng = np.random.default_rng(0)
    edge_mm, rescans = 0.2, []
    for subject in range(2000):
        errors = rng.normal(0, edge_mm, (3, 2)) * 100 / 1000
        rescans.append((str(subject), [sides(1 + a, 1 + b) for a, b in errors]))
    found = Repeatability.fit({"lesion": rescans[:1000]}).labels["lesion"]
    assert found.lesion_mm == pytest.approx(edge_mm, rel=0.05) and (found.n_subjects, found.n_lesions) == (1000, 3000)
    assert found.total_mm == pytest.approx(edge_mm / np.sqrt(3), rel=0.08) and found.least_ml == 0
    noise = Noise(found, (0.001, 0.001))
    limits = [abs(b.volume_ml - a.volume_ml) < noise.lesion_ml(a, b) for _, own in rescans[1000:] for a, b in own]
    assert 0.935 < np.mean(limits) < 0.965
    within = [abs(sum(b.volume_ml - a.volume_ml for a, b in own)) < noise.total_ml(own) for _, own in rescans[1000:]]
    assert 0.93 < np.mean(within) < 0.97


def test_what_appears_between_rescans_is_not_new():
    rescans = [(str(s), [sides(1.0, 1.0), sides(0.0, 0.03 + 0.001 * s)]) for s in range(10)]
    found = Repeatability.fit({"lesion": rescans}).labels["lesion"]
    assert found.n_alone == 10 and found.least_ml == pytest.approx(0.039) and found.least_ml > 0.039
    assert Noise(found, (0.001, 0.001)).least_ml == found.least_ml and "10 subjects" in Noise(found, (1, 1)).source


def test_without_rescans_noise_is_estimated_and_says_so():
    noise = Noise(None, (0.008, 0.008))
    before, after = sides(1, 1)
    assert noise.lesion_ml(before, after) == pytest.approx(1.96 * np.sqrt(2) * SHELL * 30 * 0.008)
    assert noise.least_ml == pytest.approx(0.024) and Noise(None, (0.001, 0.001)).least_ml == pytest.approx(NEW_ML)
    assert "estimated" in noise.source


def test_measured_noise_gives_the_interval():
    found = Repeatability.fit({"lesion": [(str(s), [sides(1, 1 + 0.01 * s)]) for s in range(6)]}).labels["lesion"]
    mask = balls(FINE, THERE)
    seen = Examined(mask, FINE, Quantity(mask.sum() / 1000))
    change = compare_label(seen, seen, np.eye(4), found).change
    limit = change.smallest_detectable_ml
    assert change.volume_change_ml.to_dict() == pytest.approx(
        {"value": 0, "low": -limit, "high": limit, "coverage": 0.95}
    )
    assert "measured on scan and rescan of 6 subjects" in change.noise


def test_repeatability_on_disk(tmp_path):
    pairs = [(str(s), [sides(1, 1.01)]) for s in range(FEWEST)]
    found = Repeatability.fit({"lesion": pairs}, "abc")
    found.write(tmp_path / "repeatability.json")
    assert Repeatability.read(tmp_path, "abc") == found == Repeatability.read(tmp_path / "repeatability.json")
    with pytest.raises(ModelError, match="measured with weights abc; those of these masks"):
        Repeatability.read(tmp_path, "def")
    (tmp_path / "repeatability.json").write_text('{"kind": "striate-repeatability", "schema_version": 1}')
    with pytest.raises(FormatError, match="not readable as striate-repeatability"):
        Repeatability.read(tmp_path)
    with pytest.raises(UsageError, match="4 subjects with scan and rescan; at least 5"):
        Repeatability.fit({"lesion": pairs[1:]})


def test_exchanged_masks_are_noticed():
    rng = np.random.default_rng(0)
    places = balls(FINE, [((14, 14, 24), 4)]), balls(FINE, [((34, 30, 20), 4)])
    images = [Image((rng.normal(100, 5, FINE.shape) + 40 * m)[None].astype(np.float32), FINE.affine) for m in places]
    labels = [LabelMap(m.astype(np.uint8), FINE.affine) for m in places]
    assert not exchanged(contrasts(tuple(images), tuple(labels)))
    assert exchanged(contrasts(tuple(images), tuple(labels[::-1])))
    assert not exchanged(contrasts(tuple(images), (labels[0], labels[0])))
