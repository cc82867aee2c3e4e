import numpy as np
import pytest
import torch
from torch import nn

from striate import networks
from striate.inference.features import deepest, pooling
from striate.inference.pooled import content


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return networks.create("unet", spatial_dims=2, out_channels=2, features=[4, 6, 8]).eval()


def test_the_deepest_layer_is_the_last_before_the_way_up():
    shapes = {"a": (1, 4, 8, 8), "b": (1, 8, 4, 4), "c": (1, 8, 4, 4), "up": (1, 4, 8, 8), "head": (1, 2, 8, 8)}
    assert deepest(shapes) == "c"
    assert deepest({"a": (1, 4, 8), "b": (1, 4, 8), "logits": (1, 2, 8)}) == "b"


def test_the_default_is_the_first_convolution(unet):
    x = torch.randn(1, 1, 16, 16)
    with torch.no_grad(), pooling(unet) as pooled:
        unet(x)
        flat = unet.encoder[0][0][0](x).flatten(2)
    wanted = torch.cat([flat.mean(2), flat.std(2, unbiased=False)], 1)[0]
    np.testing.assert_allclose(pooled.take(), wanted, atol=1e-5)


def test_features_are_mean_and_deviation_of_the_bottom_of_a_unet(unet):
    x = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        maps = x
        for stage in unet.encoder:
            maps = stage(maps)
        flat = maps.flatten(2).double()
        wanted = torch.cat([flat.mean(2), flat.std(2, unbiased=False)], 1).mean(0)
        with pooling(unet, "deepest") as pooled:
            unet(x)
    np.testing.assert_allclose(pooled.take(), wanted, atol=1e-5)


def test_windows_weigh_by_what_they_hold_and_cases_begin_anew(unet):
    x = torch.randn(1, 1, 16, 16)
    half = x.clone()
    half[..., :8, :] = 0
    with torch.no_grad(), pooling(unet) as pooled:
        unet(x)
        one = pooled.take()
        unet(half)
        other = pooled.take()
        unet(torch.cat([x, half]))
        both = pooled.take()
        unet(torch.zeros_like(x))
        assert pooled.take().size == 0
    np.testing.assert_array_equal(content(torch.cat([x, half]).numpy()), [255 / 256, 128 / 256])
    np.testing.assert_allclose(both, (255 * one + 128 * other) / (255 + 128), atol=1e-5)


def test_the_network_is_left_as_it_was(unet):
    with pooling(unet):
        pass
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in unet.modules())


@pytest.mark.parametrize("name", networks.names("segmentation"))
def test_every_segmenting_network_has_features(name):
    torch.manual_seed(0)
    dims = networks.load(name).dims[0]
    network = networks.create(name, spatial_dims=dims, out_channels=2).eval()
    x = torch.randn(1, 1, *network.fitting(tuple(2 * n for n in network.least)))
    with torch.no_grad():
        plain = network(x)
        with pooling(network) as pooled:
            assert torch.equal(network(x), plain)
            first = pooled.take()
            network(x)
            np.testing.assert_array_equal(pooled.take(), first)
    assert first.ndim == 1 and first.size % 2 == 0 and first.size and np.isfinite(first).all()


def test_a_network_without_maps_has_no_features():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pooling(network) as pooled:
        network(torch.randn(3, 1, 4, 4))
    assert pooled.take().size == 0
