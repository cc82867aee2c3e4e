"""Rows of ``predictions.csv``: what a cell may hold, and the sentence about one that does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from striate.core.case import NO_CLASS, SEPARATOR
from striate.core.errors import DataError, expected
from striate.core.names import did_you_mean
from striate.measure.class_scores import THRESHOLD

COLUMNS = ("case", "subject", "slice", "truth", "predicted")
PREFIX = "p_"
SUM_TOLERANCE = 1e-3

Names = tuple[str, ...]
Where = Callable[[int], str]
"""Number of a row → where it stands, for the start of a sentence."""


def joined(names: Names | None) -> str:
    """Write names of classes in one cell: empty where they are unknown, ``none`` for none of them."""
    return "" if names is None else SEPARATOR.join(names) or NO_CLASS


def split(cell: str) -> Names | None:
    """Read what `joined` wrote."""
    text = cell.strip()
    if not text:
        return None
    return () if text.casefold() == NO_CLASS else tuple(part.strip() for part in text.split(SEPARATOR))


def classes_of(header: Sequence[str], path: Path) -> Names:
    """Return the classes that the columns name.

    Raises
    ------
    DataError
        When the columns are others than those of the table.
    """
    fixed, said = tuple(header[: len(COLUMNS)]), header[len(COLUMNS) :]
    if fixed == COLUMNS and said and len(set(said)) == len(said) and all(n.startswith(PREFIX) for n in said):
        return tuple(name.removeprefix(PREFIX) for name in said)
    got = f"columns {', '.join(header) or '(none)'}"
    want = f"{', '.join(COLUMNS)} and, for each class once, {PREFIX}CLASS are needed"
    raise DataError(expected(f"{path}, line 1", got, want), path=path)


def number(cell: str, where: str) -> float:
    """Read a probability.

    Raises
    ------
    DataError
        When the cell holds no number.
    """
    try:
        return float(cell)
    except ValueError as error:
        raise DataError(expected(where, f"'{cell}'", "a probability between 0 and 1 is needed")) from error


def slice_number(cell: str, where: str) -> int | None:
    """Read the number of a slice, None for a whole case.

    Raises
    ------
    DataError
        When the cell holds something else.
    """
    if not cell:
        return None
    if cell.isascii() and cell.isdecimal():
        return int(cell)
    raise DataError(expected(where, f"'{cell}'", "a number from 0, or nothing for a whole case, is needed"))


def check_keys(cases: Names, slices: Sequence[int | None], where: Where) -> None:
    """Refuse a case or slice that is there twice.

    Raises
    ------
    DataError
        For the second one.
    """
    seen: set[tuple[str, int | None]] = set()
    for row, key in enumerate(zip(cases, slices, strict=True)):
        if key in seen:
            got = f"case '{key[0]}'{'' if key[1] is None else f', slice {key[1]}'} twice"
            raise DataError(expected(where(row), got, "each case or slice is needed once"), case=key[0])
        seen.add(key)


def check_truth(truth: Sequence[Names | None], classes: Names, exclusive: bool, where: Where) -> None:
    """Refuse a truth that is no class, or not one class where they are exclusive.

    Raises
    ------
    DataError
        For the first such row.
    """
    known = set(classes)
    for row, names in enumerate(truth):
        if names is None:
            continue
        place = f"{where(row)}, column truth"
        strange = next((name for name in names if name not in known), None)
        if strange is not None:
            hint = did_you_mean(strange, classes)
            raise DataError(expected(place, f"class '{strange}'", "a class that has a probability is needed", hint))
        if len(set(names)) != len(names) or (exclusive and len(names) != 1):
            want = "one class is needed" if exclusive else "each class once is needed"
            raise DataError(expected(place, f"'{joined(names)}'", want))


def check_probabilities(said: NDArray[np.float64], classes: Names, exclusive: bool, where: Where) -> None:
    """Refuse what is no probability, or rows of exclusive classes that do not sum to 1.

    Raises
    ------
    DataError
        For the first such cell or row.
    """
    wrong = np.argwhere(~((said >= 0) & (said <= 1)))
    if len(wrong):
        row, column = (int(n) for n in wrong[0])
        place = f"{where(row)}, column {PREFIX}{classes[column]}"
        raise DataError(expected(place, f"{said[row, column]:g}", "a probability between 0 and 1 is needed"))
    sums = said.sum(axis=1)
    apart = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
    if exclusive and len(apart):
        row = int(apart[0])
        got, want = f"probabilities that sum to {sums[row]:.4g}", "those of exclusive classes sum to 1"
        raise DataError(expected(where(row), got, want))


def check_predicted(
    cells: Sequence[str], said: NDArray[np.float64], classes: Names, exclusive: bool, where: Where
) -> None:
    """Refuse a prediction that does not follow from the probabilities; of equally probable classes any may be named.

    Raises
    ------
    DataError
        For the first such row.
    """
    likely = said == said.max(axis=1, keepdims=True) if exclusive else said >= THRESHOLD
    for row, cell in enumerate(cells):
        named = set(split(cell) or ())
        right = tuple(name for name, there in zip(classes, likely[row], strict=True) if there)
        if exclusive:
            fits, want = len(named) == 1 and named <= set(right), f"the most probable class, '{right[0]}', is needed"
        else:
            want = f"the classes from a probability of {THRESHOLD} on, '{joined(right)}', are needed"
            fits = named == set(right)
        if not fits:
            raise DataError(expected(f"{where(row)}, column predicted", f"'{cell}'", want))
