"""Attacks: changes of an image, too small to see, that spoil its mask. One file each, found by name in one table; add yours here.

An attack is called with a `Victim`, the largest change `epsilon`, an `Effort` and a source of what it draws, and returns the
changed image (C, *grid). It is untargeted: it looks for the largest training loss against the true mask.

`epsilon` is a fraction of the **tissue contrast** of the prepared image: of each channel the 95th minus the 5th percentile of
the object (head, brain, body), after normalisation. 0.1 moves no voxel by more than a tenth of what parts the darkest from the
brightest tissue. Only voxels of the object change, and no voxel leaves the range of its image.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from striate.core.counted import counted
from striate.core.names import lookup

if TYPE_CHECKING:
    from torch import Tensor

    from striate.trust.attacks.victim import Victim

ATTACKS: dict[str, str] = {
    "fgsm": "striate.trust.attacks.fgsm:fgsm",
    "pgd": "striate.trust.attacks.pgd:pgd",
    "square": "striate.trust.attacks.square:square",
}
BLACK_BOX = frozenset({"square"})
"""Attacks that see probabilities only; all others see gradients."""

__all__ = ["ATTACKS", "BLACK_BOX", "FULL", "Attack", "Effort", "open_attack"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard attacks try.

    Attributes
    ----------
    steps
        Updates of PGD.
    restarts
        Random places that PGD starts from.
    queries
        Images that the square attack shows to the network.
    elsewhere
        Share of the windows without a true label that are attacked too.
    """

    steps: int = 40
    restarts: int = 2
    queries: int = 300
    elsewhere: float = 1.0

    def short_of(self, wanted: Effort) -> str:
        """Return what PGD did, in a sentence, where that is less than `wanted`; else nothing."""
        if self.steps >= wanted.steps and self.restarts >= wanted.restarts:
            return ""
        did, needed = (f"{counted(e.steps, 'step')} and {counted(e.restarts, 'restart')}" for e in (self, wanted))
        return f"PGD made {did} where {needed} are needed: too little was tried to say what the model withstands."


FULL = Effort()
"""What a verdict on a model needs; less makes it look more robust than it is."""


class Attack(Protocol):
    """What every attack offers."""

    def __call__(self, victim: Victim, epsilon: float, effort: Effort, rng: np.random.Generator) -> Tensor:
        """Return the changed image (C, *grid); every change is allowed by ``victim.within``."""
        ...


def open_attack(name: str) -> Attack:
    """Return the attack `name`.

    Raises
    ------
    UsageError
        When it is not known.
    """
    home, _, noun = lookup("attack", name, ATTACKS).partition(":")
    found: Attack = getattr(importlib.import_module(home), noun)
    return found
