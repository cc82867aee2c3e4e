"""Which masks look wrong: a ranking of cases whose label contradicts a prediction that did not learn from it.

The idea is that of confident learning (Northcutt, Jiang and Chuang, JAIR 70, 2021): where predictions of left-out cases are
confident and calibrated, a label that contradicts them is more often wrong than the prediction. A mask is not one label but
thousands that are wrong together, so a case is judged by `DOUBTS`: how much less it agrees with the prediction than the
prediction itself expects, how much better it would agree if it were moved, mirrored, thinner or thicker, and which lesions
are believed in but absent, or drawn but denied. A prediction that is as uncertain about every case has doubts about every
case, so each doubt counts by how far it stands out from those of the other cases: robust z = (x − median) / spread, where the
spread is 1.4826 times the median absolute deviation of the values, at least `FLOOR`. A doubt that is not above 0 is none: a mask
that fits no better when mirrored is not mirrored, however much worse others fit then. The score is the largest z.

The prediction must come from a network that has not learned from the label: a case that was held out, or cross-fitting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.fft import irfftn, next_fast_len, rfftn

from striate.measure.box import union_box
from striate.measure.components import components

FLOOR = 0.03
"""Smallest spread of a doubt: differences of Dice below it are nothing."""
REACH_MM = 16.0
"""How far a mask is moved to see whether it fits better elsewhere."""
COARSE_MM = 2.0
"""Masks are moved and mirrored in steps of about this size, or of a voxel where that is larger."""
SUSPICIOUS = 3.5
"""Score from which on a case is called suspicious: the usual bound of a robust z (Iglewicz and Hoaglin, 1993)."""
LEAST_CASES = 8
"""Cases that a spread needs."""

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Doubt:
    """What one prediction says against one mask.

    Attributes
    ----------
    case, subject, label
        Whose mask, and of which label or region.
    dice, expected_dice
        Of the mask against the prediction, and what the prediction's own probabilities expect it to be.
    values
        Name in `DOUBTS` → how large the doubt is: differences of Dice, or shares of the volume.
    found
        The move in mm and the axis of the mirror that would fit best.
    """

    case: str
    subject: str
    label: str
    dice: float
    expected_dice: float
    values: Mapping[str, float]
    found: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A case in the ranking.

    Attributes
    ----------
    case, subject, label
        Whose mask.
    score
        Largest robust z of its doubts.
    doubt
        Which doubt that is.
    reason
        One sentence for the person who looks at the mask.
    dice, expected_dice
        See `Doubt`.
    """

    case: str
    subject: str
    label: str
    score: float
    doubt: str
    reason: str
    dice: float
    expected_dice: float

    @property
    def suspicious(self) -> bool:
        """Whether it stands out so far that a person should look."""
        return self.score >= SUSPICIOUS

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "suspicious": self.suspicious}


def doubt_mask(
    belief: Floats, given: Mask, spacing_mm: Sequence[float], *, case: str = "", subject: str = "", label: str = ""
) -> Doubt | None:
    """Return what a prediction says against a mask; None where both are empty.

    Parameters
    ----------
    belief
        (*spatial) calibrated probability of the label at each voxel.
    given
        (*spatial) the mask, whose correctness is asked.
    spacing_mm
        Voxel size along each axis.
    case, subject, label
        For the result.
    """
    sure = belief >= 0.5
    around = union_box(belief >= 0.05, given)
    if around is None or not (given.any() or sure.any()):
        return None
    margin = [int(np.ceil(REACH_MM / s)) for s in spacing_mm]
    box = tuple(
        slice(max(0, b.start - m), min(n, b.stop + m)) for b, m, n in zip(around, margin, belief.shape, strict=True)
    )
    q, mask, inside = belief[box].astype(np.float32), given[box], sure[box]
    total, drawn = float(q.sum()), float(given.sum())
    said = float(inside.sum())
    expected = 2 * float(q[inside].sum()) / max(said + total, 1e-6)
    real = 2 * float((inside & mask).sum()) / max(said + drawn, 1.0)

    def fit(other: NDArray[Any]) -> float:
        return 2 * float(q[other].sum()) / max(total + float(other.sum()), 1e-6)

    soft = fit(mask)
    moved, move_mm = _moved(q, mask, spacing_mm)
    mirrored, axis = _mirrored(belief, given, spacing_mm)
    structure = ndimage.generate_binary_structure(mask.ndim, 1)
    values = {
        "disagrees": expected - real,
        "moved": moved,
        "mirrored": mirrored,
        "too thick": fit(ndimage.binary_erosion(mask, structure)) - soft,
        "too thin": fit(ndimage.binary_dilation(mask, structure)) - soft,
        "lesion absent": _unmatched(inside, mask, lambda where: 2 * float(q[where].mean()) - 1) / max(drawn, said),
        "lesion denied": _unmatched(mask, q >= 0.1, lambda where: 1 - 2 * float(q[where].max())) / max(drawn, said),
    }
    found = {"move_mm": move_mm, "axis": axis}
    return Doubt(case, subject, label, real, expected, values, found)


