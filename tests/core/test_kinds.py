"""Values of a wrong kind in Python are refused with a sentence, by what the signature says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import striate
from striate.core.errors import UsageError
from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent

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
    progress: Progress | None = None,
) -> tuple[object, ...]:
    """Return what came."""
    return out, name, count, share, flag, places, spacing_mm


@pytest.mark.parametrize(
    "given",
    [
        {"name": ""}, {"count": 3}, {"count": np.int64(3)}, {"count": None}, {"share": 1}, {"share": np.float32(0.5)},
        {"flag": True}, {"flag": np.bool_(True)}, {"places": "a"}, {"places": Path("a")}, {"places": ["a", Path("b")]},
        {"spacing_mm": (1, 2.5)}, {"spacing_mm": [1.0, 2.0]}, {"progress": Silent()},
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
        ({"spacing_mm": (2, "a")}, r"spacing_mm is \(2, 'a'\); a tuple of numbers"),
        ({"cuont": 3}, r"example: unknown option 'cuont'\. Did you mean 'count'\?"),
        ({"name": ["a" * 100]}, r"name is \['a{58}…; a text"),
    ],
)
def test_what_it_does_not_say_is_refused(given, message):
    with pytest.raises(UsageError, match=message):
        example("out", **given)


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
