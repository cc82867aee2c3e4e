"""A drawing of a network from what its layers cost: one box per stage, from the image to the output.

The height of a box grows with the logarithm of the map's size along its first axis, its depth with that along the last
axis, its width with the logarithm of the number of maps; the colour says what most of its multiplications are. Stages are
taken from the names of the layers: what shares the first two parts of its name is one box, what shares the first stands
under one heading, and equal boxes in a row are drawn once. The order is that of execution; connections that skip stages
are not drawn.

The picture is a file of its own: colours and the change between light and dark are in it. No torch is needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from markupsafe import Markup

WIDTH = 1000
"""Width of the drawing at most, in its own units; about one CSS pixel each."""
MARGIN, GAP, LINE, LETTER = 16, 12, 13, 5.5
"""Outer margin, space between boxes, height of a line of text, mean width of a letter."""

KINDS: dict[str, tuple[str, str]] = {
    "input": ("", "c8"),
    "transposed convolution": (r"transpose", "c4"),
    "recurrent": (r"lstm|gru|rnn|recurrent", "c6"),
    "pooling": (r"pool|subsampling", "c1"),
    "normalisation": (r"norm", "c5"),
    "convolution": (r"conv", "c2"),
    "dense": (r"linear|dense|bilinear", "c3"),
    "dropout": (r"dropout", "c8"),
    "activation": (r"relu|elu|gelu|silu|sigmoid|tanh|softmax|activation", "c8"),
    "arrangement": (r"flatten|identity|bias|windows|unfold|crop|pad", "c8"),
    "enlarging": (r"upsampl", "c4"),
    "other": (r"", "c7"),
}
"""What a layer does → pattern of its class's name (the first that fits), and its colour."""

QUIET = ("normalisation", "dropout", "activation", "arrangement")
"""Kinds that belong to the stage before them."""

_DARK = """{ --paper: #141517; --ink: #e6e4e0; --soft: #a9a7a2; --rule: #55585e;
  --c1: #e69f00; --c2: #56b4e9; --c3: #35c197; --c4: #d795b9; --c5: #e0cf4e; --c6: #e8743a; --c7: #74a9e0; --c8: #9a9a9a; }"""
_STYLE = Markup("""
.network { --paper: #ffffff; --ink: #1a1a1a; --soft: #5c5c5c; --rule: #b9b9b9;
  --c1: #dd8f00; --c2: #2f97d4; --c3: #00805c; --c4: #b4588a; --c5: #9a8500; --c6: #d55e00; --c7: #00629b; --c8: #6f6f6f;
  font: 10px "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; fill: var(--soft); }
:root[data-theme="dark"] .network DARK
@media (prefers-color-scheme: dark) { :root:not([data-theme="light"]).network, :root:not([data-theme="light"]) .network DARK }
.network .sheet { fill: var(--paper); }
.network .title { font-size: 15px; font-weight: 600; fill: var(--ink); }
.network .name { font-weight: 600; fill: var(--ink); }
.network .rule { stroke: var(--rule); fill: none; }
.network .face { fill: var(--c); stroke: var(--paper); stroke-width: 0.7; stroke-linejoin: round; }
.network .shade { fill: #000; opacity: 0.22; }
.network .light { fill: #fff; opacity: 0.3; }
""").replace("DARK", _DARK)
"""In the file itself, the drawing is the root; in a page it is not."""


class Layer(Protocol):
    """What is drawn of a layer, or of a block of layers; the rows of a counted cost have it."""

    @property
    def name(self) -> str:
        """Path in the network, its parts joined by dots."""

    @property
    def kind(self) -> str:
        """Name of its class."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(C, *S), or other numbers where there is no map."""

    @property
    def parameters(self) -> int:
        """Trainable numbers."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Input voxels that an output voxel sees, per axis."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One box.

    Attributes
    ----------
    group, name
        First and second part of its layers' names; `group` is empty where no neighbour has the same, `name` then is both.
    kind
        One of `KINDS`.
    content
        How many multiplying layers it has.
    times
        How often it is repeated; parameters are those of one.
    last
        Name of the last repetition.
    """

    group: str
    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    receptive_field: tuple[int, ...]
    content: int = 1
    times: int = 1
    last: str = ""


