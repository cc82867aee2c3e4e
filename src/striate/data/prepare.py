"""From a case's files to the array a network sees, and the facts needed to go back."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from striate.core.case import Case
from striate.core.config import Config
from striate.core.counted import counted, is_or_are
from striate.core.errors import GeometryError, ModelError, expected
from striate.core.image import Grid, Image, LabelMap, Reorientation, to_ras
from striate.core.names import did_you_mean
from striate.core.targets import Targets
from striate.data.background import background_value, bounding_box
from striate.data.resample import coarse_axis, new_shape, resample, resample_classes

PREPARING_BYTES = 16
"""Of each channel, per voxel of the files and per voxel that the network sees (measured: 8 to 11)."""
NORMALISATIONS = ("zscore", "zscore_nonzero", "zscore_inside", "ct", "rescale", "rgb", "none")


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
        One of `NORMALISATIONS` for each channel, in channel order. ``zscore``: mean 0, standard deviation 1 over the
        cropped image. ``zscore_nonzero``: the same over voxels that are not background, which becomes 0. ``ct``:
        clipped to p005 … p995 of the training foreground, then z-scored with its mean and standard deviation.
        ``rescale``: smallest value 0, largest 1. ``rgb``: divided by 255. ``none``: as stored. ``zscore_inside`` (only
        with `rules` ``nnunet``): over voxels inside the outline of all that is not 0 in some channel, holes filled.
    intensities
        One per channel; None where the scheme does not need it.
    crop
        True: cut to the bounding box of voxels that are not background in some channel. Background is 0, or the
        constant that fills the image instead (`striate.data.background`).
    rules
        ``striate``, or ``nnunet`` for a model that nnU-Net v2 trained (`striate.data.prepare_nnunet`).
    turned
        True: to RAS+ first. False: the stored order of axes is kept (only with `rules` ``nnunet``).
    native_axis
        The axis that keeps its voxel size, across the slices of a 2D network (only with `rules` ``nnunet``).
    axis_order
        The axes in the order of nnU-Net's arrays: sums are rounded in it when images are resampled (only with `rules`
        ``nnunet``).
    previous_labels
        Of the second stage of a cascade: the label values of the first stage's mask. Each is a channel more, behind those of
        the images: 1 where the mask has it, else 0 (only with `rules` ``nnunet``).
    """

    spacing_mm: tuple[PositiveFloat, ...]
    normalisation: tuple[str, ...]
    intensities: tuple[Intensities | None, ...]
    crop: bool = True
    rules: Literal["striate", "nnunet"] = "striate"
    turned: bool = True
    native_axis: int | None = Field(default=None, ge=0, le=2)
    axis_order: tuple[int, ...] = (2, 1, 0)
    previous_labels: tuple[PositiveInt, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Preparation:
        if len(self.intensities) != len(self.normalisation):
            raise ValueError(
                f"intensities has {counted(len(self.intensities), 'entry', 'entries')} for"
                f" {counted(len(self.normalisation), 'channel')} of normalisation"
            )
        for name, intensities in zip(self.normalisation, self.intensities, strict=True):
            if name not in NORMALISATIONS:
                raise ValueError(f"normalisation {name!r} is not known. {did_you_mean(name, NORMALISATIONS)}")
            if name == "ct" and intensities is None:
                raise ValueError("normalisation 'ct' needs mean, std, p005 and p995 under intensities, it has none")
        special = "zscore_inside" in self.normalisation or not self.turned or self.native_axis is not None
        if (special or self.previous_labels) and self.rules != "nnunet":
            raise ValueError("zscore_inside, turned = false, native_axis and previous_labels need rules = nnunet")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A case as a network sees it.

    Order of operations (nnU-Net's; Isensee et al., Nat Methods 18:203, 2021), and thus, backwards, the way home:

    1. the channels (C, *source.shape) are turned to RAS+: ``reorientation.apply`` (axes permuted and flipped only);
    2. cut: ``turned[(..., *crop)]``; the result lies on `cropped`;
    3. normalised, each channel on its own, before resampling (else resampled borders would enter the statistics);
    4. resampled from `cropped` to `grid` where an axis changes its number of voxels; extents are kept, so voxel i along
       an axis is centred on (i + ½)·n/m − ½ of `cropped`, n and m being the axis' voxels before and after.

    Back: resample (*grid.shape) to ``cropped.shape``, write it into an empty array of the turned shape at `crop`, and
    ``reorientation.invert`` it. At native spacing `grid` equals `cropped` and every step is exact.

    Attributes
    ----------
    array
        (C, *grid.shape) float32.
    classes
        (*grid.shape) uint8, class indices of `Targets.classes`; None where there is no label map.
    grid
        What the network sees, in mm, RAS+.
    source
        Grid of the files.
    cropped
        Grid after steps 1 and 2.
    reorientation, crop
        How to get from `source` to `cropped`: `crop` are slices of the turned axes.
    case
        Name of the case.
    notes
        What was done that the user should know, as sentences.
    backgrounds
        Of each channel of the files, the value other than 0 that fills its background, in the file's unit; 0 where there is
        none (`striate.data.background`).
    """

    array: NDArray[np.float32]
    classes: NDArray[np.uint8] | None
    grid: Grid
    source: Grid
    cropped: Grid
    reorientation: Reorientation
    crop: tuple[slice, ...]
    case: str
    notes: tuple[str, ...] = ()
    backgrounds: tuple[float, ...] = ()

    @property
    def turned_shape(self) -> tuple[int, ...]:
        """Shape of the whole image after step 1, before the crop."""
        return tuple(self.source.shape[a] for a in self.reorientation.order)


def prepare(case: Case, preparation: Preparation, targets: Targets | None = None) -> Prepared:
    """Read a case and prepare it; that of a cascade's second stage by `striate.inference.cascade.prepare_stage`.

    Parameters
    ----------
    case
        Its channels are stacked in their order.
    preparation
        What to do.
    targets
        Turns label values into classes; None (or a case without label map) leaves `Prepared.classes` None.

    Raises
    ------
    GeometryError
        When channels, or the label map, do not lie on one grid, or the number of axes is not that of the plan.
    ModelError
        When the number of channels is not that of the plan.
    """
    from striate.io.read import read_channels, read_label  # reading is not needed to hold a `Preparation`

    images = list(read_channels(case).values())
    label = read_label(case.label) if targets is not None and case.label is not None else None
    return prepare_images(images, preparation, case.name, label, targets, channels=tuple(case.channels))


def preparing_bytes(cases: Sequence[Case], spacing_mm: Sequence[float]) -> int:
    """Return the memory that the largest of some cases takes while it is prepared, by its headers."""
    from striate.io.read import largest

    voxels, voxel_mm3 = largest(cases)
    return int(PREPARING_BYTES * voxels * (1 + voxel_mm3 / math.prod(spacing_mm)))


def uncut_shape(preparation: Preparation, grid: Grid) -> tuple[int, ...]:
    """Return the voxels along each axis that a network would see of files on `grid` if nothing were cut away."""
    turned = to_ras(grid)[1] if preparation.turned else grid
    wanted = list(preparation.spacing_mm)
    if preparation.native_axis is not None:
        wanted[preparation.native_axis] = turned.spacing_mm[preparation.native_axis]
    return new_shape(turned.shape, turned.spacing_mm, wanted)


def prepare_images(
    images: Sequence[Image],
    preparation: Preparation,
    case_name: str,
    label: LabelMap | None = None,
    targets: Targets | None = None,
    previous: LabelMap | None = None,
    *,
    channels: Sequence[str] = (),
) -> Prepared:
    """Prepare images that are in memory; see `prepare`.

    `previous` is the mask that `Preparation.previous_labels` asks for; `channels` are names for messages, by default numbers.
    """
    source = images[0].grid
    schemes = _schemes(images, preparation, case_name)
    names = channels or [str(number) for number in range(len(schemes))]
    _check_grids(images, label, preparation, case_name, names)
    if preparation.rules == "nnunet":
        from striate.data.prepare_nnunet import prepare_as_nnunet

        return prepare_as_nnunet(images, preparation, case_name, label, targets, previous)
    reorientation, turned = to_ras(source)
    laid, notes = [], []
    for name, channel in zip(names, (c for image in images for c in image.array), strict=True):
        finite, count = finite_of(channel)
        laid.append(reorientation.apply(finite))
        if count:
            told = f"{counted(count, 'voxel')} of channel {name} {is_or_are(count)} not finite"
            notes.append(f"case {case_name}: {told}; {'it is' if count == 1 else 'they are'} taken as 0.")
    backgrounds = [background_value(channel) for channel in laid]
    box = tuple(slice(0, n) for n in turned.shape)
    if preparation.crop:
        box = bounding_box(functools.reduce(np.logical_or, map(np.not_equal, laid, backgrounds)))
    cropped = cut(turned, box)
    array = np.empty((len(laid), *cropped.shape), dtype=np.float32)
    for index, (channel, background) in enumerate(zip(laid, backgrounds, strict=True)):
        normalise(channel[box], *schemes[index], background=background, out=array[index])
    del laid
    grid, coarse = _target(cropped, preparation)
    classes = None
    if label is not None and targets is not None:
        classes = targets.classes(np.ascontiguousarray(reorientation.apply(label.array)[box]))
        classes = resample_classes(classes, grid.shape, coarse)
    array = resample(array, grid.shape, "cubic", coarse)
    return Prepared(
        array, classes, grid, source, cropped, reorientation, box, case_name, tuple(notes), tuple(backgrounds)
    )


def _schemes(images: Sequence[Image], preparation: Preparation, name: str) -> list[tuple[str, Intensities | None]]:
    pairs = list(zip(preparation.normalisation, preparation.intensities, strict=True))
    count = sum(image.channels for image in images)
    if len(pairs) != count:
        raise ModelError(expected(f"case {name}", counted(count, "channel"), f"the plan needs {len(pairs)}"), case=name)
    return pairs


def _check_grids(
    images: Sequence[Image], label: LabelMap | None, preparation: Preparation, name: str, channels: Sequence[str]
) -> None:
    first = images[0].grid
    if len(first.shape) != len(preparation.spacing_mm):
        raise GeometryError(
            expected(f"case {name}", f"{len(first.shape)} axes {first.shape}",
                     f"the plan is for images of {len(preparation.spacing_mm)} axes"), case=name,
        )  # fmt: skip
    starts = np.cumsum([0, *(image.channels for image in images)])
    others = [(f"channel {channels[k]}", image.grid) for k, image in zip(starts, images, strict=False)][1:]
    if label is not None:
        others.append(("the mask", label.grid))
    for what, grid in others:
        if not grid.matches(first):
            raise GeometryError(
                expected(f"case {name}", f"{what} has {describe_grid(grid)}, channel {channels[0]} has {describe_grid(first)}",
                         "all files of a case must lie on one grid, because they are compared voxel by voxel",
                         f"Resample it onto channel {channels[0]}, or fix its header; see striate check."), case=name,
            )  # fmt: skip


def describe_grid(grid: Grid) -> str:
    """Return shape, spacing, axes and origin for a message."""
    spacing = ", ".join(f"{v:.4g}" for v in grid.spacing_mm)
    return f"shape {grid.shape}, spacing ({spacing}) mm, axes {grid.axes}, origin {np.round(grid.affine[:3, 3], 2).tolist()} mm"


def cut(grid: Grid, box: tuple[slice, ...]) -> Grid:
    """Return the grid of the voxels in `box`, which stay where they lie."""
    affine = np.array(grid.affine)
    start = np.zeros(3)
    start[: len(box)] = [s.start for s in box]
    affine[:3, 3] += affine[:3, :3] @ start
    return Grid(tuple(s.stop - s.start for s in box), affine)


def _target(cropped: Grid, preparation: Preparation) -> tuple[Grid, int | None]:
    shape = new_shape(cropped.shape, cropped.spacing_mm, preparation.spacing_mm)
    if shape == cropped.shape:
        return cropped, None
    coarse = coarse_axis(cropped.spacing_mm)
    return scaled(cropped, shape), coarse if coarse is not None else coarse_axis(preparation.spacing_mm)


def scaled(grid: Grid, shape: tuple[int, ...]) -> Grid:
    """Return the grid of `shape` voxels that has the extent of `grid`; `grid` itself where the shape is its own."""
    if shape == grid.shape:
        return grid
    scale = np.ones(3)
    scale[: len(shape)] = [n / m for n, m in zip(grid.shape, shape, strict=True)]
    affine = np.array(grid.affine)
    affine[:3, 3] += affine[:3, :3] @ ((scale - 1) / 2)
    affine[:3, :3] *= scale
    return Grid(shape, affine)


def finite_of(channel: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return the channel with NaN and infinity set to 0, and how many there were."""
    if channel.dtype.kind != "f" or np.isfinite(channel).all():
        return channel, 0
    wrong = ~np.isfinite(channel)
    return np.where(wrong, channel.dtype.type(0), channel), int(np.count_nonzero(wrong))


def _moments(channel: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> tuple[float, float]:
    """Return mean and standard deviation, in float64, slice by slice; of the voxels in `mask` where it is given."""
    total = squares = 0.0
    for index, part in enumerate(channel):
        wide = (part if mask is None else part[mask[index]]).astype(np.float64).ravel()
        total += float(wide.sum())
        squares += float(wide @ wide)
    count = max(1, channel.size if mask is None else int(np.count_nonzero(mask)))
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean * mean, 0.0)))


