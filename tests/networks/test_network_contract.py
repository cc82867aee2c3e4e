"""What every network must do; a network is tested here because it is in the table, in the forms of the golden file."""

from __future__ import annotations

import ast
import copy
import importlib.util
import io
import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from forms import CHANNELS, CLASSES, GOLDEN, IMAGES, Form, forms, measure
from safetensors.torch import load_file, save_file

from striate import networks
from striate.core.errors import UsageError
from striate.core.machine import computes_in_bf16
from striate.training.step import to_device

TOLERANCE = 5e-4
"""Largest difference from ONNX Runtime, or between layouts in memory, as a share of the largest output; float32 itself loses
2e-4 in the deepest U-Net."""
ROOT = Path(__file__).resolve().parents[2]
EVERY = pytest.mark.parametrize("name", networks.names())
FORM = pytest.mark.parametrize("form", forms(), ids=lambda form: form.key)
SEGMENTS = pytest.mark.parametrize(
    "form", [f for f in forms() if networks.load(f.name).task == "segmentation"], ids=lambda form: form.key
)


@pytest.fixture(scope="module")
def built() -> Any:
    """Build each form once, with fixed weights, and give it with a fixed input."""
    cache: dict[str, tuple[Any, torch.Tensor]] = {}

    def build(form: Form) -> tuple[Any, torch.Tensor]:
        if form.key not in cache:
            cache[form.key] = form.built(), form.input()
        network, x = cache[form.key]
        return network.eval(), x

    return build


def test_every_network_has_a_frozen_form_for_each_number_of_axes() -> None:
    wanted = {f"{name}_{dims}d" for name in networks.names() for dims in networks.load(name).dims}
    assert {form.key for form in forms()} == wanted, (
        "freeze with: python tests/networks/forms.py NAME DIMS SIZE OPTIONS"
    )
    assert list(networks.NETWORKS) == sorted(networks.NETWORKS)


@FORM
def test_frozen_numbers(form: Form, built: Any) -> None:
    network, _ = built(form)
    found, frozen = measure(form, network), json.loads(GOLDEN.read_text())[form.key]
    assert found.pop("outputs") == pytest.approx(frozen.pop("outputs"), rel=2e-3, abs=2e-4)
    assert found == frozen
    assert found["parameters"] == sum(p.numel() for p in network.parameters() if p.requires_grad)


@FORM
def test_the_output_has_the_shape_of_the_task_and_is_finite(form: Form, built: Any) -> None:
    network, x = built(form)
    with torch.inference_mode():
        y = network(x)
    inner = tuple(n - 2 * m for n, m in zip(form.size, network.margin, strict=True))
    wanted = {
        "segmentation": (1, CLASSES, *inner),
        "classification": (1, CLASSES),
        "reconstruction": (1, CHANNELS, *form.size),
        "sequence": (1, IMAGES, CLASSES),
    }[network.task]
    assert y.shape == wanted
    assert torch.isfinite(y).all()


@FORM
def test_every_parameter_gets_a_gradient(form: Form, built: Any) -> None:
    network, _ = built(form)
    outputs = network.train()(form.input(2))
    outputs = outputs if isinstance(outputs, list) else [outputs]
    assert len(outputs) == len(network.output_weights)
    sum(o.float().pow(2).mean() for o in outputs).backward()
    learned = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    without = [n for n, p in learned if p.grad is None or not torch.isfinite(p.grad).all()]
    network.zero_grad()
    assert learned
    assert without == []


