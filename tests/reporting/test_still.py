"""Pictures where no script runs: the right slice, upright, with outlines in the colours of the labels, in few bytes."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from report_folders import NAMES, volumes

from striate.reporting.panel import Panel, write_panel
from striate.reporting.sprites import viewer_data
from striate.reporting.still import stills


@pytest.mark.parametrize("oriented", [True, False])
def test_the_slice_with_most_lesion_is_outlined_where_it_lies(tmp_path: Path, oriented: bool) -> None:
    images, truth, predicted = volumes(4)
    cut = (slice(None), slice(None), slice(None) if oriented else 16)
    shown = {name: image[cut] for name, image in images.items()}
    mm = (1, 1, 2) if oriented else (1, 1)
    write_panel(tmp_path / "P.npz", shown, predicted[cut], mm, truth=truth[cut], label_names=NAMES)
    panel = Panel.read(tmp_path / "P.npz")
    found = stills(panel, viewer_data(panel)["targets"])
    assert found.pop("place") == ("axial slice 16 (0 to 29)" if oriented else "")
    assert set(found) == {"image", "truth", "prediction"} and max(map(len, found.values())) < 12_000
    pixels = {
        n: np.asarray(Picture.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))
        for n, uri in found.items()
    }
    orange = {n: np.argwhere(p[..., 0].astype(int) - p[..., 2] > 90) for n, p in pixels.items()}
    assert len(orange["image"]) == 0
    volume = {"truth": panel.truth, "prediction": panel.prediction}
    for name, mask in volume.items():
        middle = (
            np.argwhere(mask[:, :, panel.prediction.shape[2] // 2 if not oriented else 16 - panel.offset[2]]).mean(0)
            + 0.5
        )
        wanted = middle / mask.shape[:2]
        wanted = 1 - wanted if oriented else wanted  # the patient's right is on the left, anterior on top
        height, width = pixels[name].shape[:2]
        assert orange[name].mean(0) / (height, width) == pytest.approx(wanted[::-1], abs=0.03)
