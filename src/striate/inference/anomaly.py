"""Anomaly maps: where a scan differs from what a network that learned healthy scans makes of it.

Source
    The idea is reviewed and measured by C. Baur, S. Denner, B. Wiestler, N. Navab, S. Albarqouni: Autoencoders for
    unsupervised anomaly segmentation in brain MR images: a comparative study. Medical Image Analysis 69:101952, 2021.
Form
    |image - reconstruction|, smoothed by a Gaussian, as a z-score against the mean and the standard deviation that it has
    in training images: over all voxels, or at each place, which needs images that lie on each other at least roughly and
    then allows for the detail that is hard to draw everywhere (the cortex). High values mean that the network has not
    learned to draw what is there: a lesion, but also an artefact, another scanner, an unusual head.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from striate.core.errors import DataError, UsageError, expected
from striate.networks.network import Network

SMOOTHING_VOXELS = 1.0
PERCENTILE = 99.0
FLAT = 1e-6
"""A smaller standard deviation counts as this one."""
PLACE_SMOOTHING_VOXELS, PLACE_FLOOR = 1.0, 0.05
"""Statistics of each place are smoothed, for few images; their standard deviation is at least this part of the whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What residuals of training images look like.

    Attributes
    ----------
    mean, std
        Of the smoothed residual: (C, 1, …) over all voxels, or (C, *S) at each place.
    smoothing_voxels
        Standard deviation of the Gaussian.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    smoothing_voxels: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: ``mean`` and ``std`` per channel, of statistics over all voxels."""
        numbers = {name: [float(v) for v in getattr(self, name).ravel()] for name in ("mean", "std")}
        return {**numbers, "smoothing_voxels": self.smoothing_voxels}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], dims: int) -> Calibration:
        """Read the JSON form, for images of so many spatial axes."""
        shape = (-1, *(1,) * dims)
        mean, std = (np.array(document[name], dtype=np.float64).reshape(shape) for name in ("mean", "std"))
        return cls(mean, std, float(document["smoothing_voxels"]))


def difference(
    image: NDArray[np.float32], reconstruction: NDArray[np.float32], smoothing_voxels: float = SMOOTHING_VOXELS
) -> NDArray[np.float32]:
    """Return |image - reconstruction| (C, *S), smoothed."""
    apart = np.abs(image - reconstruction)
    smooth = ndimage.gaussian_filter(apart, smoothing_voxels, axes=tuple(range(1, apart.ndim)))
    return np.asarray(smooth, dtype=np.float32)


def residual(
    network: Network, image: NDArray[np.float32], smoothing_voxels: float = SMOOTHING_VOXELS
) -> NDArray[np.float32]:
    """Return |image - reconstruction|, smoothed.

    Parameters
    ----------
    network
        Its task is reconstruction.
    image
        (C, *S) prepared as the training images were; it is continued by its border voxels to a size that fits.
    smoothing_voxels
        Standard deviation of the Gaussian; 0: none.

    Returns
    -------
    (C, *S) float32

    Raises
    ------
    UsageError
        When the network does not reconstruct, or the image does not fit it.
    """
    if network.task != "reconstruction":
        raise UsageError(expected("anomaly", f"a network for {network.task}", "one for reconstruction is needed"))
    size = image.shape[1:]
    wider = network.fitting(size) if len(size) == network.spatial_dims else size
    before = [max(0, w - n) // 2 for n, w in zip(size, wider, strict=True)]
    pads = [(b, max(0, w - n) - b) for n, w, b in zip(size, wider, before, strict=True)]
    padded = np.pad(image, [(0, 0), *pads], mode="edge")
    device = next(network.parameters()).device
    training = network.training
    try:
        with torch.inference_mode():
            found = network.eval()(torch.from_numpy(padded[None]).to(device))[0].float().cpu().numpy()
    finally:
        network.train(training)
    inside = (slice(None), *(slice(b, b + n) for b, n in zip(before, size, strict=True)))
    return difference(image, found[inside], smoothing_voxels)


def calibrate(
    network: Network,
    images: Iterable[NDArray[np.float32]],
    smoothing_voxels: float = SMOOTHING_VOXELS,
    *,
    per_place: bool = False,
) -> Calibration:
    """Measure the residuals of training images (C, *S), one at a time; see `usual`.

    Parameters
    ----------
    network, smoothing_voxels
        As for `residual`.
    images
        Prepared as for training, and without what is to be found.
    per_place
        See `usual`.

    Raises
    ------
    DataError
        As `usual`.
    UsageError
        As `residual`.
    """
    apart = (residual(network, image, smoothing_voxels) for image in images)
    return usual(apart, smoothing_voxels, per_place=per_place)


def usual(
    residuals: Iterable[NDArray[np.float32]], smoothing_voxels: float = SMOOTHING_VOXELS, *, per_place: bool = False
) -> Calibration:
    """Return what residuals are like, from those of training images (C, *S), one at a time.

    Parameters
    ----------
    residuals
        As `residual` or `difference` gives them.
    smoothing_voxels
        With which they were smoothed.
    per_place
        Whether each place has statistics of its own; all images, later ones too, then have one size.

    Raises
    ------
    DataError
        When there is no image, or sizes differ with `per_place`.
    """
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for residual_of_one in residuals:
        values = residual_of_one.astype(np.float64)
        if per_place and count and values.shape != total.shape:
            came = f"images of shapes {total.shape} and {values.shape}"
            raise DataError(expected("anomaly", came, "one size is needed for statistics of each place"))
        axes = tuple(range(1, values.ndim))
        parts = (values, values**2)
        first, second = parts if per_place else (p.sum(axis=axes, keepdims=True) for p in parts)
        total, squares = total + first, squares + second
        count += 1 if per_place else values[0].size
    if count == 0:
        raise DataError(expected("anomaly", f"{count} training images", "at least one is needed to know what is usual"))
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    if per_place:
        axes = tuple(range(1, mean.ndim))
        spread = (squares / count).mean(axis=axes, keepdims=True) - mean.mean(axis=axes, keepdims=True) ** 2
        whole = np.sqrt(np.maximum(spread, 0))
        mean, std = (ndimage.gaussian_filter(v, PLACE_SMOOTHING_VOXELS, axes=axes) for v in (mean, std))
        std = np.maximum(std, PLACE_FLOOR * whole)
    return Calibration(mean, np.maximum(std, FLAT), smoothing_voxels)


def anomaly_map(network: Network, image: NDArray[np.float32], calibration: Calibration) -> NDArray[np.float32]:
    """Return how unusual each voxel is, (*S) float32: the largest z-score of its channels.

    Raises
    ------
    DataError
        When the calibration is of each place and of another size.
    UsageError
        As `residual`.
    """
    return deviation(residual(network, image, calibration.smoothing_voxels), calibration)


def deviation(apart: NDArray[np.float32], calibration: Calibration) -> NDArray[np.float32]:
    """Return how unusual a residual (C, *S) is at each voxel, (*S): the largest z-score of its channels.

    Raises
    ------
    DataError
        When the calibration is of each place and of another size.
    """
    if calibration.mean.shape[1:] not in (apart.shape[1:], (1,) * (apart.ndim - 1)):
        came = f"an image of shape {apart.shape}"
        raise DataError(expected("anomaly", came, f"{calibration.mean.shape} is needed: statistics are of each place"))
    z = (apart - calibration.mean) / calibration.std
    return np.asarray(z.max(axis=0), dtype=np.float32)


def score(anomaly: NDArray[np.float32], percentile: float = PERCENTILE) -> float:
    """Return one number for an image: a high percentile of its anomaly map, so that a small lesion counts."""
    return float(np.percentile(anomaly, percentile))
