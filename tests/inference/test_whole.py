"""Whole images through a network: probabilities, windows that overlap, cases together and one by one, measures by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special
from sklearn import metrics
from torch import nn

from striate import networks
from striate.core.case import Case
from striate.core.errors import ModelError
from striate.core.image import Image
from striate.data.prepare import Preparation
from striate.data.samples import CaseSamples, SampleForm
from striate.inference.whole import (
    AT_ONCE,
    form_of,
    predict_samples,
    predict_whole,
    probabilities_of,
    through,
    whole_validator,
)
from striate.io.write import write_image
from striate.planning.plan import Inference, NetworkChoice, Plan, Task, Training

LOGITS = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(2, 4)), elements=st.floats(-90, 90, width=32))


@given(LOGITS)
def test_probabilities_against_scipy(logits):
    exact = logits.astype(np.float64)
    assert probabilities_of(logits, exclusive=True) == pytest.approx(special.softmax(exact, axis=-1), abs=1e-6)
    assert probabilities_of(logits, exclusive=False) == pytest.approx(special.expit(exact), abs=1e-6)


def test_probabilities_of_anything_are_probabilities():
    logits = np.array([[[3e38, -3e38, 0], [0, 0, 0], [-1e5, -1e5, -1e5]]], np.float32)
    with np.errstate(over="ignore"):
        for exclusive in (True, False):
            found = probabilities_of(logits, exclusive=exclusive)
            assert found.dtype == np.float32 and found.shape == logits.shape
            assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
        assert probabilities_of(logits, exclusive=True).sum(axis=-1) == pytest.approx(np.ones((1, 3)))


def plan_of(kind="classification", *, unit="case", multi_label=False, classes=("no", "yes"), size=(6, 4)) -> Plan:
    """Return a plan whose network is never built."""
    slices = unit == "slice"
    patch = (*size, 1) if slices else size
    name = {"classification": "lenet5_modern", "sequence": "cnn_rnn", "reconstruction": "autoencoder"}[kind]
    return Plan(
        task=Task(kind=kind, channels=("mr",), classes=() if kind == "reconstruction" else classes,
                  multi_label=multi_label, unit=unit),
        preparation=Preparation(spacing_mm=(1.0,) * len(patch), normalisation=("none",), intensities=(None,), crop=False),
        network=NetworkChoice(name=name, spatial_dims=2),
        training=Training(patch=patch, batch=2, steps=1, length=4,
                          loss="squared" if kind == "reconstruction" else "cross_entropy"),
        inference=Inference(patch=patch),
    )  # fmt: skip


class Means(nn.Module):
    """Says (0, mean of the image): a classifier that can be computed by hand."""

    def __init__(self, lead=1):
        super().__init__()
        self.weight, self.lead, self.batches = nn.Parameter(torch.ones(())), lead, []

    def forward(self, x):
        self.batches.append(len(x))
        assert not self.training
        mean = x.flatten(self.lead).mean(dim=-1) * self.weight
        return torch.stack((torch.zeros_like(mean), mean), dim=-1)


def case(name) -> Case:
    return Case(name, name, {"mr": f"/nowhere/{name}"})


def samples(*means, slices=None) -> CaseSamples:
    """Return one sample (1, 6, 4) for each mean."""
    images = np.ones((len(means), 1, 6, 4), np.float32) * np.array(means, np.float32)[:, None, None, None]
    return CaseSamples(images, slices or ((),) * len(means))


def test_what_a_sample_is():
    plan = plan_of(unit="slice")
    assert form_of(plan) == SampleForm(size=(6, 4), slices=True, classes=("no", "yes"))
    assert form_of(plan_of("sequence", unit="slice")).length == 4
    assert form_of(plan_of(multi_label=True)).exclusive is False
    task = Task(kind="classification", channels=("mr",), regions={"core": (2, 5)}, classes=("no core", "core"), unit="slice",
                contains="core")  # fmt: skip
    assert form_of(plan.changed(task=task.model_dump())).contains == (2, 5)


@pytest.mark.parametrize("count", [1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 5])
def test_a_few_at_a_time(count):
    network = Means().train()
    images = np.random.default_rng(0).normal(size=(count, 1, 6, 4)).astype(np.float16)
    found = through(network, images)
    assert found[:, 1] == pytest.approx(images.astype(np.float64).mean(axis=(1, 2, 3)), abs=1e-6)
    assert max(network.batches) <= AT_ONCE and sum(network.batches) == count
    assert network.training  # left as it came
    through(network.eval(), images)
    assert not network.training


def test_cases_together_are_as_one_by_one():
    """Each case gets its own rows, however many pass through the network at once."""
    plan, network = plan_of(unit="slice"), Means().eval()
    counts = [n % 5 + 1 for n in range(20)]
    pairs = [
        (case(f"c{n}"), samples(*range(n, n + count), slices=tuple((k,) for k in range(count))))
        for n, count in enumerate(counts)
    ]
    together = list(predict_samples(plan, network, pairs))
    assert [p.case.name for p in together] == [f"c{n}" for n in range(20)]
    for pair, one in zip(pairs, together, strict=True):
        alone = next(iter(predict_samples(plan, network, [pair])))
        assert np.array_equal(alone.probabilities, one.probabilities) and alone.slices == one.slices
        assert one.slices == tuple(range(len(pair[1].images)))
        means = pair[1].images.astype(np.float64).mean(axis=(1, 2, 3))
        assert one.probabilities[:, 1] == pytest.approx(special.expit(means), abs=1e-6)
    assert list(predict_samples(plan, network, [])) == []


@pytest.mark.parametrize("count", [1, 40])
def test_cases_from_files(tmp_path, count):
    """Fewer and more cases than pass through the network at once; in order, none twice."""
    cases = []
    for n in range(count):
        path = tmp_path / f"c{n}.nii.gz"
        write_image(path, Image(np.full((1, 6, 4, 2), n / 10, np.float32) + np.arange(2, dtype=np.float32), np.eye(4)))
        cases.append(Case(f"c{n}", f"c{n}", {"mr": path}))
    found = list(predict_whole(plan_of(unit="slice"), Means(), cases))
    assert [p.case.name for p in found] == [c.name for c in cases]
    for n, one in enumerate(found):
        assert one.slices == (0, 1) and one.images.shape == (2, 1, 6, 4) and one.reconstructions is None
        assert one.probabilities[:, 1] == pytest.approx(special.expit([n / 10, n / 10 + 1]), abs=1e-6)


def test_cases_are_read_as_they_are_needed():
    """When the first case is told, no more were read than pass through the network together."""
    read = []

    def pairs():
        for n in range(3 * AT_ONCE):
            read.append(n)
            yield case(f"c{n}"), samples(n)

    told = predict_samples(plan_of(), Means(), pairs())
    assert next(told).case.name == "c0" and len(read) == AT_ONCE
    assert len(list(told)) == 3 * AT_ONCE - 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")])
def test_memory_that_runs_out_in_the_network_costs_the_cases_that_passed_together(error):
    class Lacking(Means):
        def forward(self, images):
            if len(self.batches) == 1:
                self.batches.append(0)
                raise error
            return super().forward(images)

    pairs, lost, full = [(case(f"c{n}"), samples(n)) for n in range(2 * AT_ONCE + 1)], [], []
    told = predict_samples(
        plan_of(), Lacking(), pairs, spare=lambda case, error: lost.append(case.name), together=full.append
    )
    names = [f"c{n}" for n in range(2 * AT_ONCE + 1)]
    assert [one.case.name for one in told] == names[:AT_ONCE] + names[-1:] and lost == names[AT_ONCE:-1]
    assert full == [True, False]
    with pytest.raises(type(error)):
        list(predict_samples(plan_of(), Lacking(), pairs))


def test_images_are_let_go():
    one = next(predict_samples(plan_of("reconstruction"), nn.Conv2d(1, 1, 1), [(case("a"), samples(1, 2))]))
    light = one.without_images()
    assert light.images.shape == light.reconstructions.shape == (0, 1, 6, 4) and light.images.base is None
    assert light.case == one.case and light.probabilities is one.probabilities and light.slices == one.slices


def test_windows_that_share_slices_are_averaged():
    """Windows 3 4 5 and 5 6 7: what both say of slice 5 counts by half."""
    windows = np.zeros((2, 3, 1, 6, 4), np.float32)
    windows[0] += np.array([1, 2, 3], np.float32)[:, None, None, None]
    windows[1] += np.array([-1, 5, 6], np.float32)[:, None, None, None]
    plan = plan_of("sequence", unit="slice")
    told = predict_samples(plan, Means(lead=2), [(case("a"), CaseSamples(windows, ((3, 4, 5), (5, 6, 7))))])
    one = next(iter(told))
    assert one.slices == (3, 4, 5, 6, 7) and one.images.shape == (5, 1, 6, 4)
    yes = special.expit([1, 2, 0, 5, 6])
    yes[2] = (special.expit(3) + special.expit(-1)) / 2
    assert one.probabilities[:, 1] == pytest.approx(yes, abs=1e-6)
    assert one.probabilities.sum(axis=1) == pytest.approx(np.ones(5))


def test_reconstructions_are_passed_on():
    plan, given_images = plan_of("reconstruction"), samples(1, 2)
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    one = next(iter(predict_samples(plan, network, [(case("a"), given_images)])))
    assert one.probabilities.shape == (2, 0) and one.slices == ()
    weight, bias = (float(p.detach()) for p in network[0].parameters())
    assert one.reconstructions == pytest.approx(given_images.images * weight + bias, abs=1e-6)


def store(means, truth):
    """Return what a validator asks of a store."""
    images = np.asarray(means, np.float16)[..., None, None, None] * np.ones((1, 6, 4), np.float16)
    rows = {"truth": np.asarray(truth, np.uint8), "of": lambda cases: np.array(cases, dtype=np.int64)}
    return SimpleNamespace(images=images, **rows)


def test_measures_of_classes_by_hand():
    """Of three no two are right, of one yes one is: accuracy 3/4, balanced (2/3 + 1)/2, AUC 3/3."""
    found = whole_validator(plan_of(), store([-1, -2, 1, 3], [0, 0, 0, 1]), (0, 1, 2, 3))(Means())
    assert found == pytest.approx({"accuracy": 3 / 4, "balanced_accuracy": (2 / 3 + 1) / 2, "macro_auc": 1.0})


def test_measures_of_classes_against_scikit_learn():
    rng = np.random.default_rng(0)
    means, truth = rng.normal(size=60).astype(np.float16), rng.integers(0, 2, 60)
    rows = tuple(range(10, 55))
    found = whole_validator(plan_of(), store(means, truth), rows)(Means())
    said, true = means[list(rows)].astype(float), truth[list(rows)]
    assert found == pytest.approx({
        "accuracy": metrics.accuracy_score(true, said > 0),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, said > 0),
        "macro_auc": metrics.roc_auc_score(true, said),
    }, abs=1e-6)  # fmt: skip


def test_measures_of_sequences_count_every_image():
    found = whole_validator(
        plan_of("sequence", unit="slice"), store([[-1, -1], [1, 1]], [[0, 0], [0, 1]]), (0, 1)
    )(Means(lead=2))  # fmt: skip
    assert found["accuracy"] == 3 / 4 and found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)


def test_one_class_alone_has_no_characteristic():
    found = whole_validator(plan_of(), store([-1, 1], [0, 0]), (0, 1))(Means())
    assert found["accuracy"] == 0.5 and all(math.isfinite(v) for v in found.values())


def test_measures_of_reconstructions_by_hand():
    """Everything is doubled: the error of an image of mean m is m²; the range of the images is 3."""
    network = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(network.weight, 2.0)
    found = whole_validator(plan_of("reconstruction"), store([0, 1, 3], [0] * 3), (0, 1, 2))(network)
    assert found["mse"] == pytest.approx(10 / 3)
    assert found["psnr_db"] == pytest.approx(10 * math.log10(9 / (10 / 3)))


class FewAtATime:
    """Stands for images on disk, and notes how many are read at once."""

    def __init__(self, images):
        self.images, self.read = images, []

    def __getitem__(self, rows):
        self.read.append(len(rows))
        return self.images[rows]


@pytest.mark.parametrize("kind", ["classification", "reconstruction"])
def test_validation_reads_a_few_images_at_a_time(kind):
    means = np.random.default_rng(0).normal(size=2 * AT_ONCE + 5).astype(np.float16)
    held = store(means, np.arange(len(means)) % 2)
    whole, held.images = held.images.astype(np.float64), FewAtATime(held.images)
    network = Means() if kind == "classification" else nn.Conv2d(1, 1, 1, bias=False)
    if kind == "reconstruction":
        nn.init.constant_(network.weight, 0.5)
    found = whole_validator(plan_of(kind), held, range(len(means)))(network)
    assert max(held.images.read) == AT_ONCE and sum(held.images.read) == len(means)
    if kind == "classification":
        assert found["accuracy"] == np.mean((means > 0) == np.arange(len(means)) % 2)
    else:
        mse = (0.25 * whole**2).mean()
        assert found["mse"] == pytest.approx(mse, rel=1e-6)
        assert found["psnr_db"] == pytest.approx(10 * math.log10(np.ptp(whole) ** 2 / mse), rel=1e-6)


def test_without_cases_nothing_is_measured():
    assert whole_validator(plan_of(), store([1], [0]), ())(Means()) == {}


def test_the_read_out_is_measured_on_features():
    network = networks.create("scattering", in_channels=1, out_channels=2, input_size=(16, 16))
    count = network.features(torch.zeros(1, 1, 16, 16)).shape[1]
    features = np.random.default_rng(0).normal(size=(9, count)).astype(np.float16)
    truth = np.arange(9) % 2
    held = SimpleNamespace(images=features, truth=truth.astype(np.uint8), of=lambda cases: np.arange(9))
    found = whole_validator(plan_of(), held, ("a",))(network)
    network.eval()
    with torch.inference_mode():
        said = network.readout(torch.from_numpy(features).float()).argmax(1).numpy()
    assert found["accuracy"] == pytest.approx((said == truth).mean())


@pytest.mark.parametrize("kind", ["classification", "reconstruction"])
def test_what_is_not_a_number_is_no_answer(kind, tmp_path):
    class Nothing(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(torch.nan))

        def forward(self, images):
            return images.flatten(1)[:, :2] * self.scale

    told = predict_samples(plan_of(kind), Nothing(), [(case("a"), samples(1))], model=tmp_path)
    with pytest.raises(ModelError, match=f"^model {tmp_path}: its answer for case a, computed by torch, holds NaN"):
        next(told)
