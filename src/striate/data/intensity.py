"""Variations of the intensities of a training patch; all work in place on one sample."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from striate.data.augment import Parameters
from striate.data.resample import matrix
from striate.data.spatial import spline


def apply(image: Tensor, parameters: Parameters, keep_zero: tuple[bool, ...] = ()) -> Tensor:
    """Vary the intensities of one sample.

    Parameters
    ----------
    image
        (C, *patch) float32; it may be overwritten.
    parameters
        What is done.
    keep_zero
        For each channel, whether voxels of exactly 0 are background and stay 0 (``zscore_nonzero``).

    Returns
    -------
    Tensor
        (C, *patch) float32.
    """
    background = [(c, image[c] == 0) for c, keep in enumerate(keep_zero) if keep] if _any(parameters) else []
    fields = None if parameters.bias_field is None else spline(parameters.bias_field, image.shape[1:]).exp_()
    for c, channel in enumerate(image):
        if fields is not None:
            bias_field(channel, fields[c])
    if parameters.noise_std > 0:
        generator = torch.Generator().manual_seed(parameters.noise_seed)
        image.add_(torch.randn(image.shape, generator=generator), alpha=parameters.noise_std)
    for c, channel in enumerate(image):
        _vary(channel, c, parameters)
    for c, mask in background:
        image[c].masked_fill_(mask, 0.0)
    return image


def _any(p: Parameters) -> bool:
    return bool(
        p.bias_field is not None or p.noise_std or p.blur_sigma or p.brightness or p.contrast or p.zoom or p.gamma
    )


def _vary(channel: Tensor, c: int, parameters: Parameters) -> None:
    if parameters.blur_sigma and parameters.blur_sigma[c] > 0:
        blur(channel, parameters.blur_sigma[c])
    if parameters.brightness:
        channel.mul_(parameters.brightness[c])
    if parameters.contrast:
        contrast(channel, parameters.contrast[c])
    if parameters.zoom and parameters.zoom[c] < 1:
        low_resolution(channel, parameters.zoom[c])
    if parameters.gamma:
        gamma(channel, parameters.gamma[c])


def bias_field(channel: Tensor, field: Tensor) -> None:
    """Multiply what lies above the smallest value by `field` (*patch), as a receive coil does; in place."""
    low = channel.min()
    channel.sub_(low).mul_(field).add_(low)


def contrast(channel: Tensor, factor: float) -> None:
    """Spread values about their mean by `factor`, cut to the range that was there; in place."""
    low, high = torch.aminmax(channel)
    mean = channel.mean()
    channel.sub_(mean).mul_(factor).add_(mean).clamp_(low, high)


def gamma(channel: Tensor, exponent: float, keep_moments: bool = True) -> None:
    """Raise the values, scaled to 0 … 1, to a power; in place.

    Parameters
    ----------
    channel
        (*patch) float32.
    exponent
        Negative: its magnitude acts on the inverted image.
    keep_moments
        Give the result the mean and the standard deviation that were there.
    """
    low, high = (float(v) for v in torch.aminmax(channel))
    if high - low < 1e-6 or abs(exponent) == 1:
        return
    mean, std = _moments(channel) if keep_moments else (0.0, 1.0)
    if exponent < 0:
        channel.neg_().add_(high).mul_(1 / (high - low)).clamp_(0, 1).pow_(-exponent).neg_()
    else:
        channel.sub_(low).mul_(1 / (high - low)).clamp_(0, 1).pow_(exponent)
    if keep_moments:
        new_mean, new_std = _moments(channel)
        factor = std / max(new_std, 1e-12)
        channel.mul_(factor).add_(mean - new_mean * factor)
    else:
        channel.mul_(high - low).add_(low if exponent > 0 else high)


def _moments(channel: Tensor) -> tuple[float, float]:
    flat = channel.reshape(-1)
    mean = float(flat.mean())
    apart = flat - mean
    return mean, float(torch.sqrt(torch.dot(apart, apart) / flat.numel()))


def blur(channel: Tensor, sigma: float) -> None:
    """Convolve with a Gaussian of `sigma` voxels along each axis longer than one voxel; in place."""
    _along_axes(channel, lambda n: _gaussian(n, sigma))


def low_resolution(channel: Tensor, zoom: float) -> None:
    """Bring to `zoom` of the resolution and back, both linear, along each axis longer than one voxel; in place."""
    _along_axes(channel, lambda n: _down_and_up(n, max(1, round(n * zoom))))


def _gaussian(n: int, sigma: float) -> Tensor:
    x = np.arange(n)
    weights = np.exp(-((x[:, None] - x[None, :]) ** 2) / (2 * sigma**2))
    weights[weights < 1e-5] = 0
    return torch.from_numpy((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


@functools.lru_cache(maxsize=256)
def _down_and_up(n: int, small: int) -> Tensor:
    return torch.from_numpy(matrix(small, n, "linear") @ matrix(n, small, "linear"))


def _along_axes(channel: Tensor, weights_of: object) -> None:
    result = channel
    shape = channel.shape
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        weights: Tensor = weights_of(n)  # type: ignore[operator]
        if axis == channel.dim() - 1:
            result = result.reshape(-1, n) @ weights.T
        else:
            lead = int(np.prod(shape[:axis], dtype=int))
            result = torch.matmul(weights, result.reshape(lead, n, -1))
        result = result.reshape(shape)
    channel.copy_(result)
