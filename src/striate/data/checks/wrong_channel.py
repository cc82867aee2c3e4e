"""Channels in the wrong place, for instance FLAIR exchanged with T1, told by the contrast between them.

Two witnesses:

- *The other cases.* Two channels have a joint histogram; exchanging them transposes it, which changes the sign of its
  antisymmetric part. With three or more cases, the part that most cases share is found (leading eigenvector of their
  correlations) and a case with the opposite sign is reported. On the four glioma patients at hand the
  correlation with the other cases is 0.59 to 0.78 as they are, and as far below zero with the channels of one exchanged.
- *What the names say.* In T1 white matter, a large tissue, is the brightest, so that the histogram ends soon above its
  median; in FLAIR and T2 smaller tissues, lesions or fluid lie far above it. The 94th percentile minus the median,
  over the interquartile range, of T1 was below that of FLAIR or T2 in every patient at hand (by 0.1 to 1.8).
  It decides alone where there are too few cases to compare, and tells when the channels of all cases are exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from striate.data.checks.facts import CaseFacts, CohortFacts
from striate.data.checks.problem import Problem
from striate.data.checks.signature import QUANTILES

LEAST_CASES = 3
OPPOSITE = -0.3
AGREE = 0.3
TAIL_ALONE = 0.4
TAIL_INDEX = int(np.argmin(np.abs(QUANTILES - 0.94)))
NEEDED = "each channel must hold the same kind of scan in every case"
ADVICE = "Look at both; if they are exchanged, rename the two files."


def find(cohort: CohortFacts) -> Iterator[Problem]:
    """Report cases whose two channels look exchanged, and cohorts in which all do."""
    pairs = dict.fromkeys(pair for case in cohort.cases for pair in case.joint)
    told: set[str] = set()
    for pair in pairs:
        cases = [c for c in cohort.cases if pair in c.joint and _volume(c)]
        if len(cases) >= LEAST_CASES:
            problems = list(_by_others(cases, pair)) or list(_all(cases, pair))
        else:
            problems = [_by_names(case, pair) for case in cases if (tail_difference(case, pair) or 0.0) > TAIL_ALONE]
        for problem in problems:
            if str(problem.case) not in told:
                told.add(str(problem.case))
                yield problem


def scores(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each row its correlation with the others, all turned to the sign that most rows share.

    Parameters
    ----------
    parts
        (N, B) antisymmetric parts of joint histograms.

    Returns
    -------
    (N,) from 1 (as the others) to -1 (their opposite).
    """
    unit = parts / np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, 0)
    sign = np.where(np.linalg.eigh(alike)[1][:, -1] >= 0, 1.0, -1.0)
    if sign.sum() < 0:
        sign = -sign
    total = (unit * sign[:, None]).sum(axis=0)
    others = total - unit * sign[:, None]
    others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-12)
    return np.asarray((unit * others).sum(axis=1))


def tail_difference(case: CaseFacts, pair: tuple[str, str]) -> float | None:
    """Return upper tail of the T1 minus that of the FLAIR or T2 (normally below zero); None where names say neither."""
    kinds = [_kind(name) for name in pair]
    if sorted(str(k) for k in kinds) != ["long", "t1"]:
        return None
    found = {}
    for kind, name in zip(kinds, pair, strict=True):
        signature = case.channels[name].signature
        if signature is None:
            return None
        found[kind] = float(signature.quantiles[TAIL_INDEX])
    return found["t1"] - found["long"]


def _by_others(cases: list[CaseFacts], pair: tuple[str, str]) -> Iterator[Problem]:
    parts = np.stack([(c.joint[pair] - c.joint[pair].T).ravel() for c in cases]).astype(np.float64)
    found = scores(parts)
    opposite = found <= OPPOSITE
    if not opposite.any() or opposite.mean() >= 0.5 or float(np.median(found[~opposite])) < AGREE:
        return
    if opposite.sum() * 2 + 1 > len(cases):
        return
    for index in np.flatnonzero(opposite):
        tail = tail_difference(cases[index], pair)
        if tail is not None and tail < -TAIL_ALONE:
            continue
        yield Problem(
            "channel_swapped", cases[index].case, "warning", f"channels {pair[0]} and {pair[1]} look exchanged (their contrast"
            f" correlates {found[index]:.2f} with that of the other {len(cases) - 1} cases)", NEEDED, ADVICE,
        )  # fmt: skip


def _by_names(case: CaseFacts, pair: tuple[str, str]) -> Problem:
    first, second = pair if _kind(pair[0]) == "t1" else pair[::-1]
    return Problem(
        "channel_swapped", case.case, "warning", f"channels {first} and {second} look exchanged ({first} has the long bright"
        f" tail that {second} should have)", NEEDED, ADVICE,
    )  # fmt: skip


def _all(cases: list[CaseFacts], pair: tuple[str, str]) -> Iterator[Problem]:
    tails = [t for c in cases if (t := tail_difference(c, pair)) is not None]
    if len(tails) >= LEAST_CASES and np.mean(np.array(tails) > 0) >= 0.8 and float(np.median(tails)) > TAIL_ALONE:
        yield Problem(
            "channel_swapped", None, "warning", f"channels {pair[0]} and {pair[1]} look exchanged in"
            f" {int(np.sum(np.array(tails) > 0))} of {len(tails)} cases", "names must say what the channels are",
            "Look at one case; if they are exchanged, exchange the channel names of the cohort.",
        )  # fmt: skip


def _kind(name: str) -> str | None:
    text = name.lower()
    if "flair" in text or "t2" in text:
        return "long"
    return "t1" if "t1" in text else None


def _volume(case: CaseFacts) -> bool:
    grid = case.grid
    return grid is not None and len(grid.shape) == 3
