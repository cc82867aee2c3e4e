"""Calibration against known distortions, closed forms, and sums by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize

from striate.core.errors import UsageError
from striate.inference.observed import BINS, LOGITS
from striate.trust.calibration import DOMAINS, Calibration
from striate.trust.curve import FAMILIES, KNOTS, Curve, fit_curves, log_loss
from striate.trust.evidence import CaseEvidence, LabelEvidence

RAW = 1 / (1 + np.exp(-LOGITS))


def _case(subject, n, t, *, known=True, name=None):
    zeros = np.zeros(BINS, np.int64)
    counts, true = np.stack([n, zeros]).astype(np.int64), np.stack([t, zeros]).astype(np.int64)
    evidence = LabelEvidence(counts, true, 0.001, 0.0, 0, float(true.sum()) if known else None, 0 if known else None)
    return CaseEvidence(name or subject, subject, {"lesion": evidence})


def _cohort(meant, subjects=8, seed=0, scale=2000):
    """Return cases whose voxels of bin b are truly the label with probability ``meant[b]``."""
    rng = np.random.default_rng(seed)
    cases = []
    for s in range(subjects):
        n = rng.poisson(scale * np.exp(-np.abs(LOGITS) / 4))
        n[0] += 200 * scale
        cases.append(_case(f"s{s}", n, rng.binomial(n, meant)))
    return cases


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


DISTORTED = {
    "temperature": Curve("temperature", 0.5, 0.5, 0.0),
    "platt": Curve("platt", 0.6, 0.6, -1.5),
    "beta": Curve("beta", 0.9, 0.35, -0.7),
    "ramps": Curve("ramps", c=3.0, slopes=(1.3, 0.5, 0.4, 1.0, 1.7, 1.6, 0.9, 0.4, 0.5)),
}


@pytest.mark.parametrize("family", DISTORTED)
def test_a_known_distortion_is_found(family):
    meant = DISTORTED[family]
    found = Calibration.fit(_cohort(meant.table())).labels["lesion"]
    assert np.abs(found.curve.table() - meant.table()).max() < 0.02
    assert FAMILIES.index(found.curve.family) >= FAMILIES.index(family)  # a simpler one cannot say it
    assert found.after["contested"].ece < 0.02 < found.before["contested"].ece
    assert found.after["seen"].brier < found.before["seen"].brier
    assert found.log_losses[found.curve.family] == min(found.log_losses.values())


def test_slopes_of_one_change_nothing():
    np.testing.assert_allclose(Curve("ramps", slopes=(1.0,) * (len(KNOTS) + 1)).table(), RAW, rtol=0, atol=1e-15)


def test_the_line_of_ramps_bends_at_the_knots_alone():
    slopes = tuple(0.1 + 0.2 * i for i in range(len(KNOTS) + 1))
    table = Curve("ramps", c=-0.3, slopes=slopes).table()
    rise = np.diff(np.log(table) - np.log1p(-table)) / np.diff(LOGITS)
    stretch = np.digitize(RAW, KNOTS)
    inside = stretch[1:] == stretch[:-1]
    assert inside.sum() == BINS - 1 - len(KNOTS)
    np.testing.assert_allclose(rise[inside], np.array(slopes)[stretch[1:]][inside], atol=1e-5)


def test_ramps_have_the_largest_likelihood_that_another_optimiser_finds():
    rng = np.random.default_rng(4)
    n = rng.integers(1, 500, BINS).astype(float)
    t = rng.binomial(n.astype(int), DISTORTED["ramps"].table()).astype(float)
    (found,) = fit_curves("ramps", n[None], t[None])

    def loss(w):
        return float(log_loss(Curve("ramps", c=w[-1], slopes=tuple(w[:-1])).table(), n, t))

    start = [1.0] * (len(KNOTS) + 1) + [0.0]
    other = minimize(loss, start, method="L-BFGS-B", bounds=[(0, 16)] * (len(KNOTS) + 1) + [(-40, 40)])
    assert float(log_loss(found.table(), n, t)) <= other.fun + 1e-3


@pytest.mark.parametrize("family", DISTORTED)
def test_a_curve_is_read_as_it_was_written(family):
    curve = DISTORTED[family]
    assert Curve.from_dict(json.loads(json.dumps(curve.to_dict()))) == curve


def test_a_wrong_number_of_slopes_is_refused():
    assert Curve.from_dict({"family": "platt", "a": 2.0, "b": 2.0, "c": 1.0, "slopes": []}) == Curve(
        "platt", 2.0, 2.0, 1.0
    )
    with pytest.raises(ValueError, match=f"{len(KNOTS) + 1} or none are needed"):
        Curve.from_dict({"family": "ramps", "a": 1.0, "b": 1.0, "c": 1.0, "slopes": [1.0]})


def test_what_is_right_stays():
    found = Calibration.fit(_cohort(RAW)).labels["lesion"]
    assert np.abs(found.curve.table() - RAW).max() < 0.01
    assert found.before["suspected"].ece < 0.01


@pytest.mark.parametrize("family", ["temperature", "platt", "beta"])
def test_the_likelihood_is_the_largest_that_another_optimiser_finds(family):
    rng = np.random.default_rng(3)
    n = rng.integers(1, 500, (3, BINS)).astype(float)
    t = rng.binomial(n.astype(int), _sigmoid(0.4 * LOGITS + np.array([[-1], [0], [2]]))).astype(float)
    log_p, log_not = np.log(RAW), -np.log1p(-RAW)
    for index, curve in enumerate(fit_curves(family, n, t)):

        def loss(w, n=n[index], t=t[index]):
            a, b, c = {"temperature": (w[0], w[0], 0), "platt": (w[0], w[0], w[2]), "beta": w}[family]
            return float(log_loss(_sigmoid(a * log_p + b * log_not + c), n, t))

        other = minimize(
            loss, [0.5, 0.5, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000}
        )
        assert float(log_loss(curve.table(), n[index], t[index])) <= other.fun + 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_curves_never_fall(family):
    rng = np.random.default_rng(1)
    n = rng.integers(0, 50, (20, BINS)).astype(float)
    t = rng.binomial(n.astype(int), _sigmoid(-LOGITS)).astype(float)  # the more certain, the less true
    t[0], t[1] = 0, n[1]
    for curve in fit_curves(family, n, t):
        table = curve.table()
        assert (np.diff(table) >= 0).all() and np.isfinite(table).all()
        assert curve.a >= 0 and curve.b >= 0


def test_scores_by_hand():
    # one subject, three kinds of voxels: 100 at bin 0, one of them true; 10 near p = 0.5, 8 true; 4 near p = 0.9, 3 true
    n, t = np.zeros(BINS, int), np.zeros(BINS, int)
    half, high = int(np.argmin(np.abs(RAW - 0.52))), int(np.argmin(np.abs(RAW - 0.9)))
    n[[0, half, high]], t[[0, half, high]] = (100, 10, 4), (1, 8, 3)
    found = Calibration.fit([_case("a", n, t)]).labels["lesion"]
    p0, p1, p2 = RAW[[0, half, high]]
    gap = [abs(1 - 100 * p0), abs(8 - 10 * p1), abs(3 - 4 * p2)]
    assert found.before["seen"].ece == pytest.approx(sum(gap) / 114)
    assert found.before["suspected"].ece == pytest.approx((gap[1] + gap[2]) / 14)
    assert found.before["contested"].ece == pytest.approx((1 - p0 + gap[1] + gap[2]) / 15)
    squares = 8 * (1 - p1) ** 2 + 2 * p1**2 + 3 * (1 - p2) ** 2 + p2**2
    assert found.before["suspected"].brier == pytest.approx(squares / 14)
    assert found.before["contested"].brier == pytest.approx((squares + (1 - p0) ** 2) / 15)
    assert [b.count for b in found.reliability_before] == [100, 10, 4]
    assert [b.true for b in found.reliability_before] == pytest.approx([0.01, 0.8, 0.75])
    assert [b.said for b in found.reliability_before] == pytest.approx([p0, p1, p2])


def test_adaptive_bins_hold_equal_weight():
    # 15 bins of equal counts over 15 filled logits of 10 voxels each: every logit is its own bin
    n, t = np.zeros(BINS, int), np.zeros(BINS, int)
    places = np.linspace(110, 160, 15).astype(int)
    n[places], t[places] = 10, np.arange(15) % 11
    found = Calibration.fit([_case("a", n, t)]).labels["lesion"]
    by_hand = np.abs(t[places] - 10 * RAW[places]).sum() / 150
    assert found.before["seen"].adaptive_ece == pytest.approx(by_hand)
    assert found.before["seen"].ece <= by_hand


def test_one_subject_claims_nothing():
    both = [_case("s", c[0], c[1], name=f"s-{i}") for i, c in enumerate([(np.full(BINS, 9), np.full(BINS, 3))] * 2)]
    found = Calibration.fit(both).labels["lesion"]
    assert (found.n_subjects, found.after, found.log_losses) == (1, None, {})
    assert found.curve.family == "temperature" and found.reliability_after == ()
    assert Calibration.fit(both).summary["lesion"]["after"] is None


def test_subjects_are_left_out_whole_and_count_alike():
    # twins: one subject's case given once or three times over changes nothing
    cases = _cohort(DISTORTED["platt"].table(), subjects=4)
    again = [*cases, *(CaseEvidence(f"again{i}", "s0", cases[0].labels) for i in range(2))]
    one, three = (Calibration.fit(c).labels["lesion"] for c in (cases, again))
    assert one.n_subjects == three.n_subjects == 4
    assert np.allclose(one.curve.table(), three.curve.table(), atol=1e-8)
    assert one.after["contested"].ece == pytest.approx(three.after["contested"].ece)


def test_after_is_measured_without_the_subject():
    # two subjects that contradict each other: a fit on both would look better than either's fit on the other
    n = np.full(BINS, 100)
    cases = [_case("low", n, np.round(n * _sigmoid(LOGITS - 4))), _case("high", n, np.round(n * _sigmoid(LOGITS + 4)))]
    found = Calibration.fit(cases).labels["lesion"]
    together = found.curve.table()
    in_sample = np.mean(
        [log_loss(together, n / n.sum(), c.labels["lesion"].true_counts.sum(0) / n.sum()) for c in cases]
    )
    assert min(found.log_losses.values()) >= in_sample - 1e-9
    assert found.log_losses["platt"] > found.log_losses["identity"]
    assert found.curve.family in ("identity", "temperature")


def test_no_truth_is_not_an_empty_truth():
    n, none = np.full(BINS, 5), np.zeros(BINS, int)
    unknown = Calibration.fit([_case("a", n, none, known=False)]).labels["lesion"]
    assert unknown.n_subjects == 0 and unknown.curve == Curve() and unknown.before == {}
    empty = Calibration.fit([_case("a", n, none), _case("b", n, none)]).labels["lesion"]
    assert (empty.n_subjects, empty.n_present) == (2, 0)
    alone = Calibration.fit([_case("a", n, none)]).labels["lesion"]
    assert (alone.n_subjects, alone.n_present, alone.curve) == (1, 0, Curve())


def test_json_and_back():
    for cases in (_cohort(DISTORTED["beta"].table(), 3), _cohort(RAW, 1), []):
        fitted = Calibration.fit(cases)
        document = json.loads(json.dumps(fitted.to_dict(), allow_nan=False))
        assert Calibration.from_dict(document) == fitted
        json.dumps(fitted.summary, allow_nan=False)
    assert set(Calibration.fit(_cohort(RAW, 2)).labels["lesion"].before) == set(DOMAINS)


def test_unknown_labels_are_refused():
    with pytest.raises(UsageError, match=r"calibration: label 'lesoin' is not known\. Did you mean 'lesion'"):
        Calibration.fit(_cohort(RAW, 1)).table("lesoin")
