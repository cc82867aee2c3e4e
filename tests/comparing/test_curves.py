"""Learning curves and pairs on outcomes made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from striate.comparing.curves import by_size, drawn_errors, learning_curve
from striate.comparing.outcomes import CaseOutcomes, ClassOutcomes, pooled
from striate.comparing.pairs import pairs
from striate.comparing.result import _size, shared


def cases(values, subjects=None, seed=0):
    owners = tuple(subjects or (f"s{n}" for n in range(len(values))))
    keys = tuple(f"{seed}/{n}" for n in range(len(values)))
    return CaseOutcomes(keys, owners, "dice", {"dice": np.asarray(values, dtype=float)})


def classes(right, subjects=None, seed=0):
    """Half of the samples of either class; `right` says which are called right."""
    count = len(right)
    truth = np.eye(2, dtype=bool)[np.arange(count) % 2]
    said = np.where(truth == np.asarray(right, dtype=bool)[:, None], 0.9, 0.1)
    owners = tuple(subjects or (f"s{n}" for n in range(count)))
    return ClassOutcomes(
        tuple(f"{seed}/{n}" for n in range(count)), owners, "balanced_accuracy", ("a", "b"), True, truth, said
    )


def test_errors_are_those_of_the_measures():
    one = classes([1, 1, 0, 1])
    once = np.ones((1, 4), dtype=np.int32)
    assert one.errors([f"s{n}" for n in range(4)])(once)[0, 0] == pytest.approx(0.25)
    assert one.measures()["balanced_accuracy"]["value"] == pytest.approx(0.75)
    both = pooled([cases([0.5, 0.7]), cases([0.9], ["s9"], seed=1)])
    assert both.measures()["dice"]["value"] == pytest.approx(0.7)
    assert both.errors(["s0", "s1", "s9"])(np.array([[2, 0, 1]], dtype=np.int32))[0, 0] == pytest.approx(1 - 1.9 / 3)


def test_repetitions_are_drawn_too():
    same = cases([0.8, 0.8])
    other = cases([0.6, 0.6], seed=1)
    errors, drawn = drawn_errors([{0: same, 1: other}])
    assert errors == [pytest.approx(0.3)]
    assert {round(v, 6) for v in drawn[:, 0]} == {0.2, 0.3, 0.4}  # both times one, one of each, both times the other


def test_exact_points_are_foreseen_exactly():
    subjects = [10, 20, 40]
    parts = [{0: cases([1 - 2 * n**-0.5] * 3)} for n in subjects]
    found = learning_curve("net", "dice", subjects, parts)
    assert found["law"]["b"] == pytest.approx(0.5)
    assert found["foreseen"]["error"] == pytest.approx(2 / np.sqrt(80))
    assert found["sentence"].startswith(
        "net: twice the data (80 training subjects) would give a Dice of about 0.776 (95 % 0.776 to 0.776)"
    )


@pytest.mark.parametrize(
    ("subjects", "values", "why"),
    [
        ([10], [[0.5, 0.6]], "all that was tried is one point; different amounts of data are needed"),
        ([10, 20], [[0.5, 0.6], [0.6, 0.7]], "through which any law goes; 3 are needed"),
        ([10, 20, 40], [[0.5], [0.6], [0.7]], "too few validation subjects"),
        ([10, 20, 40], [[0.5, 0.5], [0.9, 0.9], [0.5, 0.5]], "a power law explains 0 % of the differences"),
        ([10, 20, 40], [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], "a power law explains nothing"),
    ],
)
def test_what_cannot_be_said_is_said_with_its_reason(subjects, values, why):
    found = learning_curve("net", "dice", subjects, [{0: cases(v)} for v in values])
    assert found["foreseen"] is None
    assert "cannot be said, because" in found["sentence"] and why in found["sentence"]


def test_a_fall_that_is_not_sure_is_called_so():
    signs = np.array([[1, -1, 1, -1], [-1, 1, -1, 1], [1, 1, -1, -1]])
    parts = [{0: cases(1 - e * (1 + 0.8 * s))} for e, s in zip((0.42, 0.4, 0.36), signs, strict=True)]
    found = learning_curve("net", "dice", [10, 20, 40], parts)
    assert found["foreseen"] is not None and found["exponent"][0] < 0
    assert "whether the error falls at all is not sure" in found["sentence"]


def test_size_is_a_trend_among_networks():
    sizes = [100, 1000, 10000]
    found = by_size("dice", ["a", "b", "c"], sizes, [{0: cases([1 - n**-0.25] * 2)} for n in sizes])
    assert found["foreseen"]["error"] == pytest.approx(20000**-0.25)
    assert "(20,000 parameters) would give" in found["sentence"] and "not a law of one of them" in found["sentence"]


def test_size_compares_the_same_runs_from_random_weights_only():
    """The second repetition failed for b, and (transfer) rows are no networks of another size."""
    parts = {
        ("a", "random", 1.0): {(0, None): cases([0.5, 0.5]), (1, None): cases([0.9, 0.9], seed=1)},
        ("a", "transfer", 1.0): {(0, None): cases([1.0, 1.0])},
        ("b", "random", 1.0): {(0, None): cases([0.7, 0.7])},
    }
    shown = [
        {"network": n, "start": s, "fraction": f, "label": f"{n} {s}", "parameters_run": 100 * k}
        for k, (n, s, f) in enumerate(parts, 1)
    ]
    found = _size(parts, shown, "dice")
    assert [(p["network"], p["error"]) for p in found["points"]] == [
        ("a random", 0.5),
        ("b random", pytest.approx(0.3)),
    ]
    assert _size({("a", "frozen", 1.0): parts["a", "transfer", 1.0]}, shown[1:2], "dice") is None


def test_folds_that_one_part_lacks_are_left_out():
    folds = [cases([v], [f"s{n}"]) for n, v in enumerate((0.5, 0.7, 0.9))]
    whole = {(0, f"{k}/3"): fold for k, fold in enumerate(folds, 1)}
    less = {key: value for key, value in whole.items() if key[1] != "2/3"}
    assert [tuple(part[0].subjects) for part in shared([whole, less])] == [("s0", "s2")] * 2


def test_pairs_use_the_samples_that_both_have():
    a, b, c = classes([1] * 12), classes([1, 0] * 6), classes([1, 0, 1, 1] * 2)
    found = pairs({"a": a, "b": b, "c": c})
    assert [(p["first"], p["second"], p["n"]) for p in found] == [("a", "b", 12), ("a", "c", 8), ("b", "c", 8)]
    assert found[0]["difference"] == pytest.approx(0.5)
    assert found[0]["mcnemar_p"] == pytest.approx(2 * 0.5**6)
    assert all(p["p_holm"] is None or p["p_holm"] >= p["p"] for p in found)
    assert found[0]["p_holm"] == pytest.approx(min(1, 3 * found[0]["p"]))


def test_pairs_of_cases():
    found = pairs({"a": cases([0.9, 0.8, 0.7]), "b": cases([0.8, 0.7, 0.6])})[0]
    assert (found["difference"], found["mcnemar_p"]) == (pytest.approx(0.1), None)
