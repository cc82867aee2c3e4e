"""`Comparison`: the folder of `striate compare`, read for its page."""

from __future__ import annotations

from typing import Any

from striate.measure.named import MEASURES, measure_name
from striate.reporting.document import Document


class Comparison(Document):
    """What a comparison left on disk."""

    FILE, KIND, VERSION = "compare.json", "striate-comparison", 1

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked for."""
        return self.part("asked")

    @property
    def main(self) -> str:
        """The measure that networks are compared by."""
        return str(self.document.get("main") or "")

    @property
    def main_name(self) -> str:
        """Its name for readers."""
        return measure_name(self.main)

    @property
    def error_name(self) -> str:
        """What its error is called."""
        return self.main_name if self.main == "mse" else f"1 − {MEASURES.get(self.main, (self.main,))[0].lower()}"

    @property
    def networks(self) -> list[dict[str, Any]]:
        """One row per network with its start, at the largest share of the data, as asked for."""
        rows = self.groups
        whole = max((r["fraction"] for r in rows), default=1.0)
        return [r for r in rows if r["fraction"] == whole]

    @property
    def groups(self) -> list[dict[str, Any]]:
        """One row per network, start and share of the data."""
        found = self.document.get("networks")
        return [r for r in found if isinstance(r, dict)] if isinstance(found, list) else []

    @property
    def runs(self) -> list[dict[str, Any]]:
        """One row per run."""
        found = self.document.get("runs")
        return [r for r in found if isinstance(r, dict)] if isinstance(found, list) else []

    def colour(self, label: str) -> int:
        """Return the number of a network's colour, the same in every plot."""
        labels = [r["label"] for r in self.networks]
        return (labels.index(label) if label in labels else 7) % 8 + 1
