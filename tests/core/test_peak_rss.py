"""The memory that a process says it took is its own."""

from __future__ import annotations

import sys

import numpy as np
import pytest

PEAK = "from striate.core.machine import peak_rss_bytes; print(peak_rss_bytes())"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is inherited")
def test_a_small_child_of_a_large_process_is_small(python):
    held = np.ones(60_000_000)  # 480 MB that this process holds while it forks
    assert int(python("-c", PEAK).stdout) < held.nbytes / 2
