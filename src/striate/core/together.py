"""Checking many things and telling at once all that is wrong, instead of one at each call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from striate.core.errors import DataError, ModelError

MOST_TOLD = 10
"""Wrong ones that one message names."""

Given = TypeVar("Given")
Found = TypeVar("Found")


def together(
    check: Callable[[Given], Found], given: Iterable[Given], told: str = "inputs do not fit", hint: str = ""
) -> list[Found]:
    """Return `check` of each.

    Parameters
    ----------
    check
        Returns what is kept, or raises.
    given
        What is checked.
    told
        What is said of how many of all are wrong: ``3 of 40 TOLD:``.
    hint
        Follows the last one.

    Raises
    ------
    DataError, ModelError
        Of a single wrong one its own; of several one with the sentences of the first, of the kind of the first.
    """
    found, wrong = list[Found](), list[DataError | ModelError]()
    for one in given:
        try:
            found.append(check(one))
        except (DataError, ModelError) as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        first, left = wrong[0], len(wrong) - MOST_TOLD
        text = f"{len(wrong)} of {len(found) + len(wrong)} {told}:" + "".join(
            f"\n  {error}" for error in wrong[:MOST_TOLD]
        )
        text += (f"\n  and {left} more" if left > 0 else "") + hint
        raise type(first)(text, case=first.case, path=first.path) from first
    return found
