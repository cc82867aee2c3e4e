"""Persons: age and sex of a phantom subject, and what they do to its anatomy and its lesions.

With age sulci open, ventricles widen (Scahill et al., Archives of Neurology 60(7), 2003) and lesions add up; men's heads are
some percent larger. The size of these effects is ours, chosen so that subgroups differ visibly and still overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from striate.phantoms.contrast import Contrast
from striate.phantoms.shape import Shape

YOUNGEST, OLDEST = 20, 75
WOMEN = 0.7
"""Share of women, about that of multiple sclerosis."""
BY_AGE = 0.65
"""Share of atrophy that age decides; the rest is the subject's own."""
LARGER = {"F": 0.985, "M": 1.025}
"""Size of the head over the usual."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who is scanned.

    Attributes
    ----------
    age
        In years, at the first visit.
    sex
        ``F`` or ``M``.
    """

    age: int
    sex: str

    @property
    def ageing(self) -> float:
        """0 for the youngest, 1 for the oldest."""
        return (self.age - YOUNGEST) / (OLDEST - YOUNGEST)

    @property
    def load(self) -> float:
        """How many lesions there are over the usual: 0.5 for the youngest, 1.7 for the oldest."""
        return 0.5 + 1.2 * self.ageing

    def shaped(self, shape: Shape) -> Shape:
        """Return the shape with ventricles of this age and a head of this sex."""
        widening = (1 - BY_AGE) * shape.widening_mm + BY_AGE * (3.5 * self.ageing - 0.5)
        return replace(shape, scale=np.clip(shape.scale / LARGER[self.sex], 0.93, 1.09), widening_mm=widening)

    def shown(self, contrast: Contrast) -> Contrast:
        """Return the contrast with sulci of this age."""
        return replace(contrast, sulci=(1 - BY_AGE) * contrast.sulci + BY_AGE * 0.35 * self.ageing)


def draw_person(rng: np.random.Generator) -> Person:
    """Draw age (uniform) and sex."""
    age = int(rng.integers(YOUNGEST, OLDEST + 1))
    return Person(age, "F" if rng.uniform() < WOMEN else "M")
