"""An image that fits into the memory, and of which the measures do not, costs no other case."""

from __future__ import annotations

import numpy as np

from striate.core.case import Case
from striate.core.image import Image
from striate.data.checks import gather as gathering
from striate.io.write import write_image


def test_memory_that_runs_out_while_a_channel_is_measured_is_a_failure_of_its_file(tmp_path, monkeypatch):
    def short(array):
        raise MemoryError

    path = tmp_path / "a.nii.gz"
    write_image(path, Image(np.ones((1, 6, 5, 4), np.float32), np.eye(4)))
    monkeypatch.setattr(gathering, "finite", short)
    found = gathering.gather(Case("a", "a", {"flair": path}))
    assert not found.channels and [failure.role for failure in found.failures] == ["flair"]
    assert "a.nii.gz: shape (6, 5, 4); more memory than is free is needed" in found.failures[0].message
