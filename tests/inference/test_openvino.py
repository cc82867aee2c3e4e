"""Runs what computes with OpenVINO in a process of its own.

A process that has computed with OpenVINO and later stops a training by SIGINT can crash (seen on a processor with AMX, with
OpenVINO 2026.4 and torch 2.13), and other tests do the latter.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["openvino_alone.py", "int8_alone.py"])
def test_openvino_in_a_process_of_its_own(name):
    alone = Path(__file__).with_name(name)
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", str(alone)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=alone.parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
