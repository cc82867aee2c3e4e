"""Which engine a verdict takes, as it is written and read."""

from __future__ import annotations

import numpy as np
import torch

from striate.core.files import read_json, write_json
from striate.inference.engines.convert import compare
from striate.inference.engines.fastest import fastest


def test_an_engine_whose_answers_are_no_numbers_is_not_taken(plan_of, network_of, function_engine, tmp_path):
    nothing = function_engine(lambda tiles: torch.full((1, 4, *tiles.shape[2:]), torch.nan))
    tiles = {"middle": np.random.default_rng(0).normal(size=(1, 2, 8, 8, 8)).astype(np.float32)}
    write_json(tmp_path / "verdict.json", compare(network_of(plan_of()).eval(), True, {"openvino": nothing}, tiles))
    found, problem = fastest(read_json(tmp_path / "verdict.json"))
    assert found == "" and "OpenVINO's probabilities differ from those in single precision by 1 in the mean" in problem
