"""Artefacts of magnetic resonance imaging, made where they arise: in k-space, the Fourier transform of the image.

Each function takes a signal (I, J, K) and returns what the scanner would reconstruct, as complex numbers. Axis 1
(anterior-posterior) is the phase-encoding direction. The kinds are those of Shaw et al. (MICCAI 2019) and of the
gallery in Heiland (AJNR 29(1), 2008): motion between lines, ghosting from periodic motion, spikes of the amplifier.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from striate.core.names import lookup
from striate.phantoms.anatomy import Array

Complex = NDArray[np.complex64]
PHASE_AXIS = 1


def k_space(signal: Array) -> Complex:
    """Return the Fourier transform of a signal (I, J, K), its centre in the middle."""
    return np.asarray(fft.fftshift(fft.fftn(signal.astype(np.complex64))), dtype=np.complex64)


def image_of(spectrum: Complex) -> Complex:
    """Return the complex image that a scanner reconstructs of a k-space (I, J, K)."""
    return np.asarray(fft.ifftn(fft.ifftshift(spectrum)), dtype=np.complex64)


def none(signal: Array, rng: np.random.Generator) -> Complex:
    """Return the signal as it is."""
    return signal.astype(np.complex64)


def motion(signal: Array, rng: np.random.Generator) -> Complex:
    """The head moves two or three times during the scan: later lines of k-space see it rotated and shifted."""
    lines = signal.shape[PHASE_AXIS]
    spectrum = k_space(signal)
    middle = lines // 2
    for _ in range(int(rng.integers(2, 4))):
        # the centre of k-space stays with the first pose, so that the lesion mask stays true
        start = int(rng.integers(middle + lines // 25, lines - lines // 8))
        mirrored = bool(rng.integers(2))
        moved = k_space(posed(signal, rng.normal(0, 4.0, size=3), rng.normal(0, 2.5, size=3)))
        late = slice(0, lines - start) if mirrored else slice(start, lines)
        spectrum[:, late] = moved[:, late]
    return image_of(spectrum)


def posed(
    signal: Array,
    degrees: NDArray[np.float64],
    shift_mm: NDArray[np.float64],
    spacing_mm: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> Array:
    """Return the signal (I, J, K) of a head that is turned by a few `degrees` about each axis and shifted.

    Without `spacing_mm` everything is in voxels.
    """
    a, b, c = np.deg2rad(degrees)
    turn = np.array([[1, -c, b], [c, 1, -a], [-b, a, 1]])  # small angles
    size = np.array(spacing_mm, dtype=np.float64)
    turn = turn * size[None, :] / size[:, None]
    middle = (np.array(signal.shape) - 1) / 2
    offset = middle - turn @ middle + shift_mm / size
    return np.asarray(ndimage.affine_transform(signal, turn, offset, order=1), dtype=np.float32)


def ghosting(signal: Array, rng: np.random.Generator) -> Complex:
    """Every second to fourth phase-encoding line is weaker: faint copies of the head, shifted along axis 1."""
    spectrum = k_space(signal)
    lines = spectrum.shape[PHASE_AXIS]
    every = int(rng.integers(2, 5))
    weaker = np.ones(lines, dtype=np.float32)
    weaker[int(rng.integers(every)) :: every] -= np.float32(rng.uniform(0.35, 0.65))
    weaker[lines // 2 - 1 : lines // 2 + 2] = 1
    return image_of(spectrum * weaker[None, :, None])


def spikes(signal: Array, rng: np.random.Generator) -> Complex:
    """One to three points of k-space are far too strong: stripes over the whole image (herringbone)."""
    spectrum = k_space(signal)
    strongest = float(np.abs(spectrum).max())
    for _ in range(int(rng.integers(1, 4))):
        at = tuple(int(n // 2 + rng.choice((-1, 1)) * rng.integers(n // 8, n // 3)) for n in spectrum.shape)
        spectrum[at] += strongest * rng.uniform(0.10, 0.25) * np.exp(1j * rng.uniform(0, 2 * np.pi))
    return image_of(spectrum)


ARTEFACTS: dict[str, Callable[[Array, np.random.Generator], Complex]] = {
    "none": none,
    "motion": motion,
    "ghosting": ghosting,
    "spikes": spikes,
    "low_snr": none,  # the scanner's noise is raised, see `noise_factor`
}


def choose(artefacts: str, rng: np.random.Generator) -> str:
    """Return the artefact of one scan: `artefacts` itself, or with ``mixed`` one by lot (half of the scans: none).

    Raises
    ------
    UsageError
        When `artefacts` is unknown.
    """
    lookup("artefact", artefacts, {**ARTEFACTS, "mixed": none})
    if artefacts != "mixed":
        return artefacts
    kinds = [k for k in ARTEFACTS if k != "none"]
    return "none" if rng.uniform() < 0.5 else str(rng.choice(kinds))


def noise_factor(artefact: str) -> float:
    """Return how much stronger than usual the noise is."""
    return 4.0 if artefact == "low_snr" else 1.0
