"""`kinds`: a function refuses values of another kind than its signature says, with a sentence."""

from __future__ import annotations

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, Union

import numpy as np

from striate.core.errors import UsageError, expected
from striate.core.names import did_you_mean
from striate.core.progress import Progress

P = ParamSpec("P")
R = TypeVar("R")

WORDS = {
    Path: ("a file or folder", "files or folders"), str: ("a text", "texts"), int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"), bool: ("True or False", "True or False"),
    Progress: ("a listener with note, warn and bar", "listeners"),
}  # fmt: skip
"""Kind → one of it, several of it."""
SEVERAL = {Sequence: ("a list of", "lists of"), list: ("a list of", "lists of"), tuple: ("a tuple of", "tuples of")}
UNCHECKED = (Any, object)
NONE = type(None)
LONGEST = 60
"""Characters of a refused value that are shown."""


def kinds(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function`, which refuses values that its annotations do not name.

    Understood are paths and texts, whole numbers, numbers, booleans, listeners (`Progress`), None, classes, and lists and
    tuples of all these. For a list or tuple anything is taken that gives its members one after the other, and made a tuple;
    what stands for a path (`os.PathLike`) becomes one. True and False are no numbers, and an empty text is no path. Of
    ``**options: Unpack[…]`` each option is looked at; of ``**options: Any`` none.

    Raises
    ------
    TypeError
        At once, where an annotation is of no such kind: it would refuse every value.
    UsageError
        By the function returned: with the name of the function and of the argument, what came and what is needed.
    """
    parameters = inspect.signature(function).parameters
    positions = [name for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD]
    wanted = _annotated(function, list(parameters))
    rest = next((wanted.pop(name) for name in parameters if name not in positions), None)
    if typing.get_origin(rest) is typing.Unpack:
        wanted |= typing.get_type_hints(typing.get_args(rest)[0])
    alternatives = {name: _alternatives(annotation) for name, annotation in wanted.items()}
    for name, several in alternatives.items():
        for kind in several:
            _refuse_unknown(f"{function.__qualname__}: {name}", kind)

    def taken(name: str, value: object) -> Any:
        return of_kind(function.__name__, name, value, alternatives[name]) if name in alternatives else value

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        unknown = next((name for name in kwargs if name not in wanted), None)
        if unknown is not None and rest is not Any:
            raise UsageError(f"{function.__name__}: unknown option '{unknown}'. {did_you_mean(unknown, wanted)}")
        placed = [taken(name, value) for name, value in zip(positions, args, strict=False)]
        named = {name: taken(name, value) for name, value in kwargs.items()}
        return function(*placed, *args[len(placed) :], **named)  # type: ignore[arg-type]

    return checked


def of_kind(where: str, name: str, value: object, wanted: Sequence[Any]) -> object:
    """Return a value that is of one of the kinds `wanted`, paths and tuples made of what stands for them.

    Raises
    ------
    UsageError
        See `kinds`.
    """
    value = _path(value)
    if any(typing.get_origin(kind) in SEVERAL for kind in wanted):
        value = _tuple(value)
    if any(_is(value, kind, wanted) for kind in wanted):
        return value
    told = [kind for kind in wanted if kind is not NONE and not (kind is str and Path in wanted)]
    shown = repr(value)
    shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
    want = " or ".join(_words(kind)[0] for kind in told)
    raise UsageError(expected(where, f"{name} is {shown}", f"{want} is needed"))


def _annotated(function: Callable[..., Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the annotations of the arguments; that of what is returned may name what is not imported."""
    given = {name: function.__annotations__.get(name, Any) for name in names}
    return typing.get_type_hints(types.SimpleNamespace(__annotations__=given), function.__globals__)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return the parts of ``A | B[C | D] | None`` that stand beside each other."""
    return typing.get_args(annotation) if typing.get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _members(kind: Any) -> tuple[Any, ...]:
    """Return the annotations of the members of a list or tuple, without ``...``."""
    return tuple(one for one in typing.get_args(kind) if one is not ...)


def _refuse_unknown(where: str, kind: Any) -> None:
    if typing.get_origin(kind) in SEVERAL:
        for member in _members(kind):
            for one in _alternatives(member):
                _refuse_unknown(where, one)
    elif kind not in UNCHECKED and not (isinstance(kind, type) and typing.get_origin(kind) is None):
        raise TypeError(f"{where} is annotated as {kind}, of which nothing can be told; write Any, or teach it here.")


def _path(value: object) -> object:
    return Path(os.fsdecode(value)) if isinstance(value, os.PathLike) and not isinstance(value, Path) else value


def _tuple(value: object) -> object:
    """Return the members of what gives them one by one; texts, bytes and tables of names stay what they are."""
    if isinstance(value, (str, bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value
    members = map(_path, value)
    return list(members) if isinstance(value, list) else tuple(members)


def _is(value: object, kind: Any, beside: Sequence[Any]) -> bool:
    """Tell whether a value is of one kind; `beside` holds the other kinds of the argument."""
    if kind in UNCHECKED:
        return True
    if kind is Path:
        return isinstance(value, Path)
    if kind is str:
        return isinstance(value, str) and (Path not in beside or (value != "" and "\0" not in value))
    if kind is bool:
        return isinstance(value, (bool, np.bool_))
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if kind is Progress:
        return all(callable(getattr(value, name, None)) for name in ("note", "warn", "bar"))
    if typing.get_origin(kind) in SEVERAL:
        members = _members(kind)
        if not isinstance(value, (list, tuple)) or (len(value) != len(members) > 1):
            return False
        inner = [_alternatives(one) for one in (members if len(members) > 1 else members * len(value))]
        return all(any(_is(one, k, ks) for k in ks) for one, ks in zip(value, inner, strict=True))
    return isinstance(value, kind)


def _words(kind: Any) -> tuple[str, str]:
    """Return how one and how several of a kind are called."""
    if typing.get_origin(kind) in SEVERAL:
        members = _members(kind)
        one, many = SEVERAL[typing.get_origin(kind)]
        what = _words(_alternatives(members[0])[0])[1]
        number = f" {len(members)}" if len(members) > 1 else ""
        return f"{one}{number} {what}", f"{many}{number} {what}"
    return WORDS.get(kind, (f"a {kind.__name__}", f"of kind {kind.__name__}"))