def _moved(q: Floats, mask: Mask, spacing_mm: Sequence[float]) -> tuple[float, list[float]]:
    """Return by how much the soft Dice grows where the mask is moved to where it fits best, and that move in mm."""
    (q, drawn), steps_mm = _coarse((q, mask), spacing_mm)
    reach = [int(np.ceil(REACH_MM / s)) for s in steps_mm]
    window = _overlap(q, drawn, reach)
    away = [np.arange(-m, m + 1) * s for m, s in zip(reach, steps_mm, strict=True)]
    apart = sum(np.reshape(a**2, [-1 if n == dim else 1 for n in range(q.ndim)]) for dim, a in enumerate(away))
    here = float(window[tuple(reach)])
    window = np.where(apart <= REACH_MM**2, window, -np.inf)
    at = np.unravel_index(int(np.argmax(window)), window.shape)
    gain = 2 * (float(window[at]) - here) / max(float(q.sum() + drawn.sum()), 1e-6)
    return gain, [float(a[n]) for a, n in zip(away, at, strict=True)]


def _mirrored(belief: Floats, given: Mask, spacing_mm: Sequence[float]) -> tuple[float, int]:
    """Return by how much the soft Dice grows where the mask is mirrored about the image's middle (and moved), and the axis."""
    (q, drawn), steps_mm = _coarse((belief, given), spacing_mm)
    total, here = max(float(q.sum() + drawn.sum()), 1e-6), float((q * drawn).sum())
    reach = [int(np.ceil(REACH_MM / s)) for s in steps_mm]
    best = [2 * (float(_overlap(q, np.flip(drawn, axis), reach).max()) - here) / total for axis in range(q.ndim)]
    axis = int(np.argmax(best))
    return best[axis], axis


