"""`ClassTable`: ``predictions.csv``, one row per case or slice: what is true, what was predicted, with which probabilities.

Columns: ``case``, ``subject``, ``slice`` (from 0; empty for whole cases), ``truth`` and
``predicted`` (names of classes joined by ``;``, ``none`` for none of them; an empty truth is unknown), then ``p_CLASS`` for
each class. Numbers read back bit for bit.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted, has_or_have, is_or_are
from striate.core.errors import DataError, FormatError, expected
from striate.core.files import csv_text, in_folder, write_text
from striate.measure.class_rows import (
    COLUMNS,
    PREFIX,
    SUM_TOLERANCE,
    Names,
    check_keys,
    check_predicted,
    check_probabilities,
    check_truth,
    classes_of,
    joined,
    number,
    slice_number,
    split,
)
from striate.measure.class_scores import decisions
from striate.measure.classification import ClassEvaluation
from striate.measure.resample import DRAWS
from striate.measure.statistics import LEVEL

FILE = "predictions.csv"


@dataclass(frozen=True, slots=True, eq=False)
class ClassTable:
    """Predicted classes of cases or of their slices.

    Attributes
    ----------
    classes
        K names.
    exclusive
        True where a row has exactly one class.
    cases, subjects
        N names each.
    slices
        N numbers from 0, None for whole cases.
    truth
        N tuples of names, ``()`` for none of the classes, None where it is unknown.
    probabilities
        (N, K) float64.

    Raises
    ------
    DataError
        When lengths differ, a case or slice is there twice, a probability is not between 0 and 1, or a truth is no class.
    """

    classes: Names
    exclusive: bool
    cases: Names
    subjects: Names
    slices: tuple[int | None, ...]
    truth: tuple[Names | None, ...]
    probabilities: NDArray[np.float64]

    def __post_init__(self) -> None:
        said = np.asarray(self.probabilities, dtype=np.float64)
        object.__setattr__(self, "probabilities", said)
        count = len(self.cases)
        lengths = {len(self.subjects), len(self.slices), len(self.truth)}
        if lengths != {count} or said.shape != (count, len(self.classes)) or not self.classes:
            given = {"case": count, "subject": len(self.subjects), "slice": len(self.slices), "truth": len(self.truth)}
            got = ", ".join(counted(number, noun) for noun, number in given.items())
            got = f"{got}, probabilities {said.shape}, {counted(len(self.classes), 'class', 'classes')}"
            raise DataError(
                expected("predictions", got, "one of each per row and one probability per class are needed")
            )
        if "" in self.cases or "" in self.subjects:
            row = (self.cases if "" in self.cases else self.subjects).index("")
            raise DataError(expected(_row(row), "no name of the case or the subject", "both are needed"))
        check_keys(self.cases, self.slices, _row)
        check_probabilities(said, self.classes, self.exclusive, _row)
        check_truth(self.truth, self.classes, self.exclusive, _row)

    def __eq__(self, other: object) -> bool:
        """Compare every cell."""
        if not isinstance(other, ClassTable):
            return NotImplemented
        return self._cells() == other._cells() and np.array_equal(self.probabilities, other.probabilities)

    def __hash__(self) -> int:
        return hash((self.classes, self.cases, self.slices))

    def _cells(self) -> tuple[object, ...]:
        return self.classes, self.exclusive, self.cases, self.subjects, self.slices, self.truth

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def predicted(self) -> tuple[Names, ...]:
        """What each row is called: the class of the largest probability, or every class from a probability of 0.5 on."""
        called = decisions(self.probabilities, exclusive=self.exclusive)
        return tuple(tuple(n for n, there in zip(self.classes, row, strict=True) if there) for row in called)

    def predicted_of(self, row: int) -> Names:
        """What one row is called."""
        called = decisions(self.probabilities[row : row + 1], exclusive=self.exclusive)[0]
        return tuple(n for n, there in zip(self.classes, called, strict=True) if there)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """How sure the least sure decision of each row is: (N,).

        The largest probability of exclusive classes; else the smallest max(p, 1 − p) of the classes.
        """
        said = self.probabilities
        return np.asarray(said.max(axis=1) if self.exclusive else np.maximum(said, 1 - said).min(axis=1))

    def with_truth(self, truth: Mapping[str, Names | None]) -> ClassTable:
        """Return the table with the truth of whole cases, by name; cases that are not named stay unknown."""
        return replace(self, truth=tuple(truth.get(case) for case in self.cases))

    @classmethod
    def join(cls, tables: Iterable[ClassTable]) -> ClassTable:
        """Put tables beneath each other.

        Raises
        ------
        DataError
            When there is none, or their classes differ.
        """
        parts = list(tables)
        for part in parts[1:]:
            if (part.classes, part.exclusive) != (parts[0].classes, parts[0].exclusive):
                got = f"classes {_told(part)} beside {_told(parts[0])}"
                raise DataError(expected("predictions", got, "tables of the same classes are needed"))
        if not parts:
            raise DataError(expected("predictions", "0 tables", "at least one is needed"))
        return cls(
            parts[0].classes,
            parts[0].exclusive,
            tuple(c for p in parts for c in p.cases),
            tuple(s for p in parts for s in p.subjects),
            tuple(s for p in parts for s in p.slices),
            tuple(t for p in parts for t in p.truth),
            np.concatenate([p.probabilities for p in parts]),
        )

    def evaluate(self, seed: int = 0, *, level: float = LEVEL, draws: int = DRAWS) -> ClassEvaluation:
        """Measure the rows whose truth is known.

        Raises
        ------
        DataError
            When there is none.
        """
        known = [n for n, truth in enumerate(self.truth) if truth is not None]
        if not known:
            got = f"{counted(len(self), 'row')} and the truth of none"
            raise DataError(expected("predictions", got, "at least one row with a truth is needed to measure"))
        hot = np.array([[name in (self.truth[n] or ()) for name in self.classes] for n in known])
        notes = []
        if len(known) < len(self):
            left = len(self) - len(known)
            told = f"{left} of {len(self)} rows {has_or_have(left)} no known truth and {is_or_are(left)} left out."
            notes = [told]
        return ClassEvaluation.of(
            self.classes,
            hot.argmax(axis=1) if self.exclusive else hot,
            self.probabilities[known],
            [self.subjects[n] for n in known],
            seed=seed,
            level=level,
            draws=draws,
            notes=notes,
        )

    def write(self, path: Path) -> None:
        """Write the table, to a file or as ``predictions.csv`` into a folder; whole or not at all."""
        columns = (self.cases, self.subjects, self.slices, self.truth, self.predicted, self.probabilities)
        rows = (
            (case, subject, place, joined(truth), joined(predicted), *(repr(float(p)) for p in said))
            for case, subject, place, truth, predicted, said in zip(*columns, strict=True)
        )
        header = (*COLUMNS, *(f"{PREFIX}{name}" for name in self.classes))
        write_text(in_folder(path, FILE), csv_text(header, rows))

    @classmethod
    def read(cls, path: Path, *, exclusive: bool | None = None) -> ClassTable:
        """Read the table, from a file or from ``predictions.csv`` of a folder.

        Parameters
        ----------
        path
            The file or its folder.
        exclusive
            Whether exactly one class is there. Where it is not given: whether there are two classes or more, the probabilities of
            every row sum to 1, and every known truth is one class.

        Raises
        ------
        FormatError
            When the file is missing or no table.
        DataError
            When a cell holds something else than its column says; the message names line and column.
        """
        path = in_folder(path, FILE)
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                return _read(path, csv.reader(stream), exclusive)
        except FileNotFoundError as error:
            raise FormatError(
                expected(path, "there is no such file", "a table of predicted classes is needed"), path=path
            ) from error
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise FormatError(
                expected(path, f"not readable as CSV ({error})", "a table of predicted classes is needed"), path=path
            ) from error


def _row(number: int) -> str:
    return f"predictions, row {number + 1}"


def _told(table: ClassTable) -> str:
    return f"{', '.join(table.classes)} ({'exclusive' if table.exclusive else 'several may occur'})"


def _read(path: Path, reader: Any, exclusive: bool | None) -> ClassTable:
    header: list[str] = next(reader, [])
    classes = classes_of(header, path)
    lines, body = [], []
    for row in reader:
        if len(row) == len(header):
            lines.append(reader.line_num)
            body.append(row)
        elif row:
            got, want = counted(len(row), "cell"), f"{len(header)}, one per column, {is_or_are(len(header))} needed"
            raise DataError(expected(f"{path}, line {reader.line_num}", got, want), path=path)

    def where(row: int) -> str:
        return f"{path}, line {lines[row]}"

    for n, row in enumerate(body):
        if "" in row[:2]:
            column = COLUMNS[row.index("")]
            raise DataError(expected(f"{where(n)}, column {column}", "empty", "a name is needed"), path=path)
    cases, subjects = tuple(row[0] for row in body), tuple(row[1] for row in body)
    slices = tuple(slice_number(row[2], f"{where(n)}, column slice") for n, row in enumerate(body))
    truth = tuple(split(row[3]) for row in body)
    said = np.array(
        [
            [number(c, f"{where(n)}, column {PREFIX}{k}") for k, c in zip(classes, row[len(COLUMNS) :], strict=True)]
            for n, row in enumerate(body)
        ]
    ).reshape(len(body), len(classes))
    exclusive = _looks_exclusive(said, truth) if exclusive is None else exclusive
    check_keys(cases, slices, where)
    check_probabilities(said, classes, exclusive, where)
    check_truth(truth, classes, exclusive, where)
    check_predicted([row[4] for row in body], said, classes, exclusive, where)
    return ClassTable(classes, exclusive, cases, subjects, slices, truth, said)


def _looks_exclusive(said: NDArray[np.float64], truth: tuple[Names | None, ...]) -> bool:
    one = all(t is None or len(t) == 1 for t in truth)
    return bool(said.shape[1] > 1 and one and (np.abs(said.sum(axis=1) - 1) <= SUM_TOLERANCE).all())
