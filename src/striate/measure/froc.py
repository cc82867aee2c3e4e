"""The free-response characteristic: share of true lesions found against false positives per case.

Candidates above a threshold count. A lesion is found by the best of the candidates that hit it; its further candidates are
neither found lesions nor false positives (as in ANODE09, van Ginneken et al., Medical Image Analysis 14:707, 2010, and
LUNA16, Setio et al., Medical Image Analysis 42:1, 2017). The curve is a staircase: the sensitivity at n false positives
per case is the largest one at no more than n, so it never falls as n grows. `CPM_POINTS` are the seven of the competition
performance metric: Niemeijer et al., IEEE TMI 30:215 (2011). Intervals are quantiles of the curves of drawn subjects, as
those of LUNA16 are of drawn scans, so that they rise as the curve does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.core.errors import DataError, expected
from striate.measure.confusion import divided
from striate.measure.resample import DRAWS, Estimate, Statistic, Weights, numbered, resample
from striate.measure.statistics import LEVEL

CPM_POINTS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
FALSE_POSITIVE = -1
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Froc:
    """The characteristic of one detector.

    Attributes
    ----------
    cases, lesions, subjects
        How many there are.
    thresholds
        Scores that occur, falling; candidates with at least this score count.
    false_positives
        Per case, at each threshold; rising.
    sensitivity
        Share of the lesions found at each threshold; rising. Empty when there is no lesion.
    at
        False positives per case → the largest sensitivity at no more than that, with its interval over subjects.
    cpm
        Mean of the sensitivities at `CPM_POINTS`, with its interval.
    """

    cases: int
    lesions: int
    subjects: int
    thresholds: tuple[float, ...]
    false_positives: tuple[float, ...]
    sensitivity: tuple[float, ...]
    at: Mapping[float, Estimate]
    cpm: Estimate

    def sensitivity_at(self, false_positives: float) -> float | None:
        """Return the largest sensitivity at no more than so many false positives per case; None without a lesion."""
        if not self.lesions:
            return None
        kept = int(np.searchsorted(self.false_positives, false_positives + _ROUNDING, side="right"))
        return self.sensitivity[kept - 1] if kept else 0.0


def froc(
    scores: Sequence[float] | NDArray[Any],
    cases: Sequence[str],
    hits: Sequence[int] | NDArray[Any],
    lesions: Mapping[str, int],
    *,
    subjects: Mapping[str, str] | None = None,
    at: Sequence[float] = CPM_POINTS,
    seed: int = 0,
    level: float = LEVEL,
    draws: int = DRAWS,
) -> Froc:
    """Measure a detector.

    Parameters
    ----------
    scores
        (M,) one per candidate, higher for a lesion.
    cases
        M names: where each candidate lies.
    hits
        (M,) number of the true lesion of that case that it hits, from 0; −1 where it hits none.
    lesions
        Case → number of its true lesions, of every case that was searched, those without lesions too.
    subjects
        Case → subject; each case is its own subject where it is not given.
    at
        False positives per case at which the sensitivity is wanted.
    seed, level, draws
        Of the bootstrap.

    Raises
    ------
    DataError
        When there is no case, a candidate lies in an unknown one, hits a lesion that is not there, or has no finite score.
    """
    values, found = np.asarray(scores, dtype=np.float64), np.asarray(hits, dtype=np.intp)
    names = list(lesions)
    _check(values, list(cases), found, lesions)
    owner, count = numbered([name if subjects is None else subjects[name] for name in names])
    place = {name: n for n, name in enumerate(names)}
    case = np.array([place[name] for name in cases], dtype=np.intp)
    order = np.argsort(-values, kind="stable")
    values, found, case = values[order], found[order], case[order]
    true = _first_hits(case, found)
    false = found == FALSE_POSITIVE
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1) if len(values) else np.zeros(0, dtype=np.intp)
    per_case = np.bincount(owner, minlength=count).astype(np.float64)
    per_lesion = np.bincount(owner, weights=[lesions[n] for n in names], minlength=count).astype(np.float64)
    wanted = tuple(dict.fromkeys([*map(float, at), *CPM_POINTS]))
    whose = owner[case]
    near = last[: _reached(false, whose, per_case, last, max(n for n in wanted if np.isfinite(n)))]
    statistic = _statistic(true, false, whose, near, per_case, per_lesion, wanted)
    total = int(per_lesion.sum())
    resampled = resample(statistic, count, samples=int(near.max(initial=0)) + 1, seed=seed, draws=draws)
    results = resampled.estimates([total] * (len(wanted) + 1), level, percentile=True)
    return Froc(
        cases=len(names),
        lesions=total,
        subjects=count,
        thresholds=tuple(values[last].tolist()),
        false_positives=tuple((np.cumsum(false)[last] / len(names)).tolist()),
        sensitivity=tuple((np.cumsum(true)[last] / total).tolist()) if total else (),
        at={float(n): results[wanted.index(float(n))] for n in at},
        cpm=results[-1],
    )


def _statistic(
    true: NDArray[np.bool_],
    false: NDArray[np.bool_],
    whose: NDArray[np.intp],
    near: NDArray[np.intp],
    per_case: NDArray[np.float64],
    per_lesion: NDArray[np.float64],
    wanted: tuple[float, ...],
) -> Statistic:
    """Return the statistic of weighted subjects: sensitivities at the `wanted` alarms per case, and the mean of the seven.

    Candidates stand in the order of falling scores; `near` are the thresholds that are looked at, `per_case` and `per_lesion`
    the cases and true lesions of each subject.
    """
    few = slice(0, int(near.max(initial=-1)) + 1)
    found = np.bincount(whose, weights=true, minlength=len(per_case))

    def statistic(weights: Weights) -> NDArray[np.float64]:
        drawn = weights.astype(np.float64)
        here, lesions = drawn[:, whose[few]], (drawn @ per_lesion)[:, None]
        alarms = divided(np.cumsum(here * false[few], axis=1)[:, near], (drawn @ per_case)[:, None])
        share = divided(np.cumsum(here * true[few], axis=1)[:, near], lesions)
        everything = divided((drawn @ found)[:, None], lesions)
        alarms = np.concatenate([alarms, np.full((len(drawn), 1), np.inf)], axis=1)
        columns = _best(alarms, np.concatenate([share, everything], axis=1), wanted)
        columns[lesions[:, 0] == 0] = np.nan
        cpm = columns[:, [wanted.index(n) for n in CPM_POINTS]].mean(axis=1, keepdims=True)
        return np.concatenate([columns, cpm], axis=1)

    return statistic


def _first_hits(case: NDArray[np.intp], hits: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether a candidate is the first, in the order of falling scores, that hits its lesion."""
    true = np.zeros(len(hits), dtype=bool)
    hitting = np.flatnonzero(hits != FALSE_POSITIVE)
    _, first = np.unique(np.stack([case[hitting], hits[hitting]], axis=1), axis=0, return_index=True)
    true[hitting[first]] = True
    return true


