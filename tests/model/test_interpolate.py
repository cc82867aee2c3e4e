"""Weights between two networks: by hand, at the ends, with running statistics, and where they do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from striate.core.errors import ModelError, UsageError
from striate.model.interpolate import interpolated


def test_values_are_those_computed_by_hand() -> None:
    old, new = {"w": torch.tensor([[1.0, -2.0]])}, {"w": torch.tensor([[3.0, 2.0]])}
    assert interpolated(old, new, 0.25)["w"].tolist() == [[1.5, -1.0]]
    assert interpolated(old, new, 0.5)["w"].tolist() == [[2.0, 0.0]]
    assert interpolated(old, new, 0.75)["w"].tolist() == [[2.5, 1.0]]


def test_the_ends_are_the_very_bits_and_no_views() -> None:
    old, new = {"w": torch.randn(5), "n": torch.tensor(3)}, {"w": torch.randn(5), "n": torch.tensor(9)}
    for share, end in ((0, old), (1, new)):
        found = interpolated(old, new, share)
        assert all(torch.equal(found[name], end[name]) for name in end)
        found["w"].zero_()
        assert end["w"].abs().sum() > 0


def test_running_statistics_are_interpolated_and_counters_are_of_the_nearer_end() -> None:
    old, new = nn.BatchNorm3d(2).state_dict(), nn.BatchNorm3d(2).state_dict()
    new["running_mean"] += 4
    new["running_var"] += 8
    new["num_batches_tracked"] += 7
    found = interpolated(old, new, 0.25)
    assert found["running_mean"].tolist() == [1.0, 1.0] and found["running_var"].tolist() == [3.0, 3.0]
    assert int(found["num_batches_tracked"]) == 0 and int(interpolated(old, new, 0.5)["num_batches_tracked"]) == 7
    nn.BatchNorm3d(2).load_state_dict(found)


def test_other_networks_and_shares_are_refused() -> None:
    with pytest.raises(ModelError, match=r"tensor w is \(2,\) in the old weights and \(3,\) in the new ones"):
        interpolated({"w": torch.ones(2)}, {"w": torch.ones(3)}, 0.5)
    with pytest.raises(ModelError, match=r"tensor b is missing in the old weights and \(3,\) in the new ones"):
        interpolated({}, {"b": torch.ones(3)}, 0.5)
    with pytest.raises(UsageError, match=r"share 1\.5: a number from 0"):
        interpolated({}, {}, 1.5)
