"""The report of an explanation folder: what failed is said first, in red; every text is escaped; what is missing is told."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from striate.core.errors import FormatError
from striate.core.files import write_json
from striate.reporting.explanation_panel import (
    ExplanationPanel,
    read_pictures,
    write_explanation_panel,
    write_pictures,
)
from striate.reporting.figures.overlay import AGAINST, FOR, colour_bar, full_colour, picture
from striate.reporting.folder import Folder
from striate.reporting.render import render

SHAPE = (12, 10, 8)


def check(name, passed, sentence="Measured.", **numbers):
    return {"check": name, "passed": passed, "sentence": sentence, **numbers}


def row(method, *, passed=True, sentence="Measured.", case="s1"):
    shares = [0, 0.5, 1]
    curves = {
        "shares": shares, "deletion": [0.9, 0.2, 0.1], "insertion": [0.1, 0.8, 0.9],
        "deletion_random": [0.9, 0.5, 0.1], "insertion_random": [0.1, 0.5, 0.9],
    }  # fmt: skip
    return {
        "case": case, "method": method, "passed": passed, "seconds": 1.5, "file": f"{case}_lesion1_{method}.nii.gz",
        "target": {"kind": "lesion", "label": "lesion", "told": "lesion, lesion 1 of 2, 3.10 mL"},
        "checks": [check("random_weights", passed, sentence), check("faithfulness", True, **curves), check("inside", None)],
        "decided": 0.97, "channels": {"flair": 0.7, "t1": 0.3}, "panel": "panels/s1_lesion1.npz",
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes an explanation folder of some rows."""

    def write(*rows, **more):
        rng, there = np.random.default_rng(0), np.zeros(SHAPE, dtype=bool)
        there[3:7, 3:6, 4:6] = True
        images = {"flair": rng.normal(100, 10, SHAPE), "t1": rng.normal(50, 5, SHAPE)}
        maps = {r["method"]: rng.normal(0, 1, SHAPE) * there for r in rows}
        write_explanation_panel(
            tmp_path / "panels" / "s1_lesion1.npz", images, maps, (1.0, 2.0), masks=(there, there), plane=4,
            place="axial slice 5 (0 to 7)",
        )  # fmt: skip
        write_json(tmp_path / "explanations.json", {"kind": "striate-explanations", "explanations": list(rows), **more})
        return tmp_path

    return write


def test_a_failed_map_says_so_before_anything_else(folder):
    page = render(folder(row("grad_cam"), row("occlusion", passed=False, sentence="Alike: 0.93.")))
    assert "1 of 2 maps failed a check: not to be trusted." in page
    assert page.index("1 of 2 maps failed") < page.index("<img")
    figures = re.findall(r'<figure class="map[^"]*">.*?</figure>', page, flags=re.DOTALL)
    bad = next(f for f in figures if "map bad" in f)
    assert re.search(r'class="alarm"><b>Occlusion: not to be trusted, failed random weights</b>', bad)
    assert bad.index("not to be trusted") < bad.index("<img") < bad.index("Alike: 0.93.")
    assert '<li class="failed"><b>Random weights: failed.</b> Alike: 0.93.' in bad
    good = next(f for f in figures if "map bad" not in f)
    assert 'class="good"><b>Grad-CAM</b>' in good and '<li class="unknown"><b>Inside the target: not made.</b>' in good


def test_maps_that_all_passed_are_said_to(folder):
    page = render(folder(row("grad_cam"), row("occlusion")))
    assert "All 2 maps passed their checks." in page and "failed" not in page.split("<script>")[0].split("</style>")[1]
    assert "axial slice 5 (0 to 7); the windows that were looked at decide 97 % of the target" in page
    assert "flair 70 %" in page and "Explanation of lesion" in page
    assert page.count("% of blocks removed, or put back</text>") == 2


def test_texts_are_escaped(folder):
    evil = row("grad_cam", passed=False, sentence="<script>alert(1)</script>")
    evil["target"]["told"] = "<b>x</b>"
    page = render(folder(evil))
    assert "<script>alert(1)" not in page and "&lt;b&gt;x&lt;/b&gt;" in page


