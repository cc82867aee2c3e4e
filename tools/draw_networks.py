"""Draw every network into docs/networks/NAME.svg, in the form of its paper where that is noted here.

python tools/draw_networks.py [NAME …]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from striate import networks
from striate.core.files import write_text
from striate.networks.describe import default_size
from striate.reporting.figures.network import network_drawing, short

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "networks"

PAPERS: dict[str, tuple[int, tuple[int, ...], int, dict[str, Any]]] = {
    "alexnet": (3, (227, 227), 1000, {}),
    "deepmedic": (4, (66, 66, 66), 5, {}),
    "googlenet": (3, (224, 224), 1000, {}),
    "inception_3d": (1, (50, 50, 50), 2, {}),
    "inception_resnet_v2": (3, (299, 299), 1000, {}),
    "inception_v3": (3, (299, 299), 1000, {}),
    "inception_v4": (3, (299, 299), 1000, {}),
    "small_unet": (1, (64, 64, 64), 2, {}),
    "unet": (4, (128, 128, 128), 4, {}),
    "unet_2015": (1, (572, 572), 2, {}),
    "unet_3d_2016": (3, (132, 132, 116), 3, {}),
}
"""Channels, size, classes and options; the others are drawn with one channel, their default size and ten classes."""


def drawing(name: str) -> str:
    """Return the drawing of a network as its page shows it."""
    size = default_size(name, networks.load(name).dims[0], {})
    channels, size, classes, options = PAPERS.get(name, (1, size, 10, {}))
    cost = networks.cost(name, size, in_channels=channels, out_channels=classes, training=False, **options)
    time = (networks.SEQUENCE_LENGTH,) if networks.load(name).task == "sequence" else ()
    note = f"{short(cost.parameters_run)} parameters · {short(cost.macs)} multiply-accumulates"
    return network_drawing(name, (*time, channels, *size), cost.layers, cost.blocks, note)


def main(names: list[str]) -> None:
    for name in names or networks.names():
        path = FOLDER / f"{name}.svg"
        write_text(path, drawing(name))
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
