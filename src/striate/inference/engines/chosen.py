"""`Chosen`: the engine that a model got, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from striate.inference.engines import Engine


@dataclass(frozen=True, slots=True)
class Chosen:
    """An engine, and why it is this one.

    Attributes
    ----------
    engine
        Ready.
    reason
        One sentence.
    parity
        What was measured of the converted network; empty where nothing was.
    caution
        A sentence where its probabilities lie far from those that the model's limits were fitted to.
    """

    engine: Engine
    reason: str
    parity: dict[str, Any]
    caution: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it for a record."""
        engine = {"name": self.engine.name, "precision": self.engine.precision, "reason": self.reason}
        return {
            **engine, **({"caution": self.caution} if self.caution else {}), **({"parity": self.parity} if self.parity else {}),
        }  # fmt: skip
