"""Each method against a case that is computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import Linear, conv, scene_of
from torch import nn

from striate.core.errors import ModelError, UsageError
from striate.explaining import METHODS, method_named
from striate.explaining.effort import Effort
from striate.explaining.integrated_gradients import completeness_error
from striate.explaining.occlusion import strides_of
from striate.explaining.score import Tile

EFFORT = Effort(steps=8, boxes=10_000, networks=1, orders=19, levels=4)


@pytest.fixture
def linear():
    """w = (2, −3); the target is four voxels, so that the score is Σ over them of w · x + 1."""
    array = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    inside = np.zeros((6, 5), dtype=bool)
    inside[1:3, 1:3] = True
    return scene_of(Linear([2, -3]), array, inside), array, inside


@pytest.mark.parametrize("name", ["gradient_input", "integrated_gradients"])
def test_of_a_linear_network_gradients_times_input_are_weight_times_input(linear, name):
    scene, array, inside = linear
    wanted = np.array([2, -3], np.float32)[:, None, None] * array * inside
    assert np.allclose(method_named(name)(scene, EFFORT), wanted, atol=1e-5)


def test_occlusion_is_the_mean_fall_over_the_boxes_that_hold_a_voxel():
    """Boxes of one voxel: the fall is w · x of that voxel, both channels covered together."""
    array = np.random.default_rng(1).normal(size=(2, 6, 5)).astype(np.float32)
    inside = np.ones((6, 5), dtype=bool)
    found = method_named("occlusion")(scene_of(Linear([2, -3]), array, inside), EFFORT)
    assert found.shape == (1, 6, 5)
    assert np.allclose(found[0], 2 * array[0] - 3 * array[1], atol=1e-5)


def test_occlusion_by_larger_boxes_overlaps_by_half():
    """Along 8 voxels boxes of 4 start at 0, 2, 4: with x = 1, w = 1 each covers 4, so every voxel's mean fall is 4."""
    assert strides_of((8, 1), 4) == (2, 1)
    scene = scene_of(Linear([1]), np.ones((1, 8, 1)), np.ones((8, 1), dtype=bool))
    found = method_named("occlusion")(scene, Effort(boxes=4))
    assert np.allclose(found, 4.0)
    array = np.zeros((1, 8, 1))
    array[0, 1] = 1.0  # only the box at 0 covers it, and voxels 2 and 3 lie also in the box at 2
    found = method_named("occlusion")(scene_of(Linear([1]), array, np.ones((8, 1), dtype=bool)), Effort(boxes=4))
    assert np.allclose(found[0, :, 0], [1, 1, 0.5, 0.5, 0, 0, 0, 0])


class Curved(nn.Module):
    """z = x²; integrated gradients give x² per voxel, gradient × input 2x²."""

    def forward(self, x):
        return x**2


def test_integrated_gradients_are_complete_where_gradient_times_input_is_not():
    array = np.random.default_rng(2).normal(size=(1, 4, 4)).astype(np.float32)
    scene = scene_of(Curved(), array, np.ones((4, 4), dtype=bool))
    found = method_named("integrated_gradients")(scene, EFFORT)
    assert np.allclose(found, array**2, atol=1e-5)
    assert completeness_error(scene, found) < 1e-5
    once = method_named("gradient_input")(scene, EFFORT)
    assert np.allclose(once, 2 * array**2, atol=1e-5)
    assert completeness_error(scene, once) == pytest.approx(1.0, abs=1e-4)


def test_grad_cam_weighs_maps_by_their_mean_gradient():
    """z = 3·A₀ − A₁ with A₀ = x, A₁ = −x: α = (3/n, −1/n)·|target| … and ReLU keeps what speaks for it."""
    array = np.array([[[1.0, -2.0, 0.5], [0.0, 4.0, -1.0]]], np.float32)
    network = nn.Sequential(conv([[[[1.0]]], [[[-1.0]]]]), conv([[[[3.0]], [[-1.0]]]]))
    inside = np.ones((2, 3), dtype=bool)
    found = method_named("grad_cam")(scene_of(network, array, inside).looking_at("0"), EFFORT)
    # dz/dA₀ = 3 and dz/dA₁ = −1 at each of the 6 voxels: means 3 and −1; Σ α A = 3x + x = 4x
    assert np.allclose(found[0], np.maximum(4 * array[0], 0), atol=1e-5)


def test_grad_cam_looks_at_the_deepest_layer_and_enlarges_its_map():
    torch.manual_seed(0)
    first, last = conv(torch.rand(2, 1, 3, 3)), conv(torch.rand(1, 2, 1, 1))
    network = nn.Sequential(first, nn.MaxPool2d(4), last, nn.Upsample(scale_factor=4))
    scene = scene_of(network, np.random.default_rng(0).random((1, 16, 16)), np.ones((16, 16), dtype=bool))
    from striate.explaining.grad_cam import layer_of

    assert layer_of(scene) == "2"
    assert method_named("grad_cam")(scene, EFFORT).shape == (1, 16, 16)


