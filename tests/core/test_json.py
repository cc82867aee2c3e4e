"""What is written as JSON is what Python's own encoder writes of plain values, line for line."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from striate.core.files import plain, read_json, write_json


class Kind(StrEnum):
    NEW = "new"


DOCUMENT = {
    "kind": "a kind", "text": 'quote " backslash \\ tab \t é 𝛼 \u2028 \x07', "empty": "", "yes": True, "no": False, "none": None,
    "whole": [0, -3, 10**30], "floats": [0.1, -0.0, 1e-300, 1e22, 3.0, float("nan"), float("inf"), -float("inf")],
    "numpy": [np.float32(0.1), np.float64(0.1), np.int16(-4), np.bool_(True), np.float64("nan")],
    "arrays": [np.arange(6).reshape(2, 3), np.array([0.5, np.inf]), np.array([])], "place": Path("a/b"),
    "tuple": (1, (2.5, "x"), ()), "set": {7}, "mapping": MappingProxyType({"a": {}, 3: []}), "member": Kind.NEW,
}  # fmt: skip


def test_it_is_what_pythons_encoder_writes(tmp_path):
    write_json(tmp_path / "a.json", DOCUMENT)
    wanted = json.dumps(plain(DOCUMENT), indent=1, ensure_ascii=False, allow_nan=False)
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == wanted + "\n"
    assert read_json(tmp_path / "a.json") == json.loads(wanted)


def test_what_json_does_not_know_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(TypeError, match="object"):
        write_json(tmp_path / "a.json", {"thing": object()})
    assert not list(tmp_path.iterdir())
