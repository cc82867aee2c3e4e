"""The form in which networks are converted: its statistics are those of PyTorch's engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.inference.engines.answering import Answering, moments
from striate.inference.features import statistics


@pytest.mark.parametrize("shape", [(2, 3, 9, 8, 7), (1, 4, 12, 11)])
@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (-3.0, 0.5), (2.0, 0.0)])
def test_moments_are_the_statistics(shape, mean, spread):
    maps = mean + spread * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(moments(maps).numpy(), statistics(maps).numpy(), atol=2e-3)


@pytest.mark.parametrize("exclusive", [True, False])
def test_probabilities_and_statistics_come_at_once(plan_of, network_of, exclusive):
    network, tile = (
        network_of(plan_of()).eval(),
        torch.randn(1, 2, 16, 16, 16, generator=torch.Generator().manual_seed(0)),
    )
    with torch.no_grad():
        shares, first = Answering(network, exclusive, tile)(tile)
        logits = network(tile)
    assert torch.equal(shares, logits.softmax(1) if exclusive else logits.sigmoid())
    assert first.shape == (1, 8)
