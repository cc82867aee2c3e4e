"""`share_of`: a share of the training subjects, nested, with each class in its share."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.core.case import Case
from striate.core.errors import UsageError
from striate.data.cohort import Cohort
from striate.data.split import fold, share_of


def cohort(subjects, classes=None):
    return Cohort(
        "test",
        tuple(
            Case(f"c{n}", s, {"x": Path(f"{n}.nii")}, None if classes else Path(f"{n}_m.nii"),
                 classes=(classes[n],) if classes else None)
            for n, s in enumerate(subjects)
        ),
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=12, max_size=30), st.integers(0, 5))
def test_shares_are_nested_whole_subjects_and_leave_validation_alone(numbers, seed):
    made = cohort([f"s{n}" for n in [*numbers, 20, 21, 22]])
    whole = fold(made, 0, 3, seed)
    owner = {c.name: c.subject for c in made.cases}
    before: set[str] = set()
    subjects = {owner[n] for n in whole.train}
    for fraction in (0.1, 0.3, 0.7, 1.0):
        part = share_of(made, whole, fraction, seed)
        kept = {owner[n] for n in part.train}
        assert before <= kept <= subjects
        assert len(kept) == max(1, round(fraction * len(subjects)))
        assert set(part.train) == {n for n in whole.train if owner[n] in kept}
        assert part.validation == whole.validation
        before = kept
    assert part == whole


def test_classes_keep_their_share_and_the_rare_one_comes_first():
    classes = ["common"] * 40 + ["rare"] * 4
    made = cohort([f"s{n}" for n in range(44)], classes)
    whole = fold(made, 0, 4, 0)
    named = dict(zip((c.name for c in made.cases), classes, strict=True))
    for fraction in (0.1, 0.34, 1.0):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            part = share_of(made, whole, fraction, 0)
        rare = sum(named[n] == "rare" for n in part.train)
        assert rare == max(1, round(3 * fraction))


def test_a_share_without_a_class_is_told():
    made = cohort([f"s{n}" for n in range(8)], ["a", "b"] * 4)
    whole = fold(made, 0, 2, 0)
    with pytest.warns(RuntimeWarning, match=r"is in no case for training"):
        share_of(made, whole, 0.1, 0)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_what_is_no_share(fraction):
    made = cohort(["a", "b", "c"])
    with pytest.raises(UsageError, match=r"a share of the training subjects above 0, at most 1"):
        share_of(made, fold(made, 0, 2, 0), fraction, 0)
