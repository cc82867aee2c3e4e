"""predictions.csv: it reads back bit for bit, is measured, and its mistakes get a line and a column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from striate.core.errors import DataError, FormatError
from striate.measure.class_table import ClassTable


def exclusive(count: int = 6) -> ClassTable:
    rng = np.random.default_rng(0)
    said = rng.dirichlet([1, 1, 1], count)
    truth = tuple(None if n == 1 else ("abc"[n % 3],) for n in range(count))
    cases = tuple(f"case, {n // 2}" for n in range(count))
    return ClassTable(("a", "b", "c"), True, cases, cases, tuple(n % 2 for n in range(count)), truth, said)


def together() -> ClassTable:
    said = np.array([[0.9, 0.2], [0.1, 0.3], [0.7, 0.5], [1 / 3, 1e-17]])
    truth = (("x y",), (), ("x y", "z"), None)
    return ClassTable(("x y", "z"), False, tuple("pqrs"), tuple("pqrr"), (None,) * 4, truth, said)


@pytest.mark.parametrize("table", [exclusive(), together()])
def test_it_reads_back_bit_for_bit(table: ClassTable, tmp_path: Path) -> None:
    table.write(tmp_path)
    assert ClassTable.read(tmp_path) == table == ClassTable.read(tmp_path / "predictions.csv")


def test_what_it_looks_like(tmp_path: Path) -> None:
    together().write(tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "case,subject,slice,truth,predicted,p_x y,p_z"
    assert lines[1] == "p,p,,x y,x y,0.9,0.2"
    assert lines[2] == "q,q,,none,none,0.1,0.3"
    assert lines[3] == "r,r,,x y;z,x y;z,0.7,0.5"
    assert lines[4].startswith("s,r,,,none,0.333")


def test_it_is_measured_where_the_truth_is_known() -> None:
    found = together().evaluate()
    assert (found.samples, found.subjects, found.exclusive) == (3, 3, False)
    assert found.summary["overall"]["exact_match"].value == 1
    assert "1 of 4 rows" in found.notes[0]
    found = exclusive(300).evaluate(seed=1)
    assert (found.samples, found.subjects) == (299, 150)
    assert found == exclusive(300).evaluate(seed=1)


def test_a_class_without_truth_is_told() -> None:
    table = ClassTable(("a", "b"), True, ("p", "q"), ("p", "q"), (None, None), (("a",), ("a",)), np.full((2, 2), 0.5))
    assert any("'b' occurs in no truth" in note for note in table.evaluate().notes)


def test_nothing_to_measure() -> None:
    table = exclusive().with_truth({})
    assert table.truth == (None,) * 6
    with pytest.raises(DataError, match="6 rows and the truth of none"):
        table.evaluate()
    assert together().with_truth({"s": ()}).truth == (None, None, None, ())


def test_tables_of_the_same_classes_are_joined() -> None:
    table = together()
    with pytest.raises(DataError, match="case 'p' twice"):
        ClassTable.join([table, table])
    with pytest.raises(DataError, match="classes a, b, c"):
        ClassTable.join([table, exclusive()])
    with pytest.raises(DataError, match="0 tables"):
        ClassTable.join([])
    assert ClassTable.join([table]) == table


def test_confidence_is_that_of_the_least_sure_decision() -> None:
    assert together().confidence.tolist() == [0.8, 0.7, 0.5, pytest.approx(2 / 3)]
    assert exclusive().confidence.tolist() == exclusive().probabilities.max(axis=1).tolist()


HEAD = "case,subject,slice,truth,predicted,p_a,p_b\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: columns \(none\)"),
        ("case,truth\n", "columns case, truth; case, subject, slice"),
        ("case,subject,slice,truth,predicted\n", "p_CLASS are needed"),
        ("case,subject,slice,truth,predicted,p_a,p_a\n", "for each class once"),
        (HEAD + "p,p,,a,a,0.9\n", "line 2: 6 cells; 7, one per column"),
        (HEAD + "p,p,,a,a,0.9,x\n", "line 2, column p_b: 'x'; a probability"),
        (HEAD + "p,p,,a,a,0.9,0.1\nq,q,,a,a,1.2,-0.2\n", "line 3, column p_a: 1.2; a probability"),
        (HEAD + "p,p,,a,a,nan,0.1\n", "line 2, column p_a: nan"),
        (HEAD + "p,p,1.5,a,a,0.9,0.1\n", "line 2, column slice: '1.5'"),
        (HEAD + "p,p,,aa,a,0.9,0.1\n", "line 2, column truth: class 'aa'; .* Did you mean 'a'"),
        (HEAD + "p,p,,a;a,a,0.9,0.2\n", "line 2, column truth: 'a;a'; each class once"),
        (HEAD + "p,p,,a,b,0.9,0.1\n", "line 2, column predicted: 'b'; the most probable class, 'a'"),
        (
            HEAD + "p,p,,none,a,0.9,0.6\n",
            "line 2, column predicted: 'a'; the classes from a probability of 0.5 on, 'a;b'",
        ),
        (HEAD + "p,p,,a,a,0.9,0.1\np,p,,a,a,0.9,0.1\n", "line 3: case 'p' twice"),
        (HEAD + "p,,,a,a,0.9,0.1\n", "line 2, column subject: empty"),
        (HEAD + '"p\nq",p,0,a,a,0.9,0.1\n"p\nq",p,0,a,a,0.9,0.1\n', "line 5: case 'p\nq', slice 0 twice"),
    ],
)
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        ClassTable.read(tmp_path / "t.csv")


def test_what_was_given_decides_whether_classes_are_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(HEAD + "p,p,,a,a,0.9,0.1\n")
    assert ClassTable.read(path).exclusive
    assert not ClassTable.read(path, exclusive=False).exclusive
    path.write_text(HEAD + "p,p,,a,a,0.9,0.2\n")
    assert not ClassTable.read(path).exclusive
    with pytest.raises(DataError, match=r"line 2: probabilities that sum to 1\.1"):
        ClassTable.read(path, exclusive=True)
    path.write_text(HEAD + "p,p,,a,b,0.5,0.5\n")
    assert ClassTable.read(path).predicted == (("a",),)


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no such file"):
        ClassTable.read(tmp_path)
    (tmp_path / "predictions.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="not readable as CSV"):
        ClassTable.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": np.full((4, 2), 1.5)}, "row 1, column p_x y: 1.5"),
        ({"cases": ("p", "p", "r", "s")}, "row 2: case 'p' twice"),
        ({"subjects": ("p", "q", "r")}, "3 subjects"),
        ({"subjects": ("p", "", "r", "s")}, "row 2: no name"),
    ],
)
def test_tables_made_in_python_are_checked(changes: dict, message: str) -> None:
    from dataclasses import replace

    with pytest.raises(DataError, match=message):
        replace(together(), **changes)
