"""Networks that lie on a GPU (see `played_gpu`): what they hold lies there, and a whole step finds all of it there."""

from __future__ import annotations

import json

import pytest
import torch
from forms import GOLDEN, IMAGES, Form, forms

from played_gpu import played_gpu
from striate import networks
from striate.planning.plan import Task, Training
from striate.training import losses, optimise
from striate.training.average import WeightAverage
from striate.training.step import to_device, train_step

MOST_MACS = 5e7
"""Larger forms have the layers of smaller ones."""
SMALL = [form for form in forms() if json.loads(GOLDEN.read_text())[form.key]["macs"] < MOST_MACS]


def truth_of(form: Form, images: torch.Tensor) -> torch.Tensor:
    kind = networks.load(form.name).task
    if kind == "reconstruction":
        return images
    shape = {"segmentation": form.size, "sequence": (IMAGES,)}.get(kind, ())
    return torch.zeros((2, *shape), dtype=torch.uint8, device=images.device)


@pytest.mark.parametrize("form", SMALL, ids=lambda form: form.key)
def test_a_network_learns_there(form):
    network, images = form.built(), form.input(2)
    kind, training = networks.load(form.name).task, Training(patch=form.size, batch=2, steps=1)
    targets = Task(kind="classification", channels=("a",), unit="case", classes=("a", "b", "c")).outputs
    loss = losses.create("squared" if kind == "reconstruction" else "cross_entropy", targets)
    with played_gpu():
        network, images = to_device(network, form.dims).train(), images.to("cuda")
        assert all(tensor.is_cuda for tensor in (*network.parameters(), *network.buffers()))
        average, learned = WeightAverage(network, 0.9), network.readout if network.fixed_features else network
        with torch.no_grad():
            seen = network.features(images) if network.fixed_features else images
        optimiser = optimise.create(learned, training)
        assert train_step(learned, optimiser, loss, training, seen, truth_of(form, images), network) >= 0
        average.update(network, 1)
        assert average.network.eval()(images).is_cuda
