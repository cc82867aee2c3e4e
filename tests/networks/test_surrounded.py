"""An unpadded network answers for every voxel of a window, as if the image went on mirrored."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.networks.surrounded import logits_of, seen_size

SMALL = {
    "deepmedic": {"features": (2, 2), "hidden": (3,)},
    "unet_2015": {"features": (2, 3)},
    "unet_3d_2016": {"features": (2, 3)},
}


def both(name, dims):
    torch.manual_seed(0)
    made = [
        networks.create(name, spatial_dims=dims, in_channels=1, out_channels=2, **SMALL[name], padding=padding).eval()
        for padding in ("valid", "same")
    ]
    made[1].load_state_dict(made[0].state_dict())
    return made


def test_deepmedic_answers_as_its_mirroring_form():
    """The padded form of DeepMedic mirrors what it sees, and was written without this."""
    valid, same = both("deepmedic", 2)
    for size in ((15, 22), (30, 30)):
        x = torch.randn(2, 1, *size)
        torch.testing.assert_close(logits_of(valid, x), same(x))


@pytest.mark.parametrize("name", list(SMALL))
def test_every_voxel_is_answered_and_the_inner_ones_as_before(name):
    """Halvings fall on the same voxels, because these margins are multiples of the divisor."""
    network = both(name, 3)[0]
    size, margin = network.fitting((40, 40, 40)), network.margin[0]
    assert margin % network.divisor[0] == 0
    x = torch.randn(1, 1, *size)
    found = logits_of(network, x)
    assert found.shape == (1, 2, *size)
    inner = (slice(None), slice(None), *(slice(margin, n - margin) for n in size))
    torch.testing.assert_close(found[inner], network(x))


def test_a_padded_network_sees_what_it_is_given():
    same = both("unet_2015", 2)[1]
    x = torch.randn(1, 1, 16, 16)
    assert torch.equal(logits_of(same, x), same(x)) and seen_size(same, (16, 16)) == (16, 16)
