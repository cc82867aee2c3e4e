"""The lecture's arithmetic for an image of your own: what a layer costs, fully connected or with a filter.

The lecture counts "number of neurons × number of connections to the next layer": 1,048,576 weights from 256×256 pixels
to 16 neurons, and 28,900 for sparse connections (a filter of 3×3, stride 3, 4 filters). The latter is the number of
output units; the weights of the convolution are 36. The four ways of counting stand beside each other here. Needs no
torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from striate.core.errors import UsageError, expected


@dataclass(frozen=True, slots=True)
class Connections:
    """One way of connecting an image to the next layer.

    Attributes
    ----------
    kind
        ``dense``, ``locally connected``, ``sparse`` or ``convolution``.
    weights, biases
        Numbers to learn.
    units
        Neurons of the next layer.
    macs
        Multiply-accumulates per image, biases not counted.
    """

    kind: str
    weights: int
    biases: int
    units: int
    macs: int


def connections(
    size: Sequence[int],
    *,
    in_channels: int = 1,
    neurons: int = 16,
    kernel: int = 3,
    stride: int = 3,
    filters: int = 4,
    padding: int = 0,
) -> tuple[Connections, ...]:
    """Count four ways of connecting an image.

    Parameters
    ----------
    size
        Voxels along each axis.
    in_channels
        Channels of the image.
    neurons
        Of the fully connected layer.
    kernel, stride, padding
        Of the filter, along each axis.
    filters
        Number of filters.

    Returns
    -------
    tuple of Connections
        ``dense``: every neuron sees the whole image. ``locally connected``: each unit sees the filter's window with
        weights of its own. ``sparse``: the slide's count, one weight per unit; no layer with windows of more than one
        pixel has it. ``convolution``: all units of a filter share its weights.

    Raises
    ------
    UsageError
        When a number is too small, or the filter is larger than the padded image.
    """
    counts = {
        "in_channels": in_channels,
        "neurons": neurons,
        "filters": filters,
        "kernel": kernel,
        "stride": stride,
    }
    for name, value in counts.items():
        if value < 1:
            raise UsageError(expected("connections", f"{name} is {value}", "at least 1 is needed"))
    pixels = math.prod(size) * in_channels
    units = filters * math.prod(positions(n, kernel, stride, padding) for n in size)
    window = kernel ** len(size) * in_channels
    return (
        Connections("dense", pixels * neurons, neurons, neurons, pixels * neurons),
        Connections("locally connected", units * window, units, units, units * window),
        Connections("sparse", units, 0, units, units),
        Connections("convolution", filters * window, filters, units, units * window),
    )


def positions(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Return the places of a filter along one axis: ⌊(n + 2p - d(k - 1) - 1) / s⌋ + 1.

    Raises
    ------
    UsageError
        When the filter is larger than the padded image.
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if room < 0:
        got = f"a filter of {dilation * (kernel - 1) + 1} voxels on {size} with padding {padding}"
        raise UsageError(expected("connections", got, "a filter no larger than the padded image is needed"))
    return room // stride + 1
