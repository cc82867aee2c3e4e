"""`Prediction`: the mask of one case on its own grid, with what must be known beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.caution import Caution
from striate.core.errors import UsageError
from striate.core.image import LabelMap
from striate.core.targets import Targets
from striate.inference.observed import Observed
from striate.io.read import read_label


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The mask of one case.

    Attributes
    ----------
    case
        What was predicted.
    targets
        What the label values mean.
    probabilities
        Name of label or region → file with its probability on the grid of the input; empty where not asked for.
    warnings
        Reasons not to trust it.
    observed
        What the network said beyond its mask; None where it was not asked for.
    facts
        Measured facts: ``windows``, ``windows_skipped``, ``precision``, seconds of each stage.
    path
        Where the mask lies, or None while it is only in memory.
    """

    case: Case
    targets: Targets
    held: LabelMap | None = None
    path: Path | None = None
    probabilities: Mapping[str, Path] = field(default_factory=dict)
    warnings: tuple[Caution, ...] = ()
    observed: Observed | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> LabelMap:
        """The label map, on the grid of the input, with the cohort's own label values; read from `path` where stored.

        Raises
        ------
        UsageError
            When it is neither in memory nor on disk.
        """
        if self.held is not None:
            return self.held
        if self.path is None:
            raise UsageError(
                f"prediction of case {self.case.name}: path is None and no mask is held; predict it again."
            )
        return read_label(self.path)

    def stored(self, path: Path, probabilities: Mapping[str, Path] | None = None) -> Prediction:
        """Return the same prediction with its mask at `path` instead of in memory."""
        return replace(self, held=None, path=path, probabilities=dict(probabilities or self.probabilities))
