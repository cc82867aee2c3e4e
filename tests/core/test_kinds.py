"""Values of a wrong kind in Python are refused with a sentence, by what the signature says."""

from __future__ import annotations

import inspect
import os
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, TypedDict, TypeVar, Unpack

import numpy as np
import pytest

import striate
from striate.core.errors import UsageError
from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent

VERBS = [
    n
    for n in striate.__all__
    if isinstance(getattr(striate, n), FunctionType) and not n.startswith(("read_", "write_"))
]
PLACES = (None, 3, 2.5, ["a"], {"a": 1}, b"x", True, (), "", "x\0y", object())


@kinds
def example(
    out: Path | str,
    *,
    name: str = "a",
    count: int | None = None,
    share: float = 0.5,
    flag: bool = False,
    places: Sequence[Path | str] | Path | str = (),
    spacing_mm: tuple[float, ...] | None = None,
    pair: tuple[Path | str, Path | str] | None = None,
    progress: Progress | None = None,
) -> tuple[object, ...]:
    """Return what came."""
    return out, name, count, share, flag, places, spacing_mm


@pytest.mark.parametrize(
    "given",
    [
        {"name": ""}, {"count": 3}, {"count": np.int64(3)}, {"count": None}, {"share": 1}, {"share": np.float32(0.5)},
        {"flag": True}, {"flag": np.bool_(True)}, {"places": "a"}, {"places": Path("a")}, {"places": ["a", Path("b")]},
        {"pair": ("a", Path("b"))}, {"spacing_mm": (1, 2.5)}, {"spacing_mm": [1.0, 2.0]}, {"progress": Silent()},
    ],
    ids=lambda given: next(iter(given)),
)  # fmt: skip
def test_what_the_signature_says_passes(given):
    assert example("out", **given)[0] == "out"
    assert example(Path("out"), **given)[0] == Path("out")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": 3}, r"example: name is 3; a text is needed\."),
        ({"count": "3"}, r"example: count is '3'; a whole number is needed\."),
        ({"count": 2.5}, r"count is 2\.5; a whole number"),
        ({"count": True}, r"count is True; a whole number"),
        ({"share": "much"}, r"share is 'much'; a number is needed"),
        ({"share": None}, r"share is None; a number is needed"),
        ({"flag": "yes"}, r"flag is 'yes'; True or False is needed"),
        ({"places": [None]}, r"places is \[None\]; a list of files or folders or a file or folder is needed"),
        ({"places": 3}, r"places is 3; a list"),
        ({"spacing_mm": 2}, r"spacing_mm is 2; a tuple of numbers is needed"),
        ({"places": {"a": 1}}, r"places is \{'a': 1\}; a list"),
        ({"places": b"a"}, r"places is b'a'; a list"),
        ({"places": (n for n in (1, 2))}, r"places is \(1, 2\); a list"),
        ({"spacing_mm": np.array(2.0)}, r"spacing_mm is array\(2\.\); a tuple of numbers"),
        ({"pair": ["a"]}, r"pair is \['a'\]; a tuple of 2 files or folders is needed"),
        ({"progress": 3}, r"progress is 3; a listener with note, warn and bar is needed"),
        ({"spacing_mm": (2, "a")}, r"spacing_mm is \(2, 'a'\); a tuple of numbers"),
        ({"cuont": 3}, r"example: unknown option 'cuont'\. Did you mean 'count'\?"),
        ({"name": ["a" * 100]}, r"name is \['a{58}…; a text"),
    ],
)
def test_what_it_does_not_say_is_refused(given, message):
    with pytest.raises(UsageError, match=message):
        example("out", **given)


def test_whatever_gives_its_members_is_a_list(tmp_path):
    (tmp_path / "a.nii").touch()
    (entry,) = os.scandir(tmp_path)
    for given in (tmp_path.glob("*.nii"), np.array([str(tmp_path / "a.nii")]), {tmp_path / "a.nii"}, deque([entry])):
        places = example("out", places=given)[5]
        assert [Path(p) for p in places] == [tmp_path / "a.nii"] and isinstance(places, tuple)
    assert example("out", places=[entry])[5] == [tmp_path / "a.nii"]
    assert example(entry, places=entry)[0] == example("out", places=entry)[5] == tmp_path / "a.nii"
    assert example("out", spacing_mm=np.array([4.0, 4, 4]))[6] == (4, 4, 4)
    assert (striate.phantom(tmp_path / "out", subjects=1, spacing_mm=np.array([8.0, 8, 8]))).exists()


