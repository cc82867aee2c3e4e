"""Square attack: a random search that only sees probabilities, so that hidden gradients do not stop it.

Andriushchenko, Croce, Flammarion and Hein, "Square attack: a query-efficient black-box adversarial attack via random search",
ECCV 2020, algorithms 1 and 2 (L∞). It starts from stripes of ± ε; then boxes at random places are set to ± ε in each
channel, and kept where the loss grows. The share of the image in a box falls from 0.3 by halves, as in their section 4 (at
10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of 10,000 queries). Here squares are boxes of voxels, stripes run along
the last axis, and the loss is that of the whole mask. Only the windows that a box touches are computed anew.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from striate.trust.attacks import Effort
from striate.trust.attacks.victim import Box, Victim

SHARE = 0.3
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries."""


def square(victim: Victim, epsilon: float, effort: Effort, rng: np.random.Generator) -> Tensor:
    """Return the image of the largest loss that was met in ``effort.queries`` queries."""
    shape = tuple(victim.image.shape)
    stripes = rng.choice((-1.0, 1.0), size=(*shape[:-1], 1)).astype(np.float32)
    image = _pushed(victim, torch.from_numpy(stripes).expand(shape).to(victim.device), epsilon)
    shares = victim.shares(image, victim.active)
    most = victim.loss_of(shares)
    corner, size = _extent(victim)
    for query in range(1, effort.queries):
        box = _drawn(corner, size, share_at(query, effort.queries), rng)
        tried = image.clone()
        part = (slice(None), *box)
        signs = torch.from_numpy(rng.choice((-1.0, 1.0), size=(shape[0], *[1] * len(box))).astype(np.float32))
        tried[part] = _pushed(victim, signs.expand(shape).to(victim.device), epsilon)[part]
        places = victim.touched(box)
        anew = victim.shares(tried, [victim.active[p] for p in places])
        told = list(shares)
        for place, found in zip(places, anew, strict=True):
            told[place] = found
        loss = victim.loss_of(told)
        if loss > most:
            image, shares, most = tried, told, loss
    return image


def share_at(query: int, queries: int) -> float:
    """Return the share of the object's box that a box has at `query` of `queries`."""
    return SHARE / 2.0 ** sum(query / queries * 10_000 > at for at in HALVED_AT)


def _pushed(victim: Victim, signs: Tensor, epsilon: float) -> Tensor:
    return victim.within(victim.moved(victim.image, signs, epsilon), epsilon)


def _extent(victim: Victim) -> tuple[list[int], list[int]]:
    """Return first voxel and size of the object's bounding box along each axis."""
    places = victim.where.nonzero()
    if not len(places):
        return [0] * victim.where.ndim, list(victim.where.shape)
    low, high = places.amin(0).tolist(), places.amax(0).tolist()
    return low, [h - a + 1 for a, h in zip(low, high, strict=True)]


def _drawn(corner: list[int], size: list[int], share: float, rng: np.random.Generator) -> Box:
    """Return a random cube inside the object's bounding box that has about `share` of its voxels."""
    axes = [n for n in size if n > 1]
    side = max(1, round((share * math.prod(axes)) ** (1 / max(len(axes), 1))))
    sides = [min(side, n) for n in size]
    starts = [c + int(rng.integers(n - s + 1)) for c, n, s in zip(corner, size, sides, strict=True)]
    return tuple(slice(a, a + s) for a, s in zip(starts, sides, strict=True))
