"""Random variations of training patches: what could equally well have been scanned.

Drawing (here, numpy) is separate from doing (`spatial`, `intensity`, torch): the parameters of a sample can be looked
at, kept and applied again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, field_validator

from striate.core.config import Config
from striate.data.resample import ANISOTROPIC

CONTROL_POINTS = 7
BIAS_POINTS = 5


class Augmentation(Config):
    """Probability per sample of each variation (0 switches it off), and the two ranges that plans change.

    Ranges follow nnU-Net v2 (Isensee et al., Nat Methods 18:203, 2021) where it has the variation.

    Attributes
    ----------
    affine
        Rotation and scale together.
    rotation_degrees
        Largest angle about each axis; where one axis is flat (see `flat_axis`), only about that one.
    scale
        Smallest and largest size factor; half of the draws shrink, half grow.
    elastic
        Smooth deformation.
    mirror_axes
        Each is reversed in half of the samples.
    noise
        Gaussian, variance 0 … 0.1 of the normalised image.
    blur
        Gaussian, 0.5 … 1 voxel, each channel in half of the cases.
    brightness, contrast
        Factors 0.75 … 1.25 for each channel; contrast keeps the range of values.
    gamma
        Exponents 0.7 … 1.5 for each channel; mean and standard deviation are kept; a quarter act on the inverted image.
    low_resolution
        To 0.5 … 1 of the resolution and back, each channel in half of the cases.
    bias_field
        Smooth factors about 1, one field for each channel.
    """

    affine: float = Field(0.3, ge=0, le=1)
    rotation_degrees: float = Field(20.0, ge=0, le=180)
    scale: tuple[PositiveFloat, PositiveFloat] = (0.75, 1.35)
    elastic: float = Field(0.1, ge=0, le=1)
    mirror_axes: tuple[int, ...] = ()
    noise: float = Field(0.1, ge=0, le=1)
    blur: float = Field(0.15, ge=0, le=1)
    brightness: float = Field(0.15, ge=0, le=1)
    contrast: float = Field(0.15, ge=0, le=1)
    gamma: float = Field(0.3, ge=0, le=1)
    low_resolution: float = Field(0.15, ge=0, le=1)
    bias_field: float = Field(0.15, ge=0, le=1)

    @field_validator("scale")
    @classmethod
    def _in_order(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError("two factors are needed, the smallest first")
        return scale


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """What is done to one sample; None, an empty tuple or a neutral factor means nothing.

    Attributes
    ----------
    flat_axis
        Axis along which nothing moves (a slice of 3D, or thick slices); `matrix` and `elastic` then have two axes.
    matrix
        (D, D): offset from the patch centre in voxels → offset in the image in voxels.
    elastic
        (D, *control points) displacement in voxels of the image, cubic B-spline coefficients.
    mirror
        Axes that are reversed.
    bias_field
        (C, *control points) logarithm of the factor, cubic B-spline coefficients.
    noise_std
        In units of the normalised image.
    noise_seed
        Seed of the noise.
    blur_sigma
        (C,) standard deviation in voxels; 0 is none.
    brightness, contrast
        (C,) factors; 1 is none.
    zoom
        (C,) share of the resolution that is left; 1 is all.
    gamma
        (C,) exponent; 1 is none. Negative: the exponent acts on the inverted image.
    """

    flat_axis: int | None = None
    matrix: NDArray[np.float64] | None = None
    elastic: NDArray[np.float64] | None = None
    mirror: tuple[int, ...] = ()
    bias_field: NDArray[np.float64] | None = None
    noise_std: float = 0.0
    noise_seed: int = 0
    blur_sigma: tuple[float, ...] = ()
    brightness: tuple[float, ...] = ()
    contrast: tuple[float, ...] = ()
    zoom: tuple[float, ...] = ()
    gamma: tuple[float, ...] = ()


def flat_axis(patch: Sequence[int], spacing_mm: Sequence[float]) -> int | None:
    """Return the axis that must not be mixed with the others: one voxel, or much coarser or thinner than they are."""
    if len(patch) < 3:
        return None
    if 1 in patch:
        return list(patch).index(1)
    if max(spacing_mm) > ANISOTROPIC * min(spacing_mm):
        return int(np.argmax(spacing_mm))
    if max(patch) > ANISOTROPIC * min(patch):
        return int(np.argmin(patch))
    return None


def draw_parameters(
    rng: np.random.Generator, config: Augmentation, patch: Sequence[int], spacing_mm: Sequence[float], channels: int
) -> Parameters:
    """Draw what is done to one sample.

    Parameters
    ----------
    rng
        Source of all randomness.
    config
        Probabilities and ranges.
    patch
        Voxels along each axis.
    spacing_mm
        Voxel size along each axis: rotations turn millimetres, not voxels.
    channels
        Number of channels C.
    """
    flat = flat_axis(patch, spacing_mm)
    axes = [a for a in range(len(patch)) if a != flat]

    def chosen(probability: float) -> bool:
        return bool(rng.random() < probability)

    def some(active: bool, low: float, high: float, neutral: float, each: float = 1.0) -> tuple[float, ...]:
        values = rng.uniform(low, high, channels)
        taken = rng.random(channels) < each
        return tuple(float(v) if t else neutral for v, t in zip(values, taken, strict=True)) if active else ()

    moved = chosen(config.affine)
    matrix = _draw_matrix(rng, config, [spacing_mm[a] for a in axes])
    bent = chosen(config.elastic)
    elastic = _draw_elastic(rng, [patch[a] for a in axes], [spacing_mm[a] for a in axes]) if bent else None
    mirror = tuple(a for a in config.mirror_axes if chosen(0.5))
    biased = chosen(config.bias_field)
    bias = rng.normal(0, rng.uniform(0.2, 0.7), (channels, *(BIAS_POINTS for _ in patch))) if biased else None
    noisy = chosen(config.noise)
    noise_std, noise_seed = float(np.sqrt(rng.uniform(0, 0.1))), int(rng.integers(2**62))
    blur = some(chosen(config.blur), 0.5, 1.0, 0.0, each=0.5)
    brightness = some(chosen(config.brightness), 0.75, 1.25, 1.0)
    contrast = some(chosen(config.contrast), 0.75, 1.25, 1.0)
    zoom = some(chosen(config.low_resolution), 0.5, 1.0, 1.0, each=0.5)
    gamma = some(chosen(config.gamma), 0.7, 1.5, 1.0)
    if rng.random() < 0.25:
        gamma = tuple(-g for g in gamma)
    return Parameters(
        flat_axis=flat,
        matrix=matrix if moved else None,
        elastic=elastic,
        mirror=mirror,
        bias_field=bias,
        noise_std=noise_std if noisy else 0.0,
        noise_seed=noise_seed,
        blur_sigma=blur,
        brightness=brightness,
        contrast=contrast,
        zoom=zoom,
        gamma=gamma,
    )


def _draw_matrix(rng: np.random.Generator, config: Augmentation, spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Return rotation (about every axis) and scale (up or down equally often) as a map of voxel offsets."""
    dims = len(spacing_mm)
    angles = np.deg2rad(rng.uniform(-config.rotation_degrees, config.rotation_degrees, 3))
    low, high = config.scale
    grow = rng.random() < 0.5
    scale = rng.uniform(1.0, max(high, 1.0)) if grow else rng.uniform(min(low, 1.0), 1.0)
    rotation = np.eye(dims)
    for angle, (a, b) in zip(angles, ((0, 1), (0, 2), (1, 2)), strict=True):
        if b < dims:
            turn = np.eye(dims)
            turn[[a, a, b, b], [a, b, a, b]] = [np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)]
            rotation = rotation @ turn
    size = np.asarray(spacing_mm, dtype=np.float64)
    return np.asarray(rotation * size[None, :] / size[:, None] / scale)


def _draw_elastic(rng: np.random.Generator, patch: Sequence[int], spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Return B-spline coefficients, small enough against the control points' distance that nothing folds.

    A cubic B-spline deformation is one-to-one while no coefficient exceeds 0.4 of the distance between control points
    (Choi & Lee, Graphical Models 62:267, 2000); normal draws are cut there.
    """
    size = np.asarray(spacing_mm, dtype=np.float64)
    distance_mm = np.asarray(patch) * size / (CONTROL_POINTS - 3)
    reach_mm = rng.uniform(0.05, 0.2) * distance_mm.min()
    drawn = rng.normal(0, reach_mm, (len(patch), *(CONTROL_POINTS for _ in patch)))
    drawn = np.clip(drawn, -0.4 * distance_mm.min(), 0.4 * distance_mm.min())
    return np.asarray(drawn / size.reshape(-1, *(1 for _ in patch)))
