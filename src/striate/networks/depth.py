"""How deep a network is: convolutions and matrix products on the longest path from the image to the output.

Blocks that lie beside each other count once, so GoogLeNet has 22 although 57 of its convolutions and one product
multiply. Recurrent networks are counted as they run: unrolled over the images of a sequence.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from striate.networks.counting import MULTIPLYING


def depth(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return the number of multiplying layers on the longest path, while predicting.

    Parameters
    ----------
    network
        On the ``meta`` device; left in the mode (training or not) that it came in.
    input_shape
        (C, *S), without the batch axis; (T, C, *S) for sequences.

    Raises
    ------
    UsageError
        When the network refuses the input's size.
    """
    was_training = network.training
    path = _Path()
    try:
        with torch.no_grad(), path:
            network.eval()(torch.empty((1, *input_shape), device="meta"))
    finally:
        network.train(was_training)
    return path.longest


class _Path(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows how many multiplying operations each tensor has behind it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.behind: Any = WeakIdKeyDictionary()
        self.longest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [t for a in args for t in (a if isinstance(a, (list, tuple)) else (a,)) if isinstance(t, torch.Tensor)]
        deep = max((self.behind.get(t, 0) for t in given), default=0)
        deep += func.overloadpacket.__name__ in MULTIPLYING
        for tensor in out if isinstance(out, (list, tuple)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.behind[tensor] = deep
        self.longest = max(self.longest, deep)
        return out
