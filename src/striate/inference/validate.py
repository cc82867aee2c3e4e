"""Dice on whole validation volumes while a network learns, on the prepared grid (nothing is restored or written)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from striate.core.targets import Targets
from striate.data.store import PatchStore
from striate.inference.engines import open_engine
from striate.inference.sliding_window import Window
from striate.inference.tiling import Tiling
from striate.planning.plan import Plan

OVERLAP = 0.25
"""Less than for the final prediction: the curve is to be cheap."""


def validator(plan: Plan, store: PatchStore, cases: Sequence[str]) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function from a network to ``dice_LABEL`` per label or region and ``dice_mean``, over `cases` together.

    Dice is pooled over the cases (2·Σ|P∩T| / Σ(|P| + |T|)), so that an empty case does not count as perfect. Without
    cases the function returns nothing.
    """
    targets = plan.targets
    members = _members(targets)

    def validate(network: nn.Module) -> dict[str, float]:
        if not cases:
            return {}
        both, total = np.zeros(len(targets.names)), np.zeros(len(targets.names))
        engine = open_engine(network, exclusive=targets.exclusive)
        for name in cases:
            stored = store[name]
            tiling = Tiling.of(stored.classes.shape, plan.inference.patch, OVERLAP)
            window = Window(engine, tiling, targets.out_channels, targets.exclusive, plan.network.spatial_dims)
            truth = np.moveaxis(np.asarray(stored.classes), tiling.rolling_axis, 0)
            for start, rows in window.slide(np.asarray(stored.images, dtype=np.float32)):
                found = rows.float().numpy()
                true = truth[start : start + found.shape[1]]
                for index in range(len(targets.names)):
                    said = found.argmax(0) == index + 1 if targets.exclusive else found[index] > 0.5
                    was = members[true, index]
                    both[index] += float((said & was).sum())
                    total[index] += float(said.sum() + was.sum())
        dice = {f"dice_{n}": float(2 * b / t) if t else 1.0 for n, b, t in zip(targets.names, both, total, strict=True)}
        return {**dice, "dice_mean": float(np.mean(list(dice.values())))}

    return validate


def _members(targets: Targets) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return (class index, target) → whether the class belongs to the target."""
    if targets.exclusive:
        return np.eye(len(targets.names) + 1, dtype=bool)[:, 1:]
    return targets.memberships()[0]
