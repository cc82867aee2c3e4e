"""Sets of classes: ranks by hand, coverage against exact binomial bounds, what too few subjects give."""

from __future__ import annotations

import numpy as np
import pytest
from classified import classified
from scipy.stats import binom

from striate.trust.class_calibration import ClassCalibration
from striate.trust.class_evidence import ClassEvidence, Judged
from striate.trust.class_sets import ClassSets, scores_of
from striate.trust.class_trust import ClassTrust

NAMES = ("a", "b", "c")


def _fit(cases, coverage=0.9, names=NAMES):
    judged = Judged.of(cases, len(names))
    calibration, left_out = ClassCalibration.fit_left_out(judged, names, exclusive=True)
    return calibration, ClassSets.fit(judged, left_out, names, coverage, exclusive=True)


def test_the_reach_is_the_ninth_of_nine_by_hand():
    """Nine subjects: six are right, three true classes have 0.3, 0.2 and 0.1; ⌈0.9 · 10⌉ = 9: the largest score decides."""
    said = np.array([[0.8, 0.1, 0.1]] * 6 + [[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.8, 0.1, 0.1]])
    truth = np.eye(3, dtype=bool)[[0] * 6 + [1, 2, 1]]
    cases = [ClassEvidence(f"c{n}", f"s{n}", said[n : n + 1], truth[n : n + 1]) for n in range(9)]
    judged = Judged.of(cases, 3)
    found = ClassSets.fit(judged, said, NAMES, 0.9, exclusive=True)
    assert found.reach == pytest.approx(0.9) and found.held is None  # with one left out, eight are too few to measure
    assert ClassSets.fit(judged, said, NAMES, 0.8, exclusive=True).reach == pytest.approx(0.8)  # ⌈0.8 · 10⌉ = 8
    new = np.array([[0.85, 0.1, 0.05], [0.97, 0.02, 0.01], [0.4, 0.35, 0.25]])
    assert found.of(new).tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    fewer = ClassSets.fit(Judged.of(cases[:8], 3), said[:8], NAMES, 0.9, exclusive=True)
    assert fewer.reach is None and fewer.of(new) is None
    assert "8 subjects" in fewer.reason and "9 are needed" in fewer.reason


def test_one_subject_gives_no_sets_however_few_are_asked_for():
    """For 50 % one subject would do, but its probabilities are uncalibrated: no set, and no word that one holds one class."""
    (case,) = classified(1)
    trust = ClassTrust.fit([case], NAMES, coverage=0.5)
    told = trust.assess(case)
    assert trust.sets.reach is None and told.samples[0].set is None and told.review is None
    assert "2 are needed for 50 %" in trust.sets.reason and trust.sets.reason in trust.limits
    assert ClassTrust.fit(classified(2), NAMES, coverage=0.5).sets.reach is not None


def test_scores_by_hand():
    assert scores_of(np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])) == pytest.approx(
        np.array([[0.0, 0.7, 0.8], [0.0, 0.6, 0.8]])
    )


@pytest.mark.parametrize("subjects", [9, 12])
def test_sets_cover_new_subjects(subjects):
    """Over all draws the coverage is at least 90 %; the network is far too sure, and each draw calibrates it anew."""
    draws, held = 250, 0
    for draw in range(draws):
        cases = classified(subjects + 1, sharpness=3.0, seed=1000 + draw)
        calibration, sets = _fit(cases[:-1])
        inside = sets.of(calibration.curve.of(cases[-1].probabilities))
        held += int(inside[cases[-1].truth][0])
    assert held >= binom.ppf(0.001, draws, 0.9)
    assert held <= binom.ppf(0.999, draws, min(0.99, 0.9 + 1 / (subjects + 1) + 0.02))  # many scores tie at 0


def test_measured_coverage_and_size():
    calibration, sets = _fit(classified(1000, sharpness=3.0, seed=7))
    fresh = classified(4000, sharpness=3.0, seed=8)
    inside = sets.of(calibration.curve.of(np.concatenate([case.probabilities for case in fresh])))
    truth = np.concatenate([case.truth for case in fresh])
    assert sets.held == pytest.approx(inside[truth].mean(), abs=0.03) and 0.87 < sets.held < 0.93
    assert sets.size == pytest.approx(inside.sum(axis=1).mean(), abs=0.08) and sets.size > 1
    assert sets.single == pytest.approx((inside.sum(axis=1) == 1).mean(), abs=0.05)
    assert set(sets.held_by_class) == set(NAMES) and all(0.8 < v < 1 for v in sets.held_by_class.values())


def test_where_the_first_class_is_right_often_enough_every_set_holds_it_alone():
    _, sets = _fit(classified(200, spread=12.0, seed=2))
    assert sets.reach == 0 and sets.size == sets.single == 1 and sets.held > 0.9


def test_slices_of_one_subject_are_not_many_subjects():
    _, sets = _fit(classified(8, samples=50, slices=True))
    assert sets.reach is None and sets.n_subjects == 8
    _, sets = _fit(classified(12, samples=50, slices=True))
    assert sets.reach is not None and sets.held == pytest.approx(0.9, abs=0.1)


def test_classes_that_may_occur_together_have_no_sets():
    judged = Judged.of(classified(50), 3)
    sets = ClassSets.fit(judged, judged.probabilities, NAMES, 0.9, exclusive=False)
    assert sets.reach is None and "may occur together" in sets.reason and ClassSets.from_dict(sets.to_dict()) == sets
