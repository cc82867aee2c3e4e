"""Artefacts of magnetic resonance imaging with a dial: the same kinds as `artefacts`, from strength 0 (none) to 1 (very strong).

For any scan, not only phantoms. Axes are RAS: axis 1 (anterior-posterior) is the phase-encoding direction, axis 2 the
slice direction. What is random is drawn before it is scaled: one seed gives one artefact, which only grows with its strength.

============ ============================================================================================ ===============
name         what strength 1 is (strengths in between scale linearly)                                      where
============ ============================================================================================ ===============
motion       three moves of the head, 8 degrees and 6 mm (standard deviation per axis); the centre stays  k-space
ghosting     every second to fourth phase-encoding line has lost 90 % of its signal                       k-space
spikes       two points of k-space have half the size of its largest value                                k-space
bias_field   a coil field four times as uneven as usual (95th over 5th percentile about 5)                image
noise        complex Gaussian noise, standard deviation half of the tissue contrast (Rician magnitude)    image
blur         Gaussian point spread of 10 mm full width at half maximum                                    k-space
anisotropy   slices 12 mm thick                                                                           image
downsampling one quarter of the lines of k-space along each axis: voxels four times as large (zero filled) k-space
============ ============================================================================================ ===============

Physics: motion, ghosts and spikes as in `striate.phantoms.artefacts`; Rician noise: Gudbjartsson and Patz, Magnetic Resonance
in Medicine 34(6), 1995.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError, expected
from striate.core.image import Image, to_ras
from striate.core.names import lookup
from striate.data.background import SHARE, background_value
from striate.data.resample import matrix
from striate.data.tissue_contrast import find_object, tissue_contrast
from striate.phantoms.anatomy import Array
from striate.phantoms.artefacts import PHASE_AXIS, image_of, k_space, posed
from striate.phantoms.scanner import sensitivity

MOVES, MOVE_DEGREES, MOVE_MM, CENTRE = 3, 8.0, 6.0, 0.04
LOST = 0.9
SPIKES, SPIKE_SIZE = 2, 0.5
FIELD = 4.0
NOISE = 0.5
BLUR_MM = 10.0
SLICE_AXIS, THICK_MM = 2, 12.0
LEFT_OUT = 0.75
FWHM = 2 * np.sqrt(2 * np.log(2))

Spacing = tuple[float, ...]
Corruption = Callable[[Array, Spacing, float, np.random.Generator], NDArray[np.float32]]


def motion(signal: Array, spacing_mm: Spacing, strength: float, rng: np.random.Generator) -> Array:
    """Later lines of k-space see the head turned by about 8° · strength and shifted by about 6 mm · strength, three times.

    The stronger, the earlier: at strength 1 all but the central 4 to 32 % of a side's lines are late; at 0 none.
    """
    spectrum, lines = k_space(signal), signal.shape[PHASE_AXIS]
    flat = np.array([0, 0, 1]) if signal.shape[2] == 1 else np.ones(3)  # a picture turns in its own plane
    for _ in range(MOVES):
        early = strength * (0.5 - CENTRE) * (0.4 + 0.6 * rng.uniform())
        start = lines // 2 + max(1, round((0.5 - early) * lines))
        mirrored = bool(rng.integers(2))
        degrees = rng.normal(0, MOVE_DEGREES, size=3) * strength * flat
        shift_mm = rng.normal(0, MOVE_MM, size=3) * strength * (flat if flat[0] else 1 - flat)
        moved = k_space(posed(signal, degrees, shift_mm, spacing_mm))
        late = slice(0, lines - start) if mirrored else slice(start, lines)
        spectrum[:, late] = moved[:, late]
    return _magnitude(spectrum)


def ghosting(signal: Array, spacing_mm: Spacing, strength: float, rng: np.random.Generator) -> Array:
    """Every second to fourth phase-encoding line is weaker by 90 % · strength; three lines at the centre are whole."""
    spectrum, lines = k_space(signal), signal.shape[PHASE_AXIS]
    every = int(rng.integers(2, 5))
    kept = np.ones(lines, dtype=np.float32)
    kept[int(rng.integers(every)) :: every] = 1 - LOST * strength
    kept[lines // 2 - 1 : lines // 2 + 2] = 1
    return _magnitude(spectrum * kept[None, :, None])


def spikes(signal: Array, spacing_mm: Spacing, strength: float, rng: np.random.Generator) -> Array:
    """Two points of k-space are too large by 50 % · strength of its largest value: stripes over the whole image."""
    spectrum = k_space(signal)
    size = strength * SPIKE_SIZE * float(np.abs(spectrum).max())
    for _ in range(SPIKES):
        at = tuple(
            int(n // 2 + rng.choice((-1, 1)) * rng.integers(n // 8, max(n // 3, n // 8 + 1))) for n in signal.shape
        )
        spectrum[at] += size * np.exp(1j * rng.uniform(0, 2 * np.pi))
    return _magnitude(spectrum)


def bias_field(signal: Array, spacing_mm: Spacing, strength: float, rng: np.random.Generator) -> Array:
    """The coil's sensitivity is uneven: `striate.phantoms.scanner.sensitivity`, 4 · strength times as strong as usual."""
    return np.asarray(signal * sensitivity(signal.shape, rng, FIELD * strength), dtype=np.float32)


