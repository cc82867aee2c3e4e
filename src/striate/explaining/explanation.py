"""`Explanation`: what one method says of a scene, with the verdicts of its checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.explaining import faithfulness, inside, method_named, random_weights
from striate.explaining.effort import Effort, Pace
from striate.explaining.grad_cam import layer_of
from striate.explaining.integrated_gradients import completeness_error
from striate.explaining.scene import Scene
from striate.explaining.verdict import Verdict
from striate.planning.plan import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What one method says.

    Attributes
    ----------
    method
        Name in `striate.explaining.METHODS`.
    attribution
        (C or 1, *region): for (positive) and against (negative) what is explained.
    verdicts
        One per check.
    facts
        ``seconds`` of the method alone, ``seconds_with_checks``, and what belongs to it (``layer``, ``completeness_error``).
    """

    method: str
    attribution: NDArray[np.float32]
    verdicts: tuple[Verdict, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(v.passed is not False for v in self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the map."""
        checks = [v.to_dict() for v in self.verdicts]
        return {"method": self.method, "passed": self.passed, "checks": checks, **self.facts}


def explanations(
    scene: Scene,
    plan: Plan,
    methods: Sequence[str],
    effort: Effort,
    *,
    seed: int = 0,
    pace: Pace,
    tell: Callable[[float, str], None],
) -> Iterator[Explanation]:
    """Yield what each of `methods` says of `scene`, checked; deterministic in `seed`.

    Parameters
    ----------
    scene
        What is explained.
    plan
        Of the model; networks with random weights are made after it.
    methods
        Names in `striate.explaining.METHODS`.
    effort
        How much is computed.
    seed
        Of random weights and random orders.
    pace
        Of the scene, so that `tell` hears true shares of the time.
    tell
        Hears the share of the work that is done, and what is being done.
    """
    known = [(name, method_named(name)) for name in methods]
    count = _Count(effort, methods, pace.gradient, tell)
    scene = scene.hearing(count.heard)
    orders = faithfulness.Orders.of(scene, effort, seed)
    networks = random_weights.random_networks(plan, effort.networks, seed)
    for name, method in known:
        count.doing = name
        start = time.monotonic()
        found = method(scene, effort)
        facts: dict[str, Any] = {"seconds": round(time.monotonic() - start, 3)}
        if name == "grad_cam":
            facts["layer"] = layer_of(scene)
        if name == "integrated_gradients":
            facts["completeness_error"] = completeness_error(scene, found)
        verdicts = (
            random_weights.check(scene, method, found, networks, effort),
            faithfulness.check(scene, found, orders),
            inside.check(scene, found),
        )
        facts["seconds_with_checks"] = round(time.monotonic() - start, 3)
        yield Explanation(name, found, verdicts, facts)


class _Count:
    """Counts the passes through networks and tells which share of all they are."""

    def __init__(
        self, effort: Effort, methods: Sequence[str], gradient: float, tell: Callable[[float, str], None]
    ) -> None:
        self.doing, self._done, self._gradient, self._tell = "random orders", 0.0, gradient, tell
        self._whole = effort.passes(methods, gradient)

    def heard(self, images: int, gradient: bool) -> None:
        """Take note of some passes."""
        self._done += images * (self._gradient if gradient else 1.0)
        self._tell(min(self._done / self._whole, 1.0), self.doing)
