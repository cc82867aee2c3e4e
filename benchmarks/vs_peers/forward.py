"""Prints what nnU-Net's networks answer to weights and images of tests/workflows; run by the peer's own Python (see golden.py).

    python forward.py

One JSON document: network → names and shapes of its tensors, size of the image of two channels, shape of the answer, and 24 of
its values.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "workflows"))
from nnunet_folder import GOLDEN, filled, plans, seen

VALUES = 24
AGAIN = re.compile(r"(^|\.)all_modules\.|^decoder\.encoder\.")
"""The same tensors under a second name."""


def main() -> None:
    made = {}
    for tag, known in GOLDEN.items():
        (settings,) = plans(tag)["configurations"].values()
        given = settings["architecture"]
        network = get_network_from_plans(
            given["network_class_name"], given["arch_kwargs"], given["_kw_requires_import"], 2, known["shape"][1],
            deep_supervision=False,
        ).eval()  # fmt: skip
        names = {n: list(t.shape) for n, t in network.state_dict().items() if not AGAIN.search(n)}
        network.load_state_dict(filled(tag, names))
        with torch.no_grad():
            answer = network(seen(tag))
        at = [i * (answer.numel() - 1) // (VALUES - 1) for i in range(VALUES)]
        values = [round(float(v), 6) for v in answer.flatten()[at]]
        made[tag] = {"size": known["size"], "shape": list(answer.shape), "at": at, "values": values, "names": names}
    print(json.dumps(made))


if __name__ == "__main__":
    main()
