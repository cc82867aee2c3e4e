"""The sliding window against MONAI's, and what it keeps in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from striate.inference import sliding_window
from striate.inference.sliding_window import HALF_ABOVE_BYTES, Window
from striate.inference.tiling import Tiling


def _whole(window, array):
    """Put all rows together and check that they come in order, without gap."""
    axis, parts, at = window.tiling.rolling_axis, [], 0
    for start, rows in window.slide(array):
        assert start == at
        at += rows.shape[1]
        parts.append(rows.copy())
    return np.moveaxis(np.concatenate(parts, axis=1), 1, 1 + axis)


def _array(shape, channels=2, seed=0):
    return np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32)


@pytest.fixture
def convolution():
    torch.manual_seed(0)
    layer = torch.nn.Conv3d(2, 5, 5, padding=2)

    def function(tiles):
        with torch.no_grad():
            return layer(tiles).softmax(1)

    return function


@pytest.mark.parametrize("size", [(32, 24, 16), (24, 32, 40), (10, 24, 16), (11, 16, 7)])
def test_equals_monai(size, convolution, function_engine):
    from monai.inferers import sliding_window_inference

    roi, array = (16, 16, 16), _array(size)
    gauss = np.exp(-0.5 * ((np.arange(16) - 7.5) / 2) ** 2)
    weight = torch.from_numpy(np.einsum("i,j,k->ijk", gauss, gauss, gauss).astype(np.float32))
    expected = sliding_window_inference(
        torch.from_numpy(array)[None], roi, 1, convolution, overlap=0.5, mode="gaussian", roi_weight_map=weight
    )[0]
    found = _whole(Window(function_engine(convolution), Tiling.of(size, roi, 0.5), 5, True, 3), array)
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-6)


def test_a_pointwise_network_gives_the_same_with_and_without_windows(function_engine):
    array = _array((30, 21, 26))
    engine = function_engine(lambda x: torch.stack([x[:, 0].sigmoid(), x[:, 1].sigmoid()], 1))
    found = _whole(Window(engine, Tiling.of((30, 21, 26), (8, 8, 8)), 2, False, 3), array)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-array)), atol=1e-6)


def test_rows_kept_are_a_patch_high_along_the_longest_way():
    window = Window(None, Tiling.of((240, 240, 155), (96, 96, 96)), 5, True, 3)
    assert window.tiling.rolling_axis == 0
    assert window.rows_shape == (5, 96, 240, 155)
    window = Window(None, Tiling.of((100, 120, 400), (96, 96, 96)), 5, True, 3)
    assert window.rows_shape == (5, 96, 100, 120)


def test_many_classes_are_kept_in_half_precision(function_engine, monkeypatch):
    assert Window(None, Tiling.of((512, 512, 400), (128, 128, 128)), 117, True, 3).rows_dtype == np.float16
    array, engine = _array((24, 16, 16)), function_engine(lambda x: torch.cat([x, -x], 1).softmax(1))
    window = Window(engine, Tiling.of((24, 16, 16), (8, 8, 8)), 4, True, 3)
    single = _whole(window, array)
    monkeypatch.setattr("striate.inference.sliding_window.HALF_ABOVE_BYTES", 1)
    half = _whole(window, array)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.astype(np.float32), single, atol=2e-3)
    assert HALF_ABOVE_BYTES > 1


def test_constant_windows_are_background_and_are_not_computed(function_engine):
    array = np.full((1, 48, 16, 16), -3.2, dtype=np.float32)
    array[:, :16] = _array((16, 16, 16), channels=1)
    engine = function_engine(lambda x: torch.cat([0 * x, 0 * x + 1], 1))  # sees foreground everywhere
    window = Window(engine, Tiling.of((48, 16, 16), (16, 16, 16), 0.0), 2, True, 3)
    found = _whole(window, array)
    assert window.skipped == [2] and len(engine.calls) == 1
    assert (found[1, :16] == 1).all() and (found[0, 16:] == 1).all() and (found[1, 16:] == 0).all()
    regions = _whole(Window(engine, window.tiling, 2, False, 3), array)
    assert (regions[:, 16:] == 0).all()


def test_one_single_voxel_keeps_a_window_from_being_blank(function_engine):
    array = np.zeros((2, 16, 16, 16), dtype=np.float32)
    array[1, 3, 5, 7] = 1
    engine = function_engine(lambda x: torch.cat([x, x], 1).softmax(1))
    window = Window(engine, Tiling.of((16, 16, 16), (16, 16, 16)), 4, True, 3)
    _whole(window, array)
    assert window.skipped == [0]


def test_a_2d_network_sees_slices_of_a_volume(function_engine):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(2, 3, 3, padding=1)

    def function(tiles):
        with torch.no_grad():
            return layer(tiles).softmax(1)

    array, engine = _array((16, 16, 9)), function_engine(function)
    found = _whole(Window(engine, Tiling.of((16, 16, 9), (16, 16, 1)), 3, True, 2), array)
    by_slice = np.stack([function(torch.from_numpy(array[None, ..., k]))[0].numpy() for k in range(9)], axis=-1)
    np.testing.assert_allclose(found, by_slice, atol=1e-6)


def test_a_2d_image(function_engine):
    array = _array((40, 33))
    engine = function_engine(lambda x: x.softmax(1))
    found = _whole(Window(engine, Tiling.of((40, 33), (16, 16)), 2, True, 2), array)
    np.testing.assert_allclose(found, torch.from_numpy(array).softmax(0).numpy(), atol=1e-6)


def test_mirrored_copies_are_averaged(function_engine):
    array = _array((8, 8, 8), channels=1)
    ramp = torch.linspace(0, 1, 8)[:, None, None].expand(8, 8, 8)
    engine = function_engine(lambda x: torch.stack([ramp, 1 - ramp]).expand(len(x), 2, 8, 8, 8))
    window = Window(engine, Tiling.of((8, 8, 8), (8, 8, 8)), 2, True, 3, mirror_axes=(0, 2))
    np.testing.assert_allclose(_whole(window, array), 0.5, atol=1e-6)
    assert len(engine.calls) == 4


def test_progress_counts_windows(function_engine):
    told = []
    window = Window(function_engine(lambda x: x.softmax(1)), Tiling.of((24, 24), (16, 16)), 2, True, 2)
    for _ in window.slide(_array((24, 24)), told.append):
        pass
    assert told[-1] == window.tiling.count == 4


@pytest.mark.parametrize("mirror", [(), (1,)])
def test_an_answer_is_lent_only_where_it_is_used_before_the_next(function_engine, mirror, monkeypatch):
    class Lending(function_engine):
        memory = np.zeros(0, np.float32)

        def lend(self, tiles):
            self.memory.fill(np.nan)  # whoever still holds the last answer sees this
            self.memory = self(tiles)
            self.lent = True
            return self.memory

    monkeypatch.setattr(sliding_window, "PIXELS_AT_ONCE", 1)
    array, tiling = _array((40, 33)), Tiling.of((40, 33), (16, 16))
    plain, lending = (kind(lambda x: x.softmax(1)) for kind in (function_engine, Lending))
    found, wanted = (
        _whole(Window(engine, tiling, 2, True, 2, mirror_axes=mirror), array) for engine in (lending, plain)
    )
    assert np.array_equal(found, wanted)
    assert hasattr(lending, "lent") == (not mirror)


def test_windows_are_added_in_pieces_of_any_size(function_engine, monkeypatch):
    array, tiling = _array((20, 24, 33)), Tiling.of((20, 24, 33), (16, 16, 16))
    engine, found = function_engine(lambda x: x.softmax(1)), []
    for size in (1 << 14, 3 * 256, 1):
        monkeypatch.setattr(sliding_window, "BLENDED_AT_ONCE", size)
        found.append(_whole(Window(engine, tiling, 2, True, 3), array))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
