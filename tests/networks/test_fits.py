"""Images too small for a network: its smallest size, and which networks take them."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError
from striate.networks.describe import built
from striate.networks.fits import able, smallest, too_small


@pytest.mark.parametrize("name", networks.names())
def test_the_smallest_size_passes_and_one_voxel_less_does_not(name):
    """Of each network of the table, as it is by default."""
    dims = networks.load(name).dims[0]
    found = smallest(name, (8,) * dims, {})
    assert found is not None and found.fitting(found.least) == found.least
    lead = (1, 2) if found.task == "sequence" else (1,)
    found.eval()(torch.empty((*lead, found.in_channels, *found.least), device="meta"))
    less = tuple(n - 1 for n in found.least)
    assert min(less) == 0 or _accepted(name, less) != less


def _accepted(name, size):
    try:
        return built(name, size).fitting(size)
    except UsageError:
        return None


def test_the_sentence_holds_the_size_and_those_that_take_the_images():
    told = too_small("alexnet", (8, 8), {})
    assert told is not None
    assert told.startswith(
        "network alexnet: images of 8×8 voxels; at least 67×67 are needed. For classification these take"
    )
    takers = able((8, 8))
    assert set(takers["classification"]) <= set(networks.names("classification"))
    for name in (n for some in takers.values() for n in some):
        assert name in told
        assert built(name, (8, 8)).fitting((8, 8)) == (8, 8)
    assert "lenet5" not in told and "googlenet" not in told


def test_a_network_that_is_added_is_among_them(monkeypatch):
    monkeypatch.setattr(networks, "NETWORKS", {n: networks.NETWORKS[n] for n in ("lenet5", "mlp")})
    assert (too_small("lenet5", (9, 8), {}) or "").endswith("For classification these take 9×8: mlp.")
    monkeypatch.setitem(networks.NETWORKS, "another", networks.NETWORKS["mlp"])
    assert (too_small("lenet5", (9, 8), {}) or "").endswith("these take 9×8: another, mlp.")
    monkeypatch.delitem(networks.NETWORKS, "mlp")
    monkeypatch.delitem(networks.NETWORKS, "another")
    assert (too_small("lenet5", (9, 8), {}) or "").endswith("No network for classification takes 9×8.")


def test_nothing_is_said_of_what_is_large_enough_or_wrong_otherwise():
    assert too_small("lenet5", (33, 64), {}) is None
    assert too_small("hmax", (8, 8, 8), {}) is None
    assert too_small("unet", (8, 8), {"features": "big"}) is None
    assert too_small("unet", (8, 8), {"features": [8, 16]}) is None


def test_the_cost_of_images_that_are_too_small():
    with pytest.raises(UsageError, match=r"network unet: images of 16×48 voxels; at least 32×32 \(in steps of 32×32\)"):
        networks.cost("unet", (16, 48))
