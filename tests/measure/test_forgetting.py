"""The choice along the line: best on the new cohort among those that forget little; ties, nothing allowed, nobody to ask."""

from __future__ import annotations

import pytest

from striate.measure.forgetting import MOST, SHARES, Forgetting, Measured, choose, halfway


@pytest.mark.parametrize(
    ("means", "tolerance", "share"),
    [
        ([(0, 0.9, 0.3), (0.5, 0.89, 0.7), (1, 0.7, 0.9)], 0.02, 0.5),  # the best falls too far
        ([(0, 0.9, 0.3), (0.5, 0.89, 0.7), (1, 0.88, 0.9)], 0.02, 1),  # a fall of just the tolerance is allowed
        ([(0, 0.9, 0.3), (0.5, 0.89, 0.7), (1, 0.95, 0.7)], 0.02, 0.5),  # of equals the nearest to the old weights
        ([(0, 0.9, 0.3), (0.5, 0.5, 0.7), (1, 0.5, 0.9)], 0.02, 0),  # all others fall too far
        ([(0, 0.9, 0.3), (0.5, 0.95, 0.3), (1, 0.9, 0.2)], 0.02, 0),  # nothing was learned
        ([(0, 0.9, 0.3), (0.5, 0.9, 0.31), (1, 0.8, 0.9)], 0.0, 0.5),
        ([(0, None, 0.9), (0.5, None, 0.8), (1, None, 0.1)], 0.02, 1),  # nobody tells what was forgotten
    ],
)
def test_the_rule(means: list[tuple[float, float | None, float]], tolerance: float, share: float) -> None:
    assert choose(means, tolerance) == share


@pytest.mark.parametrize(
    ("means", "share"),
    [
        ([(0, 0.9, 0.0), (0.5, 0.9, 0.2), (1, 0.7, 0.9)], 0.75),  # the next one learned more and forgot too much
        ([(0, 0.9, 0.3), (0.5, 0.5, 0.7), (1, 0.5, 0.9)], 0.25),  # nothing that was measured is allowed
        ([(0, 0.9, 0.3), (0.5, 0.89, 0.7), (1, 0.7, 0.7)], None),  # no more was learned beyond it
        ([(0, 0.9, 0.3), (0.5, 0.89, 0.7), (1, 0.89, 0.6)], None),  # what lies beyond it is allowed, and worse
        ([(0, 0.9, 0.3), (0.5, 0.89, 0.7), (1, 0.9, 0.8)], None),  # the whole update is taken
        ([(0, 0.9, 0.3), (0.5, 0.89, 0.7), (0.53125, 0.5, 0.8), (1, 0.5, 0.9)], None),  # near enough
        ([(0, None, 0.9), (0.5, None, 0.8), (1, None, 0.1)], None),  # nobody tells what was forgotten
    ],
)
def test_where_the_tolerance_is_broken_the_way_is_halved(
    means: list[tuple[float, float | None, float]], share: float | None
) -> None:
    assert halfway(means, 0.02) == share


def test_the_tolerance_is_found_within_a_thirty_second_of_the_way() -> None:
    found = Forgetting((), {"a": "A", "b": "B"}, frozenset({"a"}), 0.02)
    measured = list[float]()
    while (share := found.next_share) is not None:
        measured.append(share)
        fallen = 0.0 if share <= 0.9 else share - 0.9  # 0.02 is reached at 0.92
        found = found.with_row(Measured(share, f"{share}", {"a": {"x": 0.8 - fallen}, "b": {"x": 0.5 * share}}))
    assert measured == [*SHARES, 0.875, 0.9375, 0.90625] and len(measured) == MOST
    assert found.share == 0.90625 and [row.share for row in found.rows] == sorted(measured)
    assert "90.6 % of the way from the old weights to the new ones was taken" in found.told()


def line(
    earlier: tuple[float, ...] = (0.8, 0.8, 0.79, 0.7, 0.6), new: tuple[float, ...] = (0.2, 0.4, 0.6, 0.7, 0.8)
) -> Forgetting:
    """Subjects A (two cases) and B of the earlier cohort, C of the new one."""
    rows = [
        Measured(share, f"sha{share}", {"a1": {"x": e, "y": e}, "a2": {"x": e}, "b": {"x": e - 0.1, "y": e + 0.1}, "c": {"x": n}})
        for share, e, n in zip(SHARES, earlier, new, strict=True)
    ]  # fmt: skip
    subjects = {"a1": "A", "a2": "A", "b": "B", "c": "C"}
    return Forgetting(tuple(rows), subjects, frozenset({"a1", "a2", "b"}), 0.02, 5, "parent")


def test_means_are_over_labels_then_cases_and_intervals_over_subjects() -> None:
    found = line()
    assert found.share == 0.5 and found.kept
    before = found.summary(found.at(0.0), "earlier")
    assert before.mean == pytest.approx(0.8) and before.n == 3 and before.low is not None
    change = found.summary(found.at(1.0), "earlier", found.at(0.0))
    assert change.mean == pytest.approx(-0.2)
    alone = found.summary(found.at(0.5), "new")
    assert (alone.mean, alone.n, alone.low) == (0.6, 1, None)
    facts = found.facts()
    assert facts["earlier"]["subjects"] == 2 and facts["new"]["subjects"] == 1 and facts["from_sha256"] == "parent"
    assert (
        "50 % of the way" in facts["told"]
        and "2 held-out subjects of the earlier cohort 0.800 → 0.790" in facts["told"]
    )


def test_it_is_written_and_read_and_unfinished_where_rows_are_missing(tmp_path) -> None:
    found = line()
    found.write(tmp_path / "update.json")
    assert Forgetting.read(tmp_path / "update.json") == found
    half = Forgetting(found.rows[:2], found.subjects, found.earlier, 0.02)
    half.write(tmp_path / "half.json")
    assert (
        '"chosen": null' in (tmp_path / "half.json").read_text()
        and len(Forgetting.read(tmp_path / "half.json").rows) == 2
    )


def test_sentences_say_what_was_not_kept_or_not_measured() -> None:
    nothing = line(earlier=(0.8, 0.7, 0.6, 0.5, 0.4))
    assert nothing.share == 0 and not nothing.kept
    assert "Nothing of the update was kept" in nothing.told() and "0.800 → 0.400" in nothing.told()
    weak = line(earlier=(0.1, 0.11, 0.12, 0.1, 0.1))
    assert weak.kept and "It was 0.10 before: there was little to forget." in weak.told()
    assert "little to forget" not in nothing.told()
    rows = tuple(Measured(r.share, r.weights_sha256, {"c": r.dice["c"]}) for r in line().rows)
    blind = Forgetting(rows, {"c": "C"}, frozenset(), 0.02)
    assert blind.share == 1 and not blind.kept and "cannot be measured. The whole update was taken" in blind.told()
    assert blind.facts()["earlier"]["before"]["mean"] is None
