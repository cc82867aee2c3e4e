"""Each kind of error is found and called by its name, among masks that are only a little off."""

import numpy as np
import pytest
from scipy import ndimage

from striate.trust.label_errors import SUSPICIOUS, average_precision, doubt_mask, rank

SHAPE = (32, 36, 24)


def brain(rng):
    """Return true lesions and a prediction of them: right about the place, unsure at the border."""
    mask = np.zeros(SHAPE, bool)
    for _ in range(5):
        centre = np.array([rng.uniform(8, 24), rng.uniform(8, 28), rng.uniform(7, 17)])
        mask |= ((np.indices(SHAPE) - centre[:, None, None, None]) ** 2).sum(axis=0) <= rng.uniform(2, 3.5) ** 2
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.6)
    belief = np.clip(soft + rng.normal(0, 0.02, SHAPE), 0, 1).astype(np.float32)
    return mask, belief


def judged(name, belief, mask):
    return doubt_mask(belief, mask, (2.0, 2.0, 2.0), case=name, subject=name, label="lesion")


@pytest.fixture(scope="module")
def sound():
    rng = np.random.default_rng(0)
    return [brain(rng) for _ in range(24)]


def removed(mask):
    numbers, count = ndimage.label(mask, np.ones((3, 3, 3)))
    return mask & (numbers != 1 + np.argmax(np.bincount(numbers[mask], minlength=count + 1)[1:]))


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda m: np.roll(m, 3, 1), ("moved", "disagrees")),
        (lambda m: m[::-1], ("mirrored", "disagrees", "lesion absent")),
        (ndimage.binary_dilation, ("too thick",)),
        (ndimage.binary_erosion, ("too thin", "disagrees")),
        (removed, ("lesion absent",)),
        (lambda m: m | np.roll(removed(m), 12, 2), ("lesion denied", "disagrees")),
    ],
    ids=["moved", "mirrored", "thick", "thin", "removed", "added"],
)
def test_an_error_comes_first_and_has_its_name(sound, spoil, names):
    doubts = [judged(f"c{n}", belief, mask if n else spoil(mask)) for n, (mask, belief) in enumerate(sound)]
    first = rank(doubts)[0]
    assert first.case == "c0" and first.suspicious and first.doubt in names
    assert f"{first.dice:.2f}" in first.reason or "%" in first.reason


def test_sound_masks_are_rarely_suspicious(sound):
    ranked = rank([judged(f"c{n}", belief, mask) for n, (mask, belief) in enumerate(sound)])
    assert sum(s.score >= SUSPICIOUS for s in ranked) <= 2


def test_the_move_is_told_in_mm():
    mask, belief = brain(np.random.default_rng(5))
    found = judged("c", belief, np.roll(mask, 3, 0))
    assert found.found["move_mm"] == [-6.0, 0.0, 0.0]


def test_few_cases_are_not_ranked_by_a_spread(sound):
    ranked = rank([judged(f"c{n}", belief, mask) for n, (mask, belief) in enumerate(sound[:4])])
    assert [s.score for s in ranked] == [0, 0, 0, 0]


def test_nothing_against_nothing_is_no_doubt():
    assert judged("c", np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool)) is None


def test_average_precision():
    assert average_precision([3, 2, 1], [True, False, True]) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([1, 1], [True, False]) == 0.5
    assert average_precision([1.0], [False]) is None
