"""The lecture's arithmetic, and the same numbers from the layers themselves."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.core.errors import UsageError
from striate.networks.connections import connections, positions


def by_kind(*args: Any, **options: Any) -> dict[str, tuple[int, int, int, int]]:
    return {c.kind: (c.weights, c.biases, c.units, c.macs) for c in connections(*args, **options)}


def test_the_slides() -> None:
    """256×256 to 16 neurons; 85×85 positions of four filters of 3×3 with stride 3."""
    assert by_kind((256, 256)) == {
        "dense": (1_048_576, 16, 16, 1_048_576),
        "locally connected": (260_100, 28_900, 28_900, 260_100),
        "sparse": (28_900, 0, 28_900, 28_900),
        "convolution": (36, 4, 28_900, 260_100),
    }
    assert by_kind((256, 256, 256))["dense"][0] == 268_435_456
    assert by_kind((256, 256), neurons=256 * 256)["dense"][0] == 2**32
    assert by_kind((256, 256), filters=16)["convolution"][:2] == (144, 16)


def test_a_volume_with_channels_by_hand() -> None:
    """7×6×5 voxels of 2 channels, filter of 3 with stride 2 and padding 1: 4×3×3 places."""
    found = by_kind((7, 6, 5), in_channels=2, neurons=3, kernel=3, stride=2, filters=5, padding=1)
    units = 4 * 3 * 3 * 5
    assert found["dense"] == (1260, 3, 3, 1260)
    assert found["locally connected"] == (units * 54, units, units, units * 54)
    assert found["convolution"] == (5 * 54, 5, units, units * 54)


def test_positions_by_hand() -> None:
    assert positions(256, 3, 3) == 85
    assert (positions(4, 2), positions(3, 2)) == (3, 2)  # the slide: 4×3 by 2×2 gives 3×2
    assert positions(7, 3, 2, 1) == 4
    assert positions(9, 3, dilation=3) == 3


@given(
    st.lists(st.integers(5, 12), min_size=2, max_size=3),
    *(st.integers(1, n) for n in (3, 4, 5, 3, 4)),
    st.integers(0, 2),
)
@settings(max_examples=25, deadline=None)
def test_equal_to_the_layers(
    size: list[int], channels: int, neurons: int, kernel: int, stride: int, filters: int, padding: int
) -> None:
    from torch import nn

    from striate.networks.counting import count

    conv = (nn.Conv3d if len(size) == 3 else nn.Conv2d)(channels, filters, kernel, stride, padding).to("meta")
    dense = nn.Sequential(nn.Flatten(), nn.Linear(channels * math.prod(size), neurons)).to("meta")
    found = by_kind(
        size, in_channels=channels, neurons=neurons, kernel=kernel, stride=stride, filters=filters, padding=padding
    )
    for kind, layer in (("convolution", conv), ("dense", dense)):
        cost = count(layer, (channels, *size))
        weights, biases, units, macs = found[kind]
        assert (cost.parameters, cost.layers[-1].activations, cost.macs) == (weights + biases, units, macs)


@pytest.mark.parametrize(
    ("given_", "match"),
    [
        ({"neurons": 0}, "neurons is 0; at least 1"),
        ({"stride": -1}, "stride is -1; at least 1"),
        ({"kernel": 9}, "a filter of 9 voxels on 8 with padding 0"),
    ],
)
def test_impossible_numbers_are_refused(given_: dict[str, int], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        connections((8, 8), **given_)


def test_no_torch_is_needed() -> None:
    code = "import sys, striate.networks.connections; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