@FORM
@pytest.mark.parametrize("half", [False, True])
def test_training_reads_no_memory_that_was_never_written(form: Form, built: Any, half: bool) -> None:
    """Such memory is filled with NaN here, which the loop saves itself."""
    network, _ = built(form)
    if (
        half and form.key == "unet_3d" and not computes_in_bf16()
    ):  # where bf16 is emulated, its whole width takes minutes
        form = replace(form, options={"features": [2, 4, 8, 16, 20, 20]})
        network = form.built()
    torch.use_deterministic_algorithms(True, warn_only=True)
    before, torch.utils.deterministic.fill_uninitialized_memory = (
        torch.utils.deterministic.fill_uninitialized_memory,
        True,
    )
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            outputs = network.train()(form.input(2))
        outputs = outputs if isinstance(outputs, list) else [outputs]
        sum(o.float().pow(2).mean() for o in outputs).backward()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = before
    broken = [n for n, p in network.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    network.zero_grad()
    assert all(torch.isfinite(o).all() for o in outputs) and broken == []


@SEGMENTS
def test_training_outputs_have_the_promised_strides(form: Form) -> None:
    has = "deep_supervision" in networks.load(form.name).config_type.model_fields
    with torch.device("meta"):
        for options in ({}, {"deep_supervision": True}, {"deep_supervision": False}) if has else ({},):
            network = form.create(**options)
            found = network.train()(torch.empty((2, CHANNELS, *form.size)))
            found = found if isinstance(found, list) else [found]
            inner = [n - 2 * m for n, m in zip(form.size, network.margin, strict=True)]
            want = [tuple(n // s for n, s in zip(inner, stride, strict=True)) for stride in network.output_strides]
            assert [tuple(o.shape[2:]) for o in found] == want
            assert want[0] == tuple(inner)


@FORM
def test_a_size_that_does_not_fit_is_refused_with_one_that_works(form: Form) -> None:
    time = (IMAGES,) if networks.load(form.name).task == "sequence" else ()
    with torch.device("meta"):
        network = form.create()
        bad = tuple(low - 1 if most or low > step else low + 1 for low, step, most in _limits(network))
        if network.fitting(bad) == bad or min(bad) < 1:
            assert network.divisor == network.least == (1,) * form.dims  # takes everything
            return
        with pytest.raises(UsageError, match=r"The size \(.*\) would work") as caught:
            network(torch.empty((1, *time, CHANNELS, *bad)))
        works = ast.literal_eval(str(caught.value).split("The size ")[1].split(" would work")[0])
        assert network.fitting(works) == works
        network.eval()(torch.empty((2, *time, CHANNELS, *works)))


def _limits(network: Any) -> Any:
    most = network.most or (None,) * network.spatial_dims
    return zip(network.least, network.divisor, most, strict=True)


@FORM
def test_wrong_channels_or_axes_are_refused(form: Form) -> None:
    with torch.device("meta"):
        network = form.create()
        x = form.input()
        with pytest.raises(UsageError, match=rf"\(B, (T, )?{CHANNELS}, I, J.*is needed"):
            network(torch.cat((x, x), dim=-form.dims - 1))
        with pytest.raises(UsageError, match="is needed"):
            network(x[0])


@FORM
def test_weights_are_saved_and_loaded_whole(form: Form, built: Any, tmp_path: Path) -> None:
    network, x = built(form)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, tmp_path / "w.safetensors")
    torch.manual_seed(99)
    other = form.create().eval()
    with torch.inference_mode():
        other.load_state_dict(load_file(tmp_path / "w.safetensors"))
        assert torch.equal(other(x), network(x))


@EVERY
def test_the_seed_decides_the_weights(name: str) -> None:
    form = next(f for f in forms() if f.name == name)
    weights = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        weights.append(torch.cat([p.flatten() for p in form.create().parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@FORM
@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 2, 1), (3, 2, 1, 0)])
def test_how_an_image_lies_in_memory_does_not_matter(form: Form, built: Any, order: tuple[int, ...]) -> None:
    """Channels last, as processors like it; rows and columns exchanged, as slices of a volume come; all of it reversed."""
    network, x = built(form)
    axes = (*(axis for axis in order if axis < x.ndim), *range(4, x.ndim))
    laid = x.permute(axes).contiguous().permute(tuple(axes.index(axis) for axis in range(x.ndim)))
    assert torch.equal(laid, x)
    weights = to_device(copy.deepcopy(network), form.dims)  # as training and prediction hold them
    with torch.no_grad():
        same = network(x)
        assert (weights(laid) - same).abs().max() <= TOLERANCE * same.abs().max()


@FORM
def test_cases_of_a_batch_do_not_touch_each_other_in_prediction(form: Form, built: Any) -> None:
    network, x = built(form)
    with torch.inference_mode():
        pair = network(torch.cat((x, x.flip(-1) * 0.5)))
        assert torch.allclose(pair[:1], network(x), atol=1e-3, rtol=1e-3)


@FORM
def test_exported_to_onnx_it_is_the_same_network(form: Form, built: Any) -> None:
    """Exported with a batch of two, run by ONNX Runtime with a batch of one and of three."""
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    network, x = built(form)
    buffer, free = io.BytesIO(), {"image": {0: "batch"}, "output": {0: "batch"}}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer tells of every size that it takes as fixed
        torch.onnx.export(network, (torch.cat((x, x)),), buffer, dynamo=False, input_names=["image"],
                          output_names=["output"], dynamic_axes=free)  # fmt: skip
    session = ort.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = form.input(batch, seed=24 + batch)
        with torch.inference_mode():
            wanted = network(x).numpy()
        found = session.run(None, {"image": x.numpy()})[0]
        assert found.shape == wanted.shape
        assert abs(found - wanted).max() <= TOLERANCE * abs(wanted).max()


@FORM
def test_the_layers_of_the_cost_add_up(form: Form) -> None:
    cost = networks.cost(form.name, form.size, **form.options)
    assert sum(layer.parameters for layer in cost.layers) == cost.parameters
    assert sum(layer.macs for layer in cost.layers) == cost.macs
    assert sum(layer.activations for layer in cost.layers if layer.macs) == cost.activations
    assert all(layer.activations == math.prod(layer.output_shape) for layer in cost.layers)
    assert cost.parameters_run == cost.parameters
    assert networks.cost(form.name, form.size, training=False, **form.options).macs <= cost.macs


@EVERY
def test_an_unknown_option_is_answered_with_the_nearest(name: str) -> None:
    known = next(iter(networks.load(name).config_type.model_fields))
    dims = networks.load(name).dims[0]
    with pytest.raises(UsageError, match=rf"network {name}: unknown key '{known}x'. Did you mean '{known}'\?"):
        networks.create(name, spatial_dims=dims, **{f"{known}x": 1})


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


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown network 'u-nte'. Did you mean 'unet'\?"):
        networks.create("u-nte")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"spatial_dims": 4}, "spatial_dims is 4; 2 or 3 is needed"),
        ({"spatial_dims": 2.0}, r"spatial_dims is 2\.0; 2 or 3 is needed"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"out_channels": 1.5}, "out_channels is 1.5"),
        ({"features": (8,)}, "key 'features'"),
        ({"features": (8, -2)}, "key 'features"),
    ],
)
def test_impossible_arguments_are_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        networks.create("unet", **given)


@pytest.mark.parametrize("size", [28, "28", (), (28.0, 28.0), None, (-8, 64), (0, 8), (True, 8)])
def test_a_size_is_whole_numbers_of_at_least_one(size: Any) -> None:
    with pytest.raises(
        UsageError, match=r"network mlp: input_size is .*; at least one voxel along each axis is needed"
    ):
        networks.cost("mlp", size)


def test_arguments_have_names_and_an_order() -> None:
    named = networks.cost(name="mlp", input_size=(20, 24), in_channels=2, hidden=(7,))
    assert named == networks.cost("mlp", (20, 24), in_channels=2, hidden=(7,))
    assert named.parameters == 2 * 20 * 24 * 7 + 7 + 7 * 10 + 10
    network = networks.create("mlp", 2, 3, 4, hidden=(7,))
    assert (network.spatial_dims, network.in_channels, network.out_channels) == (2, 3, 4)


def test_names_that_are_none() -> None:
    with pytest.raises(UsageError, match=r"network 5: the name of one is needed\. Known: alexnet"):
        networks.create(5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"unknown task 'classificaton'\. Did you mean 'classification'\?"):
        networks.names("classificaton")