def normalise(
    channel: NDArray[Any],
    scheme: str,
    intensities: Intensities | None = None,
    *,
    background: float = 0.0,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return one channel normalised; constant channels become 0.

    Parameters
    ----------
    channel
        (*spatial), any real type.
    scheme, intensities
        See `Preparation.normalisation`.
    background
        Value of voxels that ``zscore_nonzero`` leaves out.
    out
        (*spatial) float32 to write to; made where None.

    Raises
    ------
    ModelError
        When the scheme is not known, or is ``ct`` without `intensities`.
    """
    result = np.empty(channel.shape, dtype=np.float32) if out is None else out
    np.copyto(result, channel, casting="same_kind" if channel.dtype.kind == "f" else "unsafe")
    if scheme in ("zscore", "zscore_nonzero"):
        mask = np.ascontiguousarray(channel != background) if scheme == "zscore_nonzero" else None
        mean, std = _moments(result, mask)
        result -= np.float32(mean)
        result /= np.float32(max(std, 1e-6 * abs(mean), 1e-30))
        if mask is not None:
            result *= mask
    elif scheme == "ct":
        if intensities is None:
            raise ModelError("preparation.intensities: None for a ct channel; mean, std, p005 and p995 are needed.")
        np.clip(result, intensities.p005, intensities.p995, out=result)
        result -= np.float32(intensities.mean)
        result /= np.float32(max(intensities.std, 1e-8))
    elif scheme == "rescale":
        low, high = float(result.min()), float(result.max())
        result -= np.float32(low)
        result /= np.float32(max(high - low, 1e-30))
    elif scheme == "rgb":
        result /= np.float32(255)
    elif scheme != "none":
        raise ModelError(f"normalisation {scheme!r} is not known; one of {', '.join(NORMALISATIONS)} is needed.")
    return result
