"""`kinds`: a function refuses values of another kind than its signature says, with a sentence."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import ParamSpec, TypeVar

from striate.core.errors import UsageError, expected
from striate.core.names import did_you_mean

P = ParamSpec("P")
R = TypeVar("R")

PLACE = ("Path", "str")
WORDS = {
    "Path": "a file or folder", "str": "a text", "int": "a whole number", "float": "a number", "bool": "True or False",
    "Sequence[Path]": "a list of files or folders", "Sequence[str]": "a list of texts", "tuple[float]": "a tuple of numbers",
}  # fmt: skip
UNCHECKED = ("Progress", "Any", "object")
LONGEST = 60
"""Characters of a refused value that are shown."""


def kinds(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function`, which refuses values that its annotations do not name.

    Understood are paths and texts, whole numbers, numbers, booleans, sequences of these, None, and classes by their name;
    True and False are no numbers, and an empty text is no path. A listener (`Progress`) may be of any class.

    Raises
    ------
    UsageError
        By the function returned: with the name of the function and of the argument, what came and what is needed.
    """
    parameters = inspect.signature(function).parameters
    wanted = {name: _alternatives(str(one.annotation)) for name, one in parameters.items()}
    positions = list(parameters)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        unknown = next((name for name in kwargs if name not in parameters), None)
        if unknown is not None:
            raise UsageError(f"{function.__name__}: unknown option '{unknown}'. {did_you_mean(unknown, positions)}")
        for name, value in {**dict(zip(positions, args, strict=False)), **kwargs}.items():
            refuse_kind(function.__name__, name, value, wanted[name])
        return function(*args, **kwargs)

    return checked


def refuse_kind(where: str, name: str, value: object, wanted: Sequence[str]) -> None:
    """Refuse a value that is of none of the kinds `wanted`, each as written in an annotation.

    Raises
    ------
    UsageError
        See `kinds`.
    """
    if any(kind in UNCHECKED or _is(value, kind, wanted) for kind in wanted):
        return
    told = [kind for kind in wanted if kind != "None" and not (kind == "str" and "Path" in wanted)]
    want = " or ".join(WORDS.get(_plain(kind), f"a {kind}") for kind in told)
    shown = repr(value)
    shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
    raise UsageError(expected(where, f"{name} is {shown}", f"{want} is needed"))


def _is(value: object, kind: str, beside: Sequence[str]) -> bool:
    """Tell whether a value is of one kind; `beside` holds the other kinds of the argument."""
    if kind == "None":
        return value is None
    if kind in PLACE:
        place = "Path" in beside
        if isinstance(value, str):
            return not place or (value != "" and "\0" not in value)
        return place and isinstance(value, os.PathLike)
    if kind == "bool":
        return isinstance(value, bool) or type(value).__name__ == "bool"
    if kind in ("int", "float"):
        return isinstance(value, Integral if kind == "int" else Real) and not isinstance(value, bool)
    if kind.startswith(("Sequence[", "tuple[")):
        inner = _inner(kind)
        several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        return several and all(any(_is(one, k, inner) for k in inner) for one in value)  # type: ignore[attr-defined]
    return any(cls.__name__ == kind for cls in type(value).__mro__)


def _inner(kind: str) -> list[str]:
    return _alternatives(kind[kind.index("[") + 1 : -1].removesuffix(", ..."))


def _plain(kind: str) -> str:
    """Return the kind as it stands in `WORDS`."""
    return f"{kind.partition('[')[0]}[{_inner(kind)[0]}]" if "[" in kind else kind


def _alternatives(annotation: str) -> list[str]:
    """Return the parts of ``A | B[C | D] | None`` that stand beside each other."""
    return re.findall(r"[\w.]+(?:\[[^\]]*\])?", annotation)
