"""Dice on whole validation volumes while a network learns, on the prepared grid (nothing is restored or written)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from striate.data.store import PatchStore
from striate.inference.predict import predict_classes
from striate.planning.plan import Plan


def validator(plan: Plan, store: PatchStore, cases: Sequence[str]) -> Callable[[nn.Module], dict[str, float]]:
    """Return a function from a network to ``dice_LABEL`` per label or region and ``dice_mean``, over `cases` together.

    Dice is pooled over the cases (2·Σ|P∩T| / Σ(|P| + |T|)), so that an empty case does not count as perfect. Without
    cases the function returns nothing.
    """
    names = plan.targets.names
    members = np.eye(len(names) + 1, dtype=bool)[:, 1:] if plan.targets.exclusive else plan.targets.memberships()[0]

    def validate(network: nn.Module) -> dict[str, float]:
        both, total = np.zeros(len(names)), np.zeros(len(names))
        for case in cases:
            stored = store[case]
            found = predict_classes(plan, network, np.asarray(stored.images, dtype=np.float32))
            pairs = np.bincount(
                found.ravel().astype(np.int64) * len(members) + np.asarray(stored.classes).ravel(),
                minlength=len(members) ** 2,
            ).reshape(len(members), len(members))
            for index in range(len(names)):
                said, was = members[:, index], members[:, index]
                both[index] += float(pairs[np.ix_(said, was)].sum())
                total[index] += float(pairs[said].sum() + pairs[:, was].sum())
        if not cases:
            return {}
        dice = {f"dice_{n}": float(2 * b / t) if t else 1.0 for n, b, t in zip(names, both, total, strict=True)}
        return {**dice, "dice_mean": float(np.mean(list(dice.values())))}

    return validate