def test_features_and_patches_are_galleries(folder):
    path = folder(
        row("grad_cam"),
        features=[{"case": "s1", "layer": "encoder.1", "units": [0, 3], "total": 8, "panel": "panels/f.npz", "place": ""}],
        patches={"layer": "encoder.1", "unit": 3, "cases": ["s1"], "panel": "panels/p.npz",
                 "patches": [{"case": "s1", "activation": 2.5, "voxel": [1, 2, 3], "centre_mm": [1.0, 2.0, 3.0]}]},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    write_pictures(path / "panels/f.npz", [rng.random((6, 5)), np.zeros((6, 5))], oriented=False)
    write_pictures(path / "panels/p.npz", [rng.random((6, 5))], oriented=True)
    page = render(path)
    assert "Maps of layer encoder.1, s1" in page and "2 of 8 maps" in page
    assert "What excites map 3 of layer encoder.1" in page and "s1, 2.5, at (1, 2, 3) mm" in page
    assert read_pictures(path / "panels/f.npz").shape == (2, 5, 6)


def test_missing_and_broken_parts_are_told(folder):
    path = folder(row("grad_cam"))
    (path / "panels/s1_lesion1.npz").write_bytes(b"broken")
    page = render(path)
    assert "a panel written by striate explain is needed" in page and "Random weights: passed." in page
    write_json(path / "explanations.json", {"kind": "striate-explanations", "explanations": []})
    assert Folder(path).kind == "explanation" and "There is no explanation to show" in render(path)
    with pytest.raises(FormatError, match="there is no such file"):
        ExplanationPanel.read(path / "none.npz")


def test_panels_come_back_upright(tmp_path):
    """The patient's right is on the left, anterior on top; a marked voxel is found there."""
    image = np.zeros(SHAPE)
    image[1, 8, 3] = 10.0  # little to the right of the body, much to the front: RAS+ indices rise to R and A
    write_explanation_panel(tmp_path / "p.npz", {"flair": image}, {"occlusion": image}, (1.0, 2.0), plane=3)
    panel = ExplanationPanel.read(tmp_path / "p.npz")
    assert panel.maps["occlusion"].shape == (10, 12) and panel.spacing_mm == (2.0, 1.0)
    assert np.argwhere(panel.maps["occlusion"]).tolist() == [[10 - 1 - 8, 12 - 1 - 1]]
    assert panel.prediction is None and panel.images["flair"].dtype == np.uint8


def pixels(source):
    import base64
    import io

    from PIL import Image as Picture

    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB")).astype(float)


def test_what_speaks_for_is_orange_and_against_blue_on_square_pixels():
    image, values = np.full((10, 10), 80, np.uint8), np.zeros((10, 10), np.float32)
    values[:, :4], values[:, 6:] = 1.0, -1.0
    shown = pixels(picture(image, (2.0, 1.0), values=values, full=1.0))
    assert shown.shape[0] == 2 * shown.shape[1], "a pixel twice as high as wide is drawn so"
    third = shown.shape[1] // 10
    assert np.abs(shown[50, third] - (0.9 * np.array(FOR) + 8)).max() < 20
    assert np.abs(shown[50, -third] - (0.9 * np.array(AGAINST) + 8)).max() < 20
    assert np.abs(shown[50, shown.shape[1] // 2] - 80).max() < 12, "nothing is covered where nothing is said"


def test_the_bar_holds_its_numbers():
    assert full_colour(np.zeros((3, 3))) == 1.0
    assert full_colour(np.array([0.0, -2.0, 2.0])) == 2.0
    both, one = colour_bar(3861.4, both=True), colour_bar(0.5, both=False)
    assert "−3,861" in both and "against · for" in both and ">0<" in one


def test_an_outline_is_seen_on_white_and_on_black() -> None:
    target = np.zeros((60, 60), bool)
    target[28:32, 28:32] = True
    for tissue in (0, 255):
        uri = picture(np.full((60, 60), tissue, np.uint8), (1.0, 1.0), outlines=(target,))
        grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L"), np.int32)
        assert np.ptp(grey) > 150
