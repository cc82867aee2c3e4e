"""Wavelet scattering: moduli of wavelet coefficients, averaged over squares of 2^J voxels; nothing is learned.

Papers
    S. Mallat: Group Invariant Scattering. Communications on Pure and Applied Mathematics 65(10):1331-1398, 2012.
    J. Bruna, S. Mallat: Invariant Scattering Convolution Networks. IEEE TPAMI 35(8):1872-1886, 2013.
Form
    S x = [x ∗ φ, |x ∗ ψ_λ1| ∗ φ, ||x ∗ ψ_λ1| ∗ ψ_λ2| ∗ φ] with Morlet wavelets ψ of `scales` scales and `angles`
    angles, λ2 coarser than λ1, and a Gaussian φ. Convolutions are products of Fourier transforms; maps of scale j are
    kept on a grid 2^j times coarser. The wavelets share one factor, the largest for which |φ|² + ½ Σ |ψ(ω)|² + |ψ(−ω)|²
    stays within 1 at all frequencies, so that S brings no two images further apart than they were. The image is
    mirrored around its border by 2^J voxels, which are cut off again.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Plane = NDArray[np.float64]

ALIASES = 2
"""Copies of the spectrum on each side that are added up, as sampling does."""

TINY = 1e-20
"""Added to the square of a modulus, so that the gradient of a blank image is 0."""


class Scattering(nn.Module):
    """Scattering coefficients of images of one size.

    Parameters
    ----------
    size
        Pixels (I, J) of the image.
    scales
        J: number of scales; averages run over about 2^J pixels.
    angles
        L: number of angles in half a turn.
    order
        1: wavelets once; 2: wavelets of moduli of wavelets too.

    Attributes
    ----------
    channels
        Coefficients per place: 1 + JL, with `order` 2 also L²J(J−1)/2.
    places
        Places along each axis: `size` over 2^J, rounded up.
    """

    def __init__(self, size: tuple[int, int], scales: int, angles: int, order: int) -> None:
        super().__init__()
        self.scales, self.angles, self.order = scales, angles, order
        self.channels = channels(scales, angles, order)
        step = 2**scales
        self.places = tuple(-(-n // step) for n in size)
        padded = tuple(step * (p + 2) for p in self.places)
        self.pads = tuple(pad for n, p in zip(size[::-1], padded[::-1], strict=True) for pad in (step, p - n - step))
        factor = wavelet_factor(padded, scales, angles)
        for at in range(scales):
            grid = tuple(n // 2**at for n in padded)
            for axis, n in enumerate(grid):
                self._keep(f"average{at}_{axis}", averages(n, scales - at).T)
                self._keep(f"forth{at}_{axis}", complex_matrix(np.fft.fft(np.eye(n))))
            for scale in range(at, scales):
                if at == 0 or (order == 2 and scale > at):
                    waves = [morlet(grid, scale - at, angle, angles) for angle in range(angles)]
                    self._keep(f"wavelets{at}_{scale}", factor * np.stack(waves)[:, :, None])
                    for axis, n in enumerate(grid):
                        every = np.fft.ifft(np.eye(n))[:, :: 2 ** (scale - at)]
                        self._keep(f"back{at}_{scale}_{axis}", complex_matrix(every))

    def _keep(self, name: str, values: Plane) -> None:
        """Keep numbers that follow from the arguments; they are not saved with the weights."""
        self.register_buffer(name, torch.as_tensor(values, dtype=torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the coefficients (B, C, channels, *places) of images (B, C, I, J)."""
        x = functional.pad(x, self.pads, mode="reflect").unsqueeze(2)
        orders: list[list[Tensor]] = [[self._low(x, 0)], [], []]
        spectrum = self._spectrum(x, 0)
        for first in range(self.scales):
            moduli = self._modulus(spectrum, 0, first)
            orders[1].append(self._low(moduli, first))
            if self.order == 2 and first + 1 < self.scales:
                inner = self._spectrum(moduli, first).unsqueeze(3)
                for second in range(first + 1, self.scales):
                    orders[2].append(self._low(self._modulus(inner, first, second).flatten(2, 3), second))
        return torch.cat([maps for order in orders for maps in order], dim=2)

    def _spectrum(self, maps: Tensor, at: int) -> Tensor:
        """Return the Fourier transform (…, I, 2, J), real and imaginary, of maps (…, I, J) on a grid 2^at times coarser."""
        half = maps @ self.get_buffer(f"forth{at}_1")[: maps.shape[-1]]  # the imaginary part is 0
        return _turned(_split(half).transpose(-1, -3), self.get_buffer(f"forth{at}_0"))

    def _modulus(self, spectrum: Tensor, at: int, scale: int) -> Tensor:
        """Return the moduli of the wavelets of `scale`, of a map whose grid is 2^at times coarser than the image's."""
        product = spectrum * self.get_buffer(f"wavelets{at}_{scale}")
        half = _turned(product, self.get_buffer(f"back{at}_{scale}_1"))
        return (_turned(half, self.get_buffer(f"back{at}_{scale}_0")).square().sum(-2) + TINY).sqrt()

    def _low(self, maps: Tensor, at: int) -> Tensor:
        """Return the averages at `places`."""
        half = maps @ self.get_buffer(f"average{at}_1")
        return (half.transpose(-1, -2) @ self.get_buffer(f"average{at}_0")).transpose(-1, -2)


