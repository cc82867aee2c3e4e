"""`Split`: by subject, reproducible, written and read back."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.core.case import Case
from striate.core.errors import DataError, FormatError, UsageError
from striate.data.cohort import Cohort
from striate.data.split import Split, fold, from_column, hold_out


def cohort(subjects, splits=None, labelled=True):
    splits = splits or [None] * len(subjects)
    cases = [
        Case(f"c{i}", s, {"flair": Path(f"{i}.nii")}, Path(f"{i}_m.nii") if labelled else None, split=p)
        for i, (s, p) in enumerate(zip(subjects, splits, strict=True))
    ]
    return Cohort("test", tuple(cases))


def test_hold_out_takes_whole_subjects():
    made = cohort(["A", "A", "B", "C"])
    assert hold_out(made, ["A"]) == Split(("c2", "c3"), ("c0", "c1"))
    assert hold_out(made, ["c1"]) == Split(("c2", "c3"), ("c0", "c1"))
    assert hold_out(made, ["B", "c3"]) == Split(("c0", "c1"), ("c2", "c3"))
    with pytest.raises(UsageError, match=r"cannot hold out 'D': no labelled case or subject\. .*Known: A, B, C, c0"):
        hold_out(made, ["D"])
    with pytest.raises(UsageError, match=r"4 cases for validation and none for training"):
        hold_out(made, ["A", "B", "C"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("ABCDEFGH"), min_size=4, max_size=20), st.integers(2, 5), st.integers(0, 9))
def test_folds_part_the_subjects(subjects, n, seed):
    made = cohort(subjects)
    if len(set(subjects)) < n:
        with pytest.raises(UsageError, match="labelled subjects in cohort test"):
            fold(made, 0, n, seed)
        return
    folds = [fold(made, k, n, seed) for k in range(n)]
    assert sorted(itertools.chain(*(f.validation for f in folds))) == sorted(c.name for c in made.cases)
    for each in folds:
        side = {c.name: c.subject for c in made.cases}
        assert not {side[c] for c in each.train} & {side[c] for c in each.validation}
        assert fold(made, folds.index(each), n, seed) == each
    sizes = [len({made.case(c).subject for c in f.validation}) for f in folds]
    assert max(sizes) - min(sizes) <= 1


def test_folds_depend_on_the_seed_and_have_bounds():
    made = cohort("ABCDEFGHIJ")
    assert len({fold(made, 0, 5, seed).validation for seed in range(10)}) > 5
    with pytest.raises(UsageError, match=r"fold 5 of 5: a fold from 0 to 4"):
        fold(made, 5, 5, 0)


def test_test_cases_and_unlabelled_ones_are_left_out():
    made = cohort(["A", "B", "C", "C"], [None, None, "test", None])
    assert hold_out(made, ["A"]) == Split(("c1",), ("c0",))
    with pytest.raises(DataError, match=r"cohort test: 1 cases, none with a label map"):
        hold_out(cohort("A", labelled=False), ["A"])


def test_the_column_counts():
    assert from_column(cohort("ABC")) is None
    assert from_column(cohort("ABC", ["train", "validation", None])) == Split(("c0",), ("c1",))
    assert from_column(cohort("ABC", [None, "validation", "test"])) == Split(("c0",), ("c1",))
    with pytest.raises(DataError, match=r"subject A: cases in train and in validation"):
        from_column(cohort("AAB", ["train", "validation", "train"]))


def test_written_and_read_back(tmp_path):
    split = Split(("ä", "b"), ("c",))
    split.write(tmp_path / "split.json")
    assert Split.read(tmp_path / "split.json") == split
    (tmp_path / "split.json").write_text(
        '{"kind": "striate-split", "schema_version": 1, "train": "abc", "validation": []}'
    )
    with pytest.raises(FormatError, match=r"'train' is 'abc'; a list of case names is needed"):
        Split.read(tmp_path / "split.json")
    with pytest.raises(UsageError, match=r"case b is in training and in validation"):
        Split(("a", "b"), ("b",))
