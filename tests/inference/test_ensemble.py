"""Engines that answer several times: means and disagreement in float64, seeds, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from striate.core.errors import ModelError, UsageError
from striate.inference.engines.dropout import DropoutEngine
from striate.inference.engines.ensemble import SNAPSHOTS, DisagreementEngine, EnsembleEngine, open_ensemble
from striate.inference.sliding_window import Window
from striate.inference.tiling import Tiling
from striate.model.weights import save_weights


class Dropping(nn.Module):
    def __init__(self, rate=0.5):
        super().__init__()
        self.first, self.drop, self.last = nn.Conv3d(1, 8, 1), nn.Dropout3d(rate), nn.Conv3d(8, 3, 1)
        self.norm = nn.BatchNorm3d(8)

    def forward(self, x):
        return self.last(self.drop(self.norm(self.first(x))))


def _answers(exclusive, count=3):
    generator = torch.Generator().manual_seed(0)
    logits = [3 * torch.randn((2, 3, 4, 4, 4), generator=generator) for _ in range(count)]
    return [x.softmax(1) if exclusive else x.sigmoid() for x in logits]


def _entropy(p, exclusive):
    p = np.asarray(p, dtype=np.float64)
    found = -(p * np.log(p)).sum(1)
    return found if exclusive else found - ((1 - p) * np.log(1 - p)).sum(1)


@pytest.mark.parametrize("exclusive", [True, False])
def test_mean_and_mutual_information(function_engine, exclusive):
    answers = _answers(exclusive)
    kept = [a.clone() for a in answers]
    engine = EnsembleEngine([function_engine(lambda x, a=a: a) for a in answers], exclusive=exclusive)
    mean, tiles = torch.stack(answers).mean(0).numpy(), np.zeros((2, 1, 4, 4, 4), np.float32)
    np.testing.assert_allclose(engine(tiles), mean, rtol=1.3e-6, atol=1e-5)
    found = DisagreementEngine(engine)(tiles)
    np.testing.assert_allclose(found[:, :3], mean, rtol=1.3e-6, atol=1e-5)
    wanted = _entropy(mean, exclusive) - np.mean([_entropy(a, exclusive) for a in answers], axis=0)
    assert np.allclose(found[:, 3], wanted, atol=1e-5) and wanted.max() > 0.1
    assert all(torch.equal(a, k) for a, k in zip(answers, kept, strict=True))


def test_members_that_agree_do_not_disagree(function_engine):
    answer = _answers(True, 1)[0]
    engine = EnsembleEngine([function_engine(lambda x: answer)] * 4, exclusive=True)
    assert engine.disagreement(np.zeros((2, 1, 4, 4, 4), np.float32))[:, 3].max() < 1e-5


def test_disagreement_slides_like_a_class(function_engine):
    low, high = torch.tensor([0.9, 0.1]), torch.tensor([0.1, 0.9])
    members = [
        function_engine(lambda x, p=p: p[None, :, None, None].expand(len(x), 2, 8, 8).clone()) for p in (low, high)
    ]
    engine = DisagreementEngine(EnsembleEngine(members, exclusive=True))
    window = Window(engine, Tiling.of((20, 13), (8, 8)), 3, True, 2)
    array = np.random.default_rng(0).normal(size=(1, 20, 13)).astype(np.float32)
    rows = np.concatenate([part.copy() for _, part in window.slide(array)], axis=1)
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert np.allclose(rows[:2], 0.5, atol=1e-5)
    assert np.allclose(rows[2], np.log(2) - entropy, atol=1e-5)


def test_models_of_one_task_are_averaged(model_of):
    models = [model_of("a"), model_of("b")]
    state = {k: v + 0.1 for k, v in models[1].network().state_dict().items()}
    save_weights(models[1].folder / "weights.safetensors", state)
    object.__setattr__(models[1], "facts", {})
    engine = open_ensemble(models)
    tiles = torch.randn(1, 2, 16, 16, 16, generator=torch.Generator().manual_seed(0)).numpy()
    apart = [member(tiles) for member in engine.members]
    assert not np.array_equal(*apart)
    np.testing.assert_allclose(engine(tiles), (apart[0] + apart[1]) / 2, rtol=1.3e-6, atol=1e-5)


def test_models_that_differ_are_refused(model_of):
    first = model_of("a")
    for name, options, what in (
        ("b", {"channels": ("flair", "t2")}, "channels"),
        ("c", {"regions": {"all": (1, 2, 5)}}, "labels or regions"),
        ("d", {"spacing_mm": (1.0, 1.0, 2.0)}, "preparation"),
        ("e", {"patch": (16, 16, 32)}, r"inference\.patch"),
    ):
        with pytest.raises(ModelError, match=f"ensemble: .*{name}: its {what}: .*can be averaged"):
            open_ensemble([first, model_of(name, **options)])


def test_snapshots_of_one_model(model_of):
    model = model_of()
    with pytest.raises(UsageError, match=r"one model without snapshots/; at least two sets of weights"):
        open_ensemble([model])
    state = model.network().state_dict()
    (model.folder / SNAPSHOTS).mkdir()
    for step in (1, 2):
        save_weights(model.folder / SNAPSHOTS / f"{step}.safetensors", {k: v + step for k, v in state.items()})
    assert len(open_ensemble([model]).members) == 3
    (model.folder / SNAPSHOTS / "3.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="are no safetensors header"):
        open_ensemble([model])


def test_nothing_to_average():
    with pytest.raises(UsageError, match="ensemble: no model"):
        open_ensemble([])
    with pytest.raises(UsageError, match="ensemble: no member"):
        EnsembleEngine([], exclusive=True)


def test_dropout_repeats_and_leaves_the_network_alone():
    network = Dropping().eval()
    tiles = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(1)).numpy()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    engine = DropoutEngine(network, True, "fp32", samples=4)
    first = engine(tiles)
    assert np.array_equal(first, engine(tiles)) and torch.equal(state, torch.random.get_rng_state())
    assert not np.array_equal(first, DropoutEngine(network, True, "fp32", samples=4, seed=9)(tiles))
    assert not any(m.training for m in network.modules())
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())  # running statistics too
    found = engine.disagreement(tiles)
    np.testing.assert_allclose(found[:, :3], first, rtol=1.3e-6, atol=1e-5)
    assert found.shape[1] == 4 and found[:, 3].max() > 0.01
    assert np.abs(found[:, :3].sum(1) - 1).max() < 1e-5


def test_dropout_of_many_samples_nears_the_mean_of_all_masks():
    network = Dropping().eval()
    tiles = torch.randn(1, 1, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = network.norm(network.first(tiles))
        masks = torch.cartesian_prod(*[torch.tensor([0.0, 2.0])] * 8)
        exact = torch.stack([network.last(maps * m[None, :, None, None, None]).softmax(1) for m in masks]).mean(0)
    found = DropoutEngine(network, True, "fp32", samples=2000)(tiles.numpy())
    assert np.abs(found - exact.numpy()).max() < 0.03


def test_networks_without_dropout_are_refused(plan_of, network_of):
    with pytest.raises(
        UsageError, match=r"dropout: network \w+: no dropout layer; .*Use --uncertainty tta or ensemble"
    ):
        DropoutEngine(network_of(plan_of()), True)
    with pytest.raises(UsageError, match="no dropout layer"):
        DropoutEngine(Dropping(0.0), True)
    with pytest.raises(UsageError, match="0 samples; 1 or more"):
        DropoutEngine(Dropping(), True, samples=0)
