"""From a case's files to the array a network sees, and the facts needed to go back."""

from __future__ import annotations

from striate.core.config import Config

NORMALISATIONS = ("zscore", "zscore_nonzero", "ct", "rescale", "none")


class Intensities(Config):
    """Intensities of one channel inside the foreground of the training cases, as `ct` normalisation needs them."""

    mean: float
    std: float
    p005: float
    p995: float


class Preparation(Config):
    """How images are prepared; the same for training and prediction.

    Attributes
    ----------
    spacing_mm
        Voxel size that networks see, along the RAS+ axes (2 values for 2D images).
    normalisation
        One of `NORMALISATIONS` for each channel, in channel order.
    intensities
        One per channel; None where the scheme does not need it.
    crop
        True: cut to the bounding box of voxels that are not zero in some channel.
    """

    spacing_mm: tuple[float, ...]
    normalisation: tuple[str, ...]
    intensities: tuple[Intensities | None, ...]
    crop: bool = True
