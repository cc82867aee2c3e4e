"""Sprite sheets decode to what was put in."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from report_folders import NAMES, volumes

from striate.reporting.panel import Panel, write_panel
from striate.reporting.sprites import TARGET_COLOURS, viewer_data


def unpack(uri: str, size: list[int], columns: int) -> np.ndarray:
    """Do what the page's script does."""
    sheet = np.asarray(Picture.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))[..., 0]
    i, j, k = size
    tiles = [
        sheet[(n // columns) * j : (n // columns + 1) * j, (n % columns) * i : (n % columns + 1) * i].T
        for n in range(k)
    ]
    return np.stack(tiles, axis=-1)


@pytest.fixture
def panel(tmp_path: Path) -> Panel:
    images, truth, predicted = volumes(1)
    write_panel(tmp_path / "P.npz", images, predicted, (1, 1, 2), truth=truth, label_names=NAMES)
    return Panel.read(tmp_path / "P.npz")


def test_masks_are_exact_and_images_close(panel: Panel) -> None:
    data = viewer_data(panel)
    assert data["step"] == 127
    for mask, uri in ((panel.prediction, data["prediction"]), (panel.truth, data["truth"])):
        assert np.array_equal(unpack(uri, data["size"], data["columns"]), mask * data["step"])
    for channel in data["channels"]:
        wanted = panel.images[channel["name"]].astype(float)
        assert np.abs(unpack(channel["src"], data["size"], data["columns"]) - wanted).mean() < 8


def test_targets_point_at_the_indices_of_their_labels(panel: Panel) -> None:
    targets = viewer_data(panel)["targets"]
    assert targets == [
        {"name": "oedema", "colour": TARGET_COLOURS[0], "members": [1]},
        {"name": "core", "colour": TARGET_COLOURS[1], "members": [2]},
    ]


def test_regions_overlap_and_the_largest_is_drawn_first(tmp_path: Path) -> None:
    images, truth, _ = volumes(1)
    regions = {"core": (2,), "whole": (1, 2)}
    write_panel(tmp_path / "P.npz", images, truth, (1, 1, 2), regions=regions)
    targets = viewer_data(Panel.read(tmp_path / "P.npz"))["targets"]
    assert [(t["name"], t["members"]) for t in targets] == [("whole", [1, 2]), ("core", [2])]


def test_slices_open_where_there_is_most_lesion(panel: Panel) -> None:
    area = np.count_nonzero(panel.truth, axis=(0, 1))
    assert area[viewer_data(panel)["start"][2]] == area.max()


def test_labels_that_share_a_colour_differ_in_their_line(tmp_path: Path) -> None:
    images, truth, _ = volumes(1)
    names = {n: f"structure {n}" for n in range(1, 13)}
    write_panel(tmp_path / "P.npz", images, truth, (1, 1, 2), label_names=names)
    targets = viewer_data(Panel.read(tmp_path / "P.npz"))["targets"]
    assert len({(t["colour"], t.get("double", False)) for t in targets}) == 12
