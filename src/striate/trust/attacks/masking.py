"""Do gradients hide something? Checks that a network is as robust as its curve looks, with a verdict in sentences.

A network whose gradients are zero or misleading stops attacks that follow gradients, and no others. The checks are those of
Athalye, Carlini and Wagner ("Obfuscated gradients give a false sense of security", ICML 2018, section 3.1) and of Carlini et al.
("On evaluating adversarial robustness", arXiv:1902.06705, section 5):

* an attack of many steps is at least as strong as one of one step;
* an attack without bound brings the Dice to nearly nothing;
* an attack that sees no gradients is not stronger than one that does;
* more steps are not weaker;
* the gradient is not zero all over the object.

One that fails means that the curve must not be believed; none that fails proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from striate.core.counted import counted
from striate.trust.attacks import Effort, open_attack
from striate.trust.attacks.victim import Victim

MOST_PROBED = 3
"""Cases that the checks rest on that the curve does not give."""
UNBOUNDED = 10.0
"""In tissue contrasts: more than the range of any image, to which changes are cut."""
TOLERANCE = 0.01
"""Dice; attacks maximise the loss, and Dice follows it only roughly."""
LEFT = 0.1
"""Share of the clean Dice that an attack without bound may leave."""
SILENT = 0.5
"""Share of the object in which the gradient may be exactly zero."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, whether it was passed, and what was measured."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Masking:
    """The verdict: `masked` where a check failed."""

    checks: tuple[Check, ...]

    @property
    def masked(self) -> bool:
        """Whether the curve must not be believed."""
        return any(not check.passed for check in self.checks)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict, then what was measured."""
        failed = sum(not check.passed for check in self.checks)
        verdict = (
            f"{failed} of {len(self.checks)} checks failed: gradients hide something, and the network is weaker than its curve."
            if failed
            else f"No sign that gradients hide something in {len(self.checks)} checks."
        )
        return (verdict, *(check.sentence for check in self.checks))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        checks = [{"name": c.name, "passed": c.passed, "sentence": c.sentence} for c in self.checks]
        return {"masked": self.masked, "sentences": list(self.sentences), "checks": checks}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Masking:
        """Read the JSON form."""
        return cls(tuple(Check(str(c["name"]), bool(c["passed"]), str(c["sentence"])) for c in document["checks"]))


@dataclass(frozen=True, slots=True)
class Probed:
    """What was measured of one case beside its curve.

    Attributes
    ----------
    clean
        Dice of the unchanged image.
    unbounded
        Dice after PGD without bound.
    few, many
        Dice after PGD with a quarter of the steps, and with all of them, at one ε.
    silent
        Share of the object under attacked windows in which the gradient is exactly zero in every channel.
    """

    clean: float
    unbounded: float
    few: float
    many: float
    silent: float


def probe(
    victim: Victim, dice: Callable[[Tensor], float], epsilon: float, effort: Effort, rng: np.random.Generator
) -> Probed:
    """Measure one case; `dice` tells the Dice of an image."""
    pgd, once = open_attack("pgd"), replace(effort, restarts=1)
    _, slope = victim.gradient(victim.image)
    reached = victim.reached()
    silent = 1 - float(((slope != 0).any(0) & reached).sum() / reached.sum().clamp(min=1))
    few = replace(once, steps=max(1, effort.steps // 4))
    return Probed(
        dice(victim.image),
        dice(pgd(victim, UNBOUNDED, once, rng)),
        dice(pgd(victim, epsilon, few, rng)),
        dice(pgd(victim, epsilon, once, rng)),
        silent,
    )


def judge(
    epsilons: Sequence[float], curves: Mapping[str, NDArray[np.float64]], probed: Sequence[Probed], epsilon: float
) -> Masking:
    """Return the verdict.

    Parameters
    ----------
    epsilons
        (E,) of the curves.
    curves
        Attack → Dice (cases, E).
    probed
        One per case that was probed.
    epsilon
        At which they were.
    """
    means = {name: rows.mean(axis=0) for name, rows in curves.items()}
    checks = []
    if {"fgsm", "pgd"} <= set(means):
        checks.append(
            _order("pgd_beats_fgsm", "PGD", "FGSM", epsilons, means["pgd"], means["fgsm"], len(curves["pgd"]))
        )
    if {"pgd", "square"} <= set(means):
        checks.append(
            _order("white_box_beats_black_box", "PGD", "the square attack", epsilons, means["pgd"], means["square"],
                   len(curves["pgd"]))
        )  # fmt: skip
    n = len(probed)
    clean, unbounded, few, many, silent = (
        float(np.mean([getattr(p, name) for p in probed])) for name in ("clean", "unbounded", "few", "many", "silent")
    )
    checks += [
        Check("unbounded", unbounded <= max(LEFT * clean, TOLERANCE),
              f"Without bound PGD leaves a Dice of {unbounded:.3f} (clean {clean:.3f}, {counted(n, 'case')}); at most"
              f" {100 * LEFT:.0f} % of the clean one was expected."),
        Check("more_steps", many <= few + TOLERANCE,
              f"At ε = {epsilon:g} all steps of PGD leave {many:.3f}, a quarter of them {few:.3f} ({counted(n, 'case')})."),
        Check("gradient", silent <= SILENT,
              f"The gradient is exactly zero in {100 * silent:.0f} % of the object ({counted(n, 'case')}); at most"
              f" {100 * SILENT:.0f} % was expected."),
    ]  # fmt: skip
    return Masking(tuple(checks))


def _order(
    name: str,
    strong: str,
    weak: str,
    epsilons: Sequence[float],
    strong_dice: NDArray[np.float64],
    weak_dice: NDArray[np.float64],
    n: int,
) -> Check:
    """Check that one attack leaves no more Dice than another, at every ε."""
    worst = int(np.argmax(strong_dice - weak_dice))
    passed = bool(strong_dice[worst] <= weak_dice[worst] + TOLERANCE)
    text = (
        f"{strong} leaves {strong_dice[worst]:.3f} and {weak} {weak_dice[worst]:.3f} at ε = {epsilons[worst]:g}, where they"
        f" compare worst ({counted(n, 'case')})."
    )
    return Check(name, passed, text)
