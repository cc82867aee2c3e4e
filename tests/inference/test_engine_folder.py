"""What is converted is made once also where the model's folder takes nothing; where nothing can be kept, that is said."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest

from striate.core.case import Case
from striate.core.errors import ModelError, UsageError
from striate.core.files import explain_writing
from striate.core.image import Image
from striate.core.machine import processor
from striate.inference.engines import choose as choosing
from striate.inference.engines import folder as folders
from striate.inference.engines.choose import choose
from striate.inference.engines.foresee import foresee
from striate.inference.engines.openvino import NETWORK, PARITY
from striate.io.write import write_image
from striate.model.model import EXPORTED, WEIGHTS, Model


@pytest.fixture
def case(tmp_path):
    rng, files = np.random.default_rng(0), {}
    for name in ("flair", "t1c"):
        files[name] = tmp_path / f"{name}.nii.gz"
        write_image(files[name], Image(rng.normal(100, 20, (1, 24, 20, 18)).astype(np.float32), np.eye(4)))
    return Case("P1", "P1", files)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def only_read(model, monkeypatch) -> None:
    """Let the model's folder take no files, as on a share that is only read; what is mounted so is so for root too."""
    usual = os.access
    refused = {model.folder, model.folder / "openvino"}
    monkeypatch.setattr(folders.os, "access", lambda path, mode: path not in refused and usual(path, mode))


def test_beside_a_model_that_is_only_read_it_is_made_once_in_the_cache(model_of, case, cache, monkeypatch):
    model, told = model_of(), list[str]()
    only_read(model, monkeypatch)
    before = sorted(model.folder.rglob("*"))
    first = choose(model, case, "openvino", tell=told.append)
    made = [path.parent for path in cache.rglob(NETWORK)]
    assert first.engine.name == "openvino" and len(made) == 1 and (made[0] / PARITY).is_file()
    assert len(told) == 1 and told[0].endswith(f"; {model.folder} takes no files, they go to {made[0].parent}")
    assert choose(model, case, "openvino", tell=told.append).parity == first.parity and len(told) == 1
    assert foresee(model, "openvino", lambda: 0.0).window_s == first.parity["seconds"]["openvino"]
    assert sorted(model.folder.rglob("*")) == before


def test_what_was_converted_before_the_folder_became_read_only_is_used(model_of, case, cache, monkeypatch):
    model, told = model_of(), list[str]()
    first = choose(model, case, "openvino")
    only_read(model, monkeypatch)
    assert choose(model, case, "openvino", tell=told.append).parity == first.parity
    assert told == [] and not cache.exists()


def test_what_was_left_there_and_says_nothing_is_made_in_the_cache(model_of, case, cache, monkeypatch):
    model = model_of()
    choose(model, case, "openvino")
    next(model.folder.rglob(PARITY)).write_text("{}")
    only_read(model, monkeypatch)
    assert choose(model, case, "openvino").engine.name == "openvino" and len(list(cache.rglob(NETWORK))) == 1


def test_a_copy_with_other_windows_does_not_cost_what_is_there(model_of, case, cache, monkeypatch):
    model = model_of()
    other = Model(
        model.folder, model.plan.changed(inference=model.plan.inference.changed(patch=(8, 8, 8))), model.facts
    )
    only_read(model, monkeypatch)
    for one in (model, other):
        choose(one, case, "openvino")
    told = list[str]()
    for one in (model, other):
        choose(one, case, "openvino", tell=told.append)
    assert told == [] and len(list(cache.rglob(NETWORK))) == 2


def test_another_network_with_the_same_weights_is_another_one(model_of, plan_of):
    """A plan is there to be edited: the same numbers then mean another function."""
    model = model_of()
    regions = {"all": (1, 2, 5), "core": (1,), "oedema": (2,), "cyst": (5,)}
    network = model.plan.network.changed(options={**model.plan.network.options, "slope": 0.2})
    plans = [model.plan, plan_of(regions=regions), model.plan.changed(network=network)]
    assert len({choosing._key(Model(model.folder, plan, model.facts), "openvino") for plan in plans}) == 3


def test_a_dry_run_of_an_exported_model_refuses_what_the_call_would_refuse(model_of):
    model = model_of()
    (model.folder / WEIGHTS).unlink()
    (model.folder / EXPORTED).mkdir(parents=True)
    near = {"openvino": 1e-3, "torch": 1e-3}
    parity = {
        "processor": processor(),
        "precision": "fp32",
        "tiles": {"middle": near},
        "seconds": {"openvino": 0.5, "torch": 1},
    }
    (model.folder / EXPORTED / PARITY).write_text(json.dumps(parity))
    model = Model(model.folder, model.plan, model.facts)
    found = foresee(model, "auto", lambda: 0.0)
    assert (found.name, found.window_s, found.reason) == ("openvino", 0.5, "the model was exported for it")
    with pytest.raises(UsageError, match="--engine int8: the model has no network in int8"):
        foresee(model, "int8", lambda: 0.0)
    changed = Model(model.folder, model.plan, {**model.facts, "exported": {"files": {"plan.yaml": "of another plan"}}})
    with pytest.raises(ModelError, match="it is not as striate export wrote it"):
        foresee(changed, "auto", lambda: 0.0)


def test_other_models_in_the_cache_stay(model_of, case, cache, monkeypatch):
    other = cache / "0123456789abcdef" / "openvino" / "key"
    other.mkdir(parents=True)
    (other / PARITY).write_text("{}")
    model = model_of()
    only_read(model, monkeypatch)
    choose(model, case, "openvino")
    assert (other / PARITY).is_file() and len(list(cache.rglob(NETWORK))) == 1


def test_on_a_full_disk_it_serves_this_call_and_says_so(model_of, case, cache, monkeypatch):
    def full(folder):
        raise explain_writing(OSError(errno.ENOSPC, "full"), folder)

    monkeypatch.setattr(choosing, "filling", full)
    model, told = model_of(), list[str]()
    assert choose(model, case, "openvino", tell=told.append).engine.name == "openvino"
    assert told[1].endswith(
        "the disk is full; what is converted serves this call alone, and the next one converts again"
    )
    assert not (model.folder / "openvino").exists() and not cache.exists()
