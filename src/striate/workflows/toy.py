"""`toy`: gradient descent finds a = 2 and b = 1 of y = a·x + b, the lecture's simple mechanism, step by step.

The total error is E = ½ Σ (t - o)² over the points, with o = a·x + b; its gradient is ∂E/∂a = Σ (o - t)·x and
∂E/∂b = Σ (o - t). E is a paraboloid, so the descent converges from anywhere for a rate below 2/λ_max, λ_max the largest
eigenvalue of its Hessian [[Σx², Σx], [Σx, n]], and diverges above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError, expected
from striate.core.files import writing
from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent

TRUE_A, TRUE_B = 2.0, 1.0
GROWN = 1e6
"""A total error that has grown by this factor ends a descent that diverges."""
MOST_STEPS = 100_000
FORMATS = (".png", ".svg", ".pdf")


@dataclass(frozen=True, slots=True)
class Position:
    """Where the descent is before update number `step` + 1.

    Attributes
    ----------
    step
        Updates so far.
    a, b
        The two weights.
    total_error
        E of all points.
    gradient_a, gradient_b
        ∂E/∂a and ∂E/∂b.
    """

    step: int
    a: float
    b: float
    total_error: float
    gradient_a: float
    gradient_b: float


@dataclass(frozen=True, slots=True)
class Descent:
    """What was done, and what could be known before.

    Attributes
    ----------
    x, target
        The points.
    rate
        η of the updates a ← a - η ∂E/∂a and b ← b - η ∂E/∂b.
    largest_rate
        2/λ_max.
    best_a, best_b
        The least-squares solution; a = 2 and b = 1 where there is no noise.
    path
        Before the first update, and after each.
    diverged
        The total error grew until the descent was ended.
    figure
        The picture that was written.
    """

    x: tuple[float, ...]
    target: tuple[float, ...]
    rate: float
    largest_rate: float
    best_a: float
    best_b: float
    path: tuple[Position, ...]
    diverged: bool
    figure: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON knows it."""
        names = [n for n in self.__slots__ if n != "path"]
        path = [{n: getattr(p, n) for n in p.__slots__} for p in self.path]
        return {**{n: getattr(self, n) for n in names}, "path": path}


@kinds
def toy(
    out: Path | str | None = None,
    *,
    rate: float = 0.03,
    steps: int = 50,
    seed: int = 0,
    points: int = 20,
    noise: float = 0.0,
    progress: Progress | None = None,
) -> Descent:
    """Draw points of y = 2·x + 1, start from random a and b, and descend.

    Parameters
    ----------
    out
        A picture to write (PNG, SVG or PDF): the error surface with the path, and the total error per step.
    rate
        η, the learning rate.
    steps
        Number of updates.
    seed
        Seed of the points (uniform in -1 … 1), of the noise, and of the initial weights (normal).
    points
        Number of points, at least 2.
    noise
        Standard deviation of what is added to the targets.
    progress
        Who is warned of a rate that is too large.

    Raises
    ------
    UsageError
        When a number is out of range, or `out` is not the name of a picture.
    DataError, DiskFullError
        When `out` cannot be written.
    """
    _check(out, rate, steps, seed, points, noise)
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, points)
    a, b = rng.normal(size=2).tolist()
    target = TRUE_A * x + TRUE_B + noise * rng.normal(size=points)
    largest = largest_rate(x)
    if rate > largest:
        (progress or Silent()).warn(
            f"rate {rate:g} is above 2/λ_max = {largest:.4g}: the total error will grow. Give a --rate below it."
        )
    path = descend(x, target, a, b, rate, steps)
    best_a, best_b = np.polyfit(x, target, 1).tolist()
    figure = None if out is None else Path(out)
    if figure is not None:
        from striate.reporting.figures.descent import draw

        places = np.array([(p.a, p.b, p.total_error) for p in path]).T
        with writing(figure) as beside:
            draw(beside, x, target, places, (best_a, best_b))
    return Descent(
        tuple(x.tolist()), tuple(target.tolist()), rate, largest, best_a, best_b, path,
        diverged=_grown(path), figure=figure,
    )  # fmt: skip


def largest_rate(x: NDArray[Any]) -> float:
    """Return 2/λ_max of the Hessian of E for points at `x`."""
    hessian = np.array([[(x**2).sum(), x.sum()], [x.sum(), len(x)]])
    return float(2 / np.linalg.eigvalsh(hessian)[-1])


def descend(x: NDArray[Any], target: NDArray[Any], a: float, b: float, rate: float, steps: int) -> tuple[Position, ...]:
    """Return the way from (a, b): at most `steps` updates, fewer where the total error has grown by `GROWN`."""
    path: list[Position] = []
    for step in range(steps + 1):
        missing = a * x + b - target  # o - t
        gradient_a, gradient_b = float((missing * x).sum()), float(missing.sum())
        path.append(Position(step, a, b, 0.5 * float((missing**2).sum()), gradient_a, gradient_b))
        if _grown(path):
            break
        a, b = a - rate * gradient_a, b - rate * gradient_b
    return tuple(path)


def _grown(path: list[Position] | tuple[Position, ...]) -> bool:
    return path[-1].total_error > GROWN * path[0].total_error


def _check(out: Path | str | None, rate: float, steps: int, seed: int, points: int, noise: float) -> None:
    needed = (
        ("rate", rate, math.isfinite(rate) and rate > 0, "a number above 0 is needed"),
        ("steps", steps, 1 <= steps <= MOST_STEPS, f"1 to {MOST_STEPS} are needed"),
        ("seed", seed, seed >= 0, "a number of at least 0 is needed"),
        ("points", points, points >= 2, "at least 2 are needed, because a line has two weights"),
        ("noise", noise, math.isfinite(noise) and noise >= 0, "a number of at least 0 is needed"),
    )
    for name, value, fine, want in needed:
        if not fine:
            raise UsageError(expected("toy", f"{name} is {value}", want))
    if out is not None and Path(out).suffix.lower() not in FORMATS:
        raise UsageError(expected("toy", f"out is {out}", f"a file name that ends in {', '.join(FORMATS)} is needed"))
