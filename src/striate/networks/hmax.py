"""HMAX: the standard model of the ventral visual stream; maxima over positions and sizes make it invariant.

Papers
    T. Serre, L. Wolf, S. Bileschi, M. Riesenhuber, T. Poggio: Robust object recognition with cortex-like mechanisms.
    IEEE PAMI 29:411-426, 2007; T. Serre, L. Wolf, T. Poggio, CVPR 2005. The argument for the maximum is that of
    M. Riesenhuber, T. Poggio: Hierarchical models of object recognition in cortex. Nature Neuroscience 2:1019-1025, 1999.
Form
    Exact: the 64 Gabor filters of S1 (36 416 coefficients), the eight bands and grids of C1, prototypes of S2 that are
    cut out of C1 of training images, the global maximum of C2. Adapted: tuning of S2 by prototype size, no prototype
    without any edge, features standardised, a linear `readout` learned by gradient descent instead of a support vector
    machine, several channels as further orientations, bands and prototypes that do not fit small images left out.
Input
    From the size on in which the filters of the first band and one window of each prototype size fit (`least`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, cast

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from striate.core import config
from striate.core.errors import UsageError, expected
from striate.networks.network import Network

ORIENTATIONS = 4
"""0°, 45°, 90°, 135°: the direction in which the brightness of the filter varies, from the last axis."""

ASPECT = 0.3
"""γ: a filter's width along its stripes is that across them, divided by γ."""

SIZES = tuple(range(7, 39, 2))
"""Sides of the S1 filters in voxels; two successive ones make a band."""

GRIDS = (8, 10, 12, 14, 16, 18, 20, 22)
"""Sides of the C1 windows, per band; successive windows overlap by half."""

STEPS = (3, 5, 7, 8, 10, 12, 13, 15)
"""Steps between C1 windows, per band, in the other convention."""

BATCH = 32
TINY = 1e-12


class Config(config.Config):
    """Options of `HMAX`.

    Attributes
    ----------
    input_size
        Smallest image that will come, voxels per axis: what does not fit it is left out of `prototype_sizes`. None:
        nothing is left out, and smaller images are refused. Bands that do not fit an image are left out in any case.
    upscale
        Enlarges the image first (linear interpolation), so that more bands fit small images.
    bands
        How many of the eight bands are used, finest first.
    steps
        Between C1 windows: ``half`` of the window, as the authors' program; ``listed``, the list in Serre's thesis.
    borders
        Whether S1 answers where its filter does not fit into the image, which is then continued by its edge; else the
        answer is 0.
    prototype_sizes
        Sides of the S2 prototypes, in C1 cells.
    prototypes
        How many of each size.
    beta
        Sharpness of S2 for prototypes of side 4; of side n: beta · (4 / n)².
    tuning
        What S2 answers: ``gaussian``, exp(−β ‖X − P‖²); ``distance``, −‖X − P‖.
    pooling
        In C1 and C2: ``max``, or ``mean`` to see what is lost.
    images
        How many images `organise` looks at, at most; drawn from those that it is given.
    """

    input_size: tuple[PositiveInt, ...] | None = None
    upscale: PositiveInt = 1
    bands: PositiveInt = Field(8, le=len(GRIDS))
    steps: Literal["half", "listed"] = "half"
    borders: bool = False
    prototype_sizes: tuple[PositiveInt, ...] = Field((4, 8, 12, 16), min_length=1)
    prototypes: PositiveInt = 250
    beta: PositiveFloat = 1.0
    tuning: Literal["gaussian", "distance"] = "gaussian"
    pooling: Literal["max", "mean"] = "max"
    images: PositiveInt = 500


def wave(size: int) -> tuple[float, float]:
    """Return wavelength λ and width σ, in voxels, of the filter of side `size` (the closed form of Serre's table)."""
    wavelength = 2 * size / (4 - 0.05 * (size - SIZES[0]) / 2)
    return wavelength, 0.8 * wavelength


def gabors(size: int) -> Tensor:
    """Return the filters of one side (4, size, size), float64: of mean 0 and norm 1 each."""
    wavelength, width = wave(size)
    at = torch.arange(size, dtype=torch.float64, device="cpu") - size // 2
    angle = (torch.arange(ORIENTATIONS, dtype=torch.float64, device="cpu") * math.pi / ORIENTATIONS)[:, None, None]
    across = at * angle.cos() + at[:, None] * angle.sin()
    along = at[:, None] * angle.cos() - at * angle.sin()
    wavelet = (-(across**2 + (ASPECT * along) ** 2) / (2 * width**2)).exp() * (2 * math.pi * across / wavelength).cos()
    round_ = wavelet * (at**2 + at[:, None] ** 2 <= (size / 2) ** 2)
    centred = round_ - round_.mean(dim=(1, 2), keepdim=True)
    return centred / centred.square().sum(dim=(1, 2), keepdim=True).sqrt()


