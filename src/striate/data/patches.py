"""Drawing a batch of training patches: a pure function of seed, rank and step.

Nothing is carried from step to step, so a run that is killed and resumed sees the same batches, bit for bit, whichever
process draws them. One thread does the arithmetic, because sums depend on how they are divided.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from striate.core.errors import UsageError
from striate.data import intensity, spatial
from striate.data.augment import Augmentation, Parameters, draw_parameters
from striate.data.store import PatchStore, Stored


@dataclass(frozen=True, slots=True)
class Sampling:
    """How batches are drawn.

    Attributes
    ----------
    cases
        Names of cases in the store; each is seen once before any is seen again.
    patch
        Voxels along each axis of the prepared image; an axis of 1 is removed from the batch (a 2D network on 3D).
    batch
        Patches of a step.
    foreground
        Share of the patches that are centred on a labelled voxel: the class uniform among those of the case, the voxel
        uniform among its voxels. The others lie anywhere in the image with equal probability.
    seed
        Of everything.
    augmentation
        None: patches as they are.
    rehearsed
        Cases of an earlier cohort: every second sample is one of them, the others are of `cases`, so that what was learned
        before is not forgotten (D. Rolnick et al., Experience replay for continual learning, NeurIPS 2019).
    """

    cases: tuple[str, ...]
    patch: tuple[int, ...]
    batch: int
    foreground: float = 0.5
    seed: int = 0
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    rehearsed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.cases:
            raise UsageError("cases (): at least one case is needed to draw patches from.")
        axes = self.augmentation.mirror_axes if self.augmentation else ()
        if any(not 0 <= a < len(self.patch) for a in axes):
            raise UsageError(f"mirror_axes {axes}: axes 0 to {len(self.patch) - 1} are needed for patch {self.patch}.")

    def shapes(self, store: PatchStore) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of `Batch.images` and `Batch.truth`."""
        return batch_shape(store, self)

    def draw(self, store: PatchStore, step: int, rank: int = 0, out: tuple[Tensor, Tensor] | None = None) -> Batch:
        """Draw the batch of `step`; see `draw_batch`."""
        return draw_batch(store, self, step, rank, out)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a network is trained on in one step.

    Attributes
    ----------
    images
        (B, C, *patch) float32; of sequences (B, T, C, *patch).
    truth
        (B, *patch) uint8, class indices of `Targets.classes`; for whole images (B, *truth_shape) uint8, see `ClassSet`.
    cases
        Name of the case that each patch comes from.
    """

    images: Tensor
    truth: Tensor
    cases: tuple[str, ...]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread."""
    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)


def batch_shape(store: PatchStore, sampling: Sampling) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of `Batch.images` and `Batch.truth`."""
    patch = _squeezed(sampling.patch)
    return (sampling.batch, store.channels, *patch), (sampling.batch, *patch)


def _squeezed(patch: Sequence[int]) -> tuple[int, ...]:
    return tuple(n for n in patch if n > 1) if len(patch) == 3 and patch.count(1) == 1 else tuple(patch)


def draw_batch(
    store: PatchStore,
    sampling: Sampling,
    step: int,
    rank: int = 0,
    out: tuple[Tensor, Tensor] | None = None,
) -> Batch:
    """Draw the batch of `step`.

    Parameters
    ----------
    store
        Prepared cases.
    sampling
        How.
    step
        Number of the update, from 0.
    rank
        Number of the process in distributed training; ranks draw independently.
    out
        Images and classes to write to, of `batch_shape`; made where None.

    Raises
    ------
    UsageError
        When a case is not in the store or the patch has another number of axes than the images.
    """
    image_shape, class_shape = batch_shape(store, sampling)
    images, classes = out or (torch.empty(image_shape), torch.empty(class_shape, dtype=torch.uint8))
    names = []
    with one_thread(), torch.inference_mode():
        for index in range(sampling.batch):
            rng = _rng(sampling.seed, rank, step, index)
            name = _case(sampling, rank, step, index)
            image, label = _draw_patch(
                store[name], store.keep_zero, sampling, rng, _forced(sampling, rank, step, index)
            )
            images[index].copy_(image.reshape(image_shape[1:]))
            classes[index].copy_(label.reshape(class_shape[1:]))
            names.append(name)
    return Batch(images, classes, tuple(names))


def _rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def _case(sampling: Sampling, rank: int, step: int, index: int) -> str:
    """Return the case of a sample: shuffled rounds through all cases; where some are rehearsed, through either kind in turn.

    The kinds change places from step to step, so that none always has the samples that are centred on foreground.
    """
    cases, number = sampling.cases, step * sampling.batch + index
    if sampling.rehearsed:
        cases, number = (sampling.rehearsed, sampling.cases)[(step + index) % 2], number // 2
    turn, place = divmod(number, len(cases))
    return cases[_order(sampling.seed, rank, turn, len(cases))[place]]


@functools.lru_cache(maxsize=8)
def _order(seed: int, rank: int, turn: int, count: int) -> tuple[int, ...]:
    return tuple(int(i) for i in _rng(seed, rank, turn, count, 1).permutation(count))


def _forced(sampling: Sampling, rank: int, step: int, index: int) -> bool:
    """Tell whether a sample is centred on foreground: ⌊batch·share⌋ of a batch, and one more as often as the rest asks."""
    wanted = sampling.batch * sampling.foreground
    extra = _rng(sampling.seed, rank, step, 0, 2).random() < wanted % 1
    return index >= sampling.batch - int(wanted) - int(extra)


def _draw_patch(
    stored: Stored, keep_zero: tuple[bool, ...], sampling: Sampling, rng: np.random.Generator, forced: bool
) -> tuple[Tensor, Tensor]:
    shape = stored.classes.shape
    if len(shape) != len(sampling.patch):
        raise UsageError(f"patch {sampling.patch} for images of shape {shape}: one number for each axis is needed.")
    centre = _centre(stored, sampling.patch, rng, forced)
    parameters = Parameters()
    if sampling.augmentation is not None:
        parameters = draw_parameters(rng, sampling.augmentation, sampling.patch, stored.spacing_mm, len(stored.images))
    image, label = spatial.cut(stored.images, stored.classes, centre, sampling.patch, parameters)
    return intensity.apply(image, parameters, keep_zero), label


def _centre(stored: Stored, patch: Sequence[int], rng: np.random.Generator, forced: bool) -> list[int]:
    """Return the voxel that becomes voxel n // 2 of the patch; the patch stays inside the image where it fits."""
    shape = stored.classes.shape
    anywhere = rng.random(len(shape))
    wanted: list[int] | None = None
    pick = rng.random(2)
    if forced and stored.foreground:
        voxels = list(stored.foreground.values())[int(pick[0] * len(stored.foreground))]
        flat = int(voxels[int(pick[1] * len(voxels))])
        wanted = [int(i) for i in np.unravel_index(flat, shape)]
    centre = []
    for axis, (n, size) in enumerate(zip(shape, patch, strict=True)):
        if n <= size:  # centred, padded on both sides
            centre.append(size // 2 - (size - n) // 2)
            continue
        first = int(anywhere[axis] * (n - size + 1)) if wanted is None else wanted[axis] - size // 2
        centre.append(min(max(first, 0), n - size) + size // 2)
    return centre
