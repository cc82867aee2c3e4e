"""What every network must do; a network is tested here because it is in the table."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from striate import networks
from striate.core.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "networks.json"
CHANNELS, CLASSES = 2, 3
EVERY = pytest.mark.parametrize("name", networks.names())
DIMS = pytest.mark.parametrize("dims", [2, 3], ids=["2d", "3d"])


def size_for(network: torch.nn.Module) -> tuple[int, ...]:
    """The smallest size with two voxels at the deepest stage: normalisation over one voxel has no meaning."""
    first, *rest = network.divisor
    return (2 * first, *rest)


@pytest.fixture(scope="module")
def built() -> Any:
    """Build each network once, with fixed weights, and give it with a fixed input."""
    cache: dict[tuple[str, int], tuple[Any, torch.Tensor]] = {}

    def build(name: str, dims: int) -> tuple[Any, torch.Tensor]:
        if (name, dims) not in cache:
            torch.manual_seed(20)
            network = networks.create(name, spatial_dims=dims, in_channels=CHANNELS, out_channels=CLASSES)
            x = torch.randn((1, CHANNELS, *size_for(network)), generator=torch.Generator().manual_seed(21))
            cache[name, dims] = network, x
        return cache[name, dims]

    return build


@EVERY
@DIMS
def test_frozen_numbers(name: str, dims: int, built: Any) -> None:
    network, x = built(name, dims)
    size = tuple(x.shape[2:])
    cost = networks.cost(name, size, in_channels=CHANNELS, out_channels=CLASSES)
    with torch.inference_mode():
        y = network.eval()(x)
    found = {
        "input_shape": list(x.shape[1:]),
        "output_shape": list(y.shape[1:]),
        "parameters": cost.parameters,
        "macs": cost.macs,
        "activations": cost.activations,
        "receptive_field": list(cost.receptive_field),
        "layers": len(cost.layers),
        "fingerprint": [round(float(v), 5) for v in (y.mean(), y.std(), y.flatten()[0], y.flatten()[y.numel() // 2])],
    }
    frozen = json.loads(GOLDEN.read_text()).get(f"{name}_{dims}d")
    assert frozen, f'add to {GOLDEN.name}: "{name}_{dims}d": {json.dumps(found)}'
    fingerprint = frozen.pop("fingerprint")
    assert found.pop("fingerprint") == pytest.approx(fingerprint, rel=2e-3, abs=2e-4)
    assert found == frozen
    assert cost.parameters == sum(p.numel() for p in network.parameters())


@EVERY
@DIMS
def test_prediction_has_the_input_grid_and_is_finite(name: str, dims: int, built: Any) -> None:
    network, x = built(name, dims)
    with torch.inference_mode():
        y = network.eval()(x)
    assert y.shape == (1, CLASSES, *x.shape[2:])
    assert torch.isfinite(y).all()


@EVERY
@DIMS
def test_every_parameter_gets_a_gradient(name: str, dims: int, built: Any) -> None:
    network, x = built(name, dims)
    outputs = network.train()(x)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    sum(o.float().pow(2).mean() for o in outputs).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    network.zero_grad()
    assert without == []


@EVERY
@DIMS
def test_training_outputs_have_the_promised_strides(name: str, dims: int) -> None:
    with torch.device("meta"):
        for options in ({}, {"deep_supervision": True}, {"deep_supervision": False}):
            network = networks.create(name, spatial_dims=dims, **options)
            size = size_for(network)
            found = network.train()(torch.empty((2, 1, *size)))
            found = found if isinstance(found, list) else [found]
            want = [tuple(n // s for n, s in zip(size, stride, strict=True)) for stride in network.output_strides]
            assert [tuple(o.shape[2:]) for o in found] == want
            assert want[0] == size


@EVERY
@DIMS
def test_a_size_that_does_not_fit_is_refused_with_one_that_works(name: str, dims: int) -> None:
    with torch.device("meta"):
        network = networks.create(name, spatial_dims=dims)
        size = tuple(2 * d + 1 for d in network.divisor)
        with pytest.raises(UsageError, match=r"The size \(.*\) would work") as caught:
            network(torch.empty((1, 1, *size)))
        works = ast.literal_eval(str(caught.value).split("The size ")[1].split(" would work")[0])
        assert network.eval()(torch.empty((1, 1, *works))).shape == (1, 2, *works)
        assert networks.divisor(name, spatial_dims=dims) == network.divisor


@EVERY
@DIMS
def test_wrong_channels_or_axes_are_refused(name: str, dims: int) -> None:
    with torch.device("meta"):
        network = networks.create(name, spatial_dims=dims, in_channels=3)
        with pytest.raises(UsageError, match=r"\(B, 3, I, J.*is needed"):
            network(torch.empty((1, 2, *network.divisor)))
        with pytest.raises(UsageError, match="is needed"):
            network(torch.empty((3, *network.divisor)))


@EVERY
def test_weights_are_saved_and_loaded_whole(name: str, built: Any, tmp_path: Path) -> None:
    network, x = built(name, 2)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    torch.manual_seed(99)
    other = networks.create(name, spatial_dims=2, in_channels=CHANNELS, out_channels=CLASSES)
    with torch.inference_mode():
        assert not torch.equal(other.eval()(x), network.eval()(x))
        other.load_state_dict(load_file(tmp_path / "w.safetensors"))
        assert torch.equal(other(x), network(x))


@EVERY
def test_the_seed_decides_the_weights(name: str) -> None:
    weights = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        weights.append(torch.cat([p.flatten() for p in networks.create(name, spatial_dims=2).parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@EVERY
@DIMS
def test_cases_of_a_batch_do_not_touch_each_other_in_prediction(name: str, dims: int, built: Any) -> None:
    network, x = built(name, dims)
    network.eval()
    with torch.inference_mode():
        pair = network(torch.cat((x, x.flip(-1) * 0.5)))
        assert torch.allclose(pair[:1], network(x), atol=1e-3, rtol=1e-3)


@EVERY
def test_the_layers_of_the_cost_add_up(name: str) -> None:
    with torch.device("meta"):
        size = size_for(networks.create(name))
    cost = networks.cost(name, size)
    assert sum(layer.parameters for layer in cost.layers) == cost.parameters
    assert sum(layer.macs for layer in cost.layers) == cost.macs
    assert sum(layer.activations for layer in cost.layers if layer.macs) == cost.activations
    assert all(layer.activations == math.prod(layer.output_shape) for layer in cost.layers)
    assert max(layer.receptive_field for layer in cost.layers) == cost.receptive_field
    assert networks.cost(name, size, training=False).macs <= cost.macs


@EVERY
def test_an_unknown_option_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(UsageError, match=rf"network {name}: unknown key 'featurse'. Did you mean 'features'\?"):
        networks.create(name, featurse=(8, 16))


@EVERY
def test_options_survive_a_plan_file(name: str) -> None:
    config = networks.load(name).config_type()
    assert type(config).parse(json.loads(config.model_dump_json()), "plan.yaml") == config


@EVERY
def test_one_file_each_with_its_paper_and_its_page(name: str) -> None:
    found = importlib.util.find_spec(networks.NETWORKS[name].partition(":")[0])
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin)
    assert source.stem == name
    header = ast.get_docstring(ast.parse(source.read_text())) or ""
    assert all(word in header for word in ("Paper", "Form", "Input"))
    assert name in (ROOT / "docs" / "networks" / f"{name}.md").read_text()


def test_the_table_and_the_golden_file_hold_the_same_networks() -> None:
    golden = {key.rpartition("_")[0] for key in json.loads(GOLDEN.read_text())}
    assert golden == set(networks.names())
    assert list(networks.NETWORKS) == sorted(networks.NETWORKS)


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown network 'u-nte'. Did you mean 'unet'\?"):
        networks.create("u-nte")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"spatial_dims": 4}, "spatial_dims is 4; 2 or 3 is needed"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"out_channels": 1.5}, "out_channels is 1.5"),
        ({"features": (8,)}, "key 'features'"),
        ({"features": (8, -2)}, "key 'features"),
    ],
)
def test_impossible_arguments_are_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        networks.create("unet", **given)
