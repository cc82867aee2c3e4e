"""Two processes never work in one run folder at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from striate.core.errors import DataError
from striate.training.run import Run, alone
from striate.workflows.train import train

HOLD = """
import sys
from pathlib import Path
from striate.training.run import alone
with alone(Path(sys.argv[1])):
    print(flush=True)
    input()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")
def test_a_run_in_which_another_process_works_is_refused_until_that_ends(tmp_path):
    Run.start(tmp_path / "run", tmp_path, {})
    half = tmp_path / "run" / ".1.part.checkpoint.safetensors"
    half.write_bytes(b"being written")
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(DataError, match="another process works in this run"):
            train(resume=tmp_path / "run", steps=9)
        assert half.exists()
        other.kill()
    with alone(tmp_path / "run"):
        pass