def kind_of(name: str) -> str:
    """Return what a layer of the class `name` does."""
    return next(kind for kind, (pattern, _) in KINDS.items() if kind != "input" and re.search(pattern, name.lower()))


def stages(layers: Sequence[Layer], blocks: Sequence[Layer] = ()) -> list[Stage]:
    """Return the boxes of a network, in the order of execution.

    Parameters
    ----------
    layers
        Every layer, in the order of execution.
    blocks
        Modules that hold layers, whose output is not that of their last layer where paths are joined.
    """
    known = {block.name: block for block in reversed(blocks)}
    runs: list[tuple[str, list[Layer]]] = []
    for layer in layers:
        key = _key(layer.name, known)
        if runs and (runs[-1][0] == key or (key == layer.name and kind_of(layer.kind) in QUIET and not layer.macs)):
            runs[-1][1].append(layer)
        else:
            runs.append((key, [layer]))
    found: list[Stage] = []
    for key, inside in runs:
        stage = _stage(key, inside, known.get(key))
        if found and _same(found[-1], stage):
            before = found.pop()
            stage = replace(stage, name=before.name, times=before.times + 1)
        found.append(stage)
    if found and found[0].kind == "arrangement" and not found[0].macs:
        found = found[1:]
    groups = [stage.group for stage in found]
    alone = [stage.group not in (a, b) for stage, a, b in zip(found, ["", *groups], [*groups[1:], ""], strict=False)]
    return [
        replace(s, group="", name=f"{s.group}.{s.name}") if lone and s.group and s.times == 1 else s
        for s, lone in zip(found, alone, strict=True)
    ]


def _key(name: str, known: Mapping[str, Layer]) -> str:
    """Return the name of the box of a layer: two parts of its name, or one where only that is a module that runs."""
    parts = name.split(".")
    two = ".".join(parts[:2])
    return parts[0] if len(parts) > 2 and two not in known and parts[0] in known else two


def _stage(key: str, inside: list[Layer], block: Layer | None) -> Stage:
    multiplying = [layer for layer in inside if layer.macs]
    loud = [layer for layer in inside if kind_of(layer.kind) not in QUIET] or inside
    shown = block or loud[-1]
    kind = kind_of(max(multiplying, key=lambda layer: layer.macs).kind if multiplying else loud[0].kind)
    if block and kind_of(block.kind) == "recurrent":  # made of convolutions or products
        kind = "recurrent"
    group, _, name = key.rpartition(".")
    parameters, macs = sum(layer.parameters for layer in inside), sum(layer.macs for layer in inside)
    count = len(multiplying)
    return Stage(group, name, kind, shown.output_shape, parameters, macs, shown.receptive_field, count, 1, name)


def _same(a: Stage, b: Stage) -> bool:
    return (a.group, a.kind, a.shape, a.parameters, a.macs, a.content) == (
        b.group, b.kind, b.shape, b.parameters, b.macs, b.content,
    ) and bool(a.group)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Box:
    """A stage with its measures."""

    stage: Stage
    width: float
    height: float
    depth: float
    column: float
    labels: tuple[str, ...]


