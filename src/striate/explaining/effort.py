"""`Effort`: how much is computed for one explanation and its checks; `Pace`: how long that takes here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from striate.core.errors import TimeLimitError, expected
from striate.core.machine import show_seconds
from striate.explaining.held_norms import held_norms

if TYPE_CHECKING:
    from striate.explaining.scene import Scene

SHARE = 0.8
"""Share of the time that may be planned; the rest is for writing and for being wrong."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is computed.

    Attributes
    ----------
    steps
        Points on the way from the baseline to the image (integrated gradients).
    boxes
        Places of the box (occlusion), at most about so many.
    networks
        Networks with random weights that every method is compared with.
    orders
        Random orders of deletion and of insertion; the smallest p-value is 1 / (orders + 1).
    levels
        Points of a deletion or insertion curve after its start.
    """

    steps: int = 32
    boxes: int = 343
    networks: int = 2
    orders: int = 19
    levels: int = 12

    def passes(self, methods: Sequence[str], gradient: float) -> float:
        """Return the cost of `methods` with all checks, in passes forwards; `gradient` is that of one forwards and back."""
        own = {"occlusion": float(self.boxes), "integrated_gradients": self.steps * gradient}
        attributions = (1 + self.networks) * sum(own.get(name, gradient) for name in methods)
        return attributions + 2 + self.curve_passes * (self.orders + len(methods))

    @property
    def curve_passes(self) -> int:
        """Passes forwards that deletion and insertion in one order take, without the ends, which all orders share."""
        return 2 * (self.levels - 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


STANDARD = 2
LADDER = (
    Effort(8, 64, 1, 19, 6),
    Effort(16, 125, 1, 19, 8),
    Effort(),
    Effort(64, 729, 3, 39, 16),
    Effort(128, 1728, 3, 99, 20),
    Effort(256, 4096, 5, 199, 24),
)
"""From the least that gives a verdict to the most that is worth waiting for; without a budget, at most `STANDARD`."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long one look at a scene takes here.

    Attributes
    ----------
    forwards_s
        Of a pass forwards through the network.
    gradient_s
        Of one forwards and back.
    """

    forwards_s: float
    gradient_s: float

    @classmethod
    def of(cls, scene: Scene) -> Pace:
        """Measure both, the second time, because the first is slower than all others."""
        with torch.no_grad():
            scene.score(scene.image)
            start = time.monotonic()
            scene.score(scene.image)
        forwards = max(time.monotonic() - start, 1e-5)
        with held_norms(scene.score, scene.image):
            for _ in range(2):
                start = time.monotonic()
                found = scene.score(scene.image.clone().requires_grad_()).sum()
                if found.requires_grad:
                    found.backward()
        return cls(forwards, max(time.monotonic() - start, forwards))

    @property
    def gradient(self) -> float:
        """Cost of a pass forwards and back, in passes forwards."""
        return self.gradient_s / self.forwards_s

    def seconds(self, effort: Effort, methods: Sequence[str]) -> float:
        """Return how long `methods` take with their checks."""
        return self.forwards_s * effort.passes(methods, self.gradient)


def affordable(
    paces: Sequence[Pace],
    methods: Sequence[str],
    seconds: float,
    most: int = len(LADDER) - 1,
    *,
    budget_s: float | None = None,
    cases: int = 1,
) -> Effort:
    """Return the largest effort of `LADDER`, up to its number `most`, with which all scenes fit into `seconds`.

    `seconds` are the share of one of `cases` that are still to come; what is missing of `budget_s`, the time that was
    given, has been spent. Both are only for the message.

    Raises
    ------
    TimeLimitError
        When not even the least fits.
    """
    needed = [sum(pace.seconds(effort, methods) for pace in paces) for effort in LADDER[: most + 1]]
    fitting = [n for n, time_s in enumerate(needed) if time_s <= SHARE * seconds]
    if not fitting:
        given = seconds * cases if budget_s is None else budget_s
        enough = given + cases * (needed[0] / SHARE - seconds)
        raise TimeLimitError(
            expected("--budget", show_seconds(given), f"about {show_seconds(enough)} are needed for"
                     f" {', '.join(methods)} with their checks", "Give more time, or fewer --method or --label.")
        )  # fmt: skip
    return LADDER[fitting[-1]]
