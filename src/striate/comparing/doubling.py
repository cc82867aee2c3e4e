"""What accuracy costs: how much of it each doubling of work buys (R. Schwartz et al.: Green AI, CACM 63(12):54-63, 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

LEAST_DOUBLINGS = 0.25
"""Networks that differ by less work are called equally costly: their difference says nothing of cost."""


def per_doubling(rows: Sequence[dict[str, Any]], main: str, cost: str, *, less_is_better: bool) -> list[dict[str, Any]]:
    """Return, along the networks that no cheaper one beats, the gain per doubling of cost.

    Parameters
    ----------
    rows
        One per network, with the columns `main`, `cost` and ``label``.
    main, cost
        Names of columns.
    less_is_better
        Whether a smaller `main` is better.

    Returns
    -------
    list
        From the cheapest on: ``label``, ``cost``, ``value``, ``doublings`` of cost since the one before, ``gain`` in `main`
        and ``gain_per_doubling``; the last three are None for the first, ``gain_per_doubling`` also where the doublings are
        fewer than `LEAST_DOUBLINGS`.
    """
    sign = -1 if less_is_better else 1
    known = [r for r in rows if r.get(main) is not None and r.get(cost)]
    front: list[dict[str, Any]] = []
    for row in sorted(known, key=lambda r: (r[cost], -sign * r[main])):
        if front and sign * row[main] <= sign * front[-1]["value"]:
            continue
        one = {"label": row["label"], "cost": row[cost], "value": row[main]}
        one |= {"doublings": None, "gain": None, "gain_per_doubling": None}
        if front:
            doublings, gain = math.log2(row[cost] / front[-1]["cost"]), row[main] - front[-1]["value"]
            one |= {"doublings": doublings, "gain": gain}
            one["gain_per_doubling"] = gain / doublings if doublings >= LEAST_DOUBLINGS else None
        front.append(one)
    return front