def _reached(
    false: NDArray[np.bool_],
    whose: NDArray[np.intp],
    per_case: NDArray[np.float64],
    last: NDArray[np.intp],
    most: float,
) -> int:
    """Number of thresholds that have at most `most` alarms per case in some draw: in none but those of some one subject."""
    lowest = np.full(len(last), np.inf)
    for subject in range(len(per_case)):
        lowest = np.minimum(lowest, np.cumsum(false & (whose == subject))[last] / per_case[subject])
    return int(np.searchsorted(lowest, most + _ROUNDING, side="right"))


def _best(alarms: NDArray[np.float64], share: NDArray[np.float64], most: Sequence[float]) -> NDArray[np.float64]:
    """Largest share with at most so many alarms per case, both rising: (draws, thresholds) → (draws, numbers of alarms)."""
    wanted = np.array(most) + _ROUNDING
    kept = np.stack([np.searchsorted(row, wanted, side="right") for row in alarms])
    return np.take_along_axis(np.pad(share, ((0, 0), (1, 0))), kept, axis=1)


def _check(scores: NDArray[np.float64], cases: list[str], hits: NDArray[np.intp], lesions: Mapping[str, int]) -> None:
    if not lesions or not len(scores) == len(cases) == len(hits):
        given = {"score": len(scores), "case": len(cases), "hit": len(hits), "searched case": len(lesions)}
        got = ", ".join(counted(number, noun) for noun, number in given.items())
        raise DataError(
            expected("candidates", got, "one of each per candidate and at least one searched case are needed")
        )
    for score, case, hit in zip(scores, cases, hits, strict=True):
        if case not in lesions:
            want = "a case whose number of true lesions is known is needed"
            raise DataError(expected("candidates", f"case '{case}'", want), case=case)
        if not FALSE_POSITIVE <= hit < lesions[case]:
            got, want = f"lesion {hit}", f"a number from 0 below {lesions[case]}, or {FALSE_POSITIVE}, is needed"
            raise DataError(expected(f"case {case}", got, want), case=case)
        if not np.isfinite(score):
            raise DataError(expected(f"case {case}", f"score {score}", "a finite number is needed"), case=case)
