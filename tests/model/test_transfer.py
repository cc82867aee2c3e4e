"""Weights go where names and shapes fit, nothing else changes, and what is frozen stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from striate import networks
from striate.core.errors import ModelError
from striate.model.transfer import transfer


def autoencoder(seed: int, **options: Any) -> Any:
    torch.manual_seed(seed)
    return networks.create("autoencoder", **{"features": [4, 6], "code": 5, "code_kernel": 3, **options})


def classifier(maps: int = 6, norm: bool = False) -> nn.Sequential:
    """The encoder of `autoencoder` under other names, and a head."""
    torch.manual_seed(9)
    layers: list[Any] = [nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, maps, 3, 2, 1), nn.ReLU()]
    body = nn.Sequential(*layers, nn.BatchNorm2d(maps)) if norm else nn.Sequential(*layers)
    return nn.Sequential(body, nn.Flatten(), nn.Linear(maps * 9, 2))


def step(network: nn.Module, x: torch.Tensor) -> None:
    """Make one large step of gradient descent."""
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.5)
    network.train()(x).square().mean().backward()
    optimiser.step()


def image() -> torch.Tensor:
    return torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def test_a_network_of_the_same_form_is_taken_whole() -> None:
    trained, fresh = autoencoder(0), autoencoder(1)
    found = transfer(fresh, trained.state_dict())
    assert found.taken == tuple(trained.state_dict())
    assert not found.left
    assert not found.unused
    assert torch.equal(fresh.eval()(image()), trained.eval()(image()))
    assert all(p.requires_grad for p in fresh.parameters())


def test_only_what_fits_is_taken_and_the_rest_is_told() -> None:
    trained, fresh = autoencoder(0), autoencoder(1, code=7)
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    found = transfer(fresh, trained.state_dict())
    assert found.left == {
        "encoder.4.weight": "shape (5, 6, 3, 3) in the source, (7, 6, 3, 3) here",
        "encoder.4.bias": "shape (5,) in the source, (7,) here",
        "decoder.0.weight": "shape (5, 6, 3, 3) in the source, (7, 6, 3, 3) here",
    }
    assert found.unused == tuple(found.left)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name] if name in found.taken else before[name]), name


def test_an_encoder_starts_a_classifier_with_other_names() -> None:
    trained, fresh = autoencoder(0), classifier()
    found = transfer(fresh, trained.state_dict(), renamed={"encoder.": "0."})
    assert found.taken == ("0.0.weight", "0.0.bias", "0.2.weight", "0.2.bias")
    assert found.left == {"2.weight": "not in the source", "2.bias": "not in the source"}
    assert found.unused[:2] == ("encoder.4.weight", "encoder.4.bias")
    assert torch.equal(fresh[0](image()), trained.encoder[:4](image()))


def test_the_longest_start_of_a_name_counts() -> None:
    source = {"a.b.weight": torch.ones(2, 2), "a.bias": torch.ones(2)}
    network = nn.ModuleDict({"p": nn.Linear(2, 2, bias=False), "q": nn.Linear(2, 2)})
    assert transfer(network, source, renamed={"a.": "q.", "a.b.": "p."}).taken == ("p.weight", "q.bias")


def test_frozen_features_stay_bit_for_bit_and_others_learn() -> None:
    fresh, x = classifier(norm=True), image()
    trained = {f"encoder.{k}": v + 0.1 for k, v in classifier(norm=True)[0].state_dict().items()}
    transfer(fresh, trained, renamed={"encoder.": "0."}, freeze=True)
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    predicted, trained_output = fresh.eval()(x), fresh.train()(x)
    assert torch.equal(predicted, trained_output)  # the normalisation uses its statistics while training, too
    step(fresh, x)
    changed = {k for k, v in fresh.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"2.weight", "2.bias"}


def test_without_freezing_everything_learns() -> None:
    fresh, x = classifier(norm=True), image()
    trained = {f"0.{k}": v for k, v in classifier(norm=True)[0].state_dict().items()}
    transfer(fresh, trained)
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    step(fresh, x)
    assert not [k for k, v in fresh.state_dict().items() if torch.equal(v, before[k])]


def test_weights_that_fit_nowhere_are_refused() -> None:
    other = autoencoder(0)
    with pytest.raises(
        ModelError, match=r"none of 12 tensors fits \(first: encoder.0.weight \(4, 1, 3, 3\)\).*renamed"
    ):
        transfer(classifier(), other.state_dict())
    with pytest.raises(ModelError, match=r"none of 0 tensors fits \(first: nothing"):
        transfer(classifier(), {})


def test_counters_alone_are_no_features() -> None:
    network = nn.BatchNorm2d(3)
    with pytest.raises(ModelError, match="none of 1 tensor fits"):
        transfer(network, {"num_batches_tracked": torch.tensor(5)})
    assert int(network.num_batches_tracked) == 0


def test_buffers_are_taken_where_nothing_else_is_learned() -> None:
    """Networks that organise themselves keep what they learned in buffers."""
    network = nn.ModuleDict({"cells": nn.BatchNorm1d(3, affine=False), "readout": nn.Linear(3, 2)})
    found = transfer(network, {"cells.running_mean": torch.arange(3.0)}, freeze=True)
    assert found.taken == ("cells.running_mean",)
    assert torch.equal(network["cells"].running_mean, torch.arange(3.0))


def test_names_that_become_one_are_refused() -> None:
    with pytest.raises(ModelError, match=r"two tensors are called 0\.0\.weight"):
        transfer(classifier(), {"a.weight": torch.ones(1), "0.0.weight": torch.ones(1)}, renamed={"a.": "0.0."})
