"""Warnings of many cases in a few lines."""

from __future__ import annotations

from striate.core.counted import some
from striate.core.grouped import ALONE, grouped


def told(count, sentence="case {case}: nothing was found.", code="nothing-found"):
    return [(f"P{n}", code, sentence.format(case=f"P{n}", n=n)) for n in range(count)]


def test_few_stand_by_themselves_and_many_together():
    assert grouped(told(ALONE)) == [f"case P{n}: nothing was found." for n in range(ALONE)]
    assert grouped(told(4)) == ["4 cases: nothing was found (P0, P1, P2, P3)."]
    assert grouped(told(12)) == ["12 cases: nothing was found (P0, P1, P2 and 9 more)."]


def test_sentences_of_a_kind_that_differ_are_shown_by_the_first():
    (line,) = grouped(told(6, "case {case}: {n} voxels are not finite."))
    assert line == "6 cases: for instance P0: 0 voxels are not finite (P0, P1, P2 and 3 more)."


def test_kinds_stay_apart_and_in_order():
    mixed = [*told(1, "case {case}: dark."), ("", "few", "cohort: too few."), *told(5, "case {case}: odd.", "odd")]
    mixed += [("", "few", "cohort: still too few."), *told(2, "case {case}: dark.", "dark")]
    assert grouped(mixed) == [
        "case P0: dark.", "cohort: too few.", "5 cases: odd (P0, P1, P2 and 2 more).", "cohort: still too few.",
        "case P0: dark.", "case P1: dark.",
    ]  # fmt: skip
    assert grouped([]) == []


def test_two_of_a_kind_in_one_case_count_once_and_one_twice_is_told_once():
    twice = [("P0", "axis", "case P0: coarse along x."), ("P0", "axis", "case P0: coarse along y.")]
    assert grouped([*twice, twice[0]]) == [text for _, _, text in twice]
    (line,) = grouped([*twice, *told(4, "case {case}: coarse along x.", "axis")[1:]])
    assert line.startswith("4 cases: for instance P0: coarse along x")


def test_some():
    assert some(["a"]) == "a"
    assert some(["a", "b", "c", "d"]) == "a, b, c, d"
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
