"""The drawing of a network: which boxes there are, how large they are, and that it is a file of its own."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import striate
from striate.reporting.figures.network import KINDS, kind_of, network_drawing, short, stages

HOSTILE = '<script>alert("1")</script>'
SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Row:
    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int = 0
    macs: int = 0
    receptive_field: tuple[int, ...] = (3, 3)


def unit(name: str, maps: int, size: int, parameters: int = 100, macs: int = 1000) -> list[Row]:
    shape = (maps, size, size)
    return [
        Row(f"{name}.conv", "Conv2d", shape, parameters, macs),
        Row(f"{name}.norm", "BatchNorm", shape, 2 * maps),
        Row(f"{name}.act", "ReLU", shape),
    ]


LAYERS = [
    *unit("stem.first", 8, 32),
    Row("stem.pool", "MaxPool2d", (8, 16, 16)),
    *[row for i in (1, 2, 3) for path in "ab" for row in unit(f"blocks.m{i}.{path}", 8, 16)],
    *unit("blocks.down.a", 32, 8),
    Row("mean", "AdaptiveAvgPool2d", (32, 1, 1), 0, 0, (32, 32)),
    Row("flatten", "Flatten", (32,), 0, 0, (32, 32)),
    Row("head", "Linear", (10,), 330, 320, (32, 32)),
]
BLOCKS = [
    Row("stem.first", "ConvUnit", (8, 32, 32)),
    *[Row(f"blocks.m{i}", "Branches", (16, 16, 16), 0, 0, (9, 9)) for i in (1, 2, 3)],
    Row("blocks.down", "Branches", (32, 8, 8)),
]


def test_one_box_per_stage_and_equal_ones_once() -> None:
    found = [(s.group, s.name, s.kind, s.shape, s.times, s.last) for s in stages(LAYERS, BLOCKS)]
    assert found == [
        ("stem", "first", "convolution", (8, 32, 32), 1, "first"),
        ("stem", "pool", "pooling", (8, 16, 16), 1, "pool"),
        ("blocks", "m1", "convolution", (16, 16, 16), 3, "m3"),
        ("blocks", "down", "convolution", (32, 8, 8), 1, "down"),
        ("", "mean", "pooling", (32, 1, 1), 1, "mean"),
        ("", "head", "dense", (10,), 1, "head"),
    ]
    module = stages(LAYERS, BLOCKS)[2]
    assert (module.parameters, module.content) == (2 * (100 + 16), 2)  # of one of the three
    assert module.receptive_field == (9, 9)


def test_nothing_is_lost() -> None:
    found = stages(LAYERS, BLOCKS)
    assert sum(s.times * s.parameters for s in found) == sum(row.parameters for row in LAYERS)
    assert sum(s.times * s.macs for s in found) == sum(row.macs for row in LAYERS)


def test_a_lonely_stage_of_a_group_keeps_its_whole_name() -> None:
    rows = [Row(n, "Conv2d", (4, 8, 8), 1, i) for i, n in enumerate(("enc.0", "enc.1", "up.0", "dec.0", "up.1"), 1)]
    assert [(s.group, s.name) for s in stages(rows)] == [
        ("enc", "0"),
        ("enc", "1"),
        ("", "up.0"),
        ("", "dec.0"),
        ("", "up.1"),
    ]


def test_flattening_the_image_is_no_stage() -> None:
    rows = [Row("layers.0", "Flatten", (1024,)), Row("layers.1", "Linear", (10,), 10250, 10240)]
    assert [s.kind for s in stages(rows)] == ["dense"]


def test_a_recurrent_block_of_convolutions_is_recurrent() -> None:
    rows = [Row("cells.0.gates", "Conv2d", (8, 16, 16), 10, 5), Row("head", "Linear", (3,), 1, 1)]
    assert [s.kind for s in stages(rows, [Row("cells.0", "ConvLSTM", (4, 16, 16))])] == ["recurrent", "dense"]


def test_a_layer_whose_parts_are_joined_is_one_box() -> None:
    """As LeNet-5's C3: its convolutions stand in a list that does not run itself."""
    rows = [Row(f"c3.convs.{i}", "Conv2d", (6, 10, 10), 10, 5) for i in range(3)]
    (found,) = stages(rows, [Row("c3", "Sparse", (16, 10, 10))])
    assert (found.name, found.shape, found.parameters) == ("c3", (16, 10, 10), 30)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Conv3d", "convolution"),
        ("ConvTranspose2d", "transposed convolution"),
        ("ConvLSTM", "recurrent"),
        ("AdaptiveAvgPool3d", "pooling"),
        ("SubSampling", "pooling"),
        ("LocalResponseNorm", "normalisation"),
        ("Linear", "dense"),
        ("LeakyReLU", "activation"),
        ("ScaledTanh", "activation"),
        ("Flatten", "arrangement"),
        ("RadialBasis", "other"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (31_199_796, "31.2 M"), (999_960, "1.00 M"), (482_890_350_592, "483 G")],
)
def test_short_numbers(number: int, text: str) -> None:
    assert short(number) == text


