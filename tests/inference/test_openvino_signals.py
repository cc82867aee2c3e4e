"""OpenVINO leaves the handling of signals as it was."""

from __future__ import annotations

COME_AND_GONE = """
import gc, importlib, signal, sys
from pathlib import Path
import numpy as np
from striate.inference.engines.openvino import OpenVINOEngine, runtime

ov, ops, path = runtime(), importlib.import_module("openvino.opset8"), Path(sys.argv[1])
given = ops.parameter([1, 2, 8, 8], np.float32)
ov.save_model(ov.Model([ops.relu(given)], [given], "relu"), path)
engines = [OpenVINOEngine(path, "fp32"), OpenVINOEngine(path, "fp32")]
while engines:  # the first goes first
    engines.pop(0)
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""


def test_a_signal_is_handled_after_two_engines_have_gone_in_turn(python, tmp_path):
    done = python("-c", COME_AND_GONE, tmp_path / "network.xml")
    assert (done.returncode, done.stdout.strip()) == (0, "handled"), done.stderr
