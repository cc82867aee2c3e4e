"""`Trial`: one run of a comparison, and which there are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from striate.comparing.asked import Asked
from striate.planning.plan import RANDOM


@dataclass(frozen=True, slots=True)
class Trial:
    """One training run.

    Attributes
    ----------
    network, start
        Name of the network, and what it starts from; see `striate.comparing.asked.STARTS`.
    fraction
        Share of the training subjects.
    seed
        Of split, subjects, weights and order.
    fold
        ``K/N`` or None.
    """

    network: str
    start: str
    fraction: float
    seed: int
    fold: str | None

    @property
    def group(self) -> tuple[str, str, float]:
        """What repetitions have in common: network, start and fraction."""
        return self.network, self.start, self.fraction

    @property
    def name(self) -> str:
        """Name of the run folder."""
        fold = f"_fold{self.fold.replace('/', 'of')}" if self.fold else ""
        start = "" if self.start == "random" else f"_{self.start}"
        return f"{self.network}{start}_data{self.fraction:g}_seed{self.seed}{fold}"

    def folder(self, out: Path) -> Path:
        """Return the run folder within the comparison's folder."""
        return out / "runs" / self.name

    def told(self) -> str:
        """Return it in words."""
        start = {
            "random": "", "transfer": ", from the encoder", "frozen": ", encoder frozen",
            "random_frozen": ", random features frozen",
        }[self.start]  # fmt: skip
        share = "" if self.fraction == 1 else f", {100 * self.fraction:g} % of the training subjects"
        return f"{self.network}{start}{share}, seed {self.seed}" + (f", fold {self.fold}" if self.fold else "")

    def options(self, asked: Asked, run_s: float | None) -> dict[str, Any]:
        """Return the options of `train`."""
        options = {
            "budget": None if run_s is None else f"{run_s:.1f}s", "steps": asked.steps, "memory": asked.memory,
            "task": asked.task, "regions": asked.regions, "holdout": asked.holdout, "fold": self.fold,
            "fraction": None if self.fraction == 1 else self.fraction, "network": self.network, "dims": asked.dims,
            "seed": self.seed,
        }  # fmt: skip
        if self.start == "random_frozen":
            options |= {"encoder": RANDOM, "frozen": True}
        elif self.start != "random":
            options |= {"encoder": asked.encoder, "frozen": self.start == "frozen"}
        return {key: value for key, value in options.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def trials(asked: Asked, starts: dict[str, tuple[str, ...]]) -> tuple[Trial, ...]:
    """Return every run in the order in which it is run: one repetition of everything after the other, largest share first.

    Parameters
    ----------
    asked
        What was asked for.
    starts
        Network → what it can start from.
    """
    count = asked.folds
    folds = [asked.fold] if count is None else [f"{k}/{count}" for k in range(1, count + 1)]
    return tuple(
        Trial(network, start, fraction, seed, fold)
        for seed in range(asked.seed, asked.seed + asked.seeds)
        for fold in folds
        for fraction in reversed(asked.fractions)
        for network in asked.networks
        for start in starts.get(network, ("random",))
    )
