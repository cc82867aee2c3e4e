"""A case prepared as nnU-Net v2 prepares it, so that a network that it trained sees the images that it was trained on.

Rules (F. Isensee et al., Nat Methods 18:203, 2021, supplement; behaviour of nnU-Net 2.8): the image is cut to the box of
voxels that are not 0 in some channel; normalised; resampled by splines of order 3 whose ends repeat the border, to
``round(n · spacing / wanted)`` voxels, without smoothing; where the longest edge of a voxel exceeds three times its
shortest, and only one axis is that long, slices are resampled by themselves and then taken by the nearest neighbour.

The second stage of a cascade also sees the mask of the first, cut likewise: each label's share is resampled linearly, and the
largest wins (batchgenerators 0.25.5; what lies outside of the body is a label too). Voxels of the mask count as inside for
``zscore_inside``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from striate.core.counted import counted, is_or_are
from striate.core.errors import ModelError, expected
from striate.core.image import Image, LabelMap, Reorientation, to_ras
from striate.core.targets import Targets
from striate.data.background import background_value, bounding_box
from striate.data.prepare import Intensities, Preparation, Prepared, cut, finite_of, normalise, scaled
from striate.data.resample import resample_classes

ANISOTROPIC = 3.0
LEAST_STD, OUTSIDE = 1e-8, -1


def prepare_as_nnunet(
    images: Sequence[Image],
    preparation: Preparation,
    case_name: str,
    label: LabelMap | None = None,
    targets: Targets | None = None,
    previous: LabelMap | None = None,
) -> Prepared:
    """Prepare images that are in memory; the caller has checked that they fit together and to `preparation`.

    The label map is resampled by Striate's rules; it serves validation only. `previous` is on the grid of the images.

    Raises
    ------
    ModelError
        When `preparation` is of the second stage of a cascade, and the mask of the first is not given.
    """
    if preparation.previous_labels and previous is None:
        raise ModelError(
            expected(f"case {case_name}", "images alone", "the model is the second stage of a cascade, which also sees the mask"
                     " of the first", "striate predict, explain, inspect, calibrate and change run both; nothing else does."),
            case=case_name,
        )  # fmt: skip
    source = images[0].grid
    unturned = Reorientation(tuple(range(len(source.shape))), ())
    reorientation, turned = to_ras(source) if preparation.turned else (unturned, source)
    laid = (reorientation.apply(c).astype(np.float32, order="F", copy=False) for image in images for c in image.array)
    found = [finite_of(channel) for channel in laid]
    channels, wrong = [channel for channel, _ in found], sum(count for _, count in found)
    inside = np.zeros(turned.shape, dtype=bool)
    for channel in channels:
        inside |= channel != 0
    box = bounding_box(inside) if preparation.crop else tuple(slice(0, n) for n in turned.shape)
    mask = before = None
    if "zscore_inside" in preparation.normalisation or previous is not None:
        from scipy.ndimage import binary_fill_holes

        flat = inside[..., None] if inside.ndim == 2 else inside  # holes of one slice are open above and below
        mask = binary_fill_holes(flat).reshape(inside.shape)[box]
    if mask is not None and previous is not None:
        before = reorientation.apply(previous.array)[box].astype(np.int16)
        before[(before == 0) & ~mask] = OUTSIDE
        mask = before != OUTSIDE
    cropped = cut(turned, box)
    wanted = list(preparation.spacing_mm)
    if preparation.native_axis is not None:
        wanted[preparation.native_axis] = cropped.spacing_mm[preparation.native_axis]
    shape = wanted_shape(cropped.shape, cropped.spacing_mm, wanted)
    coarse = apart(cropped.spacing_mm, wanted)
    pairs = zip(preparation.normalisation, preparation.intensities, strict=True)
    array = np.empty((len(channels) + len(preparation.previous_labels), *shape), dtype=np.float32)
    for index, (channel, (scheme, intensities)) in enumerate(zip(channels, pairs, strict=True)):
        normal = _normal(channel[box], scheme, intensities, mask, preparation.axis_order)
        array[index] = zoom(normal, shape, 3, coarse, preparation.axis_order)
    if before is not None and preparation.previous_labels:
        resampled = zoom_labels(before, shape, coarse, preparation.axis_order)
        for index, value in enumerate(preparation.previous_labels, start=len(channels)):
            array[index] = resampled == value
    grid, classes = scaled(cropped, shape), None
    if label is not None and targets is not None:
        classes = targets.classes(np.ascontiguousarray(reorientation.apply(label.array)[box]))
        classes = resample_classes(classes, grid.shape, coarse)
    told = (
        f"{counted(wrong, 'voxel')} {is_or_are(wrong)} not finite; {'it is' if wrong == 1 else 'they are'} taken as 0."
    )
    notes = (f"case {case_name}: {told}",) if wrong else ()
    backgrounds = tuple(background_value(channel) for channel in channels)
    return Prepared(array, classes, grid, source, cropped, reorientation, box, case_name, notes, backgrounds)


def wanted_shape(shape: Sequence[int], spacing_mm: Sequence[float], wanted_mm: Sequence[float]) -> tuple[int, ...]:
    """Return the voxels along each axis after resampling; at least one."""
    return tuple(max(1, round(s / w * n)) for n, s, w in zip(shape, spacing_mm, wanted_mm, strict=True))


def apart(spacing_mm: Sequence[float], wanted_mm: Sequence[float]) -> int | None:
    """Return the axis along which the nearest slice is taken; None where all axes are interpolated together."""
    for spacing in (np.asarray(spacing_mm), np.asarray(wanted_mm)):
        if len(spacing) > 2 and spacing.max() / spacing.min() > ANISOTROPIC:
            longest = np.flatnonzero(spacing.max() / spacing == 1)
            return int(longest[0]) if len(longest) == 1 else None
    return None


def zoom(
    array: NDArray[Any],
    shape: Sequence[int],
    order: Literal[1, 3],
    coarse: int | None,
    axis_order: Sequence[int] = (2, 1, 0),
) -> NDArray[np.float32]:
    """Resample (*spatial) to `shape` by splines of `order`, within the range of the values, nearest along `coarse`.

    Sums are rounded as nnU-Net rounds them, whose arrays have the axes in `axis_order`.
    """
    if array.shape == tuple(shape):
        return np.asarray(array, dtype=np.float32)

    def spline(values: NDArray[Any], wanted: tuple[int, ...]) -> NDArray[Any]:
        return _spline(np.asarray(values, dtype=np.float64), wanted, order)

    return np.asarray(_resampled(array, shape, coarse, axis_order, spline), dtype=np.float32)


def zoom_labels(
    labels: NDArray[Any], shape: Sequence[int], coarse: int | None, axis_order: Sequence[int] = (2, 1, 0)
) -> NDArray[Any]:
    """Resample label values (*spatial) to `shape`: the value of the largest linear share wins.

    Of values that are equal the nearest voxel's wins, where it is one of them, else the lowest.
    """
    return labels if labels.shape == tuple(shape) else _resampled(labels, shape, coarse, axis_order, _largest)


def _resampled(
    array: NDArray[Any],
    shape: Sequence[int],
    coarse: int | None,
    axis_order: Sequence[int],
    by: Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]],
) -> NDArray[Any]:
    """Resample `by` a function of values and wanted shape: whole, or where there is a `coarse` axis slice by slice."""
    values, wanted = array.transpose(axis_order), tuple(shape[a] for a in axis_order)
    if coarse is None:
        found = by(values, wanted)
    else:
        axis = list(axis_order).index(coarse)
        across = wanted[:axis] + wanted[axis + 1 :]
        slices = np.stack([by(part, across) for part in np.moveaxis(values, axis, 0)], axis=axis)
        found = _nearest(slices, wanted[axis], axis)
    return found.transpose(np.argsort(axis_order))


def _largest(labels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    from scipy import ndimage

    factors = [float(after / before) for after, before in zip(shape, labels.shape, strict=True)]
    nearest = ndimage.zoom(labels, factors, order=0, mode="nearest", grid_mode=True)
    found, best, its = np.zeros(shape, dtype=labels.dtype), np.zeros(shape), np.zeros(shape)
    for value in np.unique(labels):
        share = _spline((labels == value).astype(np.float64), shape, 1)
        found[share > best] = value
        np.maximum(best, share, out=best)
        np.copyto(its, share, where=nearest == value)
    np.copyto(found, nearest, where=its == best)
    return found


def _nearest(values: NDArray[Any], after: int, axis: int) -> NDArray[Any]:
    """Resample `axis` to `after` voxels; each takes the nearest."""
    before = values.shape[axis]
    places = before / after * (np.arange(after) + 0.5) - 0.5
    taken = np.clip(np.floor(places + 0.5).astype(int), 0, before - 1)
    return np.asarray(np.take(values, taken, axis=axis))


def _spline(values: NDArray[np.float64], shape: tuple[int, ...], order: Literal[1, 3]) -> NDArray[np.float64]:
    from scipy import ndimage

    if values.shape == shape:
        return values
    factors = [float(after / before) for after, before in zip(shape, values.shape, strict=True)]
    found = ndimage.zoom(values, factors, order=order, mode="nearest", grid_mode=True)
    return np.asarray(np.clip(found, values.min(), values.max()))


def _normal(
    channel: NDArray[np.float32],
    scheme: str,
    intensities: Intensities | None,
    mask: NDArray[np.bool_] | None,
    axis_order: Sequence[int],
) -> NDArray[np.float32]:
    """Return one channel normalised; sums are in single precision and in nnU-Net's order."""
    if scheme not in ("zscore", "zscore_inside"):
        return normalise(channel, scheme, intensities)
    if scheme == "zscore":
        mean = channel.mean(keepdims=True)
        apart = channel - mean  # one array is used again and again, because new memory takes longer than the sums
        std = np.sqrt(np.multiply(apart, apart, out=apart).sum() / np.float32(channel.size))
        np.subtract(channel, mean, out=apart)
        return np.asarray(np.divide(apart, np.float32(max(std, LEAST_STD)), out=apart))
    turned = np.array(channel.transpose(axis_order))
    where = np.ones(turned.shape, dtype=bool) if mask is None else mask.transpose(axis_order)
    values = turned[where]
    if values.size:
        turned[where] = (values - values.mean()) / np.float32(max(values.std(), LEAST_STD))
    return turned.transpose(np.argsort(axis_order))
