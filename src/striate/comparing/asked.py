"""`Asked`: what a comparison was asked for, as it stands in ``compare.json``."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import PositiveInt, model_validator

from striate.core.config import Config
from striate.core.errors import PlanError, UsageError
from striate.core.names import lookup
from striate.networks import NETWORKS

STARTS = ("random", "transfer", "frozen", "random_frozen")
"""From random weights; from those of an encoder, all learning on; the encoder's kept, only the rest learns (Shin 2016);
and what tells whether kept features are worth more than none: random ones kept, only the last layer learns."""


class Asked(Config):
    """What is compared, and within what.

    Attributes
    ----------
    cohort
        Folder or CSV.
    networks
        Names of networks.
    budget, steps
        Time of the whole comparison, or updates of each run.
    fractions
        Shares of the training subjects, rising.
    seeds, seed
        Number of repetitions, and the seed of the first; each draws its own split, the same for all networks.
    holdout, fold, folds
        Who validates: the named subjects; part K of N (``K/N``); each part of N in turn.
    encoder
        A trained model whose weights networks of its kind also start from.
    probe
        ``invariance``: also measure how outputs change with shift, scale and clutter.
    task, regions, memory, dims
        As for `train`.
    """

    cohort: str
    networks: tuple[str, ...]
    budget: str | None = None
    steps: PositiveInt | None = None
    memory: str | None = None
    task: str | None = None
    regions: tuple[str, ...] | None = None
    holdout: tuple[str, ...] | None = None
    fold: str | None = None
    folds: PositiveInt | None = None
    fractions: tuple[float, ...] = (1.0,)
    seeds: PositiveInt = 1
    seed: int = 0
    dims: Literal[2, 3] | None = None
    encoder: str | None = None
    probe: Literal["invariance"] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Asked:
        for name in self.networks:
            try:
                lookup("network", name, NETWORKS)
            except UsageError as error:
                raise ValueError(str(error)) from error
        if not self.networks or len(set(self.networks)) < len(self.networks):
            raise ValueError(f"networks {', '.join(self.networks) or 'none'}: at least one is needed, each once")
        if not self.fractions or list(self.fractions) != sorted(set(self.fractions)) or not 0 < self.fractions[0] <= 1:
            raise ValueError(
                f"fractions {list(self.fractions)}: shares above 0, at most 1, each once and rising, are needed"
            )
        if self.fractions[-1] > 1:
            raise ValueError(f"fraction {self.fractions[-1]:g}: at most 1, all training subjects, is possible")
        if self.budget is not None and self.steps is not None:
            raise ValueError(f"budget {self.budget} and steps {self.steps}: give one of them, both set the length")
        given = [n for n in ("holdout", "fold", "folds") if getattr(self, n)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: give one of them, each chooses the validation cases")
        if self.folds == 1:
            raise ValueError("folds 1: at least 2 are needed")
        if self.fold and not re.fullmatch(r"\d+/\d+", self.fold):
            raise ValueError(f"fold '{self.fold}': K/N is needed, for instance 1/5")
        return self

    @classmethod
    def of(cls, **given: Any) -> Asked:
        """Make it from what was given; None and nothing mean the default.

        Raises
        ------
        UsageError
            When something does not fit.
        """
        known = {
            k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in given.items() if v not in (None, (), [])
        }
        if "fractions" in known:
            try:
                known["fractions"] = tuple(sorted(float(f) for f in known["fractions"]))
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f"fractions {known['fractions']!r}: a list of numbers is needed, for instance [0.1, 0.3, 1.0]"
                ) from error
        try:
            return cls.parse(known, "compare")
        except PlanError as error:
            raise UsageError(error.message.replace("compare: ", "", 1)) from error