class S1(nn.Module):
    """Simple cells of one size: how alike each place is to four oriented bars, whatever the contrast."""

    filters: Tensor

    def __init__(self, size: int, borders: bool) -> None:
        super().__init__()
        self.size, self.borders = size, borders
        filters = gabors(size)[:, None].to(torch.get_default_device(), torch.get_default_dtype())
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return |⟨patch, filter⟩| / ‖patch‖, between 0 and 1, for (B, C, I, J): (B, 4C, I, J)."""
        margin = [self.size // 2] * 4
        one = x.flatten(0, 1)[:, None]
        if self.borders:
            one = F.pad(one, margin, mode="replicate")
        squares = F.avg_pool2d(F.avg_pool2d(one.square(), (self.size, 1), 1), (1, self.size), 1)
        norm = self.size * squares.clamp(min=TINY**2).sqrt()
        found = F.conv2d(one, self.filters).abs() / norm
        found = found if self.borders else F.pad(found, margin)
        return found.reshape(x.shape[0], -1, *found.shape[2:])


class Band(nn.Module):
    """Complex cells (C1) of one band: the best of two filter sizes and of a window of places."""

    def __init__(self, index: int, c: Config) -> None:
        super().__init__()
        sizes = SIZES[2 * index : 2 * index + 2]
        self.window = GRIDS[index]
        self.step = self.window // 2 if c.steps == "half" else STEPS[index]
        self.least = max(*sizes, self.window)
        self.pooling = c.pooling
        self.s1 = nn.ModuleList(S1(size, c.borders) for size in sizes)

    def cells(self, side: int) -> int:
        """Return the cells along an axis of `side` voxels; 0 where the band does not fit."""
        return 0 if side < self.least else (side - self.window) // self.step + 1

    def forward(self, x: Tensor) -> Tensor:
        """Return the cells (B, 4C, I, J) for (B, C, *S)."""
        fine, coarse = (layer(x) for layer in self.s1)
        if self.pooling == "max":
            return F.max_pool2d(torch.maximum(fine, coarse), self.window, self.step)
        return F.avg_pool2d((fine + coarse) / 2, self.window, self.step)


class S2(nn.Module):
    """Cells that compare each place of C1 with prototypes of one size."""

    prototypes: Tensor

    def __init__(self, number: int, maps: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("prototypes", torch.zeros(number, maps, size, size))

    def forward(self, x: Tensor) -> Tensor:
        """Return ‖X − P‖² of each place X of the maps (B, 4C, I, J) and each prototype P: (B, P, I, J)."""
        squares = F.avg_pool2d(x.square().sum(dim=1, keepdim=True), self.size, 1) * self.size**2
        own = self.prototypes.square().sum(dim=(1, 2, 3))[:, None, None]
        return (squares + own - 2 * F.conv2d(x, self.prototypes)).relu()


class HMAX(Network):
    """S1, C1, S2, C2, of which only the prototypes of S2 come from images; then a linear read-out.

    Raises
    ------
    UsageError
        When `input_size` has not two axes, or no band or no prototype size fits it.
    """

    config_type = Config
    task = "classification"
    dims = (2,)
    fixed_features = True
    centre: Tensor
    spread: Tensor

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        self.bands = nn.ModuleList(Band(i, c) for i in range(c.bands))
        smallest = {n: self._smallest(n) for n in c.prototype_sizes}
        kept = c.prototype_sizes if c.input_size is None else self._fitting(c.input_size, smallest)
        self.least = (max(smallest[n] for n in kept),) * spatial_dims
        self.s2 = nn.ModuleList(S2(c.prototypes, ORIENTATIONS * in_channels, n) for n in kept)
        features = c.prototypes * len(kept)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.readout = nn.Linear(features, out_channels)

    def _smallest(self, cells: int) -> int:
        """Return the side of the smallest image of which the first band makes `cells` cells."""
        side = 1
        while self.band(0).cells(side * self.config.upscale) < cells:
            side += 1
        return side

    def _fitting(self, size: tuple[int, ...], smallest: dict[int, int]) -> tuple[int, ...]:
        """Return the prototype sizes that fit."""
        kept = tuple(n for n in self.config.prototype_sizes if smallest[n] <= min(size))
        if len(size) != self.spatial_dims or not kept:
            least = min(smallest.values())
            want = f"{self.spatial_dims} axes of at least {least} voxels are needed for the smallest prototype"
            raise UsageError(expected("option input_size", f"{size}", want, "The option upscale enlarges images."))
        return kept

    def band(self, index: int) -> Band:
        """Return a band by its number, the finest is 0."""
        return cast("Band", self.bands[index])

    @property
    def coefficients(self) -> int:
        """Fixed numbers in the S1 filters: 36 416 in eight bands."""
        return sum(cast("S1", layer).filters.numel() for band in self.bands for layer in cast("Band", band).s1)

    def c1(self, x: Tensor) -> list[Tensor]:
        """Return the C1 cells (B, 4C, I, J) of every band that fits the images (B, C, *S), finest first."""
        if self.config.upscale > 1:
            x = F.interpolate(x, scale_factor=float(self.config.upscale), mode="bilinear", align_corners=False)
        side = min(x.shape[2:])
        return [band(x) for band in self.bands if cast("Band", band).cells(side) > 0]

    def c2(self, x: Tensor) -> Tensor:
        """Return the C2 cells (B, F) of the images (B, C, *S): each prototype's best answer anywhere, in any band."""
        bands = self.c1(x)
        cells = []
        for layer in self.s2:
            size = cast("S2", layer).size
            distances = [layer(maps).flatten(2) for maps in bands if min(maps.shape[2:]) >= size]
            every = torch.cat(distances, dim=2)
            if self.config.pooling == "max":
                cells.append(self._tuned(every.amin(dim=2), size))
            else:
                cells.append(self._tuned(every, size).mean(dim=2))
        return torch.cat(cells, dim=1)

    def _tuned(self, squared: Tensor, size: int) -> Tensor:
        """Return the answer of S2 to squared distances."""
        if self.config.tuning == "distance":
            return -squared.clamp(min=TINY).sqrt()
        sharpness: float = self.config.beta * (4 / size) ** 2
        return (-sharpness * squared).exp()

    @torch.no_grad()
    def organise(self, images: Tensor, generator: torch.Generator) -> None:
        """Cut the prototypes out of C1 of the images, then measure mean and spread of each C2 cell over them.

        Image, band and place of a prototype are drawn evenly, but for places where no S1 cell answers.

        Parameters
        ----------
        images
            Training images (N, C, *S); at most the option ``images`` of them are looked at.
        generator
            Source of all that is drawn.
        """
        self.check_input(images)
        chosen = torch.randperm(len(images), generator=generator)[: self.config.images]
        total = len(self.s2) * self.config.prototypes
        owner = torch.randint(len(chosen), (total,), generator=generator)
        for first, batch in self._batches(images, chosen):
            bands = self.c1(batch)
            for i in ((owner >= first) & (owner < first + len(batch))).nonzero()[:, 0].tolist():
                layer = cast("S2", self.s2[i // self.config.prototypes])
                own = [maps[int(owner[i]) - first] for maps in bands if min(maps.shape[2:]) >= layer.size]
                maps = own[int(torch.randint(len(own), (), generator=generator))]
                layer.prototypes[i % self.config.prototypes] = drawn(maps, layer.size, generator)
        cells = torch.cat([self.c2(batch) for _, batch in self._batches(images, chosen)])
        self.centre.copy_(cells.mean(dim=0))
        spread = cells.std(dim=0, correction=0)
        self.spread.copy_(torch.where(spread > 1e-6, spread, 1.0))

    def _batches(self, images: Tensor, chosen: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield the chosen images in batches, each with the number of its first."""
        for first in range(0, len(chosen), BATCH):
            yield first, images[chosen[first : first + BATCH]]

    def features(self, x: Tensor) -> Tensor:
        """Return the C2 cells (B, F) of (B, C, *S), standardised with what `organise` measured."""
        self.check_input(x)
        return (self.c2(x) - self.centre) / self.spread

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K)."""
        logits: Tensor = self.readout(self.features(x))
        return logits


def drawn(maps: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return a window of the maps (M, I, J) at a place that is drawn evenly from those that are not silent."""
    windows = maps.unfold(1, size, 1).unfold(2, size, 1)
    answers = windows.amax(dim=(0, 3, 4)).flatten() > 0
    weights = (answers if bool(answers.any()) else torch.ones_like(answers)).float()
    row, column = divmod(int(torch.multinomial(weights.cpu(), 1, generator=generator)), windows.shape[2])
    return windows[:, row, column]
