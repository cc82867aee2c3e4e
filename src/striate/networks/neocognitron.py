"""Neocognitron: the ancestor of convolutional networks, organised by itself without a teacher.

Papers
    K. Fukushima: Neocognitron: A self-organizing neural network model for a mechanism of pattern recognition unaffected
    by shift in position. Biological Cybernetics 36:193-202, 1980.
Form
    Exact: seven layers U0, US1, UC1, US2, UC2, US3, UC3 with 24 planes each, their sizes and windows (29 472 modifiable
    synapses), the equations of S, C, V_S and V_C cells, reinforcement by winner-take-all in S-columns, r, q and 20
    presentations. Adapted, because our sources do not give them: where the windows of a smaller plane lie (evenly, see
    `Windows`), the falling off of the fixed synapses (0.8 per voxel), the initial synapses; and the linear `readout`,
    learned by gradient descent, that makes the paper's cells a classifier.
Input
    One size (`input_size`, at least 8 per axis). Negative values are silence, as a cell's output is never below 0.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from striate.core import config
from striate.core.errors import UsageError, expected
from striate.networks.layers.windows import Windows
from striate.networks.network import Network

PAPER_SIDE = 16
SIDES = ((16, 10), (8, 6), (2, 1))
"""Cells along each axis of the planes of US1 and UC1, US2 and UC2, US3 and UC3, for an image of 16 × 16."""

WINDOW = 5
"""Cells along each axis of the window of an S-cell, of a C-cell (but in UC3, which sees all), and of an S-column."""

LEAST = 8
SILENCE = 1e-24


class Config(config.Config):
    """Options of `Neocognitron`.

    Attributes
    ----------
    input_size
        Voxels along each axis; the planes grow in proportion.
    planes
        Cell-planes in every layer but U0.
    r
        Efficiency of inhibition in US1, US2, US3: an S-cell answers where the similarity to what it learned is above
        r / (1 + r).
    q
        Speed of reinforcement in US1, US2, US3.
    alpha
        Saturation of the C-cells.
    decay
        Strength of the fixed synapses from one voxel to the next, away from the centre of the window.
    seed_strength
        Initial excitatory synapses, relative to the fixed ones; inhibitory synapses begin at 0.
    presentations
        How often each image is shown in `organise`.
    images
        How many images `organise` shows at most; drawn from those that it is given.
    output
        What the read-out sees: ``top``, the cells of UC3; ``all``, those of UC1, UC2 and UC3.
    """

    input_size: tuple[PositiveInt, ...] = (PAPER_SIDE, PAPER_SIDE)
    planes: PositiveInt = 24
    r: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (4.0, 1.5, 1.5)
    q: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (1.0, 16.0, 16.0)
    alpha: PositiveFloat = 0.5
    decay: float = Field(0.8, gt=0, lt=1)
    seed_strength: NonNegativeFloat = 1e-3
    presentations: PositiveInt = 20
    images: PositiveInt = 100
    output: Literal["top", "all"] = "top"


class SLayer(nn.Module):
    """S-cells, which extract features, and the V_C cells that inhibit them (equations 1 to 3)."""

    a: Tensor
    b: Tensor
    c: Tensor

    def __init__(
        self,
        inputs: int,
        before: tuple[int, ...],
        after: tuple[int, ...],
        r: float,
        q: float,
        c: Config,
        whole: bool,
    ) -> None:
        super().__init__()
        size = (WINDOW,) * 2
        self.r, self.q, self.column = r, q, after if whole else size
        self.windows = Windows(before, after, size)
        fixed = falling(size, c.decay).expand(1, inputs, *size)
        self.register_buffer("c", here(fixed / fixed.sum()), persistent=False)
        self.seed_strength = c.seed_strength
        self.register_buffer("a", torch.zeros(c.planes, inputs, *size))
        self.register_buffer("b", torch.zeros(c.planes))
        self.forget()

    def forget(self) -> None:
        """Set the modifiable synapses to their initial values: each plane prefers one orientation weakly."""
        planes = len(self.a)
        at = torch.arange(WINDOW, device="cpu") - (WINDOW - 1) / 2
        angle = torch.atan2(at[:, None], at[None, :])
        own = torch.arange(planes, device="cpu") / planes
        tuned = self.seed_strength * (1 + 0.9 * torch.cos(2 * (angle - math.pi * own[:, None, None])))
        self.a.copy_(self.c.expand_as(self.a)).mul_(tuned[:, None].to(self.a))
        self.b.zero_()

    def inhibition(self, windows: Tensor) -> Tensor:
        """Return the V_C cells (B, 1, I, J): the root of the weighted mean square of what an S-cell sees."""
        return F.conv2d(windows.square(), self.c, stride=self.windows.stride).clamp(min=SILENCE).sqrt()

    def respond(self, windows: Tensor, v: Tensor) -> Tensor:
        """Return the S-cells (B, K, I, J) from what they see and the V_C cells."""
        excitation = F.conv2d(windows, self.a, stride=self.windows.stride)
        efficiency = 2 * self.r / (1 + self.r)
        return self.r * ((1 + excitation) / (1 + efficiency * self.b[:, None, None] * v) - 1).relu()

    def forward(self, x: Tensor) -> Tensor:
        """Return the S-cells (B, K, I, J)."""
        windows = self.windows(x)
        return self.respond(windows, self.inhibition(windows))

    def reinforce(self, x: Tensor) -> Tensor:
        """Strengthen the synapses of the representatives for one image (1, C, I, J); return the S-cells after that.

        Equations 7 and 8; by sharing, the whole plane of a representative learns what it saw.
        """
        windows = self.windows(x)
        v = self.inhibition(windows)
        planes, cells = representatives(self.respond(windows, v)[0], self.column)
        seen = F.unfold(windows, WINDOW, stride=self.windows.stride)[0, :, cells].T
        self.a[planes] += self.q * self.c * seen.reshape(-1, *self.a.shape[1:])
        self.b[planes] += self.q / 2 * v.flatten()[cells]
        return self.respond(windows, v)


class CLayer(nn.Module):
    """C-cells, which tolerate shifts, and the V_S cells that inhibit them (equations 4 to 6)."""

    d: Tensor

    def __init__(
        self, before: tuple[int, ...], after: tuple[int, ...], alpha: float, decay: float, *, whole: bool
    ) -> None:
        super().__init__()
        size = before if whole else (WINDOW,) * 2
        self.alpha = alpha
        self.windows = Windows(before, after, size)
        self.register_buffer("d", here(falling(size, decay)[None, None]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the C-cells (B, K, I, J)."""
        windows = self.windows(x)
        pooled = F.conv2d(windows.flatten(0, 1)[:, None], self.d, stride=self.windows.stride)
        pooled = pooled.reshape(*x.shape[:2], *pooled.shape[2:])
        lateral = pooled.mean(dim=1, keepdim=True)
        u = ((1 + pooled) / (1 + lateral) - 1).relu()
        return u / (self.alpha + u)


