"""`hmax` has the filters of Serre's table, and its maxima make it invariant."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from striate import networks
from striate.core.errors import UsageError
from striate.networks.hmax import GRIDS, S1, S2, SIZES, STEPS, drawn, gabors, wave

# Serre et al. 2007, table 1: per band the widths and wavelengths of its two filters.
TABLE = (
    ((2.8, 3.6), (3.5, 4.6)),
    ((4.5, 5.4), (5.6, 6.8)),
    ((6.3, 7.3), (7.9, 9.1)),
    ((8.2, 9.2), (10.3, 11.5)),
    ((10.2, 11.3), (12.7, 14.1)),
    ((12.3, 13.4), (15.4, 16.8)),
    ((14.6, 15.8), (18.2, 19.7)),
    ((17.0, 18.2), (21.2, 22.8)),
)


def shape(side: int, i: int, j: int, *, scale: float = 1.0) -> torch.Tensor:
    """Draw two crossing bars around (i, j) on a dark image (1, side, side)."""
    y, x = torch.meshgrid(torch.arange(side) - i, torch.arange(side) - j, indexing="ij")
    y, x = y / scale, x / scale
    one = (x.abs() <= 1.5) & (y.abs() <= 9)
    two = ((x - y).abs() <= 2) & (x.abs() <= 7)
    return (one | two).float()[None]


def small(**options: Any) -> Any:
    """A network with few prototypes, organised on shapes."""
    options = {"prototype_sizes": (4,), "prototypes": 20, "bands": 4} | options
    network = networks.create("hmax", out_channels=2, **options)
    images = torch.stack([shape(96, 40 + i, 44 + 2 * i) for i in range(6)])
    network.organise(images, torch.Generator().manual_seed(0))
    return network.eval()


@pytest.mark.parametrize("index", range(16))
def test_the_closed_form_gives_the_table(index: int) -> None:
    wavelength, width = wave(SIZES[index])
    widths, wavelengths = TABLE[index // 2]
    cut = SIZES[index] == 23  # the table has 12.7 for 12.78
    assert wavelength == pytest.approx(wavelengths[index % 2], abs=0.08 if cut else 0.06)
    assert width == pytest.approx(widths[index % 2], abs=0.06)


def test_filters_have_mean_0_and_norm_1() -> None:
    for size in SIZES:
        filters = gabors(size)
        assert filters.shape == (4, size, size)
        assert filters.mean(dim=(1, 2)).abs().max() < 1e-7
        assert torch.allclose(filters.square().sum(dim=(1, 2)), torch.ones(4, dtype=torch.float64))
        assert torch.allclose(filters[0], filters[2].T)
        assert torch.allclose(filters[1], filters[3].flip(0))


def test_a_filter_by_hand() -> None:
    """Before mean and norm, from the definition with λ = 3.5, σ = 2.8; θ = 45°."""
    raw = torch.zeros(7, 7, dtype=torch.float64)
    for y in range(-3, 4):
        for x in range(-3, 4):
            across, along = (x + y) / math.sqrt(2), (y - x) / math.sqrt(2)
            if math.hypot(x, y) <= 3.5:
                bell = math.exp(-(across**2 + 0.09 * along**2) / (2 * 2.8**2))
                raw[y + 3, x + 3] = bell * math.cos(2 * math.pi * across / 3.5)
    raw -= raw.mean()
    assert torch.allclose(gabors(7)[1], raw / raw.norm())


def test_fixed_coefficients() -> None:
    with torch.device("meta"):
        network = networks.create("hmax")
    assert network.coefficients == 4 * sum(n * n for n in SIZES) == 36_416
    assert [tuple(layer.prototypes.shape) for layer in network.s2] == [(250, 4, n, n) for n in (4, 8, 12, 16)]
    assert [math.prod(layer.prototypes.shape[1:]) for layer in network.s2] == [64, 256, 576, 1024]
    assert sum(p.numel() for p in network.parameters()) == 1000 * 10 + 10


def test_grids_of_c1() -> None:
    """Windows N and steps N/2, or the steps listed; both conventions are in use."""
    assert GRIDS == (8, 10, 12, 14, 16, 18, 20, 22)
    assert STEPS == (3, 5, 7, 8, 10, 12, 13, 15)
    with torch.device("meta"):
        x = torch.empty(1, 1, 128, 128)
        for steps, by in (("half", [n // 2 for n in GRIDS]), ("listed", STEPS)):
            maps = networks.create("hmax", steps=steps).c1(x)
            cells = [(128 - n) // s + 1 for n, s in zip(GRIDS, by, strict=True)]
            assert [tuple(m.shape) for m in maps] == [(1, 4, n, n) for n in cells]


def test_s1_by_hand_and_whatever_the_contrast() -> None:
    x = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layer = S1(7, borders=False).double()
    layer.filters = gabors(7)[:, None]
    found = layer(x)
    for i, j in ((3, 3), (5, 8)):
        patch = x[1, 0, i - 3 : i + 4, j - 3 : j + 4]
        for k in range(4):
            assert float(found[1, k, i, j]) == pytest.approx(float((patch * gabors(7)[k]).sum().abs() / patch.norm()))
    assert (found[..., :3, :] == 0).all() and (found[..., -3:] == 0).all()
    assert torch.allclose(layer(37 * x), found)
    assert found.min() >= 0 and found.max() <= 1
    assert (S1(7, borders=True)(x.float())[..., 0, :] > 0).any()


@pytest.mark.parametrize("band", range(8))
def test_a_grating_is_answered_by_its_band_and_orientation(band: int) -> None:
    with torch.inference_mode():
        network = networks.create("hmax")
        wavelength = sum(TABLE[band][1]) / 2
        at = torch.arange(96.0)
        for k in range(4):
            along = at * math.cos(k * math.pi / 4) + at[:, None] * math.sin(k * math.pi / 4)
            maps = network.c1((2 * math.pi * along / wavelength).sin()[None, None])
            middle = torch.stack([m[0, :, m.shape[2] // 2, m.shape[3] // 2] for m in maps])
            assert divmod(int(middle.argmax()), 4) == (band, k)


def test_s2_is_the_distance_and_1_at_its_own_prototype() -> None:
    generator = torch.Generator().manual_seed(2)
    maps = torch.rand(1, 4, 9, 7, generator=generator, dtype=torch.float64)
    layer = S2(3, 4, 4).double()
    layer.prototypes = torch.rand(3, 4, 4, 4, generator=generator, dtype=torch.float64)
    layer.prototypes[1] = maps[0, :, 2:6, 3:7]
    found = layer(maps)
    assert found.shape == (1, 3, 6, 4)
    for i, j, p in ((0, 0, 0), (5, 3, 2), (2, 3, 1)):
        by_hand = (maps[0, :, i : i + 4, j : j + 4] - layer.prototypes[p]).square().sum()
        assert float(found[0, p, i, j]) == pytest.approx(float(by_hand), abs=1e-12)
    network = networks.create("hmax")
    assert float(network._tuned(found, 4)[0, 1].max()) == pytest.approx(1)
    assert float(network._tuned(torch.tensor(2.0), 8)) == pytest.approx(math.exp(-2 / 4))


def test_prototypes_are_cut_from_the_images() -> None:
    """An image that gave a prototype answers it with 1."""
    network = small()
    images = torch.stack([shape(96, 40 + i, 44 + 2 * i) for i in range(6)])
    with torch.inference_mode():
        cells = network.c2(images)
        features = network.features(images)
    assert torch.allclose(cells.amax(dim=0), torch.ones(20), atol=1e-4)
    assert cells.min() >= 0
    assert (network.s2[0].prototypes.amax(dim=(1, 2, 3)) > 0).all()
    assert torch.allclose(features.mean(dim=0), torch.zeros(20), atol=1e-3)
    alive = cells.std(dim=0, correction=0) > 1e-6
    assert torch.allclose(features.std(dim=0, correction=0)[alive], torch.ones(int(alive.sum())), atol=1e-3)


def test_a_window_is_drawn_where_something_answers() -> None:
    maps = torch.zeros(4, 10, 10)
    maps[1, 9, 9] = 1
    assert drawn(maps, 4, torch.Generator().manual_seed(0)).sum() == 1
    assert drawn(0 * maps, 4, torch.Generator().manual_seed(0)).shape == (4, 4, 4)


def test_a_shift_by_the_steps_of_all_bands_changes_nothing() -> None:
    network = small(bands=2)  # steps 4 and 5
    with torch.inference_mode():
        still = network.c2(shape(128, 64, 64)[None])
        for i, j in ((20, 0), (0, -20), (20, 20)):
            assert torch.allclose(network.c2(shape(128, 64 + i, 64 + j)[None]), still, atol=1e-6)


def test_other_shifts_and_one_band_of_scale_change_c2_little_but_s1_much() -> None:
    network = small(bands=6)
    with torch.inference_mode():
        base = shape(96, 47, 47)[None]
        still, fine = network.c2(base), network.bands[0].s1[0](base)
        for changed in (shape(96, 49, 44)[None], shape(96, 47, 47, scale=1.19)[None]):
            moved = network.c2(changed)
            assert F.cosine_similarity(moved, still) > 0.98
            assert F.cosine_similarity(network.bands[0].s1[0](changed).flatten(1), fine.flatten(1)) < 0.9


def test_what_does_not_fit_small_images_is_left_out() -> None:
    with torch.device("meta"):
        digits = networks.create("hmax", input_size=(28, 28))
        assert [layer.size for layer in digits.s2] == [4]
        assert digits.least == (20, 20)
        assert len(digits.c1(torch.empty(1, 1, 28, 28))) == 5
        twice = networks.create("hmax", input_size=(28, 28), upscale=2)
        assert [layer.size for layer in twice.s2] == [4, 8, 12]
        assert len(twice.c1(torch.empty(1, 1, 28, 28))) == 8
        slices = networks.create("hmax", input_size=(64, 64), in_channels=3)
        assert [tuple(layer.prototypes.shape[1:]) for layer in slices.s2] == [(12, n, n) for n in (4, 8, 12)]
        assert networks.create("hmax").least == (68, 68)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"input_size": (19, 40)}, r"\(19, 40\); 2 axes of at least 20 voxels are needed .* upscale"),
        ({"input_size": (40, 40, 40)}, "2 axes of at least"),
        ({"bands": 9}, "key 'bands' is 9"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        networks.create("hmax", **options)
