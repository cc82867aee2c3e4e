"""``striate toy``: arguments in, the five steps and a table or one JSON document out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.options import AsJson
from striate.core.counted import counted

if TYPE_CHECKING:
    from striate.workflows.toy import Descent, Position

ROWS_SHOWN = 12


def command(
    rate: Annotated[float, typer.Option(help="Learning rate η; above 2/λ_max the descent diverges.")] = 0.03,
    steps: Annotated[int, typer.Option(help="Number of updates.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the points and the initial weights.")] = 0,
    points: Annotated[int, typer.Option(help="Number of points, at least 2.")] = 20,
    noise: Annotated[float, typer.Option(help="Standard deviation of the noise on the targets.")] = 0.0,
    out: Annotated[Path | None, typer.Option(help="Also draw the error surface: FILE.png, .svg or .pdf.")] = None,
    json: AsJson = False,
) -> None:
    """Find a = 2 and b = 1 of y = a·x + b by gradient descent, step by step."""
    from striate.cli.screen import Screen, show_json
    from striate.workflows.toy import toy

    screen = Screen(quiet=json)
    found = toy(out, rate=rate, steps=steps, seed=seed, points=points, noise=noise, progress=screen)
    if json:
        show_json({**found.to_dict(), "warnings": screen.warnings})
    else:
        _show(found, seed)


def _show(found: Descent, seed: int) -> None:
    from striate.cli.screen import say, table

    first, x, t, rate = found.path[0], found.x[0], found.target[0], found.rate
    o = first.a * x + first.b
    say(
        f"y = a·x + b through {len(found.x)} points; wanted: a = 2, b = 1. Rate η = {rate:g}, 2/λ_max = {found.largest_rate:.4g}."
    )
    say()
    say(f"Step 1  initialise       a = {_four(first.a)}, b = {_four(first.b)} (random, seed {seed})")
    say(f"Step 2  forward          o = a·x + b, for instance x = {_four(x)}: o = {_four(o)}, target t = {_four(t)}")
    say(f"Step 3  total error      E = ½ Σ (t − o)² = {_four(first.total_error)}")
    say(
        f"Step 4  backpropagation  ∂E/∂a = Σ (o − t)·x = {_four(first.gradient_a)}, ∂E/∂b = Σ (o − t) = {_four(first.gradient_b)}"
    )
    say(
        f"        update           a ← a − η ∂E/∂a = {_four(first.a - rate * first.gradient_a)},"
        f" b ← b − η ∂E/∂b = {_four(first.b - rate * first.gradient_b)}"
    )
    say("Step 5  repeat steps 2 to 4:")
    say()
    rows = [
        [str(p.step), *map(_four, (p.a, p.b, p.total_error, p.gradient_a, p.gradient_b))] for p in _chosen(found.path)
    ]
    table(rows, ["updates", "a", "b", "total error", "∂E/∂a", "∂E/∂b"])
    say()
    last = found.path[-1]
    if found.diverged:
        say(f"Diverged: stopped after {counted(last.step, 'update')}, the total error had grown a million times.")
    else:
        say(
            f"After {counted(last.step, 'update')} a = {last.a:.6f}, b = {last.b:.6f};"
            f" the minimum is a = {found.best_a:.6f}, b = {found.best_b:.6f}."
        )
    if found.figure is not None:
        say(f"Figure: {found.figure}")


def _chosen(path: tuple[Position, ...]) -> list[Position]:
    """Return at most `ROWS_SHOWN` positions: all, or the first ones, then ever wider apart, and the last."""
    if len(path) <= ROWS_SHOWN:
        return list(path)
    last = len(path) - 1
    places = {round(last ** (i / (ROWS_SHOWN - 2))) for i in range(ROWS_SHOWN - 1)}
    return [path[i] for i in sorted({0, *places})]


def _four(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
