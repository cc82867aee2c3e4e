"""Expected volumes and Dice: by hand, against drawn truths, and at the ends."""

import numpy as np
import pytest
from simulated_evidence import SIGMOID

from striate.inference.observed import BINS
from striate.trust.expected import expect, tables_for


def counts_of(outside=(), inside=()):
    counts = np.zeros((2, BINS), np.int64)
    for row, pairs in enumerate((outside, inside)):
        for bin_, voxels in pairs:
            counts[row, bin_] = voxels
    return counts


def test_by_hand():
    """8 voxels of 0.75 and 4 of 0.5 in the mask, 10 of 0.1 outside of it; 0.5 mL each."""
    table = np.zeros(BINS)
    table[[10, 20, 30]] = 0.1, 0.5, 0.75
    found = expect(counts_of([(10, 10)], [(20, 4), (30, 8)]), table, 0.5)
    assert found.true_positive_ml == pytest.approx((8 * 0.75 + 4 * 0.5) * 0.5)
    assert found.false_positive_ml == pytest.approx((8 * 0.25 + 4 * 0.5) * 0.5)
    assert found.false_negative_ml == pytest.approx(1 * 0.5)
    assert found.volume_ml == pytest.approx(4.5) and found.error_ml == pytest.approx(2.5)
    assert found.dice == pytest.approx(2 * 8 / (2 * 8 + 4 + 1))
    halved = 10 * (1 / 18) / (19 / 18) + 4 / 3 + 8 * 1.5 / 2.5
    doubled = 10 * (2 / 9) / (11 / 9) + 4 * 2 / 3 + 8 * 6 / 7
    assert found.halved_ml == pytest.approx(halved * 0.5) and found.doubled_ml == pytest.approx(doubled * 0.5)


def test_drawn_truths_have_the_expected_volume_error_and_dice():
    rng = np.random.default_rng(0)
    counts = np.stack(
        [rng.integers(0, 30, BINS) * (np.arange(BINS) < 150), rng.integers(0, 30, BINS) * (np.arange(BINS) > 110)]
    )
    found = expect(counts, SIGMOID, 1.0)
    true_out, true_in = (rng.binomial(row, SIGMOID, (4000, BINS)).sum(axis=1) for row in counts)
    inside = counts[1].sum()
    assert found.true_positive_ml == pytest.approx(true_in.mean(), rel=2e-3)
    assert found.volume_ml == pytest.approx((true_in + true_out).mean(), rel=2e-3)
    dice = 2 * true_in / (inside + true_in + true_out)
    assert found.dice == pytest.approx(dice.mean(), abs=2e-3)
    assert np.abs(true_in + true_out - inside).mean() <= found.error_ml


def test_an_empty_mask_has_no_expected_dice():
    found = expect(counts_of([(100, 50)]), SIGMOID, 1.0)
    assert found.dice is None and found.true_positive_ml == 0 and found.volume_ml > 0


def test_nothing_at_all():
    found = expect(counts_of(), SIGMOID, 1.0)
    assert (found.volume_ml, found.error_ml, found.dice) == (0.0, 0.0, None)


def test_certain_tables():
    table = (np.arange(BINS) >= 128).astype(float)
    found = expect(counts_of([(0, 9)], [(255, 3)]), table, 2.0)
    assert (found.volume_ml, found.dice, found.halved_ml, found.doubled_ml) == (6.0, 1.0, 6.0, 6.0)


def test_tables_that_never_saw_a_subject():
    everyone, without = {"lesion": SIGMOID}, {"lesion": SIGMOID / 2}
    assert tables_for("a", everyone) is everyone
    assert (
        tables_for("a", everyone, {"a": without}) is without and tables_for("b", everyone, {"a": without}) is everyone
    )