def boxes(root: ET.Element) -> list[tuple[str, float, float]]:
    """Title, width and height of each front."""
    found = []
    for group in root.iter(f"{SVG}g"):
        path = next(p for p in group.iter(f"{SVG}path") if p.get("class") == "face").get("d") or ""
        _, width, height = re.findall(r"M[\d.]+ [\d.]+|h[\d.]+|v[\d.]+", path)[:3]
        found.append((next(group.iter(f"{SVG}title")).text or "", float(width[1:]), float(height[1:])))
    return found


def test_measures_grow_with_the_logarithm() -> None:
    rows = [Row(f"c{i}", "Conv2d", (2**i, 2 ** (8 - i), 2 ** (8 - i)), i + 1, i + 1) for i in range(1, 6)]
    drawn = boxes(ET.fromstring(network_drawing("n", (1, 256, 256), rows)))[1:]
    widths, heights = [b[1] for b in drawn], [b[2] for b in drawn]
    assert all(math.isclose(b - a, widths[1] - widths[0], abs_tol=0.11) for a, b in pairwise(widths))
    assert all(math.isclose(a - b, heights[0] - heights[1], abs_tol=0.11) for a, b in pairwise(heights))
    assert widths[1] > widths[0]
    assert heights[0] > heights[1]


def test_a_file_of_its_own_with_the_pages_colours() -> None:
    text = network_drawing("tiny", (1, 32, 32), LAYERS, BLOCKS, "all in all")
    root = ET.fromstring(text)
    assert root.get("role") == "img"
    assert "m1" in (root.get("aria-label") or "")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "prefers-color-scheme: dark" in text
    assert text.count("{") == text.count("}")
    css = (Path(striate.__file__).parent / "reporting" / "assets" / "report.css").read_text()
    for colour in set(re.findall(r"--c\d: #[0-9a-f]{6}", text)):
        assert colour in css
    said = " ".join(element.text or "" for element in root.iter(f"{SVG}text"))
    for words in ("tiny", "all in all", "stem", "m1 – m3", "3 × 232", "3 × 2 layers", "16×16×16", "sees 9", "sees all"):
        assert words in said


def test_long_networks_are_broken_into_lines_and_stay_inside() -> None:
    rows = [Row(f"layers.{i}", "Conv3d", (64, 128, 128, 64), i, i, (2 * i + 1,) * 3) for i in range(1, 31)]
    root = ET.fromstring(network_drawing("long", (1, 128, 128, 64), rows))
    wide, high = float(root.get("width") or 0), float(root.get("height") or 0)
    texts = [(float(t.get("x") or 0), float(t.get("y") or 0)) for t in root.iter(f"{SVG}text")]
    assert wide <= 1000
    assert all(0 < x < wide and 0 < y < high for x, y in texts)
    assert len(boxes(root)) == 31


def test_hostile_names_are_escaped() -> None:
    rows = [Row(f"{HOSTILE}.0", HOSTILE, (4, 8, 8), 1, 1), Row(f"{HOSTILE}.1", "Conv2d", (4, 8, 8), 1, 2)]
    root = ET.fromstring(network_drawing(HOSTILE, (1, 8, 8), rows, note=HOSTILE))
    assert not [element for element in root.iter() if "script" in element.tag]


def test_a_network_of_vectors_and_of_sequences() -> None:
    rows = [Row("recurrent", "LSTM", (8, 64), 9, 9, (16, 16)), Row("head", "Linear", (8, 3), 1, 1, (16, 16))]
    drawn = boxes(ET.fromstring(network_drawing("n", (8, 1, 16, 16), rows)))
    assert [title.split(":")[0] for title, _, _ in drawn] == ["input", "recurrent", "head"]
    assert drawn[1][1] > drawn[2][1]
    assert set(KINDS) >= {s.kind for s in stages(rows)}
