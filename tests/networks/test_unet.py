"""`unet` is nnU-Net's network to the unit."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.core.errors import UsageError

SIX = (32, 64, 128, 256, 320, 320)
THICK = (1, 3, 3)
FLAT = (1, 2, 2)

# Patches, topologies, parameters and MACs of nnU-Net v2's own plans for six tasks of the Medical Segmentation
# Decathlon; activations are its estimate of GPU memory, where it was noted down.
PLANS = {
    "hippocampus": ((40, 56, 40), 1, 3, {"features": SIX[:4]}, 5_603_177, 19_144_115_200, None),
    "brain_tumour": ((128, 128, 128), 4, 4, {"features": SIX}, 31_199_796, 482_890_350_592, 456_091_648),
    "prostate": (
        (20, 320, 256),
        2,
        3,
        {
            "features": (*SIX, 320),
            "strides": (1, FLAT, FLAT, 2, 2, FLAT, FLAT),
            "kernels": (THICK, THICK, 3, 3, 3, 3, 3),
        },
        44_578_770,
        473_977_113_600,
        484_895_600,
    ),
    "heart": ((80, 192, 160), 1, 2, {"strides": (1, 2, 2, 2, 2, FLAT)}, 30_785_994, 559_722_470_400, 528_913_200),
    "spleen": (
        (64, 192, 160),
        1,
        2,
        {"strides": (1, FLAT, 2, 2, 2, 2), "kernels": (THICK, 3, 3, 3, 3, 3)},
        31_113_098,
        525_521_018_880,
        None,
    ),
    "liver": ((128, 128, 128), 1, 3, {}, 31_196_399, 477_365_239_808, None),
}


@pytest.mark.parametrize("task", PLANS)
def test_equal_to_nnunet(task: str) -> None:
    size, inputs, classes, options, parameters, macs, activations = PLANS[task]
    cost = networks.cost("unet", size, in_channels=inputs, out_channels=classes, **options)
    assert (cost.parameters, cost.macs) == (parameters, macs)
    assert activations is None or cost.activations == activations


def test_receptive_field_counted_by_hand() -> None:
    """Convolutions of 3 see 5 at stride 1, then 7 and 11 at stride 2; five fine voxels lie in three coarse ones: 11 + 2·2."""
    assert networks.cost("unet", (32, 32), features=(2, 2)).receptive_field == (15, 15)


def test_anisotropic_strides() -> None:
    with torch.device("meta"):
        network = networks.create(
            "unet", spatial_dims=3, features=(4, 8, 8), strides=(1, FLAT, 2), kernels=(THICK, 3, 3)
        )
        assert network.divisor == (2, 4, 4)
        assert network.output_strides == ((1, 1, 1), (1, 2, 2))
        assert [o.shape[2:] for o in network(torch.empty(1, 1, 6, 8, 12))] == [(6, 8, 12), (6, 4, 6)]


def test_prediction_does_not_depend_on_deep_supervision() -> None:
    torch.manual_seed(0)
    deep = networks.create("unet", spatial_dims=2, features=(4, 8, 8))
    plain = networks.create("unet", spatial_dims=2, features=(4, 8, 8), deep_supervision=False)
    weights = deep.state_dict()
    kept = {k: v for k, v in weights.items() if not k.startswith("heads.")}
    plain.load_state_dict(kept | {f"heads.0.{k}": weights[f"heads.1.{k}"] for k in ("weight", "bias")})
    x = torch.randn(2, 1, 16, 16)
    with torch.inference_mode():
        assert torch.equal(deep.eval()(x), plain.eval()(x))
        assert torch.equal(deep.train()(x)[0], deep.eval()(x))


def test_initial_weights_are_he_normal() -> None:
    torch.manual_seed(0)
    network = networks.create("unet", spatial_dims=2, features=(64, 128))
    weight = network.encoder[1][1][0].weight
    assert weight.std().item() == pytest.approx((2 / (1 + 0.01**2) / (128 * 9)) ** 0.5, rel=0.01)
    assert all((m.bias == 0).all() for m in network.modules() if isinstance(m, torch.nn.Conv2d))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"features": (4, 8), "strides": (1, 2, 2)}, "strides has 3 entries, features has 2"),
        ({"features": (4, 8), "kernels": (3, (3, 3))}, r"option kernels: \(3, 3\); one number .* 3 axes"),
        ({"features": (4, 8), "strides": (1, 0)}, "option strides: 0; one number of at least 1"),
        ({"norm_eps": 0}, "key 'norm_eps' is 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        networks.create("unet", spatial_dims=3, **options)
