"""What is particular to `small_unet`."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError


def test_only_the_head_works_at_full_resolution() -> None:
    cost = networks.cost("small_unet", (64, 64, 64))
    full = [layer.name for layer in cost.layers if layer.output_shape[1:] == (64, 64, 64)]
    assert full == ["head"]
    assert cost.macs < networks.cost("unet", (64, 64, 64)).macs / 20


def answer_to_noise(name: str, amplitude: float) -> float:
    """Largest change of a logit when a blank tile gets noise; the weights look like trained ones."""
    torch.manual_seed(0)
    network = networks.create(name, spatial_dims=3, out_channels=2, features=(16, 32, 64, 128)).eval()
    for key, p in network.named_parameters():
        if p.ndim == 1:
            torch.nn.init.normal_(p, 1.0 if key.endswith("weight") else 0.0, 0.3)
    blank = torch.zeros(1, 1, 32, 32, 32)
    noise = amplitude * torch.randn(blank.shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return float((network(blank + noise) - network(blank)).abs().max())


def test_a_blank_tile_stays_calm() -> None:
    """Rounding noise must not be blown up to a prediction; the larger epsilon of `small_unet` sees to that."""
    assert answer_to_noise("small_unet", 1e-6) < 0.03
    assert answer_to_noise("unet", 1e-6) > 0.1


@pytest.mark.parametrize("stem", [1, 2, (1, 2, 2), 4])
def test_any_stem_gives_full_resolution(stem: int | tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = networks.create("small_unet", spatial_dims=3, out_channels=2, stem=stem, deep_supervision=True)
        size = tuple(2 * d for d in network.divisor)
        outputs = network(torch.empty(1, 1, *size))
    assert outputs[0].shape == (1, 2, *size)
    assert len(outputs) == len(network.output_strides) == 3
    assert [tuple(n // s for n, s in zip(size, o, strict=True)) for o in network.output_strides] == [
        tuple(o.shape[2:]) for o in outputs
    ]


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_norms_do_what_their_name_says(norm: str) -> None:
    torch.manual_seed(0)
    network = networks.create("small_unet", spatial_dims=2, features=(4, 8), norm=norm)
    layer, x = network.encoder[0].norms[0], 3 + 2 * torch.randn(5, 4, 6, 7)
    axes = (2, 3) if norm == "instance" else (0, 2, 3)
    want = (x - x.mean(axes, keepdim=True)) / (x.var(axes, keepdim=True, unbiased=False) + 1e-3).sqrt()
    assert torch.allclose(layer(x), want, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"norm_eps": 1e-5}, "key 'norm_eps' is 1e-05"),
        ({"strides": (2, 2, 2, 2)}, "strides has 4 entries, 3 are needed for 4 features"),
        ({"kernels": (3,)}, "kernels has 1 entry, 4 are needed"),
        ({"stem": (2, 2)}, r"option stem: \(2, 2\); one number of at least 1, or one for each of 3 axes"),
        ({"norm": "layer"}, "key 'norm' is 'layer'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        networks.create("small_unet", spatial_dims=3, **options)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("stem", [1, 2])
def test_the_head_is_given_maps_with_channels_last_and_says_the_same(dims: int, stem: int) -> None:
    torch.manual_seed(0)
    network = networks.create("small_unet", spatial_dims=dims, out_channels=40, features=(8, 16), stem=stem).eval()
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    seen = []
    network.head.register_forward_pre_hook(lambda _, given: seen.append(given[0].is_contiguous(memory_format=layout)))
    x = torch.randn(1, 1, *[16] * dims)
    with torch.autocast("cpu", torch.bfloat16):
        kept = network(x).detach()
        with torch.inference_mode():
            assert torch.equal(network(x), kept)
    assert seen == [False, True]
