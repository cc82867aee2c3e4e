"""Classes: hand-computed cases, brute force, another implementation's numbers, intervals over subjects."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from striate.core.errors import DataError, FormatError, UsageError
from striate.measure import calibration
from striate.measure.classification import ClassEvaluation
from striate.measure.roc import MOST_POINTS, Ranking, auc, roc_points


def softmax_samples(count: int, classes: int, seed: int, gain: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=count)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), truth] += gain
    said = np.exp(logits)
    return truth, said / said.sum(axis=1, keepdims=True)


def names(count: int, start: str = "s") -> list[str]:
    return [f"{start}{n}" for n in range(count)]


def area_by_pairs(scores: np.ndarray, positive: np.ndarray) -> float:
    a, b = scores[positive][:, None], scores[~positive][None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())


class TestAuc:
    def test_by_hand(self) -> None:
        """Three positives, two negatives: 6 pairs, won 4, tied 1."""
        scores = np.array([0.9, 0.5, 0.4, 0.5, 0.1])
        assert auc(scores, np.array([1, 1, 1, 0, 0], bool)) == pytest.approx((4 + 0.5) / 6)

    @given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=40))
    def test_pairs_and_mann_whitney_with_many_ties(self, rows: list[tuple[int, bool]]) -> None:
        scores, positive = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows])
        found = auc(scores, positive)
        if positive.all() or not positive.any():
            assert found is None
            return
        assert found == pytest.approx(area_by_pairs(scores, positive), abs=1e-12)
        u = mannwhitneyu(scores[positive], scores[~positive]).statistic
        assert found == pytest.approx(u / (positive.sum() * (~positive).sum()), abs=1e-12)

    def test_reversed_scores_and_monotone_changes(self) -> None:
        rng = np.random.default_rng(1)
        scores, positive = rng.random(200), rng.random(200) < 0.3
        assert auc(-scores, positive) == pytest.approx(1 - auc(scores, positive))
        assert auc(np.exp(5 * scores), positive) == auc(scores, positive)

    @given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
    def test_area_under_the_points_is_the_area(self, rows: list[tuple[int, bool]]) -> None:
        scores, positive = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows])
        points = np.array(roc_points(scores, positive))
        if positive.all() or not positive.any():
            assert len(points) == 0
            return
        assert points[0].tolist() == [0, 0]
        assert points[-1].tolist() == [1, 1]
        assert (np.diff(points, axis=0) >= 0).all()
        assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(auc(scores, positive))

    def test_thinned_points_keep_the_ends_and_the_area(self) -> None:
        rng = np.random.default_rng(0)
        positive = rng.random(20_000) < 0.4
        scores = rng.normal(size=20_000) + positive
        points = np.array(roc_points(scores, positive))
        assert 100 < len(points) <= MOST_POINTS
        assert points[0].tolist() == [0, 0]
        assert points[-1].tolist() == [1, 1]
        assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(auc(scores, positive), abs=1e-3)

    @given(
        st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30),
        st.sampled_from([0, 0.5, 0.9, 1]),
    )
    def test_sensitivity_at_a_specificity_by_every_threshold(
        self, rows: list[tuple[int, bool]], specificity: float
    ) -> None:
        scores, positive = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows])
        found = Ranking(scores, positive).read(np.ones((1, len(rows)), np.int32), (specificity,))[0, 1]
        if positive.all() or not positive.any():
            assert np.isnan(found)
            return
        best = max(
            (scores[positive] >= t).mean()
            for t in [*scores, np.inf]
            if (scores[~positive] < t).mean() >= specificity - 1e-12
        )
        assert found == pytest.approx(best)


class TestByHand:
    """Six samples of three classes, computed on paper."""

    TRUTH = np.array([0, 0, 0, 1, 1, 2])
    SAID = np.array(
        [[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.6, 0.2, 0.2], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6], [0.1, 0.1, 0.8]]
    )

    @pytest.fixture(scope="class")
    def found(self) -> ClassEvaluation:
        return ClassEvaluation.of(["a", "b", "c"], self.TRUTH, self.SAID, names(6))

    def value(self, found: ClassEvaluation, name: str, measure: str) -> float | None:
        return found.summary[name][measure].value

    def test_confusion_has_truth_in_rows(self, found: ClassEvaluation) -> None:
        assert found.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))

    def test_overall(self, found: ClassEvaluation) -> None:
        assert self.value(found, "overall", "accuracy") == pytest.approx(4 / 6)
        assert self.value(found, "overall", "error_rate") == pytest.approx(2 / 6)
        assert self.value(found, "overall", "balanced_accuracy") == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
        wanted = -np.log([0.8, 0.4, 0.6, 0.7, 0.3, 0.8]).mean()
        assert self.value(found, "overall", "log_loss") == pytest.approx(wanted)
        squares = [0.06, 0.62, 0.24, 0.14, 0.86, 0.06]
        assert self.value(found, "overall", "brier") == pytest.approx(np.mean(squares))
        areas = [self.value(found, n, "auc") for n in "abc"]
        assert self.value(found, "overall", "macro_auc") == pytest.approx(np.mean(areas))
        assert "exact_match" not in found.summary["overall"]

    def test_per_class(self, found: ClassEvaluation) -> None:
        assert self.value(found, "a", "auc") == 1.0
        assert self.value(found, "b", "auc") == pytest.approx((4 + 3) / 8)
        assert self.value(found, "c", "auc") == 1.0
        assert [self.value(found, "b", m) for m in ("prevalence", "sensitivity", "specificity", "precision", "f1")] == [
            pytest.approx(v) for v in (2 / 6, 1 / 2, 3 / 4, 1 / 2, 1 / 2)
        ]
        assert {m: found.summary["b"][m].n for m in ("sensitivity", "specificity", "precision")} == {
            "sensitivity": 2,
            "specificity": 4,
            "precision": 2,
        }

    def test_reliability(self, found: ClassEvaluation) -> None:
        """Confidences 0.8, 0.5, 0.6, 0.7, 0.6, 0.8; the second and the fifth were wrong."""
        bins = {round(b.confidence, 3): (b.n, b.outcome) for b in found.reliability}
        assert bins == {0.5: (1, 0.0), 0.6: (2, 0.5), 0.7: (1, 1.0), 0.8: (2, 1.0)}
        assert self.value(found, "overall", "ece") == pytest.approx((0.5 + 0.2 + 0.3 + 0.4) / 6)

    def test_two_classes_together(self) -> None:
        truth = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], bool)
        said = np.array([[0.9, 0.5], [0.4, 0.8], [0.3, 0.1], [0.6, 0.2]])
        found = ClassEvaluation.of(["x", "y"], truth, said, names(4))
        assert not found.exclusive
        assert found.confusion == (((1, 1), (1, 1)), ((2, 1), (0, 1)))
        assert self.value(found, "overall", "accuracy") == pytest.approx(5 / 8)
        assert found.summary["overall"]["accuracy"].n == 8
        assert self.value(found, "overall", "exact_match") == pytest.approx(1 / 4)
        assert self.value(found, "overall", "balanced_accuracy") == pytest.approx(
            ((0.5 + 0.5) / 2 + (1 + 2 / 3) / 2) / 2
        )
        assert self.value(found, "overall", "brier") == pytest.approx(((said - truth) ** 2).mean())
        wanted = -np.log(np.where(truth, said, 1 - said)).mean()
        assert self.value(found, "overall", "log_loss") == pytest.approx(wanted)
        assert sum(b.n for b in found.reliability) == 8


def test_numbers_of_another_implementation() -> None:
    """scikit-learn 1.9.1 on the same samples: roc_auc_score (ovr), f1_score, log_loss, balanced_accuracy_score."""
    truth, said = softmax_samples(200, 4, 0)
    found = ClassEvaluation.of(names(4, "c"), truth, said, names(200), draws=0).summary
    assert found["overall"]["macro_auc"].value == pytest.approx(SKLEARN["auc"], abs=1e-12)
    assert np.mean([found[f"c{k}"]["f1"].value for k in range(4)]) == pytest.approx(SKLEARN["f1"], abs=1e-12)
    assert found["overall"]["log_loss"].value == pytest.approx(SKLEARN["log_loss"], abs=1e-12)
    assert found["overall"]["balanced_accuracy"].value == pytest.approx(SKLEARN["balanced"], abs=1e-12)


SKLEARN = {
    "auc": 0.907602951954487,
    "f1": 0.708706552347329,
    "log_loss": 0.7810680689433787,
    "balanced": 0.7074250127802237,
}


class TestWhatDoesNotExist:
    def test_a_class_that_never_occurs(self) -> None:
        truth, said = softmax_samples(60, 3, 0)
        truth = truth % 2
        found = ClassEvaluation.of(["a", "b", "c"], truth, said, names(60))
        gone = found.summary["c"]
        for measure in ("auc", "sensitivity", "sensitivity_at_specificity_90"):
            assert (gone[measure].value, gone[measure].low) == (None, None)
        assert gone["specificity"].value is not None
        assert found.roc["c"] == ()
        assert found.summary["overall"]["balanced_accuracy"].value is None
        areas = [found.summary[n]["auc"].value for n in "ab"]
        assert found.summary["overall"]["macro_auc"].value == pytest.approx(np.mean(areas))
        assert "'c' occurs in no truth" in found.notes[0]

    def test_a_class_of_one_subject_has_a_value_and_no_interval(self) -> None:
        truth = np.array([0] * 20 + [1])
        said = np.random.default_rng(0).random(21)
        found = ClassEvaluation.of(["a", "b"], truth, np.stack([1 - said, said], axis=1), names(21)).summary["b"]
        assert found["auc"].value is not None
        assert (found["auc"].low, found["auc"].high) == (None, None)
        assert found["specificity"].low is not None

    def test_one_subject(self) -> None:
        truth, said = softmax_samples(30, 2, 0)
        found = ClassEvaluation.of(["a", "b"], truth, said, ["one"] * 30)
        assert found.subjects == 1
        assert all(e.low is None for rows in found.summary.values() for e in rows.values())
        assert "one subject" in found.notes[-1]

    def test_few_subjects_are_told(self) -> None:
        truth, said = softmax_samples(30, 2, 0)
        found = ClassEvaluation.of(["a", "b"], truth, said, [f"s{n % 5}" for n in range(30)])
        assert found.subjects == 5
        assert "only 5 subjects" in found.notes[-1]


class TestNoSpread:
    def test_all_or_none_right_has_the_exact_interval_of_the_subjects(self) -> None:
        truth = np.arange(12) % 2
        said = np.where(truth[:, None] == np.arange(2), 0.9, 0.1)
        found = ClassEvaluation.of(["a", "b"], truth, said, names(12))
        over_all = found.summary["overall"]
        assert (over_all["accuracy"].low, over_all["accuracy"].high) == (pytest.approx(0.7353, abs=1e-4), 1.0)
        assert (over_all["error_rate"].low, over_all["error_rate"].high) == (0.0, pytest.approx(0.2647, abs=1e-4))
        one = found.summary["a"]["sensitivity"]
        assert (one.low, one.high) == (pytest.approx(0.5407, abs=1e-4), 1.0)
        assert (found.summary["a"]["auc"].value, found.summary["a"]["auc"].low) == (1.0, None)
        assert "exact binomial" in found.notes[-1] and "Every call was right" in found.notes[-1]
        wrong = ClassEvaluation.of(["a", "b"], 1 - truth, said, names(12))
        assert wrong.summary["overall"]["accuracy"].high == pytest.approx(0.2647, abs=1e-4)
        assert "No call was right" in wrong.notes[-1]

    def test_samples_of_one_subject_count_once(self) -> None:
        truth = np.arange(24) % 2
        said = np.where(truth[:, None] == np.arange(2), 0.9, 0.1)
        found = ClassEvaluation.of(["a", "b"], truth, said, [f"s{n // 2}" for n in range(24)])
        assert found.summary["overall"]["accuracy"].low == pytest.approx(0.7353, abs=1e-4)

    def test_the_same_accuracy_of_every_subject_has_no_interval(self) -> None:
        truth, said = np.array([0, 1] * 12), np.array([[0.9, 0.1]] * 24)
        found = ClassEvaluation.of(["a", "b"], truth, said, [f"s{n // 2}" for n in range(24)])
        assert (found.summary["overall"]["accuracy"].value, found.summary["overall"]["accuracy"].low) == (0.5, None)
        assert "All 12 subjects have the same accuracy" in found.notes[-1]


class TestIntervals:
    def test_accuracy_is_the_interval_of_the_mean(self) -> None:
        """The same BCa as `statistics` uses for means, up to the number of draws."""
        from striate.measure.statistics import bootstrap_interval

        truth, said = softmax_samples(120, 3, 2)
        subjects = [f"s{n // 4}" for n in range(120)]
        found = ClassEvaluation.of(["a", "b", "c"], truth, said, subjects).summary["overall"]["accuracy"]
        low, high = bootstrap_interval((said.argmax(axis=1) == truth).astype(float), subjects)
        assert found.low == pytest.approx(low, abs=0.1 * (high - low))
        assert found.high == pytest.approx(high, abs=0.1 * (high - low))

    def test_area_against_scipy(self) -> None:
        from scipy.stats import bootstrap

        rng = np.random.default_rng(4)
        truth = np.repeat([0, 1], 40)
        score = 1 / (1 + np.exp(-(rng.normal(size=80) + 1.2 * truth)))
        said = np.stack([1 - score, score], axis=1)
        found = ClassEvaluation.of(["a", "b"], truth, said, names(80)).summary["b"]["auc"]

        def statistic(index: np.ndarray) -> float:
            index = index.astype(int)
            return auc(score[index], truth[index] == 1) or 0.5

        theirs = bootstrap(
            (np.arange(80.0),),
            statistic,
            vectorized=False,
            n_resamples=1500,
            method="BCa",
            rng=np.random.default_rng(0),
        ).confidence_interval
        assert found.low == pytest.approx(theirs.low, abs=0.015)
        assert found.high == pytest.approx(theirs.high, abs=0.015)

    def test_copies_of_a_subjects_samples_are_no_new_evidence(self) -> None:
        truth, said = softmax_samples(40, 2, 3)
        once = ClassEvaluation.of(["a", "b"], truth, said, names(40), seed=1).summary["b"]["auc"]
        index = np.repeat(np.arange(40), 6)
        copied = ClassEvaluation.of(["a", "b"], truth[index], said[index], [f"s{n}" for n in index], seed=1).summary[
            "b"
        ]["auc"]
        apart = ClassEvaluation.of(["a", "b"], truth[index], said[index], names(240), seed=1).summary["b"]["auc"]
        assert (copied.low, copied.high) == (pytest.approx(once.low), pytest.approx(once.high))
        assert apart.high - apart.low < 0.6 * (once.high - once.low)

    def test_seed_and_level(self) -> None:
        truth, said = softmax_samples(50, 2, 0)
        arguments = ["a", "b"], truth, said, names(50)
        first = ClassEvaluation.of(*arguments, seed=1)
        assert first == ClassEvaluation.of(*arguments, seed=1)
        assert first.summary != ClassEvaluation.of(*arguments, seed=2).summary
        narrow = ClassEvaluation.of(*arguments, seed=1, level=0.9).summary["overall"]["accuracy"]
        wide = first.summary["overall"]["accuracy"]
        assert wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high

    def test_covers_the_true_area(self) -> None:
        """Scores N(1, 1) against N(0, 1): the area is Φ(1/√2) = 0.760; 100 samples of 60 + 60."""
        rng = np.random.default_rng(7)
        truth = np.repeat([0, 1], 60)
        hits = 0
        for _ in range(100):
            score = 1 / (1 + np.exp(-(rng.normal(size=120) + truth)))
            said = np.stack([1 - score, score], axis=1)
            found = ClassEvaluation.of(["a", "b"], truth, said, names(120), draws=400).summary["b"]["auc"]
            hits += found.low <= 0.76025 <= found.high
        assert 88 <= hits <= 99


class TestCalibration:
    def test_bins_are_open_below_and_closed_above(self) -> None:
        assert calibration.equal_width(np.array([0.0, 0.2, 0.2000001, 1.0]), 5).tolist() == [0, 0, 1, 4]

    def test_equal_counts_and_equal_confidences(self) -> None:
        assert calibration.equal_count(np.array([0.4, 0.1, 0.3, 0.2]), 2).tolist() == [1, 0, 1, 0]
        assert len(set(calibration.equal_count(np.full(100, 0.7)).tolist())) == 1
        said = np.random.default_rng(0).random(150)
        assert np.bincount(calibration.equal_count(said)).tolist() == [10] * 15

    def test_errors_by_hand(self) -> None:
        said, came = np.array([0.1, 0.3, 0.7, 0.9]), np.array([0, 1, 1, 1])
        assert calibration.ece(said, came, 2) == pytest.approx((abs(-0.1 + 0.7) + abs(0.3 + 0.1)) / 4)
        assert calibration.adaptive_ece(said, came, 4) == pytest.approx((0.1 + 0.7 + 0.3 + 0.1) / 4)

    @settings(max_examples=20)
    @given(st.permutations(list(range(12))))
    def test_order_does_not_matter(self, order: list[int]) -> None:
        said, came = np.repeat([0.2, 0.5, 0.8, 0.9], 3), np.arange(12) % 2
        assert calibration.adaptive_ece(said[order], came[order], 5) == pytest.approx(
            calibration.adaptive_ece(said, came, 5)
        )

    def test_a_perfect_model_has_the_error_of_chance(self) -> None:
        rng = np.random.default_rng(0)
        said = rng.random(400)
        wanted = np.mean([calibration.ece(said, rng.random(400) < said) for _ in range(400)])
        assert calibration.error_by_chance(said, seed=3) == pytest.approx(wanted, rel=0.05)
        assert calibration.error_by_chance(np.ones(9)) == 0


class TestDocument:
    @pytest.mark.parametrize("exclusive", [True, False])
    def test_reads_back_equal(self, tmp_path, exclusive: bool) -> None:
        truth, said = softmax_samples(40, 3, 0)
        hot = truth if exclusive else said > 0.3
        found = ClassEvaluation.of(["a", "b", "c"], hot, said, names(40), notes=["one"])
        found.write(tmp_path)
        assert ClassEvaluation.read(tmp_path) == found == ClassEvaluation.read(tmp_path / "evaluation.json")
        document = json.loads((tmp_path / "evaluation.json").read_text())
        assert (document["kind"], document["schema_version"]) == ("striate-class-evaluation", 1)
        assert set(document["summary"]) == {"overall", "a", "b", "c"}
        assert set(document["summary"]["a"]["auc"]) == {"value", "low", "high", "n"}

    def test_broken_files_get_a_sentence(self, tmp_path) -> None:
        with pytest.raises(FormatError, match="there is no such file"):
            ClassEvaluation.read(tmp_path)
        (tmp_path / "evaluation.json").write_text('{"kind": "striate-class-evaluation", "schema_version": 1}')
        with pytest.raises(FormatError, match="not readable as striate-class-evaluation"):
            ClassEvaluation.read(tmp_path)

    @pytest.mark.parametrize(
        ("truth", "said", "message"),
        [
            (np.array([0, 1]), np.array([[0.5, 0.6], [0.5, 0.5]]), "row 0 sum to 1.1"),
            (np.array([0, 1]), np.array([[0.5, 0.5], [1.5, -0.5]]), "probability 1.5 of class 'a' in row 1"),
            (np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 0.5]]), "probability nan"),
            (np.array([0, 2]), np.full((2, 2), 0.5), "between 0 and 2; integers from 0 to 1"),
            (np.array([0.0, 1.0]), np.full((2, 2), 0.5), "truth of float64"),
            (np.array([0]), np.full((2, 2), 0.5), r"truth of shape \(1,\), probabilities \(2, 2\)"),
            (np.zeros(0, int), np.zeros((0, 2)), r"shape \(0,\)"),
        ],
    )
    def test_what_cannot_be_measured_is_refused(self, truth: np.ndarray, said: np.ndarray, message: str) -> None:
        with pytest.raises(DataError, match=message):
            ClassEvaluation.of(["a", "b"], truth, said, names(len(said)))

    def test_names_of_classes(self) -> None:
        with pytest.raises(UsageError, match="'a' twice"):
            ClassEvaluation.of(["a", "a"], np.array([0]), np.ones((1, 2)), ["s"])
        with pytest.raises(UsageError, match="'overall'"):
            ClassEvaluation.of(["a", "overall"], np.array([0]), np.ones((1, 2)), ["s"])
