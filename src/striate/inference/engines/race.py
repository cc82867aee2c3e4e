"""`race`: engines answer the same window in turns until it is clear which of them is the fastest.

Machines are noisy, and two engines that are measured one after the other meet different noise. So each round asks all of them,
beginning with another one. Other work only ever adds to a time, so that what counts is the least time of each: medians of two
rounds on a busy machine called the same engine 1.1 and 15 times as fast as PyTorch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.inference.engines import Engine

BASE = "torch"
FASTER = 1.1
"""How many times faster than `BASE` an engine must be to be taken."""
MOST, SURE, AT_ONCE = 25, 3, 2
"""Rounds: never more; enough where the same one led in all of them; enough where it led by far."""
LEADS, FAR = 1.02, 1.5
"""What it is to lead, and by far: how many times the time of the leader the next one took."""
SHORTEST_S, LONGEST_S = 0.5, 5.0
"""Rounds go on until so much time has gone, `MOST` of them at most; after `AT_ONCE` none begins when so much has gone."""
NOISY, NOISY_S = 2.0, 30.0
"""Where an engine took so many times as long in one round as in another, other work is at the machine, and the least of few
rounds says little: they go on for up to so much time."""


def race(
    engines: Mapping[str, Engine], tile: NDArray[np.float32], clock: Callable[[], float] = time.perf_counter
) -> dict[str, Any]:
    """Return who took how long for `tile` (1, C, *patch).

    Parameters
    ----------
    engines
        Name → engine, `BASE` among them. Each has answered before: a first answer makes memory ready, too.
    tile
        A window.
    clock
        Gives seconds.

    Returns
    -------
    dict
        ``windows`` (rounds), and of each engine ``seconds`` (the least), ``ratios`` (how many times as fast as `BASE`, by
        these) and ``spread`` (the least and the greatest ratio within a round); where there are several beside `BASE`, of
        each of them ``rivals``: how many times as fast as the fastest other one, likewise.
    """
    names, rounds, start = list(engines), list[dict[str, float]](), clock()
    while not _enough(rounds, clock() - start):
        turn = len(rounds) % len(names)
        taken = {}
        for name in names[turn:] + names[:turn]:
            begin = clock()
            engines[name](tile)
            taken[name] = clock() - begin
        rounds.append(taken)

    def spread(name: str, others: set[str]) -> list[float]:
        ratios = [min(taken[other] for other in others) / taken[name] for taken in rounds]
        return [round(min(ratios), 3), round(max(ratios), 3)]

    rivals = [name for name in names if name != BASE]
    least = {name: min(taken[name] for taken in rounds) for name in names}
    return {
        "windows": len(rounds),
        "seconds": {name: round(seconds, 5) for name, seconds in least.items()},
        "ratios": {name: round(least[BASE] / seconds, 3) for name, seconds in least.items()},
        "spread": {name: spread(name, {BASE}) for name in names},
        **({"rivals": {name: spread(name, {*rivals} - {name}) for name in rivals}} if len(rivals) > 1 else {}),
    }


def together(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two races of the same engines found (`race`), as if all their rounds were of one."""
    least = {name: min(seconds, before["seconds"][name]) for name, seconds in now["seconds"].items()}
    return {
        "windows": before["windows"] + now["windows"],
        "seconds": least,
        "ratios": {name: round(least[BASE] / seconds, 3) for name, seconds in least.items()},
        **{key: _wider(before.get(key, {}), now[key]) for key in ("spread", "rivals") if key in now},
    }


def _wider(before: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Return the least and the greatest ratio of two races, by engine."""
    both = {name: [*before.get(name, ()), *found] for name, found in now.items()}
    return {name: [min(ratios), max(ratios)] for name, ratios in both.items()}


def _enough(rounds: Sequence[Mapping[str, float]], gone_s: float) -> bool:
    """Tell whether it is clear who leads, `BASE` ahead by `FASTER`, or whether time is up."""
    if len(rounds) < AT_ONCE:
        return False
    noise = max(max(taken[name] for taken in rounds) / min(taken[name] for taken in rounds) for name in rounds[0])
    if len(rounds) == MOST or gone_s > (LONGEST_S if noise < NOISY else NOISY_S):
        return True
    if gone_s < SHORTEST_S:
        return False
    weighed = [{name: s / FASTER if name == BASE else s for name, s in taken.items()} for taken in rounds]
    leader = min(weighed[0], key=lambda name: min(taken[name] for taken in weighed))
    ahead = min(s / taken[leader] for taken in weighed for name, s in taken.items() if name != leader)
    return ahead > (LEADS if len(rounds) >= SURE else FAR)
