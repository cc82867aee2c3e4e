"""What curves of falling Dice share: sizes, cases within a time, and the place where the Dice has fallen too far."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from striate.core.case import Case
from striate.core.errors import DataError, UsageError
from striate.trust.falling_dice import Labelled, falls_to, rising


def cases(*labels):
    return [Case(f"c{i}", f"c{i}", {"flair": Path("f")}, label and Path(label)) for i, label in enumerate(labels)]


def gone_through(labelled, seconds=0.0, empty=()):
    for number, case in labelled:
        time.sleep(seconds)
        if case.name in empty:
            labelled.empty += 1
        else:
            labelled.done += 1
        last = number
    return last


def test_half_lies_on_the_straight_line_between_points():
    assert falls_to(0.4, (0, 0.1, 0.2), (0.8, 0.6, 0.2)) == pytest.approx(0.15)
    assert falls_to(0.4, (0, 0.1), (0.8, 0.2)) == pytest.approx(0.4 / 0.6 * 0.1)
    assert falls_to(0.4, (0, 0.1, 0.2), (0.8, 0.7, 0.41)) is None
    assert falls_to(0.4, (0, 0.1, 0.2), (0.8, None, 0.1)) is None


def test_sizes_rise_and_what_cannot_be_tried_is_refused():
    def model(kind):
        return SimpleNamespace(plan=SimpleNamespace(task=SimpleNamespace(kind=kind)), folder="M")

    known = {"fgsm": "", "pgd": ""}
    assert rising(model("segmentation"), "attack", ["pgd"], known, "epsilon", [0.2, 0.1, 0.2]) == (0.1, 0.2)
    for sizes in ([], [0.0], [float("nan")], [2.0]):
        with pytest.raises(UsageError, match="one attack and one epsilon above 0, at most 1, are needed"):
            rising(model("segmentation"), "attack", ["pgd"], known, "epsilon", sizes, most=1.0)
    with pytest.raises(UsageError, match="task classification; Dice is measured; a model that draws masks is needed"):
        rising(model("classification"), "attack", ["pgd"], known, "epsilon", [0.1])


def test_what_is_left_out_is_said():
    labelled = Labelled(cases("a", None, "b", "c"), None)
    assert gone_through(labelled, empty={"c2"}) == 2 and (labelled.done, labelled.empty) == (2, 1)
    assert labelled.notes() == (
        "1 of 4 cases has no true mask; it was left out.",
        "1 case has a true mask without a label; it was left out.",
    )
    with pytest.raises(DataError, match="1 case: none has a true mask that holds a label"):
        list(Labelled(cases(None), None))


def test_a_further_case_is_begun_only_where_it_ends_in_time():
    labelled = Labelled(cases("a", "b", "c"), 0.5)
    assert gone_through(labelled, 0.3) == 0 and labelled.done == 1
    assert labelled.notes() == ("0.5 s allowed 1 of 3 cases.",)
    few = Labelled(cases("a", "b", "c"), None)
    few.most = 2
    assert gone_through(few) == 1 and few.done == 2
