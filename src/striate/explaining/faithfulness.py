"""Check that the voxels which the explanation names decide what the network says.

V. Petsiuk, A. Das, K. Saenko: RISE, BMVC 2018. Deletion: the image loses its blocks, the most important first; the area under
the curve of the probability must be smaller than when blocks go in random order. Insertion: an image of the baseline
(RISE takes a blurred one) gets them back in the same order; the area must be larger. p-values count random orders that do as well
(B. Phipson and G. K. Smyth 2010: never 0), so that 19 orders give 0.05 where the map beats them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from striate.core.counted import counted
from striate.explaining.blocks import Blocks
from striate.explaining.effort import Effort
from striate.explaining.scene import BASELINE, Scene
from striate.explaining.score import VOXELS_AT_ONCE
from striate.explaining.verdict import Verdict

LIMIT = 0.05
"""Largest p-value of each of the two that passes."""

Curve = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Orders:
    """What random orders reach on a scene; shared by all methods.

    Attributes
    ----------
    blocks
        The tissue, divided.
    shares
        (L + 1,) share of the blocks that is gone, or back, at each point, see `shares_of`.
    ends
        Mean probability of the target in the image, and in an image of the baseline.
    deletion, insertion
        (R, L + 1) the same in between.
    """

    blocks: Blocks
    shares: Curve
    ends: tuple[float, float]
    deletion: Curve
    insertion: Curve

    @classmethod
    def of(cls, scene: Scene, effort: Effort, seed: int) -> Orders:
        """Measure ``effort.orders`` random orders."""
        blocks = Blocks.of(scene.tissue)
        shares, rng = shares_of(effort.levels), np.random.default_rng(seed)
        ends = ends_of(scene)
        found = [curves(scene, blocks, rng.permutation(blocks.count), shares, ends) for _ in range(effort.orders)]
        deletion, insertion = (np.array([pair[k] for pair in found]) for k in (0, 1))
        return cls(blocks, shares, ends, deletion, insertion)


def shares_of(levels: int) -> Curve:
    """Return (levels + 1,) shares from 0 to 1, (n / levels)³.

    A good map names few blocks, and they decide at once: what matters is how soon the curve turns. In even steps a small
    target is gone at the first point in many of the random orders, too, and no map can beat them.
    """
    return np.linspace(0.0, 1.0, levels + 1) ** 3


def order_of(attribution: NDArray[np.float32], blocks: Blocks) -> NDArray[np.intp]:
    """Return the blocks by their mean attribution (summed over channels), the largest first."""
    return np.argsort(-blocks.means(attribution.sum(axis=0, dtype=np.float64)), kind="stable")


def ends_of(scene: Scene) -> tuple[float, float]:
    """Return the mean probability of the target in the image, and in an image of the baseline."""
    both = [scene.score.probability(image) for image in (scene.image, torch.full_like(scene.image, BASELINE))]
    return float(both[0]), float(both[1])


def curves(
    scene: Scene, blocks: Blocks, order: NDArray[Any], shares: Curve, ends: tuple[float, float]
) -> tuple[Curve, Curve]:
    """Return the mean probability of the target while blocks are deleted in `order`, and while they are inserted."""
    rank = np.empty(len(order) + 1, dtype=np.float64)
    rank[order] = np.arange(len(order))
    rank[-1] = math.inf  # what is no tissue is the baseline already
    place = torch.from_numpy(rank[blocks.numbers])
    empty = torch.full_like(scene.image, BASELINE)
    at_once = max(1, VOXELS_AT_ONCE // place.numel())
    deleted, inserted = [], []
    for some in torch.split(torch.from_numpy(np.round(shares[1:-1] * len(order))), at_once):
        gone = (place < some.reshape(-1, *(1,) * place.ndim))[:, None]
        deleted.append(scene.score.probability(torch.where(gone, empty, scene.image)))
        inserted.append(scene.score.probability(torch.where(gone, scene.image, empty)))
    between = [torch.cat(found).double().numpy() for found in (deleted, inserted)]
    return np.array([ends[0], *between[0], ends[1]]), np.array([ends[1], *between[1], ends[0]])


def area(values: Curve, shares: Curve) -> Any:
    """Return the area under curves (…, L + 1) over the shares (trapezoids)."""
    return np.trapezoid(values, shares, axis=-1)


def check(scene: Scene, attribution: NDArray[np.float32], orders: Orders) -> Verdict:
    """Compare deletion and insertion in the order of `attribution` with random orders."""
    order = order_of(attribution, orders.blocks)
    deletion, insertion = curves(scene, orders.blocks, order, orders.shares, orders.ends)
    areas = float(area(deletion, orders.shares)), float(area(insertion, orders.shares))
    others = area(orders.deletion, orders.shares), area(orders.insertion, orders.shares)
    many = len(orders.deletion) + 1
    p = (1 + int((others[0] <= areas[0]).sum())) / many, (1 + int((others[1] >= areas[1]).sum())) / many
    sentence = (
        f"Area under deletion {areas[0]:.3f} (random orders {others[0].mean():.3f}, p = {p[0]:.3g}), under insertion"
        f" {areas[1]:.3f} (random {others[1].mean():.3f}, p = {p[1]:.3g}); "
        f"{counted(many - 1, 'random order')} of {counted(orders.blocks.count, 'block')};"
        f" p of at most {LIMIT:g} is needed for both."
    )
    numbers = {
        "deletion_area": areas[0], "deletion_area_random": float(others[0].mean()), "deletion_p": p[0],
        "insertion_area": areas[1], "insertion_area_random": float(others[1].mean()), "insertion_p": p[1],
        "orders": many - 1, "blocks": orders.blocks.count, "shares": orders.shares, "deletion": deletion, "insertion": insertion,
        "deletion_random": orders.deletion.mean(0), "insertion_random": orders.insertion.mean(0),
    }  # fmt: skip
    return Verdict("faithfulness", max(p) <= LIMIT, sentence, numbers)
