"""The forms in which the contract suite builds each network, and the numbers that are frozen of them.

``tests/golden/networks.json`` maps ``NAME_2d`` (``_3d``) to the options, the input and the frozen numbers of one form; a
network is tested in every form that stands there, and must have one for each of its ``dims``.

    python tests/networks/forms.py NAME 2 64,64 '{"width": 0.25}'     freezes (or freezes again) the form NAME_2d
"""

from __future__ import annotations

import fcntl
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from striate import networks
from striate.networks.network import Network

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "networks.json"
CHANNELS, CLASSES, IMAGES = 2, 3, 3


@dataclass(frozen=True)
class Form:
    """A network as the suite builds it."""

    name: str
    dims: int
    size: tuple[int, ...]
    options: dict[str, Any]

    @property
    def key(self) -> str:
        return f"{self.name}_{self.dims}d"

    def create(self, **changed: Any) -> Network:
        options = networks.sized(self.name, self.size, self.options) | changed
        return networks.create(self.name, spatial_dims=self.dims, in_channels=CHANNELS, out_channels=CLASSES, **options)

    def input(self, batch: int = 1, seed: int = 21) -> torch.Tensor:
        time = (IMAGES,) if networks.load(self.name).task == "sequence" else ()
        return torch.randn((batch, *time, CHANNELS, *self.size), generator=torch.Generator().manual_seed(seed))

    def built(self) -> Network:
        """Build it with fixed weights; what learns without a teacher has seen twelve images."""
        torch.manual_seed(20)
        network = self.create()
        network.organise(self.input(12, seed=22), torch.Generator().manual_seed(23))
        return network


def forms() -> list[Form]:
    """Return the frozen forms."""
    entries = json.loads(GOLDEN.read_text())
    return [
        Form(key.rpartition("_")[0], int(key[-2]), tuple(entry["size"]), entry["options"])
        for key, entry in entries.items()
    ]


def measure(form: Form, network: Network) -> dict[str, Any]:
    """Return the numbers that are frozen: totals, one row per layer, and a few outputs."""
    cost = networks.cost(form.name, form.size, in_channels=CHANNELS, out_channels=CLASSES, **form.options)
    with torch.inference_mode():
        y = network.eval()(form.input())
    flat = y.flatten()
    return {
        "size": list(form.size),
        "options": form.options,
        "output_shape": list(y.shape[1:]),
        "parameters": cost.parameters,
        "macs": cost.macs,
        "activations": cost.activations,
        "receptive_field": list(cost.receptive_field),
        "outputs": [round(float(v), 5) for v in (y.mean(), y.std(), flat[0], flat[flat.numel() // 2])],
        "layers": [
            f"{r.name} {r.kind} {'×'.join(map(str, r.output_shape))} parameters {r.parameters} macs {r.macs}"
            f" activations {r.activations} sees {'×'.join(map(str, r.receptive_field))}"
            for r in cost.layers
        ],
    }


def freeze(form: Form) -> dict[str, Any]:
    """Measure a form and write it into the golden file."""
    found = measure(form, form.built())
    with GOLDEN.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        entries = json.load(file) | {form.key: found}
        text = json.dumps(dict(sorted(entries.items())), indent=1, ensure_ascii=False) + "\n"
        file.seek(0)
        file.write(text)
        file.truncate()
    return found


if __name__ == "__main__":
    name, dims, size, *options = sys.argv[1:]
    form = Form(name, int(dims), tuple(map(int, size.split(","))), json.loads(options[0]) if options else {})
    print({k: v for k, v in freeze(form).items() if k != "layers"})
