"""Runs what quantises with NNCF in a process of its own.

NNCF makes and drops OpenVINO's cores as it goes, which can leave a dead stack for signal handlers behind (see
`striate.inference.engines.openvino`); other tests raise signals. Striate itself quantises in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_int8_in_a_process_of_its_own():
    alone = Path(__file__).with_name("quantise_alone.py")
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", str(alone)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=alone.parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
