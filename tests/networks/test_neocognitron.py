"""`neocognitron` has the paper's cells and equations, and learns five patterns without a teacher."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from striate import networks
from striate.core.errors import UsageError
from striate.networks.neocognitron import CLayer, Config, SLayer, representatives

GLYPHS = (
    "..###.. .#...#. #.....# #.....# #.....# #.....# .#...#. ..###..",
    "...#... ..##... ...#... ...#... ...#... ...#... ...#... ...#...",
    ".#####. #.....# ......# .....#. ...##.. .##.... #...... #######",
    "######. ......# ......# ..####. ......# ......# ......# ######.",
    "#...#.. #...#.. #...#.. #...#.. ####### ....#.. ....#.. ....#..",
)
SHIFTS = [(i, j) for i in range(-3, 4) for j in range(-3, 4)]


def pattern(number: int, i: int = 0, j: int = 0) -> torch.Tensor:
    """Draw a digit on 16 × 16, moved by (i, j)."""
    glyph = torch.tensor([[float(c == "#") for c in row] for row in GLYPHS[number].split()])
    image = torch.zeros(1, 16, 16)
    image[0, 4 + i : 12 + i, 4 + j : 11 + j] = glyph
    return image


def five() -> torch.Tensor:
    return torch.stack([pattern(n) for n in range(5)])


@pytest.fixture(scope="module")
def organised() -> Any:
    """The paper's network after 20 presentations of each unshifted pattern."""
    network = networks.create("neocognitron", out_channels=5)
    network.organise(five(), torch.Generator().manual_seed(3))
    return network.eval()


def test_cells_and_modifiable_synapses_of_the_paper() -> None:
    with torch.device("meta"):
        network = networks.create("neocognitron")
        x, sizes = torch.empty(1, 1, 16, 16), []
        for s_layer, c_layer in network.layers:
            u = s_layer(x)
            x = c_layer(u)
            sizes.append((tuple(u.shape[1:]), tuple(x.shape[1:])))
    assert sizes == [((24, 16, 16), (24, 10, 10)), ((24, 8, 8), (24, 6, 6)), ((24, 2, 2), (24, 1, 1))]
    assert [s.a.numel() for s, _ in network.layers] == [600, 14_400, 14_400]
    assert sum(s.b.numel() for s, _ in network.layers) == 72
    assert network.synapses == 29_472
    assert (network.config.r, network.config.q) == ((4.0, 1.5, 1.5), (1.0, 16.0, 16.0))
    assert network.config.presentations == 20


def test_only_the_read_out_learns_by_gradient() -> None:
    names = {name for name, _ in networks.create("neocognitron").named_parameters()}
    assert names == {"readout.weight", "readout.bias"}


def layer(r: float, inputs: int = 1, side: int = 5, **options: Any) -> SLayer:
    return SLayer(inputs, (side, side), (side, side), r, 1.0, Config(planes=3, **options), False).double()


def test_s_cell_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = layer(1.5, inputs=2)
    cells.a = torch.rand(cells.a.shape, generator=generator, dtype=torch.float64)
    cells.b = torch.rand(cells.b.shape, generator=generator, dtype=torch.float64)
    x = torch.rand(1, 2, 5, 5, generator=generator, dtype=torch.float64)
    at = [(i, j) for i in range(5) for j in range(5)]
    weights = {(i, j): 0.8 ** (((i - 2) ** 2 + (j - 2) ** 2) ** 0.5) for i, j in at}
    total = 2 * sum(weights.values())
    v = sum(weights[p] / total * float(x[0, k][p]) ** 2 for k in range(2) for p in at) ** 0.5
    for plane in range(3):
        excitation = sum(float(cells.a[plane, k][p] * x[0, k][p]) for k in range(2) for p in at)
        ratio = (1 + excitation) / (1 + 2 * 1.5 / 2.5 * float(cells.b[plane]) * v)
        assert float(cells(x)[0, plane, 2, 2]) == pytest.approx(1.5 * max(ratio - 1, 0), rel=1e-6)