def test_windows_blend_as_a_sum_of_scores():
    """Two windows that share a voxel with half of the weight each give what one window gives."""
    array = np.random.default_rng(3).normal(size=(1, 5, 1)).astype(np.float32)
    first, second = torch.tensor([[0.0], [1.0], [0.5]]), torch.tensor([[0.5], [1.0], [0.0]])
    tiles = [Tile((slice(0, 3), slice(0, 1)), first), Tile((slice(2, 5), slice(0, 1)), second)]
    inside = np.array([[0], [1], [1], [1], [0]], dtype=bool)
    one, two = scene_of(Curved(), array, inside), scene_of(Curved(), array, inside, tiles=tiles)
    assert torch.allclose(one.score(one.image), two.score(two.image))
    for name in ("gradient_input", "integrated_gradients"):
        method = method_named(name)
        assert np.allclose(method(one, EFFORT), method(two, EFFORT), atol=1e-5)
    assert two.score.probability(two.image).item() == pytest.approx(one.score.probability(one.image).item(), abs=1e-6)


def test_the_score_of_exclusive_classes_is_the_logit_of_the_probability():
    class Three(nn.Module):
        def forward(self, x):
            return torch.cat([x, 2 * x, 0 * x], dim=1)

    scene = scene_of(Three(), np.full((1, 1, 2), 0.7), [[True, False]], channel=1, exclusive=True)
    z = np.array([0.7, 1.4, 0.0])
    p = np.exp(z[1]) / np.exp(z).sum()
    assert scene.score(scene.image).item() == pytest.approx(np.log(p / (1 - p)), abs=1e-5)
    assert scene.score.probability(scene.image).item() == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(1, affine=True, eps=1e-5), nn.GroupNorm(1, 1)])
def test_normalisation_is_held_so_that_attributions_add_up(norm):
    """Without it the score does not change when the image is scaled: all gradients along the image are 0."""
    array = np.random.default_rng(4).normal(3, 1, size=(1, 6, 6)).astype(np.float32)
    inside = np.zeros((6, 6), dtype=bool)
    inside[:3] = True
    scene = scene_of(nn.Sequential(norm, nn.Identity()), array, inside)
    free = scene.image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(scene.score(free).sum(), free)
    assert abs((gradient * free).sum().item()) < 1e-3 * scene.score(scene.image).abs().item()
    for name in ("gradient_input", "integrated_gradients"):
        found = method_named(name)(scene, EFFORT)
        assert completeness_error(scene, found) < 1e-4
    scale = 1 / np.sqrt(array.var() + 1e-5)
    assert np.allclose(found[0], array[0] * inside * scale, rtol=1e-3)


def test_held_normalisation_leaves_the_image_itself_as_it_was():
    from striate.explaining.held_norms import held_norms

    torch.manual_seed(0)
    first, last = conv(torch.rand(4, 1, 3, 3)), conv(torch.rand(1, 4, 3, 3))
    network = nn.Sequential(first, nn.GroupNorm(2, 4), nn.ReLU(inplace=True), last)
    network[1].weight.data.uniform_(0.5, 2)
    network[1].bias.data.uniform_(-1, 1)
    scene = scene_of(network, np.random.default_rng(5).normal(size=(1, 8, 8)), np.ones((8, 8), dtype=bool))
    before = scene.score(scene.image)
    with held_norms(scene.score, scene.image):
        assert torch.allclose(scene.score(scene.image), before, rtol=1e-4)
        assert not torch.allclose(scene.score(2 * scene.image), scene.score(scene.image))
    assert torch.equal(scene.score(scene.image), before)


@pytest.mark.parametrize("name", ["gradient_input", "integrated_gradients", "grad_cam"])
def test_networks_that_pass_no_gradient_are_refused_in_a_sentence(name):
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return (x.detach() > 0).float() * self.weight

    scene = scene_of(Step(), np.ones((1, 4, 4)), np.ones((4, 4), dtype=bool))
    with pytest.raises(ModelError, match=f"no gradient reaches the image.*{name}.*--method occlusion"):
        method_named(name)(scene, EFFORT)
    assert method_named("occlusion")(scene, EFFORT).shape == (1, 4, 4)


def test_a_layer_that_no_gradient_reaches_is_named():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.fixed, self.learned = conv(torch.ones(1, 1, 1, 1)), conv(torch.ones(1, 1, 1, 1))

        def forward(self, x):
            with torch.no_grad():
                still = self.fixed(x)
            return self.learned(x) + still

    scene = scene_of(Beside(), np.ones((1, 4, 4)), np.ones((4, 4), dtype=bool))
    with pytest.raises(ModelError, match=r"layer 'fixed': no gradient reaches it.*Name another --layer"):
        method_named("grad_cam")(scene.looking_at("fixed"), EFFORT)
    assert method_named("grad_cam")(scene.looking_at("learned"), EFFORT).max() > 0


def test_unknown_methods_and_a_missing_captum_are_told(monkeypatch):
    with pytest.raises(UsageError, match=r"unknown method 'grad_can'\. Did you mean 'grad_cam'\?"):
        method_named("grad_can")
    import sys

    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(UsageError, match=r"striate explain needs the package captum.*pip install 'striate\[trust\]'"):
        method_named("grad_cam")
    assert set(METHODS) == {"occlusion", "gradient_input", "integrated_gradients", "grad_cam"}
