"""What more data, or a larger network, would give: power laws through the errors, and the sentence that they allow.

Uncertainty: each draw of the bootstrap draws validation subjects, the same for all fractions and networks, and repetitions
(seeds) where there are several; the law is fitted again to each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.comparing.outcomes import LESS_IS_BETTER, Outcomes, error_of
from striate.measure.power_law import PowerLaw, foresee
from striate.measure.resample import numbered

DRAWS = 1000
LEAST_POINTS = 3
"""Points through which a law is fitted; through two any law goes exactly, so that nothing checks it."""
LEAST_EXPLAINED = 0.5
"""Share of the variance of log(error) that a law must explain before anything is foreseen with it."""
NAMES = {"balanced_accuracy": "balanced accuracy", "dice": "Dice", "mse": "mean squared error"}

Repeated = Mapping[int, Outcomes]
"""Seed → outcomes of its runs."""


def drawn_errors(parts: Sequence[Repeated]) -> tuple[list[float], NDArray[Any]]:
    """Return the mean error over repetitions of each part, and those of bootstrap draws.

    Parameters
    ----------
    parts
        One per fraction or network, all with the same seeds and subjects.

    Returns
    -------
    errors, drawn
        (parts,) and (`DRAWS`, parts); no draws with fewer than two subjects.
    """
    everyone = sorted({s for part in parts for one in part.values() for s in one.subjects})
    _, count = numbered(everyone)
    rng = np.random.default_rng(0)
    once = np.ones((1, count), dtype=np.int32)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.int32)
    errors, drawn = [], []
    for part in parts:
        statistics = [one.errors(everyone) for one in part.values()]
        errors.append(float(np.mean([s(once)[0, 0] for s in statistics])))
        each = np.concatenate([s(weights) for s in statistics], axis=1)
        if each.shape[1] > 1:
            picked = rng.integers(each.shape[1], size=each.shape)
            each = np.take_along_axis(each, picked, axis=1)
        drawn.append(each.mean(axis=1))
    return errors, np.stack(drawn, axis=1) if count > 1 else np.zeros((0, len(parts)))


def learning_curve(title: str, main: str, subjects: Sequence[float], parts: Sequence[Repeated]) -> dict[str, Any]:
    """Return the points of a learning curve, the law through them, and what twice the data would give.

    Parameters
    ----------
    title
        Of the network, for the sentence.
    main
        The measure that the error is of.
    subjects
        Training subjects of each part, rising.
    parts
        The outcomes at each.
    """
    errors, drawn = drawn_errors(parts)
    points = [
        {"subjects": n, "error": e, "low": low, "high": high}
        for n, e, (low, high) in zip(subjects, errors, _bounds(drawn), strict=True)
    ]
    told = _extrapolated(
        subjects, errors, drawn, 2 * max(subjects), "different amounts of data", "--fractions 0.1,0.3,1.0"
    )
    found: dict[str, Any] = {"points": points, "wanted": 2 * max(subjects), **told}
    start = f"{title}: twice the data ({round(2 * max(subjects))} training subjects)"
    return found | {"sentence": _sentence(start, main, told)}


def by_size(main: str, names: Sequence[str], parameters: Sequence[int], parts: Sequence[Repeated]) -> dict[str, Any]:
    """Return the law of error over parameters of different networks, and what twice the largest would give."""
    errors, drawn = drawn_errors(parts)
    wanted = 2 * max(parameters)
    told = _extrapolated(parameters, errors, drawn, wanted, "networks of different size", "more --networks")
    points = [{"network": n, "parameters": p, "error": e} for n, p, e in zip(names, parameters, errors, strict=True)]
    sentence = _sentence(f"Twice the largest network ({wanted:,} parameters)", main, told)
    caveat = " The networks differ in more than size, so this is a trend among them, not a law of one of them."
    return {"points": points, "wanted": wanted, **told, "sentence": sentence + (caveat if told["foreseen"] else "")}


def _bounds(drawn: NDArray[Any]) -> list[tuple[float | None, float | None]]:
    if not len(drawn):
        return [(None, None)] * drawn.shape[1]
    return [tuple(np.nanquantile(column, (0.025, 0.975)).tolist()) for column in drawn.T]


def _extrapolated(
    n: Sequence[float], errors: Sequence[float], drawn: NDArray[Any], wanted: float, what: str, how: str
) -> dict[str, Any]:
    """Return the law, what it foresees, and the reason where it foresees nothing."""
    nothing = {"law": None, "foreseen": None, "exponent": None}
    different = len(set(n))
    if different < 2:
        return {**nothing, "reason": f"all that was tried is one point; {what} are needed ({how})"}
    law, foreseen, exponent = foresee(n, errors, drawn, wanted)
    reason = _reason(law, different, len(drawn), what, how, exponent)
    fitted = {"law": law.to_dict(), "exponent": exponent}
    return {**fitted, "foreseen": None if reason or foreseen is None else foreseen.to_dict(), "reason": reason}


def _reason(
    law: PowerLaw, different: int, draws: int, what: str, how: str, exponent: tuple[float, float] | None
) -> str | None:
    if different < LEAST_POINTS:
        return f"there are {different} {what}, through which any law goes; {LEAST_POINTS} are needed ({how})"
    if not draws or exponent is None:
        return "too few validation subjects tell how sure the errors are"
    if law.explained is None or law.explained < LEAST_EXPLAINED:
        share = "nothing" if law.explained is None else f"{int(100 * max(0.0, law.explained))} %"
        needed = f"at least {100 * LEAST_EXPLAINED:.0f} % are needed"
        return f"a power law explains {share} of the differences between the errors; {needed}"
    return None


def _sentence(start: str, main: str, told: dict[str, Any]) -> str:
    if told["foreseen"] is None:
        return f"{start}: what that would give cannot be said, because {told['reason']}."
    middle, ends = told["foreseen"]["error"], sorted((told["foreseen"]["low"], told["foreseen"]["high"]))
    values = [error_of(main, e if main in LESS_IS_BETTER else min(e, 1.0)) for e in (middle, *ends)]
    low, high = sorted(values[1:])
    text = f"{start} would give a {NAMES[main]} of about {values[0]:.3g} (95 % {low:.3g} to {high:.3g})"
    b, (b_low, b_high) = told["law"]["b"], told["exponent"]
    if b_low <= 0:
        return f"{text}; whether the error falls at all is not sure: b = {b:.2g} (95 % {b_low:.2g} to {b_high:.2g})."
    return f"{text}, if the error goes on to fall with b = {b:.2g} (95 % {b_low:.2g} to {b_high:.2g})."