def falling(size: tuple[int, ...], decay: float) -> Tensor:
    """Return decay^|ν|, |ν| the distance in voxels from the centre of a window."""
    at = [torch.arange(n, device="cpu") - (n - 1) / 2 for n in size]
    distance = (at[0][:, None].square() + at[1][None, :].square()).sqrt()
    return (math.log(decay) * distance).exp()


def here(numbers: Tensor) -> Tensor:
    """Return `numbers` on the device on which the network is built."""
    return numbers.to(torch.get_default_device())


def representatives(u: Tensor, column: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Choose the S-cells that learn.

    In each S-column (the cells of all planes within a window; there is one around each place) the cell that answers
    most, if any answers, is a candidate; of several candidates in one plane the strongest is the representative.

    Parameters
    ----------
    u
        S-cells (K, I, J).
    column
        Size of an S-column.

    Returns
    -------
    tuple
        Planes that have a representative, and its cell in the flattened plane.
    """
    strongest, plane = u.max(dim=0)
    if column == tuple(u.shape[1:]):
        found = strongest.flatten().argmax()[None]
    else:
        pads = [(n - 1) // 2 for n in column]
        found = F.max_pool2d(strongest[None], column, 1, pads, return_indices=True)[1].flatten()
    candidates = torch.full_like(u.flatten(1), -1)
    candidates[plane.flatten()[found], found] = strongest.flatten()[found]
    most, cell = candidates.max(dim=1)
    planes = (most > 0).nonzero()[:, 0]
    return planes, cell[planes]


class Neocognitron(Network):
    """Three modules of S-cells, organised without a teacher, and C-cells; then a linear read-out.

    Raises
    ------
    UsageError
        When `input_size` has not two axes of at least 8 voxels.
    """

    config_type = Config
    task = "classification"
    dims = (2,)
    fixed_features = True

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        if len(c.input_size) != spatial_dims or min(c.input_size) < LEAST:
            want = f"{spatial_dims} axes of at least {LEAST} voxels are needed, so that every plane has a cell"
            raise UsageError(expected("option input_size", f"{c.input_size}", want))
        self.least = self.most = c.input_size
        self.s_layers, self.c_layers = nn.ModuleList(), nn.ModuleList()
        before, inputs, cells = c.input_size, in_channels, []
        for i, (s_side, c_side) in enumerate(SIDES):
            last = i == len(SIDES) - 1
            s_size = tuple(scaled(s_side, n) for n in c.input_size)
            c_size = (1, 1) if last else tuple(scaled(c_side, n) for n in c.input_size)
            self.s_layers.append(SLayer(inputs, before, s_size, c.r[i], c.q[i], c, last))
            self.c_layers.append(CLayer(s_size, c_size, c.alpha, c.decay, whole=last))
            before, inputs = c_size, c.planes
            cells.append(c.planes * math.prod(c_size))
        self.readout = nn.Linear(sum(cells) if c.output == "all" else cells[-1], out_channels)

    @property
    def layers(self) -> list[tuple[SLayer, CLayer]]:
        """US1 and UC1, US2 and UC2, US3 and UC3."""
        pairs = zip(self.s_layers, self.c_layers, strict=True)
        return [(cast("SLayer", s_layer), cast("CLayer", c_layer)) for s_layer, c_layer in pairs]

    @property
    def synapses(self) -> int:
        """Modifiable synapses, shared by the cells of a plane: 29 472 in the paper's network."""
        return sum(s_layer.a.numel() + s_layer.b.numel() for s_layer, _ in self.layers)

    @torch.no_grad()
    def organise(self, images: Tensor, generator: torch.Generator) -> None:
        """Learn without a teacher: show images one by one and let the winners of the S-columns learn what they see.

        Parameters
        ----------
        images
            Training images (N, C, *S); at most the option ``images`` of them are shown, ``presentations`` times each,
            every time in a new order.
        generator
            Source of the choice and of the orders.
        """
        self.check_input(images)
        for s_layer, _ in self.layers:
            s_layer.forget()
        chosen = torch.randperm(len(images), generator=generator)[: self.config.images]
        for _ in range(self.config.presentations):
            for n in chosen[torch.randperm(len(chosen), generator=generator)].tolist():
                u = images[n : n + 1].relu()
                for s_layer, c_layer in self.layers:
                    u = c_layer(s_layer.reinforce(u))

    def features(self, x: Tensor) -> Tensor:
        """Return what the read-out sees of (B, C, *S): the cells (B, F) of UC3, or of all C-layers."""
        self.check_input(x)
        u, cells = x.relu(), []
        for s_layer, c_layer in self.layers:
            u = c_layer(s_layer(u))
            cells.append(u.flatten(1))
        return torch.cat(cells, dim=1) if self.config.output == "all" else cells[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K)."""
        logits: Tensor = self.readout(self.features(x))
        return logits


def scaled(side: int, voxels: int) -> int:
    """Return the side of a plane for an image of `voxels` along the axis."""
    return max(1, math.floor(side * voxels / PAPER_SIDE + 0.5))