def _turned(z: Tensor, matrix: Tensor) -> Tensor:
    """Return complex maps (…, I, 2, J) times a matrix along J, as (…, J', 2, I): the axes change places."""
    return _split(z.flatten(-2) @ matrix).transpose(-1, -3)


def _split(rows: Tensor) -> Tensor:
    """Return rows (…, 2 J) of real, then imaginary parts as (…, 2, J)."""
    return rows.reshape(*rows.shape[:-1], 2, rows.shape[-1] // 2)


def channels(scales: int, angles: int, order: int) -> int:
    """Return the coefficients per place."""
    return 1 + scales * angles + (angles**2 * scales * (scales - 1) // 2 if order == 2 else 0)


def frequencies(size: int) -> Plane:
    """Return the frequencies (aliases, size) of a discrete Fourier transform and of its aliases, in radians per pixel."""
    return np.asarray(2 * np.pi * (np.fft.fftfreq(size) + np.arange(-ALIASES, ALIASES + 1)[:, None]), np.float64)


def morlet(size: tuple[int, ...], scale: int, angle: int, angles: int) -> Plane:
    """Return the (real) Fourier transform of a Morlet wavelet with mean 0.

    A Gaussian of width σ = 0.8 · 2^scale along the wave and σ · angles / 4 across it, times a wave of frequency
    ¾ π / 2^scale, minus the Gaussian that makes the mean 0; its peak is about 1.
    """
    sigma, wave, theta = 0.8 * 2**scale, 0.75 * math.pi / 2**scale, math.pi * angle / angles
    i, j = (frequencies(n) for n in size)
    i, j = i[:, None, :, None], j[None, :, None, :]
    along, across = i * math.cos(theta) + j * math.sin(theta), j * math.cos(theta) - i * math.sin(theta)
    across = across * angles / 4

    def bump(centre: float) -> Plane:
        distance: Plane = sigma**2 * ((along - centre) ** 2 + across**2)
        return np.asarray(np.exp(-0.5 * distance).sum((0, 1)), np.float64)

    carried, low = bump(wave), bump(0.0)
    return carried - low * float(carried[0, 0] / low[0, 0])


def gaussian(size: int, scale: int) -> Plane:
    """Return the Fourier transform of the average over about 2^scale pixels along one axis, σ = 0.4 · 2^scale."""
    found = np.exp(-0.5 * (0.4 * 2**scale * frequencies(size)) ** 2).sum(0)
    return np.asarray(found / found[0], np.float64)


def averages(size: int, scale: int) -> Plane:
    """Return the matrix (places, size) that averages a line and takes every 2^scale-th value but the first and the last."""
    step = 2**scale
    kernel = np.fft.ifft(gaussian(size, scale)).real
    return np.stack([np.roll(kernel, place) for place in range(step, size - step, step)])


def complex_matrix(matrix: NDArray[np.complex128]) -> Plane:
    """Return the real matrix that multiplies rows of real and imaginary parts as `matrix` multiplies complex rows."""
    return np.block([[matrix.real, matrix.imag], [-matrix.imag, matrix.real]])


def wavelet_factor(size: tuple[int, ...], scales: int, angles: int) -> float:
    """Return the largest factor of all wavelets with |φ|² + ½ Σ (|ψ(ω)|² + |ψ(−ω)|²) ≤ 1 (Littlewood-Paley)."""
    low, waves = littlewood_paley(size, scales, angles)
    seen = waves > 1e-9
    return math.sqrt(float(np.min((1 - low[seen]) / waves[seen])))


def littlewood_paley(size: tuple[int, ...], scales: int, angles: int) -> tuple[Plane, Plane]:
    """Return |φ|² and ½ Σ (|ψ(ω)|² + |ψ(−ω)|²) of wavelets without factor, per frequency."""
    low = np.multiply.outer(*(gaussian(n, scales) for n in size)) ** 2
    waves = np.zeros(size)
    for scale in range(scales):
        for angle in range(angles):
            power = morlet(size, scale, angle, angles) ** 2
            waves += 0.5 * (power + np.roll(power[::-1, ::-1], 1, (0, 1)))
    return low, waves
