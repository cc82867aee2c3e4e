"""What the figure of a case stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_folders import volumes

from striate.core.errors import FormatError, GeometryError
from striate.reporting.panel import LONGEST, Panel, write_panel
from striate.reporting.shrink import _sample, average, window


def test_round_trip_keeps_labels_and_facts(tmp_path: Path) -> None:
    images, truth, predicted = volumes(0)
    path = tmp_path / "P 01é.npz"
    write_panel(path, images, predicted, (1, 1, 2), truth=truth, label_names={0: "background", 1: "oedema", 2: "core"})
    panel = Panel.read(path)
    assert panel.case == "P 01é"
    assert list(panel.images) == ["flair", "t1"]
    assert panel.label_names == {1: "oedema", 2: "core"}
    assert panel.targets == {"oedema": (1,), "core": (2,)}
    assert panel.spacing_mm == (1, 1, 2)
    box = tuple(slice(o, o + n) for o, n in zip(panel.offset, panel.prediction.shape, strict=True))
    assert np.array_equal(panel.prediction, predicted[box])
    assert np.array_equal(panel.truth, truth[box])
    assert np.count_nonzero(panel.truth) == np.count_nonzero(truth)
    assert panel.source_shape == truth.shape


def test_a_label_outside_the_head_is_not_cut_off(tmp_path: Path) -> None:
    images, _, predicted = volumes(0)
    predicted[0, 0, 0] = 1
    write_panel(tmp_path / "a.npz", images, predicted, (1, 1, 1))
    panel = Panel.read(tmp_path / "a.npz")
    assert panel.offset == (0, 0, 0)
    assert panel.prediction[0, 0, 0] == 1


def test_long_axes_are_averaged(tmp_path: Path) -> None:
    image = np.full((2 * LONGEST, 20, 10), 200, np.uint8)
    image[::2] = 100
    predicted = np.zeros(image.shape, np.uint16)
    predicted[100:140] = 300
    write_panel(tmp_path / "a.npz", {"ct": image}, predicted, (0.5, 1, 1))
    panel = Panel.read(tmp_path / "a.npz")
    assert panel.prediction.shape == (LONGEST, 20, 10)
    assert panel.spacing_mm == (1, 1, 1)
    assert (panel.images["ct"] == 150).all()
    assert np.flatnonzero(panel.prediction[:, 0, 0]).tolist() == list(range(50, 70))
    assert panel.targets == {"label 300": (300,)}


def test_2d_images_have_one_slice_and_no_directions(tmp_path: Path) -> None:
    image = np.arange(30 * 20, dtype=np.float32).reshape(30, 20)
    write_panel(tmp_path / "a.npz", {"image": image}, (image > 500).astype(np.uint8), (0.1, 0.1))
    panel = Panel.read(tmp_path / "a.npz")
    assert panel.prediction.shape == (30, 20, 1)
    assert not panel.oriented


def test_window_puts_background_at_zero_and_ignores_nan() -> None:
    volume = np.zeros((10, 10, 10), np.float32)
    volume[2:8, 2:8, 2:8] = np.linspace(-3, 5, 216).reshape(6, 6, 6)
    volume[5, 5, 5] = np.nan
    shown = window(volume)
    assert shown[0, 0, 0] == 0
    assert shown[2, 2, 2] == 1
    assert shown[7, 7, 7] == 255
    assert window(np.full((3, 3, 3), 7.0)).dtype == np.uint8


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 60), factor=st.integers(1, 4))
def test_averaging_by_a_whole_factor_is_the_mean_of_blocks(size: int, factor: int) -> None:
    volume = np.random.default_rng(size).integers(0, 256, (size * factor, 3, 2)).astype(np.uint8)
    wanted = volume.reshape(size, factor, 3, 2).astype(np.float32).mean(axis=1).round()
    assert np.array_equal(average(volume, [size, 3, 2]), wanted.astype(np.uint8))


def test_other_shapes_are_refused_by_name(tmp_path: Path) -> None:
    images, _, predicted = volumes(0)
    with pytest.raises(GeometryError, match=r"case P9: panel shapes .*\(40, 48, 29\)"):
        write_panel(tmp_path / "P9.npz", images, predicted[..., :-1], (1, 1, 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"text"])
def test_a_broken_panel_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.npz: not readable"):
        Panel.read(tmp_path / "a.npz")


def test_a_missing_panel_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no such file"):
        Panel.read(tmp_path / "a.npz")


@pytest.mark.parametrize("least", [1, 7, 100, 10**6])
def test_a_sample_slice_by_slice_is_that_of_all_at_once(least):
    values = np.random.default_rng(0).normal(size=(7, 9, 11)).astype(np.float32)
    for bound in (-9, 0, 1.5, 9):
        inside = values[values > bound]
        found = _sample(values, values > bound, least)
        assert np.array_equal(found, inside[:: max(1, inside.size // least)])
