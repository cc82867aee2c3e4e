"""`Split`: by subject, reproducible, written and read back."""

import itertools
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import DataError, FormatError, UsageError
from striate.data.cohort import Cohort
from striate.data.split import Split, fold, from_column, hold_out, usual


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
        with pytest.raises(UsageError, match=f"of {counted(len(set(subjects)), 'labelled subject')} in cohort test"):
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
    with pytest.raises(DataError, match=r"cohort test: 1 case, none with a label map"):
        hold_out(cohort("A", labelled=False), ["A"])
    with pytest.raises(DataError, match=r"classes of whole images \(column class\) teach\. See docs"):
        hold_out(cohort("A", labelled=False), ["A"], truth="label")


def test_the_column_counts():
    assert from_column(cohort("ABC")) is None
    assert from_column(cohort("ABC", ["train", "validation", None])) == Split(("c0",), ("c1",))
    assert from_column(cohort("ABC", [None, "validation", "test"])) == Split(("c0",), ("c1",))
    with pytest.raises(DataError, match=r"subject A: cases in train and in validation"):
        from_column(cohort("AAB", ["train", "validation", "train"]))
    with pytest.raises(DataError, match=r"subject A: cases in train and in test"):
        from_column(cohort("AAB", ["train", "test", "validation"]))
    with pytest.raises(DataError, match=r"subject B: cases in validation and in test"):
        from_column(cohort("ABB", ["train", "validation", "test"]))


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


def classes_of(*groups, splits=None):
    """Return a cohort of (subject, classes) pairs, one case each."""
    splits = splits or [None] * len(groups)
    cases = [
        Case(f"c{i}", subject, {"image": Path(f"{i}.png")}, classes=classes, split=split)
        for i, ((subject, classes), split) in enumerate(zip(groups, splits, strict=True))
    ]
    return Cohort("test", tuple(cases))


def held_classes(made, split):
    return [{n for c in side for n in made.case(c).classes or ()} for side in (split.train, split.validation)]


def test_splits_of_label_maps_are_what_they_were():
    """Written down before classes came: shuffled by the seed, dealt out in turn."""
    made = cohort("ABCDEFGHIJ")
    assert usual(made, 0).validation == ("c4", "c5") and usual(made, 1).validation == ("c2", "c8")
    assert [fold(made, k, 3, 7).validation for k in range(3)] == [
        ("c1", "c2", "c8", "c9"),
        ("c0", "c3", "c4"),
        ("c5", "c6", "c7"),
    ]


def test_one_in_five_of_each_class():
    made = classes_of(*((f"s{i}", ("rare",) if i < 5 else ("often",)) for i in range(50)))
    for seed in range(5):
        split = usual(made, seed)
        assert [sum(made.case(c).classes == (n,) for c in split.validation) for n in ("rare", "often")] == [1, 9]
        assert usual(made, seed) == split
    assert len({usual(made, seed).validation for seed in range(5)}) == 5


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ABCDEFGHIJ"), st.lists(st.sampled_from("xyz"), max_size=2, unique=True)),
        min_size=2, max_size=20,
    ),
    st.integers(0, 9),
)  # fmt: skip
def test_classes_of_two_subjects_or_more_are_always_learned(groups, seed):
    made = classes_of(*((s, tuple(c)) for s, c in groups))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        split = usual(made, seed)
    side = {c.name: c.subject for c in made.cases}
    assert not {side[c] for c in split.train} & {side[c] for c in split.validation}
    train, validation = held_classes(made, split)
    assert train == set(made.class_names)
    if len(made.subjects) > 1:
        assert {str(w.message).split("'")[1] for w in told} == set(made.class_names) - validation
    if all(len(c) == 1 for _, c in groups) and len({s for s, _ in groups}) == len(groups):
        often = {n for n in made.class_names if sum(c == [n] for _, c in groups) > 1}
        assert validation == often  # subjects of one class each: nothing stands in the way


@pytest.mark.parametrize("n", [2, 3, 5])
def test_folds_of_classes_share_them_out(n):
    made = classes_of(*((f"s{i}", ("a", "b", "c")[: i % 3 + 1][-1:]) for i in range(31)))
    folds = [fold(made, k, n, 4) for k in range(n)]
    assert sorted(itertools.chain(*(f.validation for f in folds))) == sorted(c.name for c in made.cases)
    for name in made.class_names:
        counts = [sum(made.case(c).classes == (name,) for c in f.validation) for f in folds]
        assert max(counts) - min(counts) <= 1
    sizes = [len(f.validation) for f in folds]
    assert max(sizes) - min(sizes) <= 1


def test_a_class_of_one_subject_is_told():
    made = classes_of(("s1", ("a",)), ("s2", ("a",)), ("s3", ("b",)))
    with pytest.warns(
        RuntimeWarning, match=r"class 'b' is in no case for validation, so it cannot be measured; only subject s3"
    ):
        assert set(usual(made, 0).train) >= {"c2"}
    with pytest.warns(
        RuntimeWarning, match=r"class 'b' is in no case for training, .* learned; only subject s3 has it: add another"
    ):
        hold_out(made, ["s1", "s3"])
    made = classes_of(("s1", ("a",)), ("s2", ("b",)), ("s3", ("b",)), splits=[None, "validation", "validation"])
    with pytest.warns(RuntimeWarning) as told:
        assert from_column(made) == Split(("c0",), ("c1", "c2"))
    assert [str(w.message) for w in told] == [
        "class 'a' is in no case for validation, so it cannot be measured; only subject s1 has it: add another one, or leave the"
        " class out.",
        "class 'b' is in no case for training, so it cannot be learned; 2 subjects have it: move one of them to training.",
    ]


def test_two_subjects_of_two_classes_cannot_be_parted():
    made = classes_of(("s1", ("a",)), ("s2", ("b",)))
    with pytest.warns(RuntimeWarning, match="no case for validation"):
        assert usual(made, 0) == Split(("c0", "c1"), ())


def test_what_counts_as_truth():
    image = {"image": Path("x.png")}
    made = Cohort("test", (
        Case("a", "A", image, Path("m.png")), Case("b", "B", image, classes=("x",)), Case("c", "C", image, Path("n.png")),
        Case("d", "D", image, classes=("x",)), Case("e", "E", image),
    ))  # fmt: skip

    def all_of(split):
        return sorted((*split.train, *split.validation))

    assert all_of(usual(made, 0)) == all_of(usual(made, 0, truth="label")) == ["a", "c"]
    assert all_of(usual(made, 0, truth="class")) == ["b", "d"]
    assert all_of(fold(made, 0, 2, 0, truth="image")) == ["a", "b", "c", "d", "e"]
    with pytest.raises(UsageError, match="cannot hold out 'b'"):
        hold_out(made, ["b"])
    assert hold_out(made, ["b"], truth="class") == Split(("d",), ("b",))
    with pytest.raises(DataError, match=r"cohort test: 1 case, none with a class outside split 'test'"):
        usual(made.only(("e",)), 0, truth="class")
