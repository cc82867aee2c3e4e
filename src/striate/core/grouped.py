"""Warnings of many cases in a few lines: those of one kind together, with the first of the cases by name."""

from __future__ import annotations

from collections.abc import Iterable

from striate.core.counted import some

ALONE = 3
"""Up to so many warnings of one kind are told by themselves."""


def grouped(warnings: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return a line for each warning; one for all of a kind where more than `ALONE` cases have it.

    ``12 cases: nothing was found (P01, P02, P03 and 9 more)``. Where the sentences of a kind differ, that of the first case
    stands for all.

    Parameters
    ----------
    warnings
        (case, code, sentence) of each, in order; a sentence may begin with ``case NAME: ``. Those without a case are told by
        themselves.
    """
    return [line for line, _ in grouped_counted(warnings)]


def grouped_counted(warnings: Iterable[tuple[str, str, str]]) -> list[tuple[str, int]]:
    """Return the lines of `grouped`, each with the number of warnings that it stands for."""
    kinds: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for case, code, sentence in dict.fromkeys(warnings):
        kinds.setdefault((code, "" if case else sentence), []).append((case, sentence))
    lines: list[tuple[str, int]] = []
    for rows in kinds.values():
        names = list(dict.fromkeys(case for case, _ in rows))
        if len(names) <= ALONE:
            lines += [(sentence, 1) for _, sentence in rows]
            continue
        rests = [sentence.removeprefix(f"case {case}: ") for case, sentence in rows]
        first = rests[0].rstrip(".")
        like = "" if len(set(rests)) == 1 else f"for instance {names[0]}: "
        lines.append((f"{len(names)} cases: {like}{first} ({some(names)}).", len(rows)))
    return lines