def network_drawing(
    title: str, input_shape: tuple[int, ...], layers: Sequence[Layer], blocks: Sequence[Layer] = (), note: str = ""
) -> str:
    """Draw a network.

    Parameters
    ----------
    title
        Its name.
    input_shape
        (C, *S).
    layers, blocks
        See `stages`.
    note
        A line below the title, for instance totals.

    Returns
    -------
    str
        A whole SVG document.
    """
    whole = input_shape[-len(layers[0].receptive_field) :] if layers else input_shape[1:]
    image = Stage("", "input", "input", input_shape, 0, 0, (), 0)
    boxes = [_box(stage, whole) for stage in (image, *stages(layers, blocks))]
    lines = _lines(boxes)
    parts, y = [], 58.0 if note else 44.0
    for index, line in enumerate(lines):
        drawn, y = _line(line, y, goes_on=index + 1 < len(lines))
        parts.append(drawn)
    legend, reach = _legend(list(dict.fromkeys(b.stage.kind for b in boxes)), y + 16)
    parts.append(legend)
    height = round(y + 16 + LINE + 12)
    wide = round(2 * MARGIN + max(reach, *(sum(b.column for b in line) + GAP for line in lines)))
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="network" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img"'
        ' aria-label="{2}"><style>{3}</style><rect class="sheet" width="{0}" height="{1}"/>'
        '<text class="title" x="{4}" y="26">{5}</text><text x="{4}" y="42">{6}</text>'
    ).format(wide, height, _told(title, boxes), _STYLE, MARGIN, title, note)
    return str(head + Markup("").join(parts) + Markup("</svg>\n"))


def short(number: int) -> str:
    """Write a number with three digits and k, M or G."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * factor:
            value = number / factor
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return str(number)


def _times(values: Sequence[int]) -> str:
    return "×".join(map(str, values))


def _box(stage: Stage, image: tuple[int, ...]) -> _Box:
    """Return a stage's measures; what has no axes of a map is a bar of one voxel."""
    dims = len(image)
    shape = stage.shape
    size = shape[-dims:] if len(shape) > dims else (1,)
    maps = shape[-dims - 1] if len(shape) > dims else shape[-1] if shape else 1
    width, height = 4 + 3.2 * math.log2(max(maps, 1)), 9 + 11.5 * math.log2(max(size[0], 1))
    depth = 3 + 2.6 * math.log2(max(size[-1], 1))
    labels = _labels(stage, image)
    text = max(len(label) * (LETTER + (0.5 if i == 0 else 0)) for i, label in enumerate(labels))
    return _Box(stage, width, height, depth, max(width + depth, text) + GAP, labels)


def _labels(stage: Stage, image: tuple[int, ...]) -> tuple[str, ...]:
    if stage.kind == "input":
        return ("input", _times(stage.shape))
    name = stage.name if stage.times == 1 else f"{stage.name} – {stage.last}"
    found = [name, _times(stage.shape)]
    several = f"{stage.times} × " if stage.times > 1 else ""
    if stage.parameters:
        found.append(f"{several}{short(stage.parameters)}")
    if stage.content > 1:
        found.append(f"{several}{stage.content} layers")
    field = stage.receptive_field
    if field:
        everything = all(f >= n for f, n in zip(field, image, strict=True))
        found.append("sees all" if everything else f"sees {_times(field if len(set(field)) > 1 else field[:1])}")
    return tuple(found)


def _lines(boxes: Sequence[_Box]) -> list[list[_Box]]:
    """Return the boxes in lines that fit the width, as even as can be; a heading of few boxes is not torn."""
    room = WIDTH - 2 * MARGIN - 2 * GAP
    count = max(1, math.ceil(sum(b.column for b in boxes) / room))
    while True:
        target = sum(b.column for b in boxes) / count
        lines: list[list[_Box]] = [[]]
        used = 0.0
        for box in boxes:
            over = used + box.column > room
            if lines[-1] and (over or (used + box.column / 2 > target and len(lines) < count)):
                lines.append([])
                used = 0.0
            lines[-1].append(box)
            used += box.column
        if len(lines) <= count:
            return lines
        count = len(lines)


