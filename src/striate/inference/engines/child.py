"""`run`: one step of converting a network, in a process of its own; what goes wrong there comes back as a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from striate.core.errors import DataError

_START = (
    "import sys; sys.path[:] = {path!r}; import runpy; runpy.run_module({step!r}, run_name='__main__', alter_sys=True)"
)
"""Modules are looked for where this process does: in the folder of a call anything may lie, under any name."""
SLOW = "it took more than"
"""How a sentence of `run` begins where time ran out."""


def run(step: str, asked: dict[str, Any], seconds: float) -> str:
    """Run the module ``striate.inference.engines.STEP`` with `asked` on its standard input; return why it failed, else ``""``.

    Raises
    ------
    DataError
        When an image cannot be read: that is no fault of the network, and another case may serve.
    """
    command = [
        sys.executable,
        "-c",
        _START.format(path=[*map(str, sys.path)], step=f"striate.inference.engines.{step}"),
    ]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked), capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{SLOW} {seconds:g} s"
    if done.returncode == DataError.exit_code:
        raise DataError(done.stderr.strip())
    if done.returncode < 0:
        return f"the process was ended by signal {-done.returncode}"
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"the process ended with {done.returncode}"]
        return last[0][:300]
    return ""
