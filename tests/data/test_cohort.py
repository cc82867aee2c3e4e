"""`Cohort`: valid once made, written and read back."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from striate.core.case import Case
from striate.core.errors import DataError, LayoutError, UsageError
from striate.data.cohort import Cohort


@pytest.fixture
def cohort(tmp_path):
    for name in ("a_flair", "a_t1", "a_mask", "b_flair", "b_t1"):
        nib.save(nib.Nifti1Image(np.ones((3, 4, 5), np.uint8), np.eye(4)), tmp_path / f"{name}.nii.gz")
    cases = (
        Case("a", "S1", {"flair": tmp_path / "a_flair.nii.gz", "t1": tmp_path / "a_t1.nii.gz"}, tmp_path / "a_mask.nii.gz",
             {"anna": tmp_path / "a_mask.nii.gz"}, "train", {"site": "Ulm, Süd", "age": "50"}),
        Case("b", "S1", {"flair": tmp_path / "b_flair.nii.gz", "t1": tmp_path / "b_t1.nii.gz"}, metadata={"time": "2"}),
    )  # fmt: skip
    return Cohort("test", cases, label_names={1: "lesion", 3: "cyst"})


def test_what_a_cohort_knows(cohort):
    assert (
        cohort.channels == ("flair", "t1") and cohort.subjects == ("S1",) and [c.name for c in cohort.labelled] == ["a"]
    )
    assert cohort.case("b").metadata["time"] == "2" and cohort.only(("b",)).cases == (cohort.cases[1],)
    with pytest.raises(UsageError, match=r"cohort test: unknown case 'aa'. Did you mean 'a'\? Known: a, b"):
        cohort.case("aa")
    with pytest.raises(AttributeError, match="cannot assign"):
        cohort.name = "x"


def test_written_and_read_back(cohort, tmp_path):
    cohort.write_csv(tmp_path / "cohort.csv")
    back = Cohort.open(tmp_path / "cohort.csv")
    assert back.cases == cohort.cases and back.channels == cohort.channels and back.label_names == cohort.label_names
    assert back.layout == "csv" and back.name == "cohort" and back.root == tmp_path / "cohort.csv"
    assert (
        (tmp_path / "cohort.csv")
        .read_text()
        .splitlines()[1]
        .startswith("a,S1,a_flair.nii.gz,a_t1.nii.gz,a_mask.nii.gz,")
    )
    assert Cohort.open(tmp_path).cases == cohort.cases


def test_written_elsewhere_with_whole_paths(cohort, tmp_path):
    cohort.write_csv(tmp_path / "deep" / "er" / "c.csv")
    assert Cohort.open(tmp_path / "deep" / "er" / "c.csv").cases == cohort.cases


def test_pickled(cohort):
    import pickle

    assert pickle.loads(pickle.dumps(cohort)) == cohort


def test_of_many_names_a_few_are_told():
    many = Cohort("x", tuple(Case(f"c{n:03}", f"s{n}", {"flair": Path("x.nii.gz")}) for n in range(200)))
    with pytest.raises(UsageError, match=r"Did you mean 'c\d01'\? Known: c000, .* c039 … \(200 in all\)\.$"):
        many.case("c01")


def test_impossible_cohorts(cohort, tmp_path):
    a, b = cohort.cases
    with pytest.raises(LayoutError, match=r"cohort x: no cases; at least one is needed"):
        Cohort("x", ())
    with pytest.raises(LayoutError, match=r"cohort x: two cases named a"):
        Cohort("x", (a, a))
    other = Case("c", "S2", {"flair": b.channels["flair"]})
    with pytest.raises(
        LayoutError, match=r"case c: channels flair; the cohort's channels flair, t1 are needed in every case"
    ):
        Cohort("x", (a, other))
    with pytest.raises(LayoutError, match=r"in every case\. Save all pictures in grey, or all in colour\."):
        Cohort(
            "x",
            (
                Case("c", "S", dict.fromkeys(("red", "green", "blue"), Path("c.png"))),
                Case("d", "T", {"image": Path("d.png")}),
            ),
        )
    clash = Cohort("x", (Case("c", "S2", {"flair": b.channels["flair"]}, metadata={"label": "no"}),))
    with pytest.raises(DataError, match=r"two columns named 'label'"):
        clash.write_csv(tmp_path / "y.csv")


def test_classes_of_the_whole_image(cohort, tmp_path):
    import pickle

    from striate.core.case import NO_CLASS

    image = cohort.cases[0].channels["t1"]
    given = {"a": ("9",), "b": ("benign, left", "10"), "c": (), "d": None}
    cases = tuple(Case(n, f"S{n}", {"t1": image}, classes=classes) for n, classes in given.items())
    made = Cohort("x", cases)
    assert made.class_names == ("9", "10", "benign, left") and [c.name for c in made.classified] == ["a", "b", "c"]
    assert made.case("b").classes == ("10", "benign, left") and made.multi_label and not cohort.classified
    assert not cohort.multi_label and not made.only(("a", "d")).multi_label and made.only(("a", "c")).multi_label
    made.write_csv(tmp_path / "classes.csv")
    assert Cohort.open(tmp_path / "classes.csv").cases == cases and pickle.loads(pickle.dumps(cases)) == cases
    assert (tmp_path / "classes.csv").read_text().splitlines()[:2] == [
        "case,subject,t1,label,class,split",
        "a,Sa,a_t1.nii.gz,,9,",
    ]
    assert f",{NO_CLASS}," in (tmp_path / "classes.csv").read_text()
    cohort.write_csv(tmp_path / "labels.csv")
    assert "class" not in (tmp_path / "labels.csv").read_text()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("benign", r"case a: classes 'benign'; a tuple of names is needed"),
        ((1,), r"a tuple of names is needed"),
        (("",), r"case a: class name ''; 1 to 100 printable characters"),
        (("a;b",), r"class name 'a;b'"),
        ((" a",), r"class name ' a'"),
        (("a\nb",), r"class name 'a\\nb'"),
        (("x" * 101,), r"class name 'x{100}'"),
        (("b", "a", "b"), r"class 'b' twice; each class is named once"),
        (("None",), r"a class named 'None'; another name is needed"),
    ],
)
def test_impossible_classes(cohort, classes, message):
    with pytest.raises(DataError, match=message):
        Case("a", "S", dict(cohort.cases[0].channels), classes=classes)


def test_metadata_named_as_classes_come_back(cohort, tmp_path):
    channels = {"t1": cohort.cases[1].channels["t1"]}
    made = Cohort("x", (Case("a", "S", channels, metadata={"classes": "two"}),))
    made.write_csv(tmp_path / "x.csv")
    assert Cohort.open(tmp_path / "x.csv").cases == made.cases
    with pytest.raises(DataError, match="two columns named 'class'"):
        Cohort("x", (Case("a", "S", channels, metadata={"class": "two"}),)).write_csv(tmp_path / "y.csv")
