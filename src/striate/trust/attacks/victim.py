"""`Victim`: a prepared case, the network that predicts it, and the training loss of its whole mask as a function of the image.

The loss is that of the blended probabilities of the sliding window, compared with the true mask at once, and its gradient
is exact: windows are computed one after the other, their parts of the gradient are added up. Windows that hold nothing that may
change, or are left out to save time, keep what the network says of them in the unchanged image.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from striate.core.errors import DataError, expected
from striate.data.prepare import Prepared
from striate.data.tissue_contrast import find_object, tissue_contrast
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.sliding_window import PIXELS_AT_ONCE
from striate.inference.tiling import Tiling
from striate.planning.plan import Plan
from striate.training import losses

KEPT_VOXELS = 4_000_000
"""Windows of up to so many voxels together keep what they need for their gradient; more are computed twice."""
LEAST = 1e-30
"""Probabilities below this count as this, where their logarithm is needed."""

Box = tuple[slice, ...]


class Victim:
    """A case under attack.

    Parameters
    ----------
    plan
        Of the model.
    engine
        Computes the network, which is put into the mode that it predicts in.
    prepared
        The case, with its classes.
    elsewhere
        Share of the windows without a true label that are attacked too, chosen by `seed`.

    Attributes
    ----------
    image
        (C, *grid) float32, as the network sees it.
    classes
        (*grid) uint8, true class indices.
    where
        (*grid) bool, the object: voxels that may change.
    contrast
        (C,) tissue contrast.
    active, held
        Numbers of the windows that are attacked, and of those that hold a true label.

    Raises
    ------
    DataError
        When the case has no true mask.
    """

    def __init__(
        self,
        plan: Plan,
        engine: TorchEngine,
        prepared: Prepared,
        *,
        elsewhere: float = 1.0,
        seed: int = 0,
    ) -> None:
        if prepared.classes is None:
            here = f"case {prepared.case}"
            raise DataError(
                expected(here, "no true mask", "an attack needs the mask that it spoils"), case=prepared.case
            )
        self.plan, self._engine = plan, engine
        self.device = next((p.device for p in engine.network.eval().parameters()), torch.device("cpu"))
        self.image = torch.from_numpy(np.array(prepared.array, dtype=np.float32)).to(self.device)
        self.classes = torch.from_numpy(np.array(prepared.classes)).to(self.device)
        objects = [find_object(channel, prepared.grid.spacing_mm) for channel in prepared.array]
        self.where = torch.from_numpy(np.logical_or.reduce(objects)).to(self.device)
        pairs = zip(prepared.array, objects, strict=True)
        self.contrast = torch.tensor([tissue_contrast(channel, found) for channel, found in pairs], device=self.device)
        self._low, self._high = (self._per_channel(f(self.image.flatten(1), 1)) for f in (torch.amin, torch.amax))
        self._loss = losses.create(plan.training.loss, plan.task.outputs)
        self._lay_out(elsewhere, np.random.default_rng(seed))
        still = [i for i in range(len(self._boxes)) if i not in set(self.active)]
        with torch.no_grad():
            self._still = self._blended(still, self.shares(self.image, still))

    def _lay_out(self, elsewhere: float, rng: np.random.Generator) -> None:
        """Place the windows on the padded image, and choose those that are attacked."""
        size, inference = tuple(self.classes.shape), self.plan.inference
        tiling = Tiling.of(size, inference.patch, inference.overlap)
        self._before = [max(0, -s[0]) for s in tiling.starts]
        after = [max(0, s[-1] + p - n) for s, p, n in zip(tiling.starts, tiling.patch, size, strict=True)]
        self._pads = [n for pair in zip(reversed(self._before), reversed(after), strict=True) for n in pair]
        self._flat = tiling.patch.index(1) if self.plan.network.spatial_dims < len(size) else None
        weights = [tiling.weights(a) for a in range(len(size))]
        padded, self.patch = self._padded(self.image), tiling.patch
        changing, labelled = (self._padded(m[None])[0] for m in (self.where, self.classes > 0))
        self._boxes, self._weights, held, others = list[Box](), list[Tensor](), list[int](), list[int]()
        self._blank = set[int]()
        for at in itertools.product(*(range(len(s)) for s in tiling.starts)):
            starts = [tiling.starts[a][w] + self._before[a] for a, w in enumerate(at)]
            box = tuple(slice(s, s + p) for s, p in zip(starts, tiling.patch, strict=True))
            index, tile = len(self._boxes), padded[(slice(None), *box)].flatten(1)
            self._boxes.append(box)
            outer = functools.reduce(np.multiply.outer, (weights[a][w] for a, w in enumerate(at)))
            self._weights.append(torch.from_numpy(outer).to(self.device))
            if bool((tile == tile[:, :1]).all()):
                self._blank.add(index)
            elif bool(changing[box].any()):
                (held if bool(labelled[box].any()) else others).append(index)
        kept = rng.permutation(len(others))[: math.ceil(elsewhere * len(others))]
        self.held = tuple(held)
        self.active = tuple(sorted([*held, *(others[i] for i in kept)]))

    def within(self, image: Tensor, epsilon: float) -> Tensor:
        """Return the nearest image that `epsilon` allows: object only, at most ε · contrast, inside the image's own range."""
        reach = self._per_channel(epsilon * self.contrast)
        found = torch.minimum(torch.maximum(image, self.image - reach), self.image + reach)
        found = torch.minimum(torch.maximum(found, self._low), self._high)
        return torch.where(self.where, found, self.image)

    def moved(self, image: Tensor, direction: Tensor, epsilon: float) -> Tensor:
        """Return `image` + ε · contrast · `direction`, where ε is a fraction of the contrast of each channel."""
        return image + self._per_channel(epsilon * self.contrast) * direction

    def drawn(self, epsilon: float, rng: np.random.Generator) -> Tensor:
        """Return an image drawn uniformly among those that `epsilon` allows."""
        noise = torch.from_numpy(rng.uniform(-1, 1, tuple(self.image.shape)).astype(np.float32)).to(self.device)
        return self.within(self.moved(self.image, noise, epsilon), epsilon)

    def gradient(self, image: Tensor) -> tuple[float, Tensor]:
        """Return the loss, and its gradient (C, *grid), which is 0 outside of the object."""
        keep = len(self.active) * math.prod(self.patch) <= KEPT_VOXELS
        padded, groups = self._padded(image), list(self._groups(self.active))
        held, total = list[tuple[Tensor, Tensor]](), self._still.clone()
        for group in groups:
            held.append(self._pass(padded, group, keep))
            self._add(total, group, held[-1][1].detach())
            if not keep:
                held.pop()
        total.requires_grad_()
        loss = self._compare(total)
        slope = torch.autograd.grad(loss, total)[0]
        found = torch.zeros_like(padded)
        for number, group in enumerate(groups):
            tiles, shares = held[number] if keep else self._pass(padded, group, True)
            parts = torch.stack([self._weights[i] * slope[(slice(None), *self._boxes[i])] for i in group])
            for i, part in zip(group, torch.autograd.grad(shares, tiles, parts)[0], strict=True):
                found[(slice(None), *self._boxes[i])] += part
        return float(loss.detach()), self._inner(found) * self.where

    def loss(self, image: Tensor) -> float:
        """Return the loss of an image; no gradient is computed."""
        with torch.no_grad():
            return self.loss_of(self.shares(image, self.active))

    def loss_of(self, shares: Sequence[Tensor]) -> float:
        """Return the loss where the attacked windows have these probabilities, in the order of `active`."""
        with torch.no_grad():
            return float(self._compare(self._still + self._blended(self.active, shares)))

    def shares(self, image: Tensor, windows: Sequence[int]) -> list[Tensor]:
        """Return the probabilities (K, *patch) of some windows of an image; no gradient is computed."""
        padded, found = self._padded(image), list[Tensor]()
        with torch.no_grad():
            for group in self._groups([i for i in windows if i not in self._blank]):
                found += self._pass(padded, group, False)[1]
        rest = iter(found)
        return [self._nothing() if i in self._blank else next(rest) for i in windows]

    def touched(self, box: Box) -> list[int]:
        """Return the places in `active` of the windows that see some of `box` (slices of the grid)."""
        shifted = [slice(b.start + p, b.stop + p) for b, p in zip(box, self._before, strict=True)]
        return [
            place
            for place, i in enumerate(self.active)
            if all(b.start < w.stop and w.start < b.stop for b, w in zip(shifted, self._boxes[i], strict=True))
        ]

    def reached(self) -> Tensor:
        """Return (*grid) bool, the voxels of the object that an attacked window sees."""
        seen = self._padded(torch.zeros_like(self.image))[:1].bool()
        for i in self.active:
            seen[(slice(None), *self._boxes[i])] = True
        return self._inner(seen)[0] & self.where

    def _pass(self, padded: Tensor, group: Sequence[int], gradient: bool) -> tuple[Tensor, Tensor]:
        """Return windows (B, C, *patch) of the image and their probabilities (B, K, *patch)."""
        tiles = torch.stack([padded[(slice(None), *self._boxes[i])] for i in group]).detach()
        tiles.requires_grad_(gradient)
        given = tiles if self._flat is None else tiles.squeeze(2 + self._flat)
        with torch.set_grad_enabled(gradient):
            shares = self._engine.shares(given)
        return tiles, shares if self._flat is None else shares.unsqueeze(2 + self._flat)

    def _compare(self, padded_shares: Tensor) -> Tensor:
        """Return the training loss of blended probabilities; they become the logits that mean them."""
        shares = self._inner(padded_shares)
        logits = shares.clamp(min=LEAST).log()
        if not self.plan.targets.exclusive:
            logits = logits - (1 - shares).clamp(min=1e-7).log()
        return self._loss(logits[None], self.classes[None])

    def _blended(self, windows: Sequence[int], shares: Sequence[Tensor]) -> Tensor:
        """Return the weighted sum (K, *padded grid) of the probabilities of some windows."""
        shape = self._padded(self.image).shape[1:]
        total = torch.zeros((self.plan.targets.out_channels, *shape), device=self.device)
        self._add(total, windows, shares)
        return total

    def _add(self, total: Tensor, windows: Sequence[int], shares: Iterable[Tensor]) -> None:
        for i, share in zip(windows, shares, strict=True):
            total[(slice(None), *self._boxes[i])] += self._weights[i] * share

    def _nothing(self) -> Tensor:
        """Return what a blank window counts as: background."""
        found = torch.zeros((self.plan.targets.out_channels, *self.patch), device=self.device)
        if self.plan.targets.exclusive:
            found[0] = 1
        return found

    def _groups(self, windows: Sequence[int]) -> Iterator[list[int]]:
        at_once = max(1, PIXELS_AT_ONCE // math.prod(self.patch))
        for start in range(0, len(windows), at_once):
            yield list(windows[start : start + at_once])

    def _padded(self, image: Tensor) -> Tensor:
        return functional.pad(image, self._pads) if any(self._pads) else image

    def _inner(self, padded: Tensor) -> Tensor:
        return padded[(slice(None), *(slice(b, b + n) for b, n in zip(self._before, self.classes.shape, strict=True)))]

    def _per_channel(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * self.classes.ndim)
