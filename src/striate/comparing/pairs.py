"""Every two networks on the same samples: their difference, and whether it is more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from striate.comparing.outcomes import CaseOutcomes, ClassOutcomes, Outcomes
from striate.measure.paired import compare, holm
from striate.measure.paired_means import compare_means

DRAWS = 1000


def pairs(outcomes: Mapping[str, Outcomes]) -> list[dict[str, Any]]:
    """Compare every two on the samples that both have.

    Parameters
    ----------
    outcomes
        Label → what its runs said.

    Returns
    -------
    list
        ``first``, ``second``, ``n``, ``subjects``, ``difference`` of the main measure with ``low`` and ``high``, ``p`` from
        the bootstrap over subjects, ``p_holm`` corrected for the number of pairs (Holm), and ``mcnemar_p`` of classes.
    """
    found = [_pair(a, b, outcomes[a], outcomes[b]) for a, b in combinations(outcomes, 2)]
    tested = [one for one in found if one["p"] is not None]
    for one, p in zip(tested, holm([one["p"] for one in tested]), strict=True):
        one["p_holm"] = p
    return found


def _pair(first: str, second: str, one: Outcomes, other: Outcomes) -> dict[str, Any]:
    places = {key: n for n, key in enumerate(other.keys)}
    rows = [(n, places[key]) for n, key in enumerate(one.keys) if key in places]
    mine, theirs = np.array([r[0] for r in rows], dtype=int), np.array([r[1] for r in rows], dtype=int)
    subjects = [one.subjects[n] for n in mine]
    named: dict[str, Any] = {"first": first, "second": second, "n": len(rows), "subjects": len(set(subjects))}
    nothing = {"difference": None, "low": None, "high": None, "p": None, "p_holm": None, "mcnemar_p": None}
    if not rows:
        return named | nothing
    chance = None
    if isinstance(one, ClassOutcomes) and isinstance(other, ClassOutcomes):
        truth = one.truth[mine].argmax(axis=1) if one.exclusive else one.truth[mine]
        whole = compare(one.classes, truth, one.said[mine], other.said[theirs], subjects, draws=DRAWS)
        told, chance = whole.differences["overall"][one.main], whole.mcnemar.p
    elif isinstance(one, CaseOutcomes) and isinstance(other, CaseOutcomes):
        values = one.values[one.main][mine].tolist(), other.values[one.main][theirs].tolist()
        told = compare_means(*values, subjects, draws=DRAWS)
    else:
        return named | nothing
    d = told.difference
    return named | nothing | {"difference": d.value, "low": d.low, "high": d.high, "p": told.p, "mcnemar_p": chance}
