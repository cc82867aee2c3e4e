"""LeNet-5 as it was in 1998: sparse C3, sub-sampling that learns, and ten drawn digits that the output is compared to.

Papers
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition. Proceedings of
    the IEEE 86(11):2278-2324, 1998.
Form
    Layers, the table of C3, parameters (60,000) and connections (340,908) are exact for one channel, 32×32 and ten
    classes. Adapted: the digits' bitmaps are drawn here, not the paper's; more channels widen C1 alone; other than ten
    classes have random codes; a larger image gives C5 a larger kernel, so that it still leaves 1×1.
Input
    One size, option `input_size`: 32, or more in steps of 4. The paper has white at -0.1 and ink at 1.175, so that the
    mean is about 0 and the variance about 1.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from striate.core import config
from striate.networks.layers.activation import ScaledTanh, draw_weights, uniform_by_fan_in
from striate.networks.layers.spatial import per_axis
from striate.networks.network import Network

C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)
"""Per map of C3, the maps of S2 that it sees (table I of the paper)."""

WIDTH, HEIGHT = 7, 12
CODE = WIDTH * HEIGHT
"""Numbers of a class's code: one per neuron of F6."""
RANDOM_CODES_SEED = 1998

BITMAPS = """
..###.. ...##.. .#####. .#####. .....#. ####### ..####. ####### .#####. .#####.
.##.##. ..###.. ##...## ##...## ....##. ##..... .##..## ####### ##...## ##...##
##...## .####.. ##...## .....## ...###. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##.##. ######. ##..... ....##. .##.##. ##...##
##...## ...##.. ....##. ..####. ##..##. ##...## ######. ....##. ..###.. ##...##
##...## ...##.. ...##.. ..####. ##..##. .....## ##...## ...##.. .##.##. .######
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .....##
##...## ...##.. .##.... .....## ####### .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## ....##. .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ....##. ##...## ##...## .##.... ##...## ##..##.
..###.. .###### ####### .#####. ....##. .#####. .#####. .##.... .#####. .####..
"""
"""The ten digits side by side, seven columns each; ink is +1, paper -1."""


class Config(config.Config):
    """Options of `LeNet5`.

    Attributes
    ----------
    input_size
        Pixels along each axis: 32, or more in steps of 4.
    codes
        What the output compares with: ``digits``, the bitmaps (only with ten classes, else random codes), or
        ``random``, codes of ±1 from a fixed seed.
    """

    input_size: tuple[Annotated[int, Field(ge=32, multiple_of=4)], ...] = (32, 32)
    codes: Literal["digits", "random"] = "digits"


class TableConv(nn.Module):
    """Convolution in which each map sees only the maps that a table names; pairs that are not in it have no weights."""

    def __init__(self, table: Sequence[Sequence[int]], kernel: int) -> None:
        super().__init__()
        alike = [list(rows) for _, rows in itertools.groupby(table, key=len)]
        self.convs = nn.ModuleList(
            nn.Conv2d(sum(map(len, rows)), len(rows), kernel, groups=len(rows)) for rows in alike
        )
        self.sources = [[source for row in rows for source in row] for rows in alike]

    def forward(self, x: Tensor) -> Tensor:
        """Return one map per row of the table, in its order."""
        maps = [conv(x[:, sources]) for conv, sources in zip(self.convs, self.sources, strict=True)]
        return torch.cat(maps, dim=1)


class SubSampling(nn.Module):
    """Per map, a learned coefficient times the sum of each 2×2, plus a learned bias."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(maps, 1, 1))
        self.bias = nn.Parameter(torch.empty(maps, 1, 1))
        if not self.weight.is_meta:
            uniform_by_fan_in(self.weight, 4)
            uniform_by_fan_in(self.bias, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of half the size."""
        return self.weight * (4 * functional.avg_pool2d(x, 2)) + self.bias


