"""Fixed features, computed once: what a read-out learns from where everything before it is not learned by gradients."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from striate.core.files import filling, write_json
from striate.data.samples import IMAGES, INDEX, TRUTH, VERSION, SampleForm, SampleStore
from striate.networks.network import Network
from striate.training import distributed

AT_ONCE = 64
MOST_ORGANISING = 1000
"""Images that a network is shown to organise itself."""


def organise(network: Network, store: SampleStore, cases: tuple[str, ...], seed: int) -> None:
    """Let a fresh network learn what it learns without a teacher, from at most `MOST_ORGANISING` training images.

    This is done on the CPU, so that it does not depend on the device; the network comes back to where it was.
    """
    rows = store.of(cases)
    draw = np.random.Generator(np.random.Philox(seed))
    picked = rows if len(rows) <= MOST_ORGANISING else np.sort(draw.choice(rows, MOST_ORGANISING, replace=False))
    images = torch.from_numpy(np.asarray(store.images[picked], dtype=np.float32))
    place = next(network.parameters()).device
    network.cpu().organise(images, torch.Generator().manual_seed(seed))
    network.to(place)


def feature_store(network: Network, store: SampleStore, folder: Path) -> SampleStore:
    """Return a store of the network's features (N, F) of every sample of `store`, written to `folder` if not there.

    The network is left in the mode that it came in. Of several processes, process 0 writes and the others wait.

    Raises
    ------
    DiskFullError
        When the disk is full.
    """
    digest = hashlib.sha256(store.key.encode())
    for name, tensor in network.state_dict().items():
        if not name.startswith("readout."):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    key = digest.hexdigest()
    folder = folder / key[:16]
    if distributed.rank() == 0 and not (folder / INDEX).exists():
        was_training = network.training
        _write(network.eval(), store, folder, key)
        network.train(was_training)
    distributed.wait_for_all()
    return SampleStore.open(folder)


def _write(network: Network, store: SampleStore, folder: Path, key: str) -> None:
    place = next(network.parameters()).device
    with filling(folder) as beside, (beside / IMAGES).open("wb") as stream, torch.inference_mode():
        count = 0
        for start in range(0, len(store.images), AT_ONCE):
            part = torch.from_numpy(np.asarray(store.images[start : start + AT_ONCE], dtype=np.float32))
            found = network.features(part.to(place))
            count = found.shape[1]
            found.clamp(-6e4, 6e4).half().cpu().numpy().tofile(stream)
        np.save(beside / TRUTH, store.truth)
        cases = {name: [list(store.slices[row]) for row in rows] for name, rows in store.rows.items()}
        form = SampleForm(size=(), classes=store.form.classes, exclusive=store.form.exclusive)
        index = {
            "kind": "striate-samples", "schema_version": VERSION, "key": key, "cases": cases,
            "form": form.model_dump(mode="json"), "keep_zero": [False] * count, "spacing_mm": [], "inputs": store.inputs,
        }  # fmt: skip
        write_json(beside / INDEX, index)
