"""One update: heads weighed, errors that are no number refused, bf16, slices."""

from __future__ import annotations

import pytest
import torch

from striate import networks
from striate.core.errors import MemoryLimitError, ModelError
from striate.core.targets import Targets
from striate.planning.plan import NetworkChoice, Training
from striate.training import losses, optimise
from striate.training.step import choose_algorithms, memory_free_bytes, total_error, train_step
from striate.training.timing import time_step

TARGETS = Targets.of_labels({1: "lesion"})


def mean_of(logits, classes):
    """A loss that is the mean of the logits."""
    return logits.mean()


def test_heads_are_weighed_by_halves():
    heads = [torch.full((1, 2, n, n), v) for n, v in ((8, 1.0), (4, 2.0), (2, 4.0))]
    error = total_error(heads, torch.zeros((1, 8, 8), dtype=torch.uint8), mean_of)
    assert float(error) == pytest.approx((1 + 0.5 * 2 + 0.25 * 4) / 1.75)


def test_coarse_heads_see_the_nearest_truth():
    seen = []

    def loss(logits, classes):
        seen.append(classes)
        return logits.sum() * 0

    truth = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4)
    total_error([torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2)], truth, loss)
    assert torch.equal(seen[0], truth) and seen[1].dtype == torch.uint8
    assert seen[1].tolist() == [[[5, 7], [13, 15]]]


def test_half_precision_logits_become_float32():
    total_error(torch.zeros(1, 2, 4, 4, dtype=torch.bfloat16), torch.zeros((1, 4, 4), dtype=torch.uint8),
                lambda logits, _: logits.sum() if logits.dtype == torch.float32 else pytest.fail("half"))  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["small_unet", "unet"])  # each network's own test trains it too
def test_a_network_learns_one_batch(name, precision):
    torch.manual_seed(0)
    training = Training(patch=(16, 16), batch=2, steps=1, precision=precision, learning_rate=3e-3)
    network = networks.create(name, spatial_dims=2, out_channels=2, features=(4, 8)).train()
    optimiser, loss = optimise.create(network, training), losses.create("half_squared", TARGETS)
    images = torch.randn(2, 1, 16, 16)
    classes = (images[:, 0] > 0.5).to(torch.uint8)
    errors = [train_step(network, optimiser, loss, training, images, classes) for _ in range(15)]
    assert errors[-1] < 0.8 * errors[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_error_that_is_no_number_stops_before_the_update(bad):
    training = Training(patch=(16, 16), batch=1, steps=1, learning_rate=0.5)
    network = networks.create("small_unet", spatial_dims=2, out_channels=2, features=(4, 8))
    before = [p.clone() for p in network.parameters()]
    with pytest.raises(ModelError, match=r"the loss became (nan|-?inf); .*lower training\.learning_rate \(now 0\.5\)"):
        train_step(network, optimise.create(network, training), lambda x, _: x.mean() * bad, training,
                   torch.randn(1, 1, 16, 16), torch.zeros((1, 16, 16), dtype=torch.uint8))  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("patch", [(16, 16, 16), (16, 1, 16)])
def test_a_step_can_be_timed(tiny_plan, patch):
    dims = 2 if 1 in patch else 3
    choice = NetworkChoice(name="small_unet", spatial_dims=dims, options={"features": (4, 8)})
    setting = Training(patch=patch, batch=1, steps=1)
    found = time_step(tiny_plan().task, choice, setting, precisions=("fp32", "bf16"), repeats=1)
    assert found.precision in found.measured and set(found.measured) == {"fp32", "bf16"}
    assert found.step_s == found.measured[found.precision] > 0


@pytest.mark.parametrize(("native", "precisions"), [(True, {"fp32", "bf16"}), (False, {"fp32"})])
def test_bf16_is_timed_only_where_the_processor_has_it(tiny_plan, monkeypatch, native, precisions):
    monkeypatch.setattr("striate.training.timing.computes_in_bf16", lambda: native)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    choice = NetworkChoice(name="small_unet", spatial_dims=2, options={"features": (4, 8)})
    setting = Training(patch=(16, 16), batch=1, steps=1)
    task = tiny_plan().task
    assert set(time_step(task, choice, setting, repeats=1).measured) == precisions


def test_memory_is_known():
    assert memory_free_bytes() > 1e6


class Hungry(torch.nn.Module):
    """Asks for more memory than any machine has."""

    def __init__(self, error):
        super().__init__()
        self.weight, self.error = torch.nn.Parameter(torch.zeros(1)), error

    def forward(self, x):
        if self.error is not None:
            raise self.error
        return torch.empty(1 << 60)


@pytest.mark.parametrize("error", [None, torch.OutOfMemoryError("CUDA out of memory")])
def test_memory_that_ran_out_names_the_line_to_change(error):
    network, training = Hungry(error), Training(patch=(8, 8, 8), batch=2, steps=1)
    images, classes = torch.zeros(2, 1, 8, 8, 8), torch.zeros(2, 8, 8, 8, dtype=torch.uint8)
    with pytest.raises(MemoryLimitError, match=r"a step of 2 samples of 8×8×8 voxels.*lower training\.batch") as caught:
        train_step(network, optimise.create(network, training), mean_of, training, images, classes)
    assert caught.value.exit_code == 5


def test_other_errors_of_a_network_stay_what_they_are():
    network, training = Hungry(RuntimeError("shapes differ")), Training(patch=(8, 8, 8), batch=2, steps=1)
    images, classes = torch.zeros(2, 1, 8, 8, 8), torch.zeros(2, 8, 8, 8, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train_step(network, optimise.create(network, training), mean_of, training, images, classes)


def test_a_part_that_learns_is_weighed_as_the_whole_network_says():
    """GoogLeNet's auxiliary classifiers count 0.3 each, behind fixed features, too."""
    torch.manual_seed(0)
    options = {"input_size": (128, 128), "scales": 1, "angles": 2, "order": 1, "classifier": "googlenet"}
    network = networks.create("scattering", out_channels=2, classifier_options={"width": 0.07}, **options).train()
    assert network.output_weights == (1, 0.3, 0.3)
    training = Training(patch=(128, 128), batch=2, steps=1, loss="cross_entropy", learning_rate=1e-12)
    features, seen = network.features(torch.randn(2, 1, 128, 128)), []

    def loss(logits, truth):
        seen.append(losses.create("cross_entropy", TARGETS)(logits, truth))
        return seen[-1]

    error = train_step(network.readout, optimise.create(network, training), loss, training, features,
                       torch.tensor([0, 1], dtype=torch.uint8), network)  # fmt: skip
    assert len(seen) == 3
    assert error == pytest.approx(float((seen[0] + 0.3 * seen[1] + 0.3 * seen[2]).detach()), rel=1e-6)


@pytest.mark.parametrize(("place", "same_bits", "fastest"), [("cpu", True, False), ("cuda", False, True)])
def test_a_cpu_repeats_its_bits_and_a_gpu_takes_the_fastest_convolutions(monkeypatch, place, same_bits, fastest):
    seen = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda on, warn_only: seen.append(on))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    choose_algorithms(torch.device(place))
    assert (seen == [True], torch.backends.cudnn.benchmark) == (same_bits, fastest)