class RadialBasis(nn.Module):
    """Euclidean radial basis functions: per class, the squared distance of the input from the class's code.

    Attributes
    ----------
    codes
        (K, 84) of ±1, fixed.
    """

    codes: Tensor

    def __init__(self, codes: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.register_buffer("codes", torch.tensor(codes))

    def forward(self, x: Tensor) -> Tensor:
        """Return the penalties y_i = Σ_j (x_j - w_ij)², (B, K) ≥ 0, in float32 under autocast: bf16 has steps of ½ there."""
        kind = x.device.type
        if kind != "meta" and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return self.forward(x.float())
        apart = x.unsqueeze(1) - self.codes
        return (apart.unsqueeze(-2) @ apart.unsqueeze(-1)).flatten(1)


class LeNet5(Network):
    """Seven layers: C1, S2, C3, S4, C5, F6 and the radial basis functions of the output.

    The logits are minus the penalties: their softmax cross-entropy is the paper's discriminative (MAP) criterion with
    the constant j → ∞; the loss `map_rbf` has the constant.

    Raises
    ------
    UsageError
        When `input_size` does not give one number per axis.
    """

    config_type = Config
    task = "classification"
    dims: ClassVar[tuple[int, ...]] = (2,)

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, c: Config) -> None:
        super().__init__(spatial_dims, in_channels, out_channels, c)
        self.least = self.most = per_axis(c.input_size, spatial_dims, "input_size")
        self.c1 = nn.Conv2d(in_channels, 6, 5)
        self.s2 = SubSampling(6)
        self.c3 = TableConv(C3_TABLE, 5)
        self.s4 = SubSampling(len(C3_TABLE))
        rows, columns = (_left(n) for n in self.least)
        self.c5 = nn.Conv2d(len(C3_TABLE), 120, (rows, columns))
        self.f6 = nn.Linear(120, CODE)
        self.output = RadialBasis(codes(out_channels, c.codes))
        self.squash = ScaledTanh()
        draw_weights(self, "scaled_tanh")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K), minus the penalties."""
        self.check_input(x)
        for layer in (self.c1, self.s2, self.c3, self.s4, self.c5):
            x = self.squash(layer(x))
        x = self.squash(self.f6(x.flatten(1)))
        penalties: Tensor = self.output(x)
        return -penalties

    def connections(self) -> dict[str, int]:
        """Return the connections of each layer as the paper counts them: every use of a weight or a bias.

        Returns
        -------
        dict
            Layer → connections; 340,908 in all for one channel, 32×32 and ten classes.
        """
        c1, s2, c3, s4 = (
            math.prod(sides)
            for sides in zip(*((n - 4, (n - 4) // 2, (n - 4) // 2 - 4, _left(n)) for n in self.least), strict=True)
        )
        maps, pairs = len(C3_TABLE), sum(map(len, C3_TABLE))
        return {
            "C1": 6 * c1 * (25 * self.in_channels + 1),
            "S2": 6 * s2 * (4 + 1),
            "C3": c3 * (25 * pairs + maps),
            "S4": maps * s4 * (4 + 1),
            "C5": 120 * (maps * s4 + 1),
            "F6": CODE * (120 + 1),
            "output": self.out_channels * CODE,
        }


def codes(classes: int, kind: Literal["digits", "random"] = "digits") -> list[list[float]]:
    """Return the code of each class, 84 numbers of ±1: the bitmaps where there are ten classes, else random."""
    if kind == "digits" and classes == 10:
        rows = [line.split() for line in BITMAPS.split("\n") if line]
        return [[1.0 if mark == "#" else -1.0 for row in rows for mark in row[digit]] for digit in range(10)]
    draw = random.Random(RANDOM_CODES_SEED)
    return [[draw.choice((-1.0, 1.0)) for _ in range(CODE)] for _ in range(classes)]


def _left(size: int) -> int:
    """Return the side of S4's maps."""
    return (size - 12) // 4
