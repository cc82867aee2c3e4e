"""A model's network → one in whole numbers of 8 bits, by what it answers on windows of cases; run as a process of its own.

Post-training quantisation by NNCF (https://github.com/openvinotoolkit/nncf): the range of each convolution's input is measured
and output over the windows, weights are rounded per output channel, biases are corrected. The first convolution stays in floating
point. Instance normalisation reads whole numbers, computes in floating point and hands whole numbers on.

    python -m striate.inference.engines.quantise < ASKED.json

reads ``model``, ``into`` and ``cases`` (of each ``channels``: name → image file, and ``label``: its mask) and writes
``network.xml`` and ``network.bin`` into the folder ``into``. It also computes one window with them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from striate.core.case import Case
from striate.core.errors import DataError
from striate.core.optional import require
from striate.data.prepare import prepare
from striate.inference.engines import child
from striate.inference.engines.convert import converted
from striate.inference.engines.openvino import NETWORK, OpenVINOEngine, runtime
from striate.inference.sliding_window import cut_window
from striate.inference.tiling import Tiling
from striate.model.model import Model
from striate.planning.cost import seen_patch
from striate.planning.plan import Plan

CASES, WINDOWS = 8, 16
"""How many cases, spread evenly over those given, and windows of all of them ranges are measured on."""
SECONDS = 3600
"""Time that it may take."""


def nncf_here() -> ModuleType:
    """Import NNCF without what it would report to its makers.

    Raises
    ------
    UsageError
        When it or OpenVINO is not installed.
    """
    runtime()  # which keeps telemetry out
    return require("nncf", "int8", "a network in int8")


def quantise(model: Model, cases: Sequence[Case], into: Path) -> str:
    """Fill the folder `into` by a process of its own; return why that failed, else ``""``.

    Parameters
    ----------
    model
        With its weights.
    cases
        With masks.
    into
        Gets `NETWORK`.

    Raises
    ------
    DataError
        When an image cannot be read.
    """
    rows = [
        {"channels": {name: str(path.absolute()) for name, path in case.channels.items()}, "label": str(case.label)}
        for case in cases
    ]
    asked = {"model": str(model.folder.absolute()), "into": str(into.absolute()), "cases": rows}
    return child.run("quantise", asked, SECONDS)


def windows(plan: Plan, cases: Sequence[Case]) -> Iterator[NDArray[np.float32]]:
    """Yield windows (1, C, *patch) as prediction cuts them: of each case that with the most foreground, then others at random."""
    chosen = cases[:: -(-len(cases) // CASES)]
    rng, each = np.random.default_rng(0), WINDOWS // len(chosen)
    for case in chosen:
        ready = prepare(case, plan.preparation, plan.targets)
        foreground = (np.asarray(ready.classes) > 0).astype(np.float32)[None]
        tiling = Tiling.of(ready.grid.shape, plan.inference.patch, plan.inference.overlap)
        places = list(np.ndindex(*(len(s) for s in tiling.starts)))
        inside = [np.count_nonzero(cut_window(foreground, tiling, place)) for place in places]
        first = int(np.argmax(inside))
        for index in [first, *(i for i in rng.permutation(len(places)) if i != first)][:each]:
            window = cut_window(ready.array, tiling, places[index])
            shape = seen_patch(plan.inference.patch, plan.network.spatial_dims)
            yield np.ascontiguousarray(window).reshape(1, len(window), *shape)


def rounded(network: Any, found: Sequence[NDArray[np.float32]]) -> Any:
    """Return `network` (``openvino.Model``) in int8, its ranges those of the windows `found`."""
    nncf = nncf_here()
    return nncf.quantize(
        network, nncf.Dataset(found), subset_size=len(found), ignored_scope=nncf.IgnoredScope(names=kept(network))
    )


def kept(network: Any) -> list[str]:
    """Return the names of what stays in floating point: the first convolution, and what makes the statistics of its maps."""
    names, ahead = list[str](), [network.get_results()[1].input_value(0).get_node()]
    while ahead:
        node = ahead.pop()
        name = node.get_friendly_name()
        if name in names or node.get_type_name() in ("Constant", "Parameter"):
            continue
        names.append(name)
        ahead += [node.input_value(i).get_node() for i in range(node.get_input_size())]
    return names


def main() -> None:
    """Do what stands in the document on standard input."""
    asked = json.load(sys.stdin)
    ov = runtime()
    model, into = Model.open(asked["model"]), Path(asked["into"])
    cases = [
        Case(f"case{i}", f"case{i}", {n: Path(p) for n, p in row["channels"].items()}, label=Path(row["label"]))
        for i, row in enumerate(asked["cases"])
    ]
    try:
        found = list(windows(model.plan, cases))
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    made = converted(model.network(), model.plan.targets.exclusive, torch.from_numpy(found[0]))
    ov.save_model(rounded(made, found), into / NETWORK)
    OpenVINOEngine(into / NETWORK, "int8")(found[0])  # where OpenVINO crashes, it ends this process and not its parent


if __name__ == "__main__":
    main()
