"""Fully connected conditional random field: labels that agree with their neighbours and with edges of the image.

P. Krähenbühl, V. Koltun: Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials. NIPS 2011; in 3D for
lesions: K. Kamnitsas et al., Med Image Anal 36:61-78, 2017. The energy of labels x for an image I is

    E(x) = Σ_i −log p_i(x_i) + Σ_{i<j} [x_i ≠ x_j] · k(i, j)
    k(i, j) = w₁ · exp(−Σ_d |r_i − r_j|² / 2σ_α,d²) + w₂ · exp(−Σ_d |r_i − r_j|² / 2σ_β,d² − Σ_c |I_i,c − I_j,c|² / 2σ_γ,c²)

and is lowered by mean field: Q ← softmax(log p + Σ_j k(i, j) Q_j), a few times.

What is approximate: the second kernel is summed on a lattice (`lattice.py`; the first is an ordinary Gaussian filter), each
kernel is divided by the roots of its sums at i and j, as in the authors' software, so that w₁ and w₂ are the most that the
neighbours can weigh, whatever the voxel's size; and what lies far from any doubt is left as it is (`doubtful_box`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import ndimage

from striate.core.config import Config
from striate.core.errors import UsageError, expected
from striate.inference.lattice import Lattice

Array = NDArray[np.float32]
Filter = Callable[[Array], Array]

LEAST = 1e-7
"""Smallest probability; its logarithm is finite."""
REACH = 2.0
"""Standard deviations of the wider kernel around doubtful voxels that take part."""


class CRF(Config):
    """Parameters; the defaults are those of the example that DeepMedic's authors publish with their CRF.

    Attributes
    ----------
    smoothness_weight, smoothness_mm
        w₁, and σ_α of each axis.
    appearance_weight, appearance_mm
        w₂, and σ_β of each axis.
    intensity
        σ_γ of each channel, in standard deviations of the normalised image; the last one holds for further channels. The
        published 4.5 and 3.5 are in steps of 6.2 / 255.
    clip
        Intensities are clipped to ± this.
    iterations
        Of mean field.
    """

    smoothness_weight: float = Field(3.0, ge=0)
    smoothness_mm: tuple[PositiveFloat, ...] = Field((3.0, 3.0, 3.0), min_length=2)
    appearance_weight: float = Field(5.0, ge=0)
    appearance_mm: tuple[PositiveFloat, ...] = Field((17.0, 12.0, 10.0), min_length=2)
    intensity: tuple[PositiveFloat, ...] = Field((4.5 * 6.2 / 255, 3.5 * 6.2 / 255), min_length=1)
    clip: PositiveFloat = 3.1
    iterations: PositiveInt = 2


def refine(probabilities: Array, image: Array, spacing_mm: Sequence[float], crf: CRF | None = None) -> Array:
    """Return probabilities that agree with each other and with the image.

    Parameters
    ----------
    probabilities
        (K, *S) of exclusive classes, K ≥ 2. A region that may overlap with others is a case of its own: give its
        probability p as (1 − p, p).
    image
        (C, *S), normalised to mean 0 and standard deviation 1.
    spacing_mm
        Distance of neighbouring voxels along each axis of S.
    crf
        Parameters.

    Returns
    -------
    (K, *S) float32, adding up to 1; the label of a voxel is its largest.

    Notes
    -----
    Memory: about 100 bytes per voxel of the doubtful box, for two channels and two classes.

    Raises
    ------
    UsageError
        When the shapes do not fit together.
    """
    crf = crf or CRF()
    size = probabilities.shape[1:]
    axes = len(size)
    if image.shape[1:] != size or len(spacing_mm) != axes or axes not in (2, 3) or len(probabilities) < 2:
        shapes = f"probabilities {probabilities.shape}, image {image.shape} and spacing {tuple(spacing_mm)}"
        raise UsageError(
            expected("CRF", shapes, "(K, *S) with K ≥ 2, (C, *S) and one spacing for each of 2 or 3 axes are needed")
        )
    given = min(len(crf.smoothness_mm), len(crf.appearance_mm))
    if given < axes:
        raise UsageError(expected("CRF", f"standard deviations of {given} axes", f"{axes} are needed"))
    out: Array = np.clip(probabilities, LEAST, None, dtype=np.float32)
    out /= out.sum(axis=0)
    box = doubtful_box(out, spacing_mm, crf)
    if box is not None:
        part = (slice(None), *box)
        out[part] = _mean_field(out[part], _kernels(image[part], spacing_mm, crf), crf.iterations)
    return out


def doubtful_box(probabilities: Array, spacing_mm: Sequence[float], crf: CRF) -> tuple[slice, ...] | None:
    """Return the box around all voxels whose label could change, with what is near enough to change them; None: no such.

    The messages of all neighbours add up to at most about w₁ + w₂, so a label whose logarithm leads by more stays.
    """
    lead = crf.smoothness_weight + crf.appearance_weight
    doubtful = probabilities.max(axis=0) < 1 / (1 + math.exp(-lead))
    if lead == 0 or not doubtful.any():
        return None
    wide = crf.appearance_mm if crf.appearance_weight else crf.smoothness_mm
    (found,) = ndimage.find_objects(doubtful.astype(np.uint8))
    reaches = (math.ceil(REACH * s / mm) for s, mm in zip(wide, spacing_mm, strict=False))
    return tuple(
        slice(max(0, f.start - r), min(n, f.stop + r)) for f, r, n in zip(found, reaches, doubtful.shape, strict=True)
    )


def _mean_field(probabilities: Array, kernels: list[tuple[float, Filter]], iterations: int) -> Array:
    """Return Q (K, *S) after some rounds of mean field."""
    unary = np.log(probabilities)
    q = probabilities
    for _ in range(iterations):
        energy = unary.copy()
        for weight, kernel in kernels:
            for k in range(len(q)):
                energy[k] += weight * kernel(q[k])
        energy -= energy.max(axis=0)
        q = np.exp(energy, out=energy)
        q /= q.sum(axis=0)
    return q


def _kernels(image: Array, spacing_mm: Sequence[float], crf: CRF) -> list[tuple[float, Filter]]:
    """Return the kernels with their weights; those of weight 0 are left out."""
    found: list[tuple[float, Filter]] = []
    size = image.shape[1:]
    if crf.smoothness_weight:
        sigma = [s / mm for s, mm in zip(crf.smoothness_mm, spacing_mm, strict=False)]
        smooth = lambda x: ndimage.gaussian_filter(x, sigma, mode="constant", truncate=3.0)  # noqa: E731
        found.append((crf.smoothness_weight, _normalised(smooth, size)))
    if crf.appearance_weight:
        lattice = Lattice(_features(image, spacing_mm, crf))
        similar = lambda x: lattice(x.ravel()).reshape(size)  # noqa: E731
        found.append((crf.appearance_weight, _normalised(similar, size)))
    return found


def _normalised(kernel: Filter, size: tuple[int, ...]) -> Filter:
    """Return the kernel divided by the roots of its sums at both of its ends."""
    root: Array = np.sqrt(np.maximum(kernel(np.ones(size, dtype=np.float32)), np.float32(1e-20)))

    def filtered(x: Array) -> Array:
        out: Array = kernel(x / root)
        out /= root
        return out

    return filtered


def _features(image: Array, spacing_mm: Sequence[float], crf: CRF) -> Array:
    """Return position and intensities of each voxel (N, d), in standard deviations of the second kernel."""
    size = image.shape[1:]
    columns: list[Array] = []
    for axis, (n, mm, sigma) in enumerate(zip(size, spacing_mm, crf.appearance_mm, strict=False)):
        shape = [n if a == axis else 1 for a in range(len(size))]
        place = (np.arange(n, dtype=np.float32) * np.float32(mm / sigma)).reshape(shape)
        columns.append(np.broadcast_to(place, size).ravel())
    for c, channel in enumerate(image):
        sigma = crf.intensity[min(c, len(crf.intensity) - 1)]
        columns.append(np.clip(channel, -crf.clip, crf.clip, dtype=np.float32).ravel() / np.float32(sigma))
    return np.stack(columns, axis=1)
