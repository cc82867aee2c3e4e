"""`separate`: a convolution of concatenated maps as the sum of one convolution of each; OpenVINO's form of a network.

The skips of a U-Net are concatenated with what comes from below. With channels last OpenVINO copies both for that, voxel by
voxel, and for the finest maps that takes a good part of the time of the convolution that follows. Weights are cut along their
inputs instead, and the second convolution adds to what the first one wrote: nothing is copied. In whole numbers of 8 bits copies
are cheap and sums are not, so that a network to be quantised is left as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LANES = 32
"""Numbers of bfloat16 that a processor with AMX multiplies in one row."""


def separate(network: Any) -> int:
    """Change `network` (``openvino.Model``) in place; return how many convolutions were taken apart.

    Those are that see two maps, each of a multiple of `LANES` channels: of fewer, parts would waste lanes of the processor.
    """
    from openvino import opset13

    count = 0
    for node in network.get_ordered_ops():
        if node.get_type_name() != "Convolution" or (parts := _parts(node)) is None:
            continue
        weights, asked = _weights(node.input_value(1)), node.get_attributes()
        along = [asked[name] for name in ("strides", "pads_begin", "pads_end", "dilations")]
        split = parts[0].get_shape()[1]
        own = [np.ascontiguousarray(weights[:, :split]), np.ascontiguousarray(weights[:, split:])]
        first, second = (opset13.convolution(p, opset13.constant(w), *along) for p, w in zip(parts, own, strict=True))
        node.output(0).replace(opset13.add(second, first).output(0))
        count += 1
    return count


def _parts(node: Any) -> list[Any] | None:
    """Return the two maps whose concatenation along channels a convolution sees; None where it sees something else."""
    given, weights = node.input_value(0).get_node(), node.input_value(1).get_node()
    while weights.get_type_name() == "Convert":
        weights = weights.input_value(0).get_node()
    if given.get_type_name() != "Concat" or given.get_axis() != 1 or weights.get_type_name() != "Constant":
        return None
    parts = [given.input_value(i) for i in range(given.get_input_size())]
    return parts if len(parts) == 2 and all(part.get_shape()[1] % LANES == 0 for part in parts) else None


def _weights(output: Any) -> NDArray[np.float32]:
    node = output.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return np.asarray(node.get_data(), np.float32)