def test_c_cell_by_hand() -> None:
    u = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = CLayer((2, 2), (1, 1), 0.5, 0.8, whole=True).double()(u)[0, :, 0, 0]
    pooled = [sum(0.8**0.5**0.5 * float(v) for v in plane.flatten()) for plane in u[0]]
    for plane in range(3):
        x = max((1 + pooled[plane]) / (1 + sum(pooled) / 3) - 1, 0)
        assert float(found[plane]) == pytest.approx(x / (0.5 + x), rel=1e-6)


@pytest.mark.parametrize("r", [4.0, 1.5])
def test_threshold_of_a_reinforced_cell(r: float) -> None:
    """It answers (r + 1) s − r to a likeness s, so nothing below r / (1 + r): 0.8 and 0.6."""
    generator = torch.Generator().manual_seed(2)
    cells = layer(r)
    learned = torch.rand(5, 5, generator=generator, dtype=torch.float64)
    cells.q = 1e6
    cells.reinforce(learned[None, None])
    plane = int(cells.b.argmax())
    weight = cells.c[0, 0]
    answers = []
    for mix in torch.linspace(0, 1, 40, dtype=torch.float64):
        x = mix * learned + (1 - mix) * torch.rand(5, 5, generator=generator, dtype=torch.float64) ** 4
        likeness = (weight * learned * x).sum() / ((weight * learned**2).sum() * (weight * x**2).sum()).sqrt()
        found = float(cells(x[None, None])[0, plane, 2, 2])
        assert found == pytest.approx(max(float((r + 1) * likeness - r), 0), abs=4e-4)
        answers.append((float(likeness), found))
    assert any(found == 0 for _, found in answers) and any(found > 0 for _, found in answers)
    assert all((found > 0) == (likeness > r / (1 + r)) for likeness, found in answers)
    assert answers[-1][1] == pytest.approx(1, abs=4e-4)


def test_five_patterns_have_five_cells_wherever_they_lie(organised: Any) -> None:
    """For this seed; docs/networks/neocognitron.md says what others give."""
    with torch.inference_mode():
        cells = organised.features(five())
        winners = cells.argmax(dim=1)
        moved = torch.stack([pattern(n, i, j) for n in range(5) for i, j in SHIFTS])
        same = organised.features(moved).argmax(dim=1).view(5, len(SHIFTS)) == winners[:, None]
    assert len(set(winners.tolist())) == 5
    assert (cells > 0).sum(dim=1).tolist() == [1] * 5
    assert same.float().mean() >= 0.95


def test_synapses_are_never_negative_and_silence_stays_silent(organised: Any) -> None:
    noisy = networks.create("neocognitron", in_channels=2, output="all")
    images = torch.randn(4, 2, 16, 16, generator=torch.Generator().manual_seed(5))
    noisy.organise(images, torch.Generator().manual_seed(6))
    for network in (organised, noisy):
        for s_layer, _ in network.layers:
            assert s_layer.a.min() >= 0 and s_layer.b.min() >= 0
            assert s_layer.b.max() > 0
        assert (network.features(torch.zeros(1, network.in_channels, 16, 16)) == 0).all()
        assert (network.features(-images[:, : network.in_channels].abs()) == 0).all()


def test_a_shift_of_the_image_shifts_the_plane(organised: Any) -> None:
    s_layer, _ = organised.layers[0]
    with torch.inference_mode():
        still, moved = s_layer(pattern(2)[None]), s_layer(pattern(2, 2, -1)[None])
    assert still.max() > 0.5
    assert torch.equal(still[..., 2:12, 3:13], moved[..., 4:14, 2:12])


def test_contrast_does_not_change_strong_answers(organised: Any) -> None:
    s_layer, _ = organised.layers[0]
    with torch.inference_mode():
        strong, stronger = s_layer(1e4 * five()), s_layer(3e4 * five())
    assert strong.max() > 0.5
    assert torch.allclose(strong, stronger, atol=1e-3)


