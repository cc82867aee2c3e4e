"""Drawing a batch of whole images: a pure function of seed, rank and step, as in `patches`.

All images of a batch are varied at once: on small images the arithmetic of one sample is cheaper than asking for it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from striate.core.errors import UsageError
from striate.data.augment import Augmentation
from striate.data.patches import Batch, one_thread
from striate.data.samples import SampleStore


@dataclass(frozen=True, slots=True)
class SampleSampling:
    """How batches of whole images are drawn.

    Attributes
    ----------
    cases
        Names of cases in the store.
    batch
        Images (or sequences) of a step.
    balanced
        True: every class that occurs is equally likely, then every sample of it; else each sample is seen once before any
        is seen again.
    seed
        Of everything.
    augmentation
        None: images as they are. `affine`, `mirror_axes`, `noise`, `brightness`, `contrast` and `gamma` are used.
    """

    cases: tuple[str, ...]
    batch: int
    balanced: bool = True
    seed: int = 0
    augmentation: Augmentation | None = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if not self.cases:
            raise UsageError("cases (): at least one case is needed to draw images from.")

    def shapes(self, store: SampleStore) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of `Batch.images` and `Batch.truth`."""
        return (self.batch, *store.images.shape[1:]), (self.batch, *store.form.truth_shape)

    def draw(self, store: SampleStore, step: int, rank: int = 0, out: tuple[Tensor, Tensor] | None = None) -> Batch:
        """Draw the batch of `step`.

        Parameters
        ----------
        store
            Prepared samples.
        step
            Number of the update, from 0.
        rank
            Number of the process in distributed training; ranks draw independently.
        out
            Images and truth to write to; made where None.
        """
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((self.seed, rank, step))))
        rows = self._rows(store, rng, step, rank)
        image_shape, truth_shape = self.shapes(store)
        images, truth = out or (torch.empty(image_shape), torch.empty(truth_shape, dtype=torch.uint8))
        with one_thread(), torch.inference_mode():
            drawn = torch.from_numpy(np.asarray(store.images[rows], dtype=np.float32))
            if self.augmentation is not None:
                drawn = vary(drawn, self.augmentation, rng, len(store.form.size), store.keep_zero)
            images.copy_(drawn)
            truth.copy_(torch.from_numpy(store.truth[rows]))
        return Batch(images, truth, tuple(store.case_of[row] for row in rows))

    def _rows(self, store: SampleStore, rng: np.random.Generator, step: int, rank: int) -> NDArray[np.int64]:
        if self.balanced and store.form.classes and store.form.exclusive:
            groups = _by_class(store, self.cases)
            return np.array([rng.choice(groups[int(rng.integers(len(groups)))]) for _ in range(self.batch)])
        known = _by_class(store, self.cases, one=True)[0]
        turns = [divmod(number, len(known)) for number in range(step * self.batch, (step + 1) * self.batch)]
        return known[[_order(self.seed, rank, turn, len(known))[place] for turn, place in turns]]


@functools.lru_cache(maxsize=8)
def _by_class(store: SampleStore, cases: tuple[str, ...], *, one: bool = False) -> list[NDArray[np.int64]]:
    """Return the samples of `cases` of each class that occurs, or (`one`) all together.

    Of a sequence of slices the largest class counts, of one of examinations the last.
    """
    known = store.of(cases)
    if one:
        return [known]
    truth = store.truth[known]
    if store.form.times:
        truth = truth[:, -1]
    largest = truth if truth.ndim == 1 else truth.max(axis=tuple(range(1, truth.ndim)))
    return [known[largest == value] for value in np.unique(largest)]


@functools.lru_cache(maxsize=8)
def _order(seed: int, rank: int, turn: int, count: int) -> NDArray[np.int64]:
    """Return the shuffled order of one round through all samples."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, rank, turn, count))))
    return rng.permutation(count)


def vary(
    images: Tensor, a: Augmentation, rng: np.random.Generator, dims: int, keep_zero: tuple[bool, ...] = ()
) -> Tensor:
    """Return `images` (B, C, *S), or sequences (B, T, C, *S), each varied in its own way; a sequence as one.

    Rotation and scale (`Augmentation.affine`) move the image about its centre; the border's values fill what comes in.
    """
    batch = len(images)
    flat = images.reshape(batch, -1, *images.shape[-dims:])  # (B, T·C, *S): a sequence moves as one
    flat = _moved(flat, a, rng, dims)
    for axis in a.mirror_axes:
        if axis < dims:
            flips = torch.from_numpy(rng.random(batch) < 0.5)
            flat = torch.where(flips.view(-1, *(1,) * (dims + 1)), flat.flip(axis + 2), flat)
    flat = flat.reshape(images.shape)
    blank = flat == 0
    shape = (batch, *(1,) * (images.ndim - dims - 2), images.shape[-dims - 1], *(1,) * dims)

    def factors(probability: float, low: float, high: float) -> Tensor:
        values = rng.uniform(low, high, (batch, shape[-dims - 1]))
        values[rng.random(batch) >= probability] = 1.0
        return torch.from_numpy(values.astype(np.float32)).view(shape)

    spatial = tuple(range(-dims, 0))
    varied = flat
    if a.brightness:
        varied = varied * factors(a.brightness, 0.75, 1.25)
    if a.contrast:
        middle = varied.mean(dim=spatial, keepdim=True)
        varied = (varied - middle) * factors(a.contrast, 0.75, 1.25) + middle
    if a.gamma:
        low, high = varied.amin(dim=spatial, keepdim=True), varied.amax(dim=spatial, keepdim=True)
        width = (high - low).clamp_min(1e-6)
        varied = ((varied - low) / width).pow(factors(a.gamma, 0.7, 1.5)) * width + low
    if a.noise:
        std = np.sqrt(rng.uniform(0, 0.1, batch)) * (rng.random(batch) < a.noise)
        noise = torch.randn(varied.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**62))))
        varied = varied + noise * torch.from_numpy(std.astype(np.float32)).view(-1, *(1,) * (images.ndim - 1))
    if any(keep_zero):
        kept = torch.tensor(keep_zero).view(-1, *(1,) * dims)
        varied = torch.where(blank & kept, flat, varied)
    return varied


def _moved(flat: Tensor, a: Augmentation, rng: np.random.Generator, dims: int) -> Tensor:
    """Turn and scale (B, C, *S) about the centre, bilinearly."""
    batch = len(flat)
    chosen = rng.random(batch) < a.affine
    low, high = a.scale
    grow = rng.random(batch) < 0.5
    scale = np.where(grow, rng.uniform(1.0, max(high, 1.0), batch), rng.uniform(min(low, 1.0), 1.0, batch))
    angles = np.deg2rad(rng.uniform(-a.rotation_degrees, a.rotation_degrees, (batch, 3)))
    if not chosen.any():
        return flat
    size = np.asarray(flat.shape[2:], dtype=np.float64)
    matrices = np.zeros((batch, dims, dims))
    for index in range(batch):
        turn = np.eye(dims)
        for angle, (i, j) in zip(angles[index], ((0, 1), (0, 2), (1, 2)), strict=True):
            if j < dims:
                plane = np.eye(dims)
                plane[[i, i, j, j], [i, j, i, j]] = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
                turn = turn @ plane
        matrices[index] = turn * size[None, :] / size[:, None] / scale[index]
    matrices[~chosen] = np.eye(dims)
    theta = np.concatenate(
        [matrices[:, ::-1, ::-1], np.zeros((batch, dims, 1))], axis=2
    )  # torch lists the last axis first
    grid = F.affine_grid(torch.from_numpy(theta.astype(np.float32)), list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
