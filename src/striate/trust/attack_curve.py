"""`attack_curve`: how far each attack brings the Dice down, against how much it may change the image.

Dice is that of the whole mask on the grid that the network sees, mean over the labels that the case has, then over cases; the
interval is a bootstrap over subjects. All figures of one curve rest on the same cases.

What gradients hide is looked for as Athalye, Carlini and Wagner (ICML 2018) and Carlini et al. (arXiv:1902.06705, section 5)
recommend, see `Masking`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.core.case import Case
from striate.core.progress import Bar, Progress, Silent
from striate.core.targets import Targets
from striate.data.prepare import prepare
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.predict import predict_classes
from striate.measure.overlap import dice
from striate.measure.statistics import Summary, summarise
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.trust.attacks import ATTACKS, FULL, Effort, open_attack
from striate.trust.attacks.masking import MOST_PROBED, Masking, Probed, judge, probe
from striate.trust.attacks.victim import Victim
from striate.trust.falling_dice import Labelled, falls_to, rising

EPSILONS = (0.01, 0.02, 0.05, 0.1, 0.2)
LADDER = (
    FULL,
    Effort(40, 1, 200),
    Effort(40, 1, 60, 0.5),
    Effort(20, 1, 40, 0.25),
    Effort(10, 1, 20, 0.1),
    Effort(10, 1, 10, 0.0),
)
"""From the most that is worth waiting for to the least that says something."""
WANTED_CASES = 6
"""Rather than trying less hard, fewer cases are attacked, but not fewer than these."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve.

    Attributes
    ----------
    epsilon
        Largest change, as a fraction of the tissue contrast.
    dice
        Over the attacked cases.
    """

    epsilon: float
    dice: Summary

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"epsilon": self.epsilon, "dice": self.dice.to_dict()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Point:
        """Read the JSON form."""
        return cls(float(document["epsilon"]), Summary(**document["dice"]))


@dataclass(frozen=True, slots=True)
class AttackCurve:
    """What attacks do to a model.

    Attributes
    ----------
    n_subjects
        That everything rests on.
    clean
        Dice of the unchanged images.
    curves
        Attack → its points, ε rising.
    halves_at
        Attack → the ε at which the mean Dice is half of the clean one, interpolated; None where it stays above.
    masking
        Whether gradients hide something, so that the curves look better than the model is.
    effort
        How hard the attacks tried; `seconds` is how long all took.
    notes
        What the time did not allow: first, where it is so, that PGD did less than was asked for.
    """

    n_subjects: int
    clean: Summary
    curves: Mapping[str, tuple[Point, ...]]
    halves_at: Mapping[str, float | None]
    masking: Masking
    effort: Effort
    seconds: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "n_subjects": self.n_subjects,
            "clean": self.clean.to_dict(),
            "curves": {name: [p.to_dict() for p in points] for name, points in self.curves.items()},
            "halves_at": dict(self.halves_at),
            "masking": self.masking.to_dict(),
            "effort": {**asdict(self.effort), "seconds": self.seconds},
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> AttackCurve:
        """Read the JSON form."""
        effort = dict(document["effort"])
        seconds = float(effort.pop("seconds"))
        return cls(
            int(document["n_subjects"]),
            Summary(**document["clean"]),
            {name: tuple(Point.from_dict(p) for p in points) for name, points in document["curves"].items()},
            dict(document["halves_at"]),
            Masking.from_dict(document["masking"]),
            Effort(**effort),
            seconds,
            tuple(document["notes"]),
        )


def attack_curve(
    model: Model,
    cases: Sequence[Case],
    *,
    epsilons: Sequence[float] = EPSILONS,
    attacks: Sequence[str] = tuple(ATTACKS),
    budget_s: float | None = None,
    seed: int = 0,
    effort: Effort | None = None,
    network: nn.Module | None = None,
    progress: Progress | None = None,
) -> AttackCurve:
    """Attack a model that draws masks, and return how its Dice falls.

    Parameters
    ----------
    model
        What is attacked.
    cases
        With true masks; at best of subjects that the model did not learn from.
    epsilons
        Largest changes, as fractions of the tissue contrast (`striate.trust.attacks`).
    attacks
        Names of `ATTACKS`.
    budget_s
        Seconds that all may take; decides how hard the attacks try and how many cases are attacked. At least one case is.
    seed
        Of what attacks draw.
    effort
        How hard the attacks try; by default the most of `LADDER`, or what the time allows.
    network
        The model's network, where it is loaded already.
    progress
        Who listens.

    Raises
    ------
    UsageError
        When the model draws no masks, an attack is not known, or an ε is not above 0.
    DataError
        When no case has a true mask that holds a label.
    """
    epsilons = rising(model, "attack", attacks, ATTACKS, "epsilon", epsilons)
    network = model.network() if network is None else network
    engine = TorchEngine(network, model.plan.targets.exclusive)
    bench = _Bench(model.plan, engine, epsilons, tuple(attacks), seed, effort)
    done, labelled = list[_Attacked](), Labelled(cases, budget_s)
    with (progress or Silent()).bar("Attacks", max(1, len(labelled.cases))) as bar:
        for number, case in labelled:
            victim = bench.victim(case)
            if victim is None:
                labelled.empty += 1
                continue
            if bench.effort is None:
                labelled.most = bench.plan_effort(victim, len(labelled.cases), budget_s)
                victim = bench.victim(case) or victim
            done.append(bench.attack(case, victim, labelled.done, partial(_tell, bar, number)))
            labelled.done += 1
    short = (bench.effort or FULL).short_of(effort or FULL) if "pgd" in attacks else ""
    return _curve(bench, done, round(labelled.spent_s, 1), (*([short] if short else []), *labelled.notes()))


def _tell(bar: Bar, before: int, share: float) -> None:
    """Show that `share` of a case is done, and `before` cases before it."""
    bar.update(before + share)


@dataclass(frozen=True, slots=True)
class _Attacked:
    """One case: Dice of the unchanged image, attack → Dice at each ε, and what the checks measured."""

    subject: str
    clean: float
    dice: Mapping[str, list[float]]
    probed: Probed | None


class _Bench:
    """Where cases are attacked, one after the other."""

    def __init__(
        self,
        plan: Plan,
        engine: TorchEngine,
        epsilons: tuple[float, ...],
        attacks: tuple[str, ...],
        seed: int,
        effort: Effort | None,
    ) -> None:
        self.plan, self.engine, self.seed, self.effort = plan, engine, seed, effort
        self.epsilons, self.attacks = epsilons, attacks

    @property
    def middle(self) -> float:
        """The ε at which the checks compare numbers of steps."""
        return self.epsilons[len(self.epsilons) // 2]

    def victim(self, case: Case) -> Victim | None:
        """Return a case made ready; None where no voxel has a label."""
        ready = prepare(case, self.plan.preparation, self.plan.targets)
        if ready.classes is None or not ready.classes.any():
            return None
        elsewhere = 1.0 if self.effort is None else self.effort.elsewhere
        return Victim(self.plan, self.engine, ready, elsewhere=elsewhere, seed=self.seed)

    def dice(self, victim: Victim, image: Tensor) -> float:
        """Return the Dice of an image as the model predicts it, mean over the labels that the case has."""
        found = predict_classes(self.plan, self.engine, image.cpu().numpy())
        return mean_dice(self.plan.targets, found, victim.classes.cpu().numpy())

    def plan_effort(self, victim: Victim, cases: int, budget_s: float | None) -> int:
        """Choose how hard to try and return how many cases that allows, by timing a pass each way."""
        self.effort = LADDER[0]
        if budget_s is None:
            return cases
        begin = time.monotonic()
        victim.loss(victim.image)
        forwards_s, begin = time.monotonic() - begin, time.monotonic()
        victim.gradient(victim.image)
        back_s = time.monotonic() - begin
        held = len(victim.held)
        for effort in LADDER:
            self.effort = effort
            share = (held + effort.elsewhere * (len(victim.active) - held)) / max(1, len(victim.active))
            per_case_s = share * (forwards_s * self._looks(effort) + back_s * self._steps(effort))
            affordable = int(budget_s / per_case_s)
            if affordable >= min(cases, WANTED_CASES):
                break
        return min(cases, max(1, affordable))

    def attack(self, case: Case, victim: Victim, place: int, tell: Callable[[float], None]) -> _Attacked:
        """Attack one case by all attacks at every ε."""
        effort = self.effort or LADDER[0]

        def draws(*key: int) -> np.random.Generator:
            return np.random.default_rng((self.seed, place, *key))

        dice: dict[str, list[float]] = {name: [] for name in self.attacks}
        clean, total = self.dice(victim, victim.image), len(self.attacks) * len(self.epsilons)
        for number, (name, epsilon) in enumerate(itertools.product(self.attacks, self.epsilons)):
            key = (sorted(ATTACKS).index(name), self.epsilons.index(epsilon))
            changed = open_attack(name)(victim, epsilon, effort, draws(*key))
            dice[name].append(self.dice(victim, changed))
            tell((number + 1) / (total + 2))
        probed = None
        if place < MOST_PROBED:
            probed = probe(victim, lambda image: self.dice(victim, image), self.middle, effort, draws(len(ATTACKS)))
        tell(1.0)
        return _Attacked(case.subject, clean, dice, probed)

    def _looks(self, effort: Effort) -> float:
        """Return how many passes forwards one case takes."""
        return len(self.epsilons) * (len(self.attacks) + ("square" in self.attacks) * effort.queries)

    def _steps(self, effort: Effort) -> float:
        """Return how many passes forwards and back one case takes."""
        own = ("fgsm" in self.attacks) + ("pgd" in self.attacks) * effort.restarts * effort.steps
        return len(self.epsilons) * own + 2.25 * effort.steps


def mean_dice(targets: Targets, found: NDArray[np.uint8], true: NDArray[np.uint8]) -> float:
    """Return the Dice of class indices (*grid), mean over the labels or regions that `true` holds."""
    count = len(targets.names)
    members = np.eye(count + 1, dtype=bool)[:, 1:] if targets.exclusive else targets.memberships()[0]
    pairs = ((members[:, k][found], members[:, k][true]) for k in range(count))
    return float(np.mean([dice(f, t) for f, t in pairs if t.any()]))


def _curve(bench: _Bench, done: Sequence[_Attacked], seconds: float, notes: tuple[str, ...]) -> AttackCurve:
    subjects, clean = [one.subject for one in done], summarise([one.clean for one in done], [o.subject for o in done])
    rows = {name: np.array([one.dice[name] for one in done]) for name in bench.attacks}
    curves = {
        name: tuple(Point(e, summarise(list(values), subjects)) for e, values in zip(bench.epsilons, found.T, strict=True))
        for name, found in rows.items()
    }  # fmt: skip
    before = clean.mean or 0.0
    halves = {
        name: falls_to(before / 2, (0.0, *bench.epsilons), (before, *map(float, found.mean(axis=0))))
        for name, found in rows.items()
    }
    masking = judge(bench.epsilons, rows, [one.probed for one in done if one.probed is not None], bench.middle)
    return AttackCurve(len(set(subjects)), clean, curves, halves, masking, bench.effort or LADDER[0], seconds, notes)