def test_representatives_by_hand() -> None:
    u = torch.zeros(4, 6, 6)
    u[0, 0, 0], u[3, 0, 0] = 2, 1  # always in one column: only the stronger is a candidate
    u[1, 0, 1] = 1  # some columns have this one, but not the one before
    u[0, 5, 5] = 3  # two candidates in plane 0: the stronger learns
    u[2, 5, 0] = 0.5
    planes, cells = representatives(u, (5, 5))
    assert dict(zip(planes.tolist(), cells.tolist(), strict=True)) == {0: 35, 1: 1, 2: 30}
    planes, cells = representatives(u, (6, 6))
    assert (planes.tolist(), cells.tolist()) == ([0], [35])
    assert len(representatives(torch.zeros(4, 6, 6), (5, 5))[0]) == 0


def test_reinforcement_by_hand() -> None:
    """Δa = q c u, Δb = q v / 2 where the representative is; planes without one keep what they have."""
    cells = layer(4.0, side=16)
    before = cells.a.clone()
    x = pattern(0)[None].double()
    planes, places = representatives(cells(x)[0], (5, 5))
    v = (F.conv2d(F.pad(x, [2] * 4).square(), cells.c)).sqrt().flatten()
    cells.reinforce(x)
    seen = F.pad(x, [2] * 4)[0, 0]
    for plane, place in zip(planes.tolist(), places.tolist(), strict=True):
        i, j = divmod(place, 16)
        assert torch.allclose(cells.a[plane, 0] - before[plane, 0], cells.c[0, 0] * seen[i : i + 5, j : j + 5])
        assert float(cells.b[plane]) == pytest.approx(float(v[place]) / 2)
    idle = [plane for plane in range(3) if plane not in planes.tolist()]
    assert torch.equal(cells.a[idle], before[idle])


def test_organising_begins_anew(organised: Any) -> None:
    again = networks.create("neocognitron", out_channels=5)
    again.organise(five().flip(0), torch.Generator().manual_seed(9))
    again.organise(five(), torch.Generator().manual_seed(3))
    assert all(torch.equal(s.a, t.a) for (s, _), (t, _) in zip(again.layers, organised.layers, strict=True))


def test_other_sizes_channels_and_outputs() -> None:
    with torch.device("meta"):
        network = networks.create("neocognitron", in_channels=3, input_size=(28, 20), output="all", planes=6)
        assert network.features(torch.empty(2, 3, 28, 20)).shape == (2, 6 * (18 * 13 + 11 * 8 + 1))
        assert network.layers[0][0].a.shape == (6, 3, 5, 5)
        assert networks.create("neocognitron").features(torch.empty(2, 1, 16, 16)).shape == (2, 24)
        assert networks.create("neocognitron", input_size=(8, 8))(torch.empty(2, 1, 8, 8)).shape == (2, 10)
    network = networks.create("neocognitron", in_channels=3)
    assert float(network.layers[0][0].c.sum()) == pytest.approx(1)


@pytest.mark.parametrize("size", [(7, 16), (16, 16, 16)])
def test_impossible_sizes_are_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"option input_size: \(.*2 axes of at least 8 voxels are needed"):
        networks.create("neocognitron", input_size=size)


if __name__ == "__main__":  # what other seeds give
    for seed in range(12):
        other = networks.create("neocognitron", out_channels=5)
        other.organise(five(), torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            answers = torch.stack([other.features(pattern(n, i, j)[None])[0] for n in range(5) for i, j in SHIFTS])
            strength, winners = other.features(five()).max(dim=1)
        same = (answers.argmax(dim=1).view(5, -1) == winners[:, None]).float().mean()
        print(seed, "cells", len(winners[strength > 0].unique()), "same cell", f"{float(same):.2f}")
