"""The lecture's simple mechanism: the minimum is found below 2/λ_max, and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from striate.cli.main import run
from striate.core.errors import DataError, UsageError
from striate.core.progress import Silent
from striate.workflows.toy import descend, largest_rate, toy


@pytest.mark.parametrize("seed", range(5))
def test_a_and_b_are_found(seed: int) -> None:
    found = toy(seed=seed, rate=0.03, steps=100)
    last = found.path[-1]
    assert last.a == pytest.approx(2, abs=1e-3)
    assert last.b == pytest.approx(1, abs=1e-3)
    assert len(found.path) == 101
    errors = [p.total_error for p in found.path]
    assert errors == sorted(errors, reverse=True)
    assert (found.best_a, found.best_b) == pytest.approx((2, 1))
    assert not found.diverged


def test_two_updates_by_hand() -> None:
    """Points (0, 1) and (1, 3), from a = b = 0 with η = ¼: o - t = (-1, -3), then (0, -1¼)."""
    first, second, third = descend(np.array([0.0, 1.0]), np.array([1.0, 3.0]), 0, 0, 0.25, 2)
    assert (first.total_error, first.gradient_a, first.gradient_b) == (5, -3, -4)
    assert (second.a, second.b) == (0.75, 1)
    assert (second.total_error, second.gradient_a, second.gradient_b) == (0.5 * 1.25**2, -1.25, -1.25)
    assert (third.a, third.b) == (0.75 + 0.3125, 1 + 0.3125)


def test_the_gradient_is_that_of_finite_differences() -> None:
    x, t = np.array([0.3, -0.7, 0.9]), np.array([1.0, 2.0, -1.0])

    def error(a: float, b: float) -> float:
        return descend(x, t, a, b, 0.1, 1)[0].total_error

    place, h = descend(x, t, 0.4, -0.2, 0.1, 1)[0], 1e-6
    assert place.gradient_a == pytest.approx((error(0.4 + h, -0.2) - error(0.4 - h, -0.2)) / (2 * h), rel=1e-6)
    assert place.gradient_b == pytest.approx((error(0.4, -0.2 + h) - error(0.4, -0.2 - h)) / (2 * h), rel=1e-6)


def test_the_largest_rate_by_hand() -> None:
    """Σx² = 2, Σx = 0, n = 4: eigenvalues 2 and 4."""
    assert largest_rate(np.array([-1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_rate_parts_finding_from_diverging(seed: int) -> None:
    bound = toy(seed=seed, steps=1).largest_rate
    below, above = Silent(), Silent()
    found = toy(seed=seed, rate=0.99 * bound, steps=3000, progress=below)
    assert (found.path[-1].a, found.path[-1].b) == pytest.approx((2, 1), abs=1e-6)
    assert below.warnings == []
    lost = toy(seed=seed, rate=1.01 * bound, steps=3000, progress=above)
    assert lost.diverged
    assert len(lost.path) < 3000
    assert above.warnings[0].startswith(f"rate {1.01 * bound:g} is above 2/λ_max = {bound:.4g}")


def test_noise_moves_the_minimum() -> None:
    found = toy(noise=0.5, steps=400, seed=1)
    x, t = np.array(found.x), np.array(found.target)
    normal = np.linalg.solve([[(x**2).sum(), x.sum()], [x.sum(), len(x)]], [(x * t).sum(), t.sum()])
    assert (found.best_a, found.best_b) == pytest.approx(tuple(normal))
    assert (found.path[-1].a, found.path[-1].b) == pytest.approx(tuple(normal), abs=1e-6)
    assert abs(found.best_a - 2) > 1e-3
    assert toy(seed=1).x == found.x and toy(seed=2).x != found.x


@pytest.mark.parametrize("name", ["toy.png", "toy.svg", "toy.pdf"])
def test_the_picture(name: str, tmp_path: Path) -> None:
    files = [tmp_path / one / name for one in ("first", "second")]
    for file in files:
        assert toy(file, steps=20).figure == file
    assert files[0].read_bytes() == files[1].read_bytes()
    if name.endswith("png"):
        with Image.open(files[0]) as image:
            assert image.size == (2100, 930)
            assert len(image.convert("L").getcolors() or []) > 20
    if name.endswith("svg"):
        assert files[0].read_text().rstrip().endswith("</svg>")


def test_a_picture_of_a_descent_that_diverges(tmp_path: Path) -> None:
    assert toy(tmp_path / "d.svg", rate=0.5, noise=0.2).diverged
    assert [p.name for p in tmp_path.iterdir()] == ["d.svg"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rate": 0}, "rate is 0; a number above 0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"steps": 0}, "steps is 0; 1 to 100000"),
        ({"seed": -1}, "seed is -1"),
        ({"points": 1}, "points is 1; at least 2"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"out": "toy.gif"}, r"out is toy.gif; .* \.png, \.svg, \.pdf"),
    ],
)
def test_what_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        toy(**options)


def test_an_out_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="it cannot be written"):
        toy(tmp_path / "file" / "toy.png")


def test_the_command_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["toy", "--steps", "40", "--out", str(tmp_path / "toy.svg")]) == 0
    out, told = capsys.readouterr()
    assert out == ""
    for word in ("initialise", "forward", "total error", "backpropagation", "update", "repeat", "Figure:"):
        assert word in told
    assert "After 40 updates a = 2.000" in told or "After 40 updates a = 1.999" in told
    assert "warning" not in told
    rows = [line.split() for line in told.splitlines() if line[:3].strip().isdigit() or line[2:3].isdigit()]
    assert [rows[0][0], rows[-1][0]] == ["0", "40"]


def test_the_command_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["toy", "--rate", "1", "--steps", "30", "--json"]) == 0
    out, told = capsys.readouterr()
    document = json.loads(out)
    assert document["diverged"] is True
    assert document["warnings"][0] in told
    assert document["path"][0].keys() == {"step", "a", "b", "total_error", "gradient_a", "gradient_b"}
    assert run(["toy", "--points", "1"]) == 2
