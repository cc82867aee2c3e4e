"""`ReviewRule`: which masks must be looked at before their numbers are used.

A case is bad where the lowest real Dice of its labels is below `bad` (0.6). It is flagged where the lowest expected
Dice of its labels (`striate.trust.expected_dice`) is below that too, or at most a limit. The limit is chosen by
conformal risk control (Angelopoulos et al., "Conformal risk control", ICLR 2024) so that a bad case of a new subject
goes unflagged with a probability of at most `miss` (0.1): the ⌈(n + 1) (1 − miss)⌉-th smallest left-out expected Dice
of the n subjects with bad cases, each weighing the same. That takes 9 such subjects; with fewer there is no limit and
no guarantee, and the reason says so.

Good scans seldom fail. Where spoilt copies of the cases are given (`striate.trust.spoilt`), the expected Dice is fitted
to both, and where the cases as they are have too few failures for a limit, both set it: what it guarantees then holds
for such a mixture, and the reason says that too.

An earlier rule stays beside one that was learned from less (`ReviewRule.beside`): what it flags stays flagged.

Whatever the expected Dice, a case is flagged that is out of distribution, has a caution that makes numbers meaningless,
or has an empty mask: it counts as one of the lowest expected Dice when the limit is set.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.caution import Caution
from striate.core.counted import counted
from striate.measure.finding import Ood, Review
from striate.measure.roc import auc
from striate.trust.conformal import ROUNDING, bound, subject_weights, subjects_needed
from striate.trust.evidence import CaseEvidence
from striate.trust.expected import Tables, tables_for
from striate.trust.expected_dice import LEAST, DiceModel, see

BAD = 0.6
MISS = 0.1
SEVERE = frozenset({
    "wrong-channel", "flipped-axis", "stripped", "not-stripped", "motion", "constant-image", "impossible-size", "other-size",
})  # fmt: skip
"""Codes of cautions of the images under which no number of a mask means anything."""
EMPTY = -1.0
"""Score of a case whose masks are all empty: below any Dice, always flagged."""

Row = tuple[str, float, float, bool]
"""Subject, lowest left-out expected Dice, lowest real Dice, and whether it is flagged whatever is expected."""


@dataclass(frozen=True, slots=True)
class ReviewRule:
    """The rule, and how it did on subjects that were left out.

    Attributes
    ----------
    models
        Label or region → its expected Dice.
    bad
        Real Dice below which a case is bad.
    miss
        Share of bad cases that may go unflagged.
    limit
        Expected Dice up to which a case is flagged beside those below `bad`; None where nothing can be guaranteed.
    n_subjects, n_cases
        With known truth that is not empty on both sides.
    n_spoilt
        Those of these cases that are spoilt copies; 0 where the limit rests on cases as they are.
    n_bad_subjects, n_bad_cases
        Those of them that are bad.
    missed
        Share of the bad cases that went unflagged, each subject weighing the same and judged by an expected Dice and a limit
        that were made without it; None without any, or where one fewer is too few for a limit.
    flagged
        Share of the cases as they are that it flagged; None without any.
    auroc
        Of the left-out expected Dice for bad cases; None without bad or without good ones.
    earlier
        The rule before, where this one was learned from too little to take its place: what it flags is flagged too.
    """

    models: Mapping[str, DiceModel]
    bad: float = BAD
    miss: float = MISS
    limit: float | None = None
    n_subjects: int = 0
    n_cases: int = 0
    n_spoilt: int = 0
    n_bad_subjects: int = 0
    n_bad_cases: int = 0
    missed: float | None = None
    flagged: float | None = None
    auroc: float | None = None
    earlier: ReviewRule | None = None

    @classmethod
    def fit(
        cls,
        cases: Sequence[CaseEvidence],
        tables: Tables,
        *,
        spoilt: Sequence[CaseEvidence] = (),
        left_out: Mapping[str, Tables] | None = None,
        unlikeness: Mapping[str, float] | None = None,
        anyway: Collection[str] = (),
    ) -> ReviewRule:
        """Fit to cases with known truth.

        Parameters
        ----------
        cases
            Of subjects that the network has not learned from.
        tables
            Calibrated probabilities.
        spoilt
            Copies of `cases`, of the same subjects, that were spoilt.
        left_out
            Subject → tables fitted without it.
        unlikeness
            Case → its out-of-distribution score divided by the threshold.
        anyway
            Cases that are flagged whatever is expected of them (`flagged_anyway`).
        """
        models, expected = dict[str, DiceModel](), dict[str, list[float | None]]()
        for name, table in tables.items():
            seen = [
                see(c, name, tables_for(c.subject, tables, left_out)[name], (unlikeness or {}).get(c.case))
                if name in c.labels
                else None
                for c in (*cases, *spoilt)
            ]  # fmt: skip
            models[name], expected[name] = DiceModel.fit(seen, table)
        found = [_row(case, i, expected, case.case in anyway) for i, case in enumerate((*cases, *spoilt))]
        usual, others = (
            [row for row in part if row is not None] for part in (found[: len(cases)], found[len(cases) :])
        )
        alone = _judged(usual, usual, BAD, MISS)
        if alone["limit"] is not None or not others:
            return cls(models, **alone)
        return cls(models, n_spoilt=len(others), **_judged([*usual, *others], usual, BAD, MISS))

    def beside(self, earlier: ReviewRule) -> ReviewRule:
        """Return this rule, with `earlier` kept beside it where it rests on less: then it must not unflag what that flags.

        It rests on less with fewer subjects, with fewer than a correction of the expected Dice needs, or where it can guarantee
        nothing and `earlier` can.
        """
        before = list(earlier._rules())
        most = max(LEAST, *(rule.n_subjects for rule in before))
        less = self.n_subjects < most or (self.limit is None and any(rule.limit is not None for rule in before))
        return replace(self, earlier=earlier) if less and earlier.models else self

    def _rules(self) -> Iterator[ReviewRule]:
        """Yield this rule, then the earlier ones that stay beside it."""
        yield self
        if self.earlier is not None:
            yield from self.earlier._rules()

    @property
    def needed(self) -> int:
        """Number of subjects with bad cases that the guarantee needs."""
        return subjects_needed(1 - self.miss)

    def expected_dice(self, case: CaseEvidence, unlikeness: float | None = None) -> dict[str, float]:
        """Return label or region → expected Dice; empty masks have none.

        Parameters
        ----------
        case
            Its truth need not be known.
        unlikeness
            Its out-of-distribution score divided by the threshold.
        """
        found = {}
        for name, model in self.models.items():
            if name in case.labels:
                seen = see(case, name, np.array(model.table), unlikeness)
                if seen is not None:
                    found[name] = model.expect(seen)
        return found

    def judge(self, case: CaseEvidence, *, ood: Ood | None = None, cautions: Sequence[Caution] = ()) -> Review | None:
        """Return whether a case must be looked at, and why; None where nothing is known that could tell.

        Parameters
        ----------
        case
            Its truth need not be known.
        ood
            Its likeness to the training data.
        cautions
            Of the input gate; those of `SEVERE` need a review by themselves.
        """
        unlikeness = ood.score / ood.threshold if ood is not None and ood.threshold > 0 else None
        expected = self.expected_dice(case, unlikeness)
        causes = [caution.message.rstrip(".") for caution in cautions if caution.code in SEVERE]
        if ood is not None and ood.outside:
            causes.append(f"it is unlike the training data (score {ood.score:.3g}, threshold {ood.threshold:.3g})")
        if all(found.predicted_lesions == 0 for found in case.labels.values()):
            causes.append("nothing was found, so whether something was missed cannot be told from the mask")
        name = min(expected, key=expected.__getitem__) if expected else None
        if (low := self._low(case, unlikeness)) is not None:
            causes.append(low)
        if causes:
            return Review(True, f"{_sentence('; '.join(causes))} {self.guarantee}", expected)
        if name is None:
            return None
        return Review(False, f"{_sentence(self._told(name, expected[name]))} {self.guarantee}", expected)

    def _low(self, case: CaseEvidence, unlikeness: float | None) -> str | None:
        """Return what is said where the expected Dice is too low, by this rule or else by an earlier one; None elsewhere."""
        for rule in self._rules():
            expected = rule.expected_dice(case, unlikeness)
            name = min(expected, key=expected.__getitem__) if expected else None
            if name is not None and rule.flags(expected[name]):
                whose = "" if rule is self else "by the earlier limits, which stay, "
                return f"{whose}{rule._told(name, expected[name])}, too low"
        return None

    def flags(self, expected: float) -> bool:
        """Tell whether an expected Dice is too low."""
        return expected < self.bad or (self.limit is not None and expected <= self.limit + ROUNDING)

    @property
    def guarantee(self) -> str:
        """What is known of how many bad cases go unflagged, in one sentence."""
        if self.limit is None and (holds := next((rule for rule in self._rules() if rule.limit is not None), None)):
            return holds.guarantee  # whatever that flags is flagged
        n, which = self.n_bad_subjects, "cases"
        if self.n_spoilt:
            which = "cases, as they are and with artefacts put in,"
        if self.limit is not None:
            return (
                f"At most {100 * self.miss:.0f} % of the {which} with a Dice below {self.bad:g} go unflagged "
                f"(from {counted(n, 'subject')} with such cases among {self.n_subjects})."
            )
        return (
            f"How many {which} with a Dice below {self.bad:g} go unflagged is not known: {n} of"
            f" {counted(self.n_subjects, 'subject')} had one; {self.needed} are needed."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}
        document["earlier"] = self.earlier and self.earlier.to_dict()
        return {**document, "models": {name: model.to_dict() for name, model in self.models.items()}}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ReviewRule:
        """Read the JSON form."""
        models = {str(name): DiceModel.from_dict(model) for name, model in document["models"].items()}
        earlier = document.get("earlier")
        return cls(**{**document, "models": models, "earlier": earlier and cls.from_dict(earlier)})

    def _told(self, name: str, expected: float) -> str:
        limit = self.bad if self.limit is None else max(self.bad, self.limit)
        return f"the expected Dice of '{name}' is {expected:.2f} (limit {limit:.2f})"


def flagged_anyway(ood: Ood | None, cautions: Sequence[Caution]) -> bool:
    """Tell whether a case is flagged whatever is expected of it."""
    return (ood is not None and ood.outside) or any(caution.code in SEVERE for caution in cautions)


def _row(case: CaseEvidence, index: int, expected: Mapping[str, Sequence[float | None]], anyway: bool) -> Row | None:
    """Return what is judged of a case; None where its real or its expected Dice does not exist."""
    real = [found.dice for name, found in case.labels.items() if name in expected and found.dice is not None]
    values = [found[index] for found in expected.values()]
    known = [value for value in values if value is not None]
    if not real or (not known and any(found.predicted_lesions for found in case.labels.values())):
        return None
    return case.subject, min(known, default=EMPTY), min(real), anyway


def _judged(rows: Sequence[Row], usual: Sequence[Row], bad: float, miss: float) -> dict[str, Any]:
    """Return the limit that `rows` set, and how the rule did; what it flags is counted in the `usual` ones."""
    subjects = [row[0] for row in rows]
    expected = np.array([row[1] for row in rows])
    failed = np.array([row[2] < bad for row in rows], dtype=bool)
    scores = np.array([_score(row) for row in rows])
    failing = [subject for subject, is_bad in zip(subjects, failed, strict=True) if is_bad]
    limit = bound(scores[failed], subject_weights(failing), 1 - miss)
    seen = np.array([_score(row) for row in usual])
    flags = (seen < bad) | (seen <= (EMPTY if limit is None else limit) + ROUNDING)
    return {
        "limit": limit,
        "n_subjects": len(set(subjects)),
        "n_cases": len(rows),
        "n_bad_subjects": len(set(failing)),
        "n_bad_cases": len(failing),
        "missed": _missed(failing, scores[failed], bad, miss),
        "flagged": float(np.average(flags, weights=subject_weights([row[0] for row in usual]))) if usual else None,
        "auroc": auc(-expected, failed) if rows else None,
    }


def _score(row: Row) -> float:
    return EMPTY if row[3] else row[1]


def _missed(subjects: Sequence[str], scores: NDArray[np.float64], bad: float, miss: float) -> float | None:
    """Return the share of bad cases that go unflagged where the limit is set without their subject; None where it cannot."""
    if not len(scores):
        return None
    owner, weights, unflagged = np.array(subjects), subject_weights(subjects), scores >= bad
    guaranteed = bound(scores, weights, 1 - miss) is not None
    for subject in dict.fromkeys(subjects) if guaranteed else ():
        own = owner == subject
        limit = bound(scores[~own], weights[~own], 1 - miss)
        if limit is None:
            return None
        unflagged[own] &= scores[own] > limit + ROUNDING
    return float(np.average(unflagged, weights=weights))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