def _coarse(arrays: Sequence[NDArray[Any]], spacing_mm: Sequence[float]) -> tuple[list[Floats], list[float]]:
    """Return arrays averaged over blocks of about `COARSE_MM`, and the size of a block in mm."""
    factors = [max(1, round(COARSE_MM / s)) for s in spacing_mm]
    found = []
    for array in arrays:
        padded = np.pad(array.astype(np.float32), [(0, -n % f) for n, f in zip(array.shape, factors, strict=True)])
        shape = [v for n, f in zip(padded.shape, factors, strict=True) for v in (n // f, f)]
        found.append(padded.reshape(shape).mean(axis=tuple(range(1, 2 * array.ndim, 2))))
    return found, [s * f for s, f in zip(spacing_mm, factors, strict=True)]


def _overlap(q: Floats, drawn: Floats, reach: Sequence[int]) -> NDArray[np.float64]:
    """Return Σ q(x + d) drawn(x) for every displacement d from −reach to reach of each axis."""
    shape = [next_fast_len(n + m, real=True) for n, m in zip(q.shape, reach, strict=True)]
    axes = tuple(range(q.ndim))
    found = irfftn(rfftn(q, shape, axes) * np.conj(rfftn(drawn, shape, axes)), shape, axes)
    for dim, m in enumerate(reach):
        found = np.take(found, np.arange(-m, m + 1) % found.shape[dim], axis=dim)
    return np.asarray(found, dtype=np.float64)


def _unmatched(mask: Mask, other: Mask, weight: Callable[[Mask], float]) -> float:
    """Return voxels of the lesions of `mask` that touch nothing of `other`, each weighted by how sure that is."""
    numbers, count = components(mask)
    touched = np.bincount(numbers[other & mask], minlength=count + 1)[1:] > 0
    total = 0.0
    for n in np.flatnonzero(~touched) + 1:
        where = numbers == n
        total += max(0.0, weight(where)) * float(where.sum())
    return total


DOUBTS = ("disagrees", "moved", "mirrored", "too thick", "too thin", "lesion absent", "lesion denied")
"""What may speak against a mask."""


def rank(doubts: Sequence[Doubt]) -> list[Suspect]:
    """Return the cases, the most suspicious first; equal ones by name.

    Of a case with several labels the worst counts. With fewer than `LEAST_CASES` masks of a label the spread cannot be told
    and every score is 0.

    Parameters
    ----------
    doubts
        At most one per case and label.
    """
    worst: dict[str, Suspect] = {}
    for label in dict.fromkeys(d.label for d in doubts):
        own = [d for d in doubts if d.label == label]
        z = _standing_out(np.array([[d.values[name] for name in DOUBTS] for d in own]))
        for doubt, row in zip(own, z, strict=True):
            which, score = _named(row), max(0.0, float(row.max()))
            suspect = Suspect(
                doubt.case, doubt.subject, label, score, DOUBTS[which], _reason(doubt, DOUBTS[which]), doubt.dice,
                doubt.expected_dice,
            )  # fmt: skip
            before = worst.get(doubt.case)
            if before is None or score > before.score:
                worst[doubt.case] = suspect
    return sorted(worst.values(), key=lambda s: (-s.score, s.case))


def _named(z: NDArray[np.float64]) -> int:
    """Return the doubt that is told: what explains most comes first, a wrong place before single lesions."""
    for group in (("moved", "mirrored"), DOUBTS[3:]):
        places = [DOUBTS.index(name) for name in group]
        best = max(places, key=lambda n: float(z[n]))
        if z[best] >= SUSPICIOUS:
            return best
    return int(np.argmax(z))


def _standing_out(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the robust z (n, doubts)."""
    if len(values) < LEAST_CASES:
        return np.zeros_like(values)
    middle = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - middle), axis=0)
    return np.where(values > 0, (values - middle) / np.maximum(spread, FLOOR), 0.0)


def _reason(doubt: Doubt, name: str) -> str:
    """Say in one sentence what speaks against a mask."""
    agree = f"Dice with the prediction {doubt.dice:.2f}, {doubt.expected_dice:.2f} expected"
    value = doubt.values[name]
    if name == "moved":
        move = ", ".join(f"{v:+.0f}" for v in doubt.found.get("move_mm", ()))
        return f"It fits better when moved by ({move}) mm: {value:+.2f} of overlap; {agree}."
    if name == "mirrored":
        return (
            f"It fits better when mirrored along axis {doubt.found.get('axis', 0)}: {value:+.2f} of overlap; {agree}."
        )
    if name in ("too thick", "too thin"):
        way = "thinner" if name == "too thick" else "thicker"
        return f"It fits better when one voxel {way}: {value:+.2f} of overlap; {agree}."
    if name == "lesion absent":
        return f"Lesions of {100 * value:.0f} % of its volume are confidently predicted and not in it; {agree}."
    if name == "lesion denied":
        return f"Lesions of {100 * value:.0f} % of its volume are in it and confidently denied; {agree}."
    return f"It agrees less than expected: {agree}."


def average_precision(scores: Sequence[float], wrong: Sequence[bool]) -> float | None:
    """Return the mean precision at each wrong case, in the order of falling scores; None without any wrong case.

    Equal scores count as if their order were the worst, so that ties never help.

    Raises
    ------
    ValueError
        When the lengths differ.
    """
    pairs = sorted(zip(scores, wrong, strict=True), key=lambda p: (-p[0], p[1]))
    hits, total = 0, 0.0
    for place, (_, is_wrong) in enumerate(pairs, start=1):
        if is_wrong:
            hits += 1
            total += hits / place
    return total / hits if hits else None
