"""A network that answers NaN ends the call with a sentence that names the model; a mask of background is never made of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from striate.cli.main import run
from striate.core.case import Case
from striate.core.errors import DataError, ModelError
from striate.core.image import Image
from striate.data.prepare import prepare
from striate.inference.engines.choose import choose
from striate.inference.engines.convert import compare
from striate.inference.engines.fastest import doubt_of, fastest
from striate.inference.engines.pytorch import TorchEngine
from striate.inference.predict import predict_case
from striate.inference.refuse_nan import refuse_nan
from striate.io.write import write_image
from striate.model.model import Model
from striate.planning.plan import Plan


@pytest.fixture
def case(tmp_path):
    rng, files = np.random.default_rng(0), {}
    for name in ("flair", "t1c"):
        files[name] = tmp_path / f"{name}.nii.gz"
        write_image(files[name], Image(rng.normal(100, 20, (1, 20, 18, 14)).astype(np.float32), np.eye(4)))
    return Case("P1", "P1", files)


@pytest.fixture
def overflowing(plan_of, network_of, tmp_path):
    """A model with finite weights whose logits are infinite, so that its probabilities are NaN."""

    def make(**options) -> Model:
        plan: Plan = plan_of(**options)
        network = network_of(plan)
        last = [m for m in network.modules() if isinstance(m, nn.Conv3d)][-1]
        with torch.no_grad():
            last.weight.fill_(3e38)
        return Model.save(tmp_path / "huge", plan, network.state_dict(), {})

    return make


def test_pytorch_that_answers_nan_is_no_standard_of_other_engines(overflowing, function_engine):
    model = overflowing()
    network, tiles = model.network(), {"middle": np.random.default_rng(0).normal(size=(1, 2, 16, 16, 16))}
    tiles = {name: tile.astype(np.float32) for name, tile in tiles.items()}
    same = TorchEngine(network, True, "fp32")
    assert np.isnan(same(tiles["middle"])).any()
    found = compare(network, True, {"openvino": same}, tiles)
    found |= {"ratios": {"openvino": 9.0, "torch": 1.0}}
    assert fastest(found) == ("", doubt_of(found, "openvino"))
    assert doubt_of(found, "openvino") == "PyTorch itself answers NaN in window 'middle', which is a fault of the model"


def test_an_engine_that_is_asked_for_does_not_hide_it(overflowing, case):
    model = overflowing()
    with pytest.raises(ModelError, match=rf"^model {model.folder}: PyTorch itself answers NaN in window 'middle'"):
        choose(model, case, "openvino")


@pytest.mark.parametrize("regions", [None, {"all": (1, 2, 5), "core": (1,)}])
def test_a_mask_is_not_made_of_nan(overflowing, plan_of, function_engine, case, regions):
    plan = plan_of(regions=regions)
    count = plan.targets.out_channels

    def mostly(tiles):
        answer = torch.full((len(tiles), count, *tiles.shape[2:]), 0.25)
        answer[:, slice(None) if regions is None else -1, 3, 3, 3] = torch.nan  # of a softmax all classes
        return answer

    with pytest.raises(ModelError, match="its answer for case P1, computed by function, holds NaN"):
        predict_case(plan, case, network=function_engine(mostly))
    with pytest.raises(ModelError, match=r"^model .*huge: its answer for case P1, computed by torch, holds NaN"):
        predict_case(overflowing(), case)


def test_images_that_are_not_finite_are_at_fault_themselves(plan_of, function_engine, case):
    plan = plan_of()
    prepared = prepare(case, plan.preparation)
    prepared.array[0, 5, 5, 5] = np.inf
    engine = function_engine(lambda tiles: tiles[:, :1].expand(-1, 4, -1, -1, -1) * torch.nan)
    with pytest.raises(DataError, match=r"^case P1: its intensities become infinite or NaN"):
        predict_case(plan, case, network=engine, prepared=prepared)


@pytest.mark.parametrize("engine", ["torch", "torch, exact", "ensemble", "openvino", "int8", "onnx"])
def test_another_engine_may_help_where_it_was_not_pytorch(engine):
    with pytest.raises(ModelError) as told:
        refuse_nan(np.array(np.nan), np.zeros(3), "P1", engine=engine)
    assert told.value.exit_code == 4
    assert ("--engine torch" in str(told.value)) == (engine in ("openvino", "int8", "onnx"))
    refuse_nan(np.array([0.0, np.inf]), np.zeros(3), "P1", engine=engine)


def test_the_command_says_which_model_and_leaves_no_masks(overflowing, case, tmp_path, capsys):
    model = overflowing()
    files = [str(path) for path in case.channels.values()]
    assert run(["predict", str(model.folder), *files, "--out", str(tmp_path / "out")]) == 4
    assert f"model {model.folder}: its answer for case" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
