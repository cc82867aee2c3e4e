"""The three checks: each passes and fails where it must, and its numbers are those computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import conv, scene_of
from torch import nn

from striate.core.machine import show_seconds
from striate.explaining import faithfulness, inside, method_named, random_weights
from striate.explaining.blocks import Blocks
from striate.explaining.effort import LADDER, SHARE, Effort, Pace, affordable
from striate.explaining.explanation import Explanation
from striate.explaining.verdict import Verdict

EFFORT = Effort(steps=4, boxes=64, networks=2, orders=19, levels=5)
SIDE = 24


@pytest.fixture
def disc():
    """A bright disc in noise, and where it is."""
    place = np.indices((SIDE, SIDE)) - np.array([9, 13])[:, None, None]
    there = (place**2).sum(0) < 20
    image = np.random.default_rng(0).normal(0, 0.3, (1, SIDE, SIDE)) + 0.05 + 2.0 * there
    return image.astype(np.float32), there


def brightness() -> nn.Module:
    """A network that has learned that bright is lesion: the mean over 3 × 3, less a threshold."""
    return conv(torch.full((1, 1, 3, 3), 5 / 9), bias=-4.0)


def random_ones(count: int) -> list[nn.Module]:
    """The same form with weights of any sign."""
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(conv(torch.randn(1, 1, 3, 3)))
    return made


def edges(scene, effort):
    """An edge detector: it looks at the image, never at the network."""
    image = scene.image[0].numpy()
    return sum(np.abs(np.gradient(image, axis=a)) for a in (1, 2)).astype(np.float32)


def test_blocks_divide_the_tissue():
    tissue = np.zeros((6, 4), dtype=bool)
    tissue[:, :3] = True
    blocks = Blocks.of(tissue, about=4)  # 18 voxels in about 4 blocks: cubes of 2
    assert blocks.count == 6 and (blocks.numbers[:, 3] == -1).all()
    assert blocks.numbers[0, 0] == blocks.numbers[1, 1] != blocks.numbers[0, 2]
    values = np.arange(24.0).reshape(6, 4)
    assert blocks.means(values)[blocks.numbers[0, 0]] == pytest.approx((0 + 1 + 4 + 5) / 4)
    assert blocks.means(values)[blocks.numbers[0, 2]] == pytest.approx((2 + 6) / 2)


def spot(weight) -> nn.Module:
    """Looks at 9 × 9 voxels around one."""
    return conv(torch.as_tensor(weight, dtype=torch.float32).reshape(1, 1, 9, 9))


def test_an_edge_detector_fails_random_weights_and_a_true_map_passes():
    """One voxel is explained, so that the map is w · x around it: what was learned is a bell, random weights are noise."""
    rng = np.random.default_rng(0)
    image, there = rng.normal(2, 0.2, (1, SIDE, SIDE)), np.zeros((SIDE, SIDE), dtype=bool)
    there[12, 12] = True
    i, j = np.indices((9, 9)) - 4
    scene = scene_of(spot(np.exp(-(i**2 + 3 * j**2) / 8)), image, there)
    networks = [spot(rng.normal(size=(9, 9))) for _ in range(2)]
    fooled = random_weights.check(scene, edges, edges(scene, EFFORT), networks, EFFORT)
    assert fooled.passed is False and fooled.numbers["rank_correlation"] == pytest.approx(1.0)
    assert "shows the image and not what was learned" in fooled.sentence
    method = method_named("integrated_gradients")
    true = random_weights.check(scene, method, method(scene, EFFORT), networks, EFFORT)
    assert true.passed is True and true.numbers["rank_correlation"] < 0.5
    assert len(true.numbers["rank_correlations"]) == 2


def test_being_near_the_target_does_not_count_as_likeness(disc):
    """Two maps that both fall off with the distance and share nothing else: alike anywhere, not at equal distance."""
    image, there = disc
    scene = scene_of(brightness(), image, there)
    from scipy.ndimage import distance_transform_edt

    near, rng = np.exp(-distance_transform_edt(~there)), np.random.default_rng(1)
    maps = [(near * (1 + 0.1 * rng.random(near.shape)))[None].astype(np.float32) for _ in range(2)]
    found = random_weights.check(scene, lambda s, e: maps[1], maps[0], random_ones(1), EFFORT)
    assert found.numbers["rank_correlation_anywhere"] > 0.9
    assert abs(found.numbers["rank_correlation"]) < 0.4 and found.passed is True


def test_likeness_is_spearmans_correlation():
    one, other = np.array([1.0, 2, 3, 10, 30, 20]), np.array([5.0, 6, 7, 1, 2, 3])
    # ranks 1 2 3 4 6 5 and 4 5 6 1 2 3: ρ = 1 − 6 Σ d² / (n (n² − 1)) with d² = 9 9 9 9 16 4
    assert random_weights.likeness(one, other) == pytest.approx(1 - 6 * 56 / (6 * 35))
    assert random_weights.likeness(np.zeros(3), np.arange(3.0)) == 0.0


def test_what_follows_from_the_distance_alone_is_no_likeness():
    far, rng = np.repeat(np.arange(50.0), 8), np.random.default_rng(0)
    one, other = (np.exp(-far / 10) * (1 + 0.2 * rng.random(400)) for _ in range(2))
    assert random_weights.likeness(one, other) > 0.95
    assert abs(random_weights.likeness(one, other, far)) < 0.15
    assert random_weights.likeness(one, one**3, far) > 0.95


def test_a_map_that_is_nothing_but_the_distance_fails_with_any_weights(disc):
    """Nothing is left when the distance is taken out; it is ranked anywhere, and there it is the same."""
    far = np.arange(100.0)
    assert random_weights.likeness(np.exp(-far), 1 / (1 + far), far) == pytest.approx(1.0)
    image, there = disc
    scene = scene_of(brightness(), image, there)
    place = there[None].astype(np.float32)
    found = random_weights.check(scene, lambda s, e: place, place, random_ones(1), EFFORT)
    assert found.passed is False and "(anywhere: 1.00)" in found.sentence


def test_a_constant_map_explains_nothing(disc):
    image, there = disc
    scene = scene_of(brightness(), image, there)
    flat = np.zeros((1, SIDE, SIDE), np.float32)
    assert random_weights.check(scene, edges, flat, [], EFFORT).passed is False
    found = inside.check(scene, flat)
    assert found.passed is False and "0 everywhere" in found.sentence


def test_inside_compares_the_shares_of_attribution_and_of_volume(disc):
    image, there = disc
    scene = scene_of(brightness(), image, there)
    volume = there.mean()
    found = inside.check(scene, there[None].astype(np.float32) - 0.0)
    assert found.passed is True and found.numbers["share_inside"] == 1.0
    assert found.numbers["ratio"] == pytest.approx(1 / volume)
    even = inside.check(scene, np.where(there, 1.0, -1.0)[None].astype(np.float32))
    assert even.passed is False and even.numbers["ratio"] == pytest.approx(1.0)
    assert f"{100 * volume:.2g} % of the tissue" in found.sentence


def test_deletion_and_insertion_of_a_known_map(disc):
    """The true map (where it is bright) passes; its opposite and a random one fail."""
    image, there = disc
    scene = scene_of(brightness(), image, there)
    orders = faithfulness.Orders.of(scene, EFFORT, seed=0)
    true = faithfulness.check(scene, image * there, orders)
    assert true.passed is True
    assert true.numbers["deletion_p"] == true.numbers["insertion_p"] == 1 / 20
    assert true.numbers["deletion_area"] < true.numbers["deletion_area_random"]
    wrong = faithfulness.check(scene, -image * there, orders)
    assert wrong.passed is False and wrong.numbers["deletion_p"] == 1.0
    any_order = np.random.default_rng(5).random((1, SIDE, SIDE)).astype(np.float32)
    assert faithfulness.check(scene, any_order, orders).passed is False


def test_a_target_of_one_block_can_be_told_from_random_orders_with_few_points():
    """Measured: 8 of 10 draws pass; in even steps of a quarter 1 of 10, as random orders have lost the block by then, too."""
    there = np.zeros((SIDE, SIDE), dtype=bool)
    there[3, 3] = True
    image = np.where(there, 8.0, np.random.default_rng(0).normal(0, 0.1, (1, SIDE, SIDE)))
    scene = scene_of(brightness(), image.astype(np.float32), there)
    passed = 0
    for seed in range(10):
        orders = faithfulness.Orders.of(scene, Effort(orders=19, levels=4), seed=seed)
        passed += bool(faithfulness.check(scene, there[None].astype(np.float32), orders).passed)
    assert passed >= 7  # the chance that no random order begins with it is (1 − 1/64)¹⁹ = 0.74


def test_curves_begin_and_end_at_the_image_and_the_baseline(disc):
    """By hand: between them, at (1/2)³ of the blocks, the image has lost the first of them and nothing else."""
    image, there = disc
    scene = scene_of(brightness(), image, there)
    orders = faithfulness.Orders.of(scene, Effort(orders=1, levels=2), seed=0)
    order = faithfulness.order_of(image, orders.blocks)
    deletion, insertion = faithfulness.curves(scene, orders.blocks, order, orders.shares, orders.ends)
    whole, empty = (scene.score.probability(x).item() for x in (scene.image, torch.zeros_like(scene.image)))
    assert deletion[[0, -1]] == pytest.approx([whole, empty]) and insertion[[0, -1]] == pytest.approx([empty, whole])
    assert orders.shares.tolist() == [0, 1 / 8, 1]
    gone = np.isin(orders.blocks.numbers, order[: round(len(order) / 8)])
    parts = [torch.from_numpy(np.where(mask, 0, image)[None].astype(np.float32)) for mask in (gone, ~gone)]
    assert deletion[1] == pytest.approx(scene.score.probability(parts[0]).item(), abs=1e-6)
    assert insertion[1] == pytest.approx(scene.score.probability(parts[1]).item(), abs=1e-6)
    assert faithfulness.area(np.array([1.0, 0.5, 0.0]), np.array([0, 0.5, 1])) == pytest.approx(0.5)


def test_one_failed_check_fails_the_map_and_an_impossible_one_does_not():
    verdicts = Verdict("inside", None, "Not measured."), Verdict("faithfulness", True, "Good.")
    assert Explanation("occlusion", np.zeros((1, 1, 1)), verdicts).passed is True
    broken = (*verdicts, Verdict("random_weights", False, "Bad.", {"rank_correlation": 0.9}))
    found = Explanation("occlusion", np.zeros((1, 1, 1)), broken).to_dict()
    assert found["passed"] is False and found["checks"][2]["rank_correlation"] == 0.9


def test_the_effort_is_the_largest_that_fits_and_costs_what_is_counted(disc):
    image, there = disc
    scene = scene_of(brightness(), image, there)
    passes = []
    heard = scene.hearing(lambda images, gradient: passes.append(images))
    effort = Effort(steps=4, boxes=36, networks=1, orders=19, levels=5)
    faithfulness.Orders.of(heard, effort, 0)
    assert sum(passes) == 2 + 19 * effort.curve_passes == 2 + 19 * 8
    pace = Pace(0.1, 0.3)
    wanted = 2 * (36 + 4 * 3) + 2 + 8 * (19 + 2)
    assert effort.passes(["occlusion", "integrated_gradients"], 3.0) == pytest.approx(wanted)
    assert pace.seconds(effort, ["occlusion", "integrated_gradients"]) == pytest.approx(0.1 * wanted)
    assert affordable([pace], ["grad_cam"], 1e6) == LADDER[-1]
    assert affordable([pace], ["grad_cam"], 1e6, most=2) == LADDER[2]
    from striate.core.errors import TimeLimitError

    with pytest.raises(TimeLimitError, match=r"--budget: 1\.0 s; about .* are needed for grad_cam with their checks"):
        affordable([pace], ["grad_cam"], 1.0)
    needed = pace.seconds(LADDER[0], ["grad_cam"]) / SHARE
    with pytest.raises(TimeLimitError, match=rf"--budget: 9\.0 s; about {show_seconds(7 + 2 * needed)} are needed"):
        affordable([pace], ["grad_cam"], 1.0, budget_s=9.0, cases=2)  # 7 s are spent, and two cases are to come
