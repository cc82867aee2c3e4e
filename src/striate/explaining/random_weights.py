"""Check that the explanation depends on what the network has learned.

J. Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018: the same method is applied to networks of the same
architecture with random weights. An explanation that stays alike shows the image (edges, for instance) or the place of the
target, not what was learned.

Alike means Spearman's rank correlation of the strength (absolute mean attribution) of blocks of tissue. The score of a lesion
is read off at the lesion, so that with any weights the map is stronger there than far away; therefore blocks are ranked
among those at the same distance from the target. That is milder than the paper, which ranks anywhere
(``rank_correlation_anywhere``): a map that follows the distance with a little of its own is not refuted. One that follows
nothing else is ranked anywhere. All weights are drawn anew (the end point of the paper's cascade).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from striate.core.counted import counted
from striate.explaining import Method
from striate.explaining.blocks import Blocks
from striate.explaining.effort import Effort
from striate.explaining.scene import Scene
from striate.explaining.verdict import Verdict
from striate.planning.plan import Plan

BOUND = 0.5
"""The mean rank correlation must stay below: less than a quarter of the variance of ranks is shared."""
FAR = 1_000_003
"""Seeds are spread by this, so that no network begins with the weights that the model itself began with."""
TOGETHER = 20
"""Blocks that are ranked together."""


def random_networks(plan: Plan, count: int, seed: int) -> list[nn.Module]:
    """Return networks of the plan with random weights, as they are before training."""
    from striate import networks

    choice, found = plan.network, list[nn.Module]()
    with torch.random.fork_rng(devices=[]):
        for number in range(count):
            torch.manual_seed(FAR * (seed + 1) + number)
            made = networks.create(
                choice.name, spatial_dims=choice.spatial_dims, in_channels=plan.in_channels,
                out_channels=plan.task.outputs.out_channels, **choice.options,
            )  # fmt: skip
            found.append(made.eval())
    return found


def likeness(
    one: NDArray[np.float64], other: NDArray[np.float64], distance: NDArray[np.float64] | None = None
) -> float:
    """Return Spearman's rank correlation of `one` and `other` (N,); 0 where one is constant.

    With `distance` (N,) places are ranked in groups of about `TOGETHER` equally far ones, and what is left of the distance
    within a group is taken out of both ranks (partial correlation). Where nothing is left of one, places are ranked anywhere.
    """
    from scipy.stats import rankdata

    groups = [np.arange(len(one))]
    if distance is not None:
        groups = np.array_split(np.argsort(distance, kind="stable"), max(1, len(one) // TOGETHER))
    products = np.zeros(3)
    for group in groups:
        ranks = [r - r.mean() for r in (rankdata(one[group]), rankdata(other[group]))]
        if distance is not None:
            far = rankdata(distance[group])
            far -= far.mean()
            ranks = [r - far * float(r @ far) / max(float(far @ far), 1e-12) for r in ranks]
        products += [ranks[0] @ ranks[1], ranks[0] @ ranks[0], ranks[1] @ ranks[1]]
    if min(products[1:]) > 1e-9:
        return float(products[0] / np.sqrt(products[1] * products[2]))
    return 0.0 if distance is None else likeness(one, other)


def distances(scene: Scene, blocks: Blocks) -> NDArray[np.float64] | None:
    """Return how far each block is from the border of the target in mm, negative inside; None without a target."""
    if scene.inside is None or scene.inside.all():
        return None
    from scipy import ndimage

    spacing = scene.prepared.grid.spacing_mm
    outside, within = (ndimage.distance_transform_edt(m, sampling=spacing) for m in (~scene.inside, scene.inside))
    return blocks.means(outside - within)


def check(
    scene: Scene, method: Method, attribution: NDArray[np.float32], networks: Sequence[nn.Module], effort: Effort
) -> Verdict:
    """Compare `attribution` with what `method` gives for `networks` of random weights."""
    if not np.ptp(attribution[:, scene.tissue]):
        return Verdict("random_weights", False, "The map is the same everywhere: it explains nothing.", {})
    blocks = Blocks.of(scene.tissue)
    distance = distances(scene, blocks)
    own = _strength(attribution, blocks)
    others = [_strength(method(scene.of(network), effort), blocks) for network in networks]
    values = [likeness(own, other, distance) for other in others]
    mean = float(np.mean(values))
    count = f"{counted(len(values), 'network')} with random weights"
    far = "" if distance is None else " at equal distance from the target"
    anywhere = float(np.mean([likeness(own, other) for other in others]))
    sentence = (
        f"Rank correlation of the strength of blocks{far} with the maps of {count}: {mean:.2f}"
        f"{'' if distance is None else f' (anywhere: {anywhere:.2f})'}; below {BOUND:g} is needed,"
        " else the map shows the image and not what was learned."
    )
    numbers = {
        "rank_correlations": values, "rank_correlation": mean, "bound": BOUND,
        "rank_correlation_anywhere": anywhere,
    }  # fmt: skip
    return Verdict("random_weights", mean < BOUND, sentence, numbers)


def _strength(attribution: NDArray[np.float32], blocks: Blocks) -> NDArray[np.float64]:
    """Return |mean attribution| of each block, channels added."""
    return np.abs(blocks.means(attribution.sum(axis=0, dtype=np.float64)))