def noise(signal: Array, spacing_mm: Spacing, strength: float, rng: np.random.Generator) -> Array:
    """Add complex Gaussian noise of standard deviation 0.5 · strength · tissue contrast, and take the magnitude."""
    sigma = np.float32(NOISE * strength * tissue_contrast(signal, find_object(signal, spacing_mm)))
    real = signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, sigma * rng.standard_normal(signal.shape, dtype=np.float32)), dtype=np.float32)


def blur(signal: Array, spacing_mm: Spacing, strength: float, rng: np.random.Generator) -> Array:
    """Weaken high frequencies as a Gaussian point spread of 10 mm · strength (full width at half maximum) does."""
    sigma_mm, spectrum = BLUR_MM * strength / FWHM, k_space(signal)
    for axis, (count, step) in enumerate(zip(signal.shape, spacing_mm, strict=True)):
        waves_per_mm = np.fft.fftshift(np.fft.fftfreq(count, step))
        kept = np.exp(-2 * (np.pi * sigma_mm * waves_per_mm) ** 2).astype(np.float32)
        spectrum = spectrum * kept.reshape([-1 if a == axis else 1 for a in range(3)])
    return _magnitude(spectrum)


def anisotropy(signal: Array, spacing_mm: Spacing, strength: float, rng: np.random.Generator) -> Array:
    """Scan in thick slices, from the scan's own thickness to 12 mm, and interpolate linearly back."""
    count, own_mm = signal.shape[SLICE_AXIS], spacing_mm[SLICE_AXIS]
    thick_mm = own_mm + strength * max(THICK_MM - own_mm, 0.0)
    slices = max(1, round(count * own_mm / thick_mm))
    if slices >= count:
        return signal
    return np.asarray(signal @ (matrix(slices, count, "linear") @ matrix(count, slices, "area")).T, dtype=np.float32)


def downsampling(signal: Array, spacing_mm: Spacing, strength: float, rng: np.random.Generator) -> Array:
    """Leave out the outer 75 % · strength of k-space along each axis, and fill with zeros."""
    spectrum = k_space(signal)
    for axis, count in enumerate(signal.shape):
        far = np.abs(np.arange(count) - count // 2) > (1 - LEFT_OUT * strength) * count / 2
        if count > 1:
            spectrum[(slice(None),) * axis + (far,)] = 0
    return _magnitude(spectrum)


CORRUPTIONS: dict[str, Corruption] = {
    "motion": motion, "ghosting": ghosting, "spikes": spikes, "bias_field": bias_field, "noise": noise, "blur": blur,
    "anisotropy": anisotropy, "downsampling": downsampling,
}  # fmt: skip
MEANINGS = {
    "motion": "three moves of 8 degrees and 6 mm (SD per axis)",
    "ghosting": "every 2nd to 4th phase-encoding line lost 90 % of its signal",
    "spikes": "two k-space points half as large as the largest value",
    "bias_field": "a coil field 4 times as uneven as usual",
    "noise": "noise SD half of the tissue contrast",
    "blur": "point spread of 10 mm (FWHM)",
    "anisotropy": "slices 12 mm thick",
    "downsampling": "a quarter of k-space along each axis, voxels 4 times as large",
}
"""What strength 1 is, in physical terms."""


def corrupted(image: Image, artefact: str, strength: float, seed: int, channel: int = 0) -> Image:
    """Return a scan with an artefact, on the same grid; channels are spoilt independently.

    Where one value fills a tenth of the image (skull-stripped scans) it stays: stripping comes after scanning.

    Parameters
    ----------
    image
        (C, I, J, K) or (C, I, J).
    artefact
        One of `CORRUPTIONS`.
    strength
        0 (the scan as it is) to 1.
    seed
        Of what is drawn; the same artefact of the same seed differs between strengths by its strength alone.
    channel
        Number of the first channel of `image` in its scan: each channel draws for itself, whatever file it lies in.

    Raises
    ------
    UsageError
        When the artefact is not known or the strength lies outside 0 to 1.
    """
    spoil = lookup("artefact", artefact, CORRUPTIONS)
    if not 0 <= strength <= 1:
        raise UsageError(expected(f"artefact {artefact}", f"strength {strength:g}", "a number from 0 to 1 is needed"))
    if strength == 0:
        return image
    turning, turned = to_ras(image.grid)
    found = np.empty(image.array.shape, dtype=np.float32)
    for index, values in enumerate(image.array):
        rng = np.random.default_rng((seed, sorted(CORRUPTIONS).index(artefact), channel + index))
        finite = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
        signal: Array = np.ascontiguousarray(turning.apply(finite))
        empty = signal == np.float32(background_value(signal))
        least = np.float32(min(float(signal.min()), 0.0))  # a magnitude is not negative; z-scored images are lifted
        lifted: Array = (signal - least).reshape(*signal.shape, *[1] * (3 - signal.ndim))
        spoilt = spoil(lifted, (*turned.spacing_mm, 1.0)[:3], strength, rng).reshape(signal.shape) + least
        found[index] = turning.invert(np.where(empty, signal, spoilt) if empty.mean() >= SHARE else spoilt)
    return Image(found, image.affine)


def _magnitude(spectrum: NDArray[np.complex64]) -> Array:
    return np.asarray(np.abs(image_of(spectrum)), dtype=np.float32)
