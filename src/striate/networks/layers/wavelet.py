"""Orthonormal wavelets: an image as a coarse image and details of each scale, and back without loss, 2D and 3D.

Papers
    S. Mallat: A Theory for Multiresolution Signal Decomposition: The Wavelet Representation. IEEE TPAMI 11(7):674-693,
    1989.
    I. Daubechies: Orthonormal Bases of Compactly Supported Wavelets. Communications on Pure and Applied Mathematics
    41(7):909-996, 1988 (the filters; those of one vanishing moment are Haar's).
Form
    Along each axis c'(n) = Σ_k h(k) c(2n + k) and d'(n) = Σ_k g(k) c(2n + k), the image taken as periodic, so that the
    transform is a rotation of the space of images: it keeps sums of squares, and its inverse is its transpose.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from striate.core.errors import UsageError, expected


class WaveletPyramid(nn.Module):
    """Mallat's pyramid of an image, and its inverse.

    Parameters
    ----------
    spatial_dims
        Number of spatial axes.
    levels
        How often the image is halved.
    moments
        Vanishing moments: 1 is Haar's wavelet, larger numbers are Daubechies' smoother and longer ones.
    """

    filters: Tensor

    def __init__(self, spatial_dims: int, levels: int, moments: int = 1) -> None:
        super().__init__()
        self.spatial_dims, self.levels = spatial_dims, levels
        pair = torch.as_tensor(daubechies(moments), dtype=torch.get_default_dtype())
        self.register_buffer("filters", pair, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the coarse image (B, C, *S / 2^levels) and the details, finest first, of (B, C, *S).

        The details of a level are (B, C, 2^axes − 1, *S / 2^level): 1 is high along the last axis only, 2 along the last
        but one only, 3 along both, and so on, in the order of these numbers from 1.

        Raises
        ------
        UsageError
            When a size is not a multiple of 2^levels.
        """
        size = tuple(x.shape[-self.spatial_dims :])
        if any(n % 2**self.levels for n in size):
            raise UsageError(expected("wavelets", f"image size {size}", f"multiples of {2**self.levels} are needed"))
        details = []
        for _ in range(self.levels):
            bands = x.unsqueeze(2)
            for axis in range(-self.spatial_dims, 0):
                bands = self._divided(bands, axis)
            x, finer = bands[:, :, 0], bands[:, :, 1:]
            details.append(finer)
        return x, details

    def inverse(self, coarse: Tensor, details: list[Tensor]) -> Tensor:
        """Return the image (B, C, *S) of what `forward` returned."""
        for finer in reversed(details):
            bands = torch.cat((coarse.unsqueeze(2), finer), dim=2)
            for axis in range(-1, -self.spatial_dims - 1, -1):
                bands = self._joined(bands, axis)
            coarse = bands[:, :, 0]
        return coarse

    def _divided(self, bands: Tensor, axis: int) -> Tensor:
        """Return twice as many bands (B, C, 2 N, …), low and high of each, half as long along `axis`."""
        pairs = bands.movedim(axis, -1).reshape(*bands.movedim(axis, -1).shape[:-1], -1, 2)
        taps = torch.cat([pairs.roll(-shift, -2) for shift in range(self.filters.shape[1] // 2)], dim=-1)
        both = (taps @ self.filters.T).movedim(-1, 3).flatten(2, 3)
        return both.movedim(-1, axis)

    def _joined(self, bands: Tensor, axis: int) -> Tensor:
        """Undo `_divided`."""
        both = bands.movedim(axis, -1)
        both = both.reshape(*both.shape[:2], -1, 2, *both.shape[3:]).movedim(3, -1)
        taps = both @ self.filters
        shifts = range(self.filters.shape[1] // 2)
        pairs = torch.stack([taps[..., 2 * s : 2 * s + 2].roll(s, -2) for s in shifts]).sum(0)
        return pairs.flatten(-2).movedim(-1, axis)


def daubechies(moments: int) -> NDArray[np.float64]:
    """Return the low-pass filter h and the high-pass filter g, (2, 2 · moments), of extremal phase.

    h has a zero of order `moments` at the highest frequency; its other zeros are those of the shortest polynomial that
    makes it orthonormal, taken inside the unit circle; g(k) = (−1)^k h(2 · moments − 1 − k).

    Raises
    ------
    UsageError
        When `moments` is not between 1 and 10; beyond, the zeros are no longer exact in double precision.
    """
    if not 1 <= moments <= 10:
        raise UsageError(expected("wavelets", f"{moments} vanishing moments", "1 to 10 are needed"))
    shortest = [math.comb(moments - 1 + k, k) for k in range(moments)]
    inside = []
    for y in np.roots(shortest[::-1]):
        pair = np.roots([1, 4 * y - 2, 1])  # y = (2 − z − 1/z) / 4
        inside.append(pair[np.argmin(np.abs(pair))])
    low = np.real(np.poly([-1.0] * moments + inside))
    low = low * (math.sqrt(2) / low.sum())
    high = low[::-1] * (-1.0) ** np.arange(2 * moments)
    return np.stack([low, high])
