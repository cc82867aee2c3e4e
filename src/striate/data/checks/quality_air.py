"""Quality measures that need air around the object: noise, ghosts, energy. Definitions and sources: `quality`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from striate.data.checks.foreground import Foreground, Volume
from striate.data.checks.in_parts import deviation, summed

RAYLEIGH = float(np.sqrt(2 / (4 - np.pi)))


def snr_dietrich(inside: NDArray[np.float32], air: NDArray[np.float32]) -> float:
    """Return mean(object) / (1.526 · σ(air)): in air, magnitude noise is Rayleigh and its σ is 0.655 of the true σ.

    Exact for one receive coil without parallel imaging; else a figure to compare scans of one protocol by.
    """
    return float(inside.mean(dtype=np.float64)) / (RAYLEIGH * _std(air))


def fber(inside: NDArray[np.float32], air: NDArray[np.float32]) -> float:
    """Return mean squared intensity of the object over that of the air."""
    ours, theirs = (summed(part, _energy) / part.size for part in (inside, air))
    return ours / theirs if theirs > 0 else float("nan")


def efc(volume: Volume) -> float:
    """Return −Σ (x/e) ln(x/e) with e = √Σx², over its largest value √N ln √N: 0 one bright voxel, 1 all equal."""
    energy = np.float32(np.sqrt(summed(volume, _energy)))

    def surprise(part: NDArray[np.float32]) -> NDArray[np.float32]:
        share = np.abs(part[part != 0]) / energy
        return np.asarray(share * np.log(share))

    entropy = -summed(volume, surprise)
    root = float(np.sqrt(volume.size))
    return entropy / (root * float(np.log(root)))


def qi1(foreground: Foreground) -> float:
    """Return the share of air that holds artefacts: above median + 10 robust σ, after an opening by a cross.

    Computed on the coarse grid, where blocks average the noise and ghosts stand out.
    """
    air = _noisy_air(foreground)
    values = foreground.coarse[air]
    middle = float(np.median(values))
    sigma = 1.4826 * float(np.median(np.abs(values - middle)))
    bright = air & (foreground.coarse > middle + 10 * max(sigma, 1e-12))
    return float(np.count_nonzero(ndimage.binary_opening(bright)) / max(int(air.sum()), 1))


def ghost_to_signal(foreground: Foreground) -> float:
    """Return the largest, over axes and shifts, of (ghost − other air) / object, by medians.

    The ghost region is where the object falls when it is moved along an axis by 1/2, 1/3 or 1/4 of the field of view, as
    it does when every second, third or fourth line of k-space differs; the other air is the rest. NaN where no axis
    leaves room for both.
    """
    air = _noisy_air(foreground)
    signal = float(np.median(foreground.coarse[foreground.coarse_mask]))
    values, places = _rising(foreground.coarse[air], np.flatnonzero(air))
    found = []
    for axis, size in enumerate(air.shape):
        for part in (2, 3, 4):
            moved = np.roll(foreground.coarse_mask, size // part, axis=axis)
            moved |= np.roll(foreground.coarse_mask, -(size // part), axis=axis)
            ghost = moved.reshape(-1)[places]
            inside, outside = np.flatnonzero(ghost), np.flatnonzero(~ghost)
            if min(inside.size, outside.size) >= 100:
                found.append((_middle(values, inside) - _middle(values, outside)) / signal)
    return max(found, default=float("nan"))


def _rising(values: NDArray[np.float32], places: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return both in rising order of the values, so that the middle of any part is found by counting."""
    order = np.argsort(values)
    return values[order], places[order]


def _middle(rising: NDArray[np.float32], chosen: NDArray[np.intp]) -> float:
    """Return the median of the `chosen` ones of `rising` values."""
    n = len(chosen)
    return float(rising[chosen[[(n - 1) // 2, n // 2]]].mean())


def _noisy_air(foreground: Foreground) -> NDArray[np.bool_]:
    """Air without the blocks that hold only the constant filling."""
    if foreground.background is None:
        return foreground.coarse_air
    return np.asarray(foreground.coarse_air & (foreground.coarse != np.float32(foreground.background)))


def _energy(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.square(values, dtype=np.float64)


def _std(values: NDArray[np.float32]) -> float:
    sigma = deviation(values)
    return sigma if sigma > 0 else float("nan")
