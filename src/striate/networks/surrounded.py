"""The answer of a network for every voxel of a window, also where its convolutions are not padded.

Such a network answers for the inner part of what it sees. The U-Net paper extrapolates the image by mirroring it (Ronneberger
et al., MICCAI 2015, fig. 2); here each window of a prediction is mirrored about its edges by what the network takes away, so that
windows of any size serve, and overlapping windows are blended towards voxels with real surroundings.
"""

from __future__ import annotations

from torch import Tensor, nn

from striate.networks.layers.mirror import mirrored
from striate.networks.network import Network


def seen_size(network: Network, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the size that `network` has to see to answer for `size`; `size` itself where it pads its convolutions."""
    if not any(network.margin):
        return size
    return network.fitting(tuple(n + 2 * m for n, m in zip(size, network.margin, strict=True)))


def surrounded(network: nn.Module, x: Tensor) -> Tensor:
    """Return `x` (B, C, *S) as `network` has to see it to answer for all voxels: mirrored about its edges by its margin."""
    if not isinstance(network, Network) or not any(network.margin):
        return x
    size = tuple(x.shape[2:])
    after = [s - n - m for s, n, m in zip(seen_size(network, size), size, network.margin, strict=True)]
    return mirrored(x, network.margin, after)


def logits_of(network: nn.Module, x: Tensor) -> Tensor:
    """Return the logits (B, K, *S) of all voxels of `x` (B, C, *S), in ``eval()`` and for the main output alone."""
    given = surrounded(network, x)
    found: Tensor = network(given)
    if given is not x:
        for axis, n in enumerate(x.shape[2:], 2):
            found = found.narrow(axis, 0, n)
    return found