def _line(boxes: Sequence[_Box], y: float, *, goes_on: bool) -> tuple[Markup, float]:
    """Draw one line of boxes below `y`; return it and where it ends."""
    tall = max(b.height + b.depth for b in boxes)
    headed = any(b.stage.group for b in boxes)
    middle = y + (26 if headed else 8) + tall / 2
    below = middle + tall / 2 + 14
    parts, x = [], float(MARGIN)
    spans: list[tuple[str, float, float, int]] = []
    arrow = Markup('<path class="rule" d="M{} {}H{}m-4 -2.5l4 2.5l-4 2.5"/>')
    end = None
    for box in boxes:
        left = x + (box.column - box.width - box.depth) / 2
        start = x if end is None else end
        parts.append(arrow.format(_r(start + 2), _r(middle), _r(left - 2)))
        parts.append(_cuboid(box, left, middle))
        centre = x + box.column / 2
        for n, label in enumerate(box.labels):
            text = Markup('<text{} x="{}" y="{}" text-anchor="middle">{}</text>')
            parts.append(
                text.format(Markup(' class="name"') if n == 0 else "", _r(centre), _r(below + n * LINE), label)
            )
        group = box.stage.group
        if spans and spans[-1][0] == group:
            spans[-1] = (group, spans[-1][1], x + box.column, spans[-1][3] + 1)
        else:
            spans.append((group, x, x + box.column, 1))
        end, x = left + box.width + box.depth, x + box.column
    if goes_on and end is not None:
        parts.append(arrow.format(_r(end + 2), _r(middle), _r(x + GAP)))
    heading = Markup('<text class="name" x="{}" y="{}">{}</text><path class="rule" d="M{} {}H{}"/>')
    parts.extend(
        heading.format(_r(left + GAP / 2), _r(y + 8), group, _r(left + GAP / 2), _r(y + 13), _r(right - GAP / 2))
        for group, left, right, _ in spans
        if group
    )
    return Markup("").join(parts), below + LINE * max(len(b.labels) for b in boxes) + 6


def _cuboid(box: _Box, left: float, middle: float) -> Markup:
    """Draw a box: front, top and right side, the depth going up and to the right."""
    w, h, d = _r(box.width), _r(box.height), _r(box.depth)
    x, y = _r(left), _r(middle - box.height / 2 + box.depth / 2)
    colour = KINDS[box.stage.kind][1]
    faces = (
        (f"M{x} {y}h{w}v{h}h-{w}z", ""),
        (f"M{x} {y}l{d} -{d}h{w}l-{d} {d}z", "light"),
        (f"M{_r(x + w)} {y}l{d} -{d}v{h}l-{d} {d}z", "shade"),
    )
    told = f"{box.stage.group}.{box.stage.name}: ".lstrip(".") + ", ".join(box.labels[1:])
    parts = [Markup('<g style="--c: var(--{})"><title>{}</title>').format(colour, told)]
    for path, over in faces:
        parts.append(Markup('<path class="face" d="{}"/>').format(path))
        if over:
            parts.append(Markup('<path class="{}" d="{}"/>').format(over, path))
    return Markup("").join(parts) + Markup("</g>")


def _legend(kinds: Sequence[str], y: float) -> tuple[Markup, float]:
    """Draw the colours, and what the measures and numbers of a box mean; return it and its width."""
    parts, x = [], float(MARGIN)
    for kind in kinds:
        square = Markup('<rect x="{}" y="{}" width="9" height="9" fill="var(--{})"/><text x="{}" y="{}">{}</text>')
        parts.append(square.format(_r(x), _r(y - 8), KINDS[kind][1], _r(x + 13), _r(y), kind))
        x += 13 + len(kind) * LETTER + 16
    text = (
        "Height and depth: log of the map's size; width: log of the number of maps."
        " Beneath: shape, parameters, layers that multiply, receptive field."
    )
    parts.append(Markup('<text x="{}" y="{}">{}</text>').format(MARGIN, _r(y + LINE + 3), text))
    return Markup("").join(parts), max(x - MARGIN, len(text) * (LETTER - 0.7))


def _told(title: str, boxes: Sequence[_Box]) -> str:
    """Return the drawing in words."""
    return f"{title}: " + "; ".join(" ".join(box.labels[:2]) for box in boxes) + "."


def _r(value: float) -> float:
    return round(value, 1)
