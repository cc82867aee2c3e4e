"""What goes into the last layer, by hand and for every network that names classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from striate import networks
from striate.inference.penultimate import MOST, penultimate


def _heard(network: nn.Module, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad(), penultimate(network) as found:
        network(images)
    (features,) = found
    return features


def test_a_linear_layer_after_pooling():
    convolution = nn.Conv2d(1, 5, 3)
    network = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2), nn.Softmax(1))
    images = torch.randn(3, 1, 8, 8)
    assert _heard(network, images) == pytest.approx(convolution(images).mean((2, 3)).detach().numpy(), abs=1e-6)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_maps_are_averaged_and_many_features_are_grouped():
    images = torch.randn(2, 3 * MOST, 4, 4)
    network = nn.Sequential(nn.Conv2d(3 * MOST, 2, 1), nn.AdaptiveAvgPool2d(1))
    by_hand = images.mean((2, 3)).reshape(2, MOST, 3).mean(2).numpy()
    assert _heard(network, images) == pytest.approx(by_hand, abs=1e-6)


def test_images_of_a_sequence_are_averaged():
    network = nn.Linear(7, 2)
    wrapped = nn.Sequential(nn.Identity(), network)
    images = torch.randn(2, 4, 7)
    assert _heard(wrapped, images) == pytest.approx(images.mean(1).numpy(), abs=1e-6)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_modern", "mlp", "scattering", "cnn_rnn", "conv_lstm"])
def test_networks_of_classes_have_features(name):
    options = networks.sized(name, (32, 32), {})
    network = networks.create(name, spatial_dims=2, in_channels=1, out_channels=3, **options).eval()
    size = network.most or (32, 32)
    images = torch.randn(2, *((3,) if network.task == "sequence" else ()), 1, *size)
    features = _heard(network, images)
    assert len(features) == 2 and 1 < features.shape[1] <= MOST and np.isfinite(features).all()
    again = _heard(network, images.flip(0))
    assert features == pytest.approx(again[::-1], abs=1e-4)