class Several(TypedDict, total=False):
    """Options of `choosing`."""

    count: int | None
    names: Sequence[str] | None


@kinds
def choosing(out: str, **options: Unpack[Several]) -> dict[str, object]:
    """Return the options."""
    return dict(options)


@kinds
def passing(out: str, **options: Any) -> dict[str, object]:
    """Return the options."""
    return dict(options)


def test_options_are_looked_at_where_the_signature_tells_them():
    assert choosing("out", count=3, names=iter("ab")) == {"count": 3, "names": ("a", "b")}
    for given, message in (
        ({"count": "3"}, r"choosing: count is '3'; a whole number is needed"),
        ({"names": "ab"}, r"choosing: names is 'ab'; a list of texts is needed"),
        ({"cuont": 3}, r"choosing: unknown option 'cuont'\. Did you mean 'count'\?"),
        ({"options": 3}, r"choosing: unknown option 'options'"),
    ):
        with pytest.raises(UsageError, match=message):
            choosing("out", **given)
    assert passing("out", cuont=3) == {"cuont": 3}
    with pytest.raises(UsageError, match=r"passing: out is 3; a text is needed"):
        passing(3, cuont=3)


@pytest.mark.parametrize(
    "annotation",
    [Mapping[str, int], Literal["a"], Sequence[Literal["a"]], int | dict[str, str], set[int], TypeVar("T")],
    ids=str,
)
def test_an_annotation_that_would_refuse_everything_is_a_mistake(annotation):
    def function(given):
        return given

    function.__annotations__["given"] = annotation
    with pytest.raises(TypeError, match=r"function: given is annotated as .*, of which nothing can be told"):
        kinds(function)


def test_lists_of_lists_are_understood():
    def function(given):
        return given

    function.__annotations__["given"] = Sequence[Sequence[int]]
    taking = kinds(function)
    assert taking([[1], (2, 3)]) == [[1], (2, 3)]
    with pytest.raises(UsageError, match=r"function: given is \[\['a'\]\]; a list of lists of whole numbers is needed"):
        taking([["a"]])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_looks_at_what_it_is_given(verb):
    function = getattr(striate, verb)
    first, *_ = inspect.signature(function).parameters
    for name in (first, *({"progress"} & set(inspect.signature(function).parameters))):
        with pytest.raises(UsageError, match=rf"^{verb}: {name} is 3; .* is needed"):
            function(**{name: 3})


@pytest.mark.parametrize("place", PLACES, ids=lambda value: type(value).__name__)
def test_no_place_is_taken_for_one_by_any_function(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: striate.digits(place, count=1),
        lambda: striate.phantom(place, subjects=1),
        lambda: striate.check(place),
        lambda: striate.report(place),
        lambda: striate.evaluate(place, "truth"),
        lambda: striate.evaluate("predicted", place),
        lambda: striate.predict(place, "image.png", "out"),
        lambda: striate.predict("model", "image.png", place),
        *((lambda: striate.toy(place), lambda: striate.check("c", out=place)) if place is not None else ()),
        *((lambda: striate.predict("model", place, "out"),) if place not in (["a"], ()) else ()),
    ):
        with pytest.raises(UsageError, match=r"; .*is needed"):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["3", None, 2.5, [1], {}, True], ids=repr)
def test_no_number_is_taken_for_one_by_any_function(value, tmp_path):
    out = tmp_path / "out"
    for call in (
        *((lambda: striate.digits(out, count=value),) if value is not None else ()),
        lambda: striate.digits(out, seed=value),
        *(lambda name=name: striate.toy(**{name: value}) for name in ("steps", "seed", "points")),
        *(lambda name=name: striate.phantom(out, **{name: value}) for name in ("subjects", "seed", "visits", "sites")),
        lambda: striate.evaluate("predicted", "truth", seed=value),
    ):
        with pytest.raises(UsageError, match="a whole number is needed"):
            call()
    assert not out.exists()


def test_negative_numbers_are_refused_with_a_sentence(tmp_path):
    for call in (
        lambda: striate.digits(tmp_path / "out", count=-1),
        lambda: striate.toy(steps=-1),
        lambda: striate.phantom(tmp_path / "out", subjects=-1),
        lambda: striate.evaluate("predicted", "truth", seed=-1),
    ):
        with pytest.raises(UsageError, match="-1"):
            call()
