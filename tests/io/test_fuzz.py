"""Hypothesis against headers and CSVs: whatever comes, a result or a sentence."""

import contextlib

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from striate.core.errors import DataError, MemoryLimitError
from striate.data.cohort import Cohort
from striate.io.layouts.naming import known
from striate.io.read import read_header, read_image

UNASKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
FIELDS = [n for n in nib.Nifti1Header() if n not in ("sizeof_hdr", "magic")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("fuzz")
    for name in ("P1_flair", "P1_mask", "P2_flair", "P2_mask"):
        nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), made / f"{name}.nii.gz")
    return made


def read_or_sentence(path):
    for read in (read_header, read_image):
        said = str(path)
        try:
            read(path)
        except (DataError, MemoryLimitError) as error:
            said = str(error)
        assert said.startswith(str(path))


@settings(max_examples=300, deadline=None, suppress_health_check=UNASKED)
@given(head=st.binary(min_size=348, max_size=348), keep=st.booleans())
def test_random_headers(folder, head, keep):
    start = b"\x5c\x01\0\0" if keep else head[:4]
    (folder / "a.nii").write_bytes(start + head[4:344] + b"n+1\0" + bytes(100))
    read_or_sentence(folder / "a.nii")


@settings(max_examples=300, deadline=None, suppress_health_check=UNASKED)
@given(
    changes=st.dictionaries(st.sampled_from(FIELDS), st.binary(min_size=80, max_size=80), min_size=1, max_size=3),
    order=st.sampled_from("<>"),
)
def test_one_field_of_a_good_header_goes_wrong(folder, changes, order):
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(np.int16).newbyteorder(order))
    header.set_data_shape((3, 4, 5))
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = 352
    block = np.frombuffer(bytearray(header.binaryblock), dtype=header.structarr.dtype).copy()
    for name, value in changes.items():
        kind = block.dtype[name]
        block[name] = np.frombuffer(value[: kind.itemsize], dtype=kind)[0]
    (folder / "b.nii").write_bytes(block.tobytes() + bytes(4 + 120))
    read_or_sentence(folder / "b.nii")


CELL = st.one_of(
    st.sampled_from(
        [
            "P1",
            "P2",
            "P1_flair.nii.gz",
            "P2_flair.nii.gz",
            "P1_mask.nii.gz",
            "nothing.nii.gz",
            "",
            "train",
            "test",
            "a/b",
            "..",
            "1",
            "a;b",
            "none",
        ]
    ),
    st.text(max_size=12),
)
COLUMN = st.one_of(
    st.sampled_from(
        ["subject", "flair", "label", "case", "split", "rater_2", "site", "Time", "lable", "mask", "class", "classes"]
    ),
    st.text(max_size=8),
)


@settings(max_examples=300, deadline=None, suppress_health_check=UNASKED)
@given(
    header=st.lists(COLUMN, max_size=5),
    rows=st.lists(st.lists(CELL, max_size=6), max_size=4),
    mark=st.sampled_from(",;\t"),
)
def test_any_table(folder, header, rows, mark):
    (folder / "t.csv").write_text(
        "\n".join(mark.join(r) for r in [header, *rows]), encoding="utf-8", errors="surrogatepass"
    )
    cohort, problem = None, None
    try:
        cohort = Cohort.open(folder / "t.csv")
    except DataError as error:
        problem = error
    if cohort is None:
        assert str(folder) in str(problem) or "case" in str(problem)
        assert problem.exit_code == 3
    else:
        assert all(p.is_file() for c in cohort.cases for p in c.channels.values())
        assert len({c.name for c in cohort.cases}) == len(cohort.cases)


@settings(max_examples=100, deadline=None, suppress_health_check=UNASKED)
@given(data=st.binary(max_size=200))
def test_any_bytes_as_a_table(folder, data):
    (folder / "u.csv").write_bytes(data)
    with contextlib.suppress(DataError):
        Cohort.open(folder / "u.csv")


NAME = st.text(
    st.characters(
        codec="utf-8",
        exclude_characters='/\\\0\r\n\x85\u2028\u2029"',
        exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp"),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=100, deadline=None, suppress_health_check=UNASKED)
@given(
    names=st.lists(NAME, min_size=1, max_size=3, unique=True),
    site=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=10),
)
def test_a_cohort_comes_back_from_its_csv(folder, names, site):
    from striate.core.case import Case

    files = {"flair": folder / "P1_flair.nii.gz"}
    cases = tuple(Case(n, n, files, folder / "P1_mask.nii.gz", metadata=known({"site": site.strip()})) for n in names)
    cohort = Cohort("c", cases, label_names={1: "lesion"})
    cohort.write_csv(folder / "w.csv")
    back = Cohort.open(folder / "w.csv")
    assert back.cases == cohort.cases and back.label_names == cohort.label_names


@settings(max_examples=200, deadline=None, suppress_health_check=UNASKED)
@given(
    cells=st.lists(
        st.one_of(st.sampled_from(["", "none", "a;b", "P1_mask.nii.gz", ";", "A"]), st.text(max_size=8)), max_size=4
    )
)
def test_any_classes_in_a_table(folder, cells):
    import csv

    with (folder / "v.csv").open("w", newline="", encoding="utf-8", errors="surrogatepass") as stream:
        csv.writer(stream).writerows([["subject", "flair", "class"], *(["P1", "P1_flair.nii.gz", c] for c in cells[:1]),
                                      *([f"Q{i}", "P2_flair.nii.gz", c] for i, c in enumerate(cells[1:]))])  # fmt: skip
    problem, cohort = None, None
    try:
        cohort = Cohort.open(folder / "v.csv")
    except DataError as error:
        problem = str(error)
    if cohort is None:
        assert str(folder) in problem
    else:
        cohort.write_csv(folder / "x.csv")
        assert [c.classes for c in Cohort.open(folder / "x.csv").cases] == [c.classes for c in cohort.cases]


@settings(max_examples=100, deadline=None, suppress_health_check=UNASKED)
@given(
    classes=st.lists(
        st.none() | st.lists(NAME.filter(lambda n: "." not in n and ";" not in n), max_size=3, unique=True),
        min_size=1,
        max_size=4,
    )
)
def test_classes_come_back_from_a_csv(folder, classes):
    from striate.core.case import Case

    files = {"flair": folder / "P1_flair.nii.gz"}
    try:
        cases = tuple(Case(f"c{i}", "s", files, classes=None if c is None else tuple(c)) for i, c in enumerate(classes))
    except DataError:
        return  # a name that no cell can hold
    cohort = Cohort("c", cases)
    cohort.write_csv(folder / "y.csv")
    assert Cohort.open(folder / "y.csv").cases == cohort.cases
