"""Intervals of volumes and numbers: by hand, coverage of exchangeable subjects, too few of them, the JSON form."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from simulated_evidence import SIGMOID, bins_of, simulated

from striate.core.errors import UsageError
from striate.inference.observed import BINS
from striate.trust.evidence import CaseEvidence, LabelEvidence
from striate.trust.intervals import Intervals, LeftOut

TABLES = {"lesion": SIGMOID}


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    return [simulated(rng, f"c{i}") for i in range(1500)]


def case_of(name, predicted, true, inside=100, voxel_ml=0.01):
    """A mask of `inside` voxels of probability one half, in mL of 1."""
    counts = np.zeros((2, BINS), np.int64)
    counts[1, 128] = inside
    found = LabelEvidence(counts, 0 * counts, voxel_ml, predicted, 0, true_ml=true, true_lesions=0)
    return CaseEvidence(name, name, {"lesion": found})


def test_by_hand():
    """Half-believed voxels: 0.5 mL expected; halved odds 1/3, doubled 2/3; scales of 1/6 mL and a voxel on both sides."""
    table = np.full(BINS, 0.5)
    cases = [case_of(f"s{i}", 1.0, 0.5 - 0.02 * i) for i in range(9)]
    intervals = Intervals.fit(cases, {"lesion": table})
    known = intervals.labels["lesion"]
    scale = 0.5 - 1 / 3 + 0.01
    assert known.reach == pytest.approx(0.16 / scale) and (known.n_subjects, known.n_cases) == (9, 9)
    evidence = case_of("new", 1.0, None).labels["lesion"]
    assert intervals.volume_ml("lesion", evidence) == (pytest.approx(0.34), 1.0)  # stretched to the mask's own volume
    low, high = intervals.volume_ml("lesion", replace(evidence, predicted_ml=0.5))
    assert (low, high) == (pytest.approx(0.34), pytest.approx(0.66))
    assert intervals.volume_ml("lesion", replace(evidence, counts=evidence.counts * 0, predicted_ml=0.0))[0] == 0.0


@pytest.mark.parametrize(("n", "draws"), [(9, 3000), (14, 400)])
def test_coverage_of_exchangeable_subjects(pool, n, draws):
    """⌈0.9 (n + 1)⌉ / (n + 1) of new subjects, within what so many draws allow with a probability of 1 − 2 · 10⁻⁶."""
    rng, held = np.random.default_rng(n), 0
    for _ in range(draws):
        new, *cases = (pool[i] for i in rng.choice(len(pool), n + 1, replace=False))
        evidence = new.labels["lesion"]
        low, high = Intervals.fit(cases, TABLES).volume_ml("lesion", evidence)
        assert 0 <= low <= evidence.predicted_ml <= high
        held += low - 1e-9 <= evidence.true_ml <= high + 1e-9
    truly = np.ceil(0.9 * (n + 1) - 1e-9) / (n + 1)
    assert binom.ppf(1e-6, draws, truly) <= held <= binom.ppf(1 - 1e-6, draws, truly)


def test_both_quantities_on_held_out_subjects(pool):
    """100 subjects calibrate, 1000 others judge: within 4 deviations of the Beta-binomial law of split conformal."""
    intervals = Intervals.fit(pool[:100], TABLES)
    shares = []
    for case in pool[100:1100]:
        found = case.labels["lesion"]
        low, high = intervals.volume_ml("lesion", found)
        fewest, most = intervals.count("lesion", found)
        assert fewest <= found.predicted_lesions <= most
        shares.append((low <= found.true_ml <= high, fewest <= found.true_lesions <= most))
    volume, count = np.mean(shares, axis=0)
    deviation = np.sqrt(0.9 * 0.1 * (1 / 102 + 1 / 1000))
    assert abs(volume - 91 / 101) < 4 * deviation and count > 0.9 - 4 * deviation


def test_left_out_coverage_is_told(pool):
    known = Intervals.fit(pool[:30], TABLES).labels["lesion"]
    assert known.volume_ml.coverage == pytest.approx(27 / 30)
    assert known.count.coverage >= 0.9 - 1e-9 and known.volume_ml.width > 0
    assert Intervals.fit(pool[:9], TABLES).labels["lesion"].volume_ml == LeftOut()


def test_tables_that_saw_a_subject_are_not_used_to_judge_it(pool):
    """A table that makes every left-out volume wrong widens the interval."""
    wrong = {case.subject: {"lesion": SIGMOID / 2} for case in pool[:20]}
    told, blind = Intervals.fit(pool[:20], TABLES, left_out=wrong), Intervals.fit(pool[:20], TABLES)
    assert told.labels["lesion"].reach > blind.labels["lesion"].reach
    assert told.labels["lesion"].table == blind.labels["lesion"].table


@pytest.mark.parametrize("n", [0, 1, 8])
def test_too_few_subjects(pool, n):
    intervals = Intervals.fit(pool[:n], TABLES)
    evidence = pool[100].labels["lesion"]
    assert intervals.volume_ml("lesion", evidence) is None and intervals.count("lesion", evidence) is None
    told = "1 subject;" if n == 1 else f"{n} subjects;"
    assert intervals.reason("lesion") == f"No intervals of 'lesion': {told} 9 are needed."
    assert Intervals.fit(pool[:9], TABLES).reason("lesion") is None


def test_many_cases_of_one_subject_are_one_subject(pool):
    cases = [replace(case, subject="only") for case in pool[:40]]
    intervals = Intervals.fit(cases, TABLES)
    assert intervals.labels["lesion"].reach is None and intervals.labels["lesion"].n_cases == 40
    assert "1 subject;" in intervals.reason("lesion")


def test_cases_without_truth_and_foreign_labels_are_left_out(pool):
    blind = [replace(c, labels={"lesion": replace(c.labels["lesion"], true_ml=None)}) for c in pool[:5]]
    other = [replace(c, labels={"other": c.labels["lesion"]}) for c in pool[5:9]]
    intervals = Intervals.fit([*blind, *other, *pool[20:30]], {**TABLES, "other": SIGMOID})
    assert intervals.labels["lesion"].n_subjects == 10 and intervals.labels["other"].n_subjects == 4
    assert intervals.volume_ml("unknown", pool[0].labels["lesion"]) is None
    assert intervals.count("unknown", pool[0].labels["lesion"]) is None and "0 subjects" in intervals.reason("unknown")


def test_masks_that_are_all_empty():
    cases = [case_of(f"s{i}", 0.0, 0.0, inside=0) for i in range(12)]
    intervals = Intervals.fit(cases, TABLES)
    evidence = cases[0].labels["lesion"]
    assert intervals.volume_ml("lesion", evidence) == (0.0, 0.0) and intervals.count("lesion", evidence) == (0, 0)


def test_the_json_form_reads_back_equal(pool):
    for n in (3, 20):
        intervals = Intervals.fit(pool[:n], TABLES)
        again = Intervals.from_dict(json.loads(json.dumps(intervals.to_dict())))
        assert again == intervals
        assert again.volume_ml("lesion", pool[50].labels["lesion"]) == intervals.volume_ml(
            "lesion", pool[50].labels["lesion"]
        )


def test_impossible_coverage(pool):
    for coverage in (0.4, 1.0, float("nan")):
        with pytest.raises(UsageError, match="coverage"):
            Intervals.fit(pool[:3], TABLES, coverage)
    assert Intervals.fit(pool[:20], TABLES, 0.95).needed == 19


def test_bins_of_the_simulation():
    assert bins_of([-12, 12]).tolist() == [0, BINS - 1]
