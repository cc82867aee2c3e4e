"""Operations, time and memory of training, by hand."""

from __future__ import annotations

import pytest

from striate.core.errors import UsageError
from striate.planning.cost import (
    SampleCount,
    flops_by_operations,
    flops_by_time,
    network_cost,
    samples_sentence,
    seen_patch,
    training_bytes,
)


def test_operations():
    # 2 FLOP per MAC, forward once and backward twice, 3 patches, 5 updates
    assert flops_by_operations(1000, 3, 5) == 2 * 1000 * 3 * 3 * 5


def test_time():
    # arXiv 2202.05924's example form: seconds × peak × 40 %
    assert flops_by_time(60.0, 1e12) == pytest.approx(2.4e13)


def test_a_network_counted_by_hand(tiny_plan):
    """small_unet 4-8 on 16³, 1 channel, 2 classes; convolutions without bias, transposed ones with."""
    plan = tiny_plan()
    cost = network_cost(plan.task, plan.network, (16, 16, 16))
    fine, coarse = 8**3, 4**3  # voxels after the stem (stride 2) and after the second stage
    encoder = fine * 27 * (1 * 4 + 4 * 4) + coarse * 27 * (4 * 8 + 8 * 8)
    decoder = fine * 4 * 8 + fine * 27 * 8 * 4  # transposed 2³: each output voxel has one source voxel
    head = 16**3 * 4 * 2
    assert cost.macs == encoder + decoder + head
    convolutions = 27 * (1 * 4 + 4 * 4 + 4 * 8 + 8 * 8 + 8 * 4) + 8 * (8 * 4 + 4 * 2) + 4 + 2
    norms = 2 * (4 + 4 + 8 + 8 + 4)
    assert cost.parameters == convolutions + norms


def test_memory_grows_with_the_batch_and_halves_its_part_in_bf16(tiny_plan):
    plan = tiny_plan()
    cost = network_cost(plan.task, plan.network, (64, 64, 64))
    none, one, two = (training_bytes(cost, n, "fp32") for n in (0, 1, 2))
    assert two - one == pytest.approx(one - none, abs=2)
    assert training_bytes(cost, 2, "bf16") - none == pytest.approx((two - none) / 2, abs=2)


def test_the_axis_of_one_is_not_seen():
    assert seen_patch((64, 64, 1), 2) == (64, 64)
    assert seen_patch((1, 64, 32), 2, (5.0, 0.5, 0.7)) == (0.5, 0.7)
    assert seen_patch((64, 64, 1), 3) == (64, 64, 1)


def test_samples_per_parameter_with_the_caveat():
    count = SampleCount(voxels=5000, parameters=1000, subjects=4)
    assert count.per_parameter == 5
    sentence = samples_sentence(count.per_parameter, count.subjects)
    assert "5 training voxels per parameter (rule of thumb: 10), 4 subjects" in sentence
    assert "far from independent" in sentence


def test_an_impossible_patch_names_one_that_works(tiny_plan):
    plan = tiny_plan()
    with pytest.raises(UsageError, match=r"input size \(18, 16, 16\).*The size \(20, 16, 16\) would work"):
        network_cost(plan.task, plan.network, (18, 16, 16))
