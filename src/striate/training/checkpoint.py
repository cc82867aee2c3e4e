"""Checkpoints: one safetensors file with everything a run needs to go on exactly where it stopped.

The file is written beside its place, synced and renamed, so a kill at any moment leaves the last whole one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from striate.core.errors import ModelError, expected
from striate.core.files import writing

VERSION = 1


def save(
    path: Path,
    *,
    step: int,
    network: nn.Module,
    average: nn.Module | None,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write the state after `step` updates."""
    tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    numbers: dict[str, dict[str, Any]] = {}
    for index, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{key}"] = value
            else:
                numbers.setdefault(str(index), {})[key] = value
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    header = {"schema_version": VERSION, "step": step, "numbers": numbers}
    with writing(path) as beside:
        save_file(tensors, beside, metadata={"striate-checkpoint": json.dumps(header)})


def load(path: Path, *, network: nn.Module, average: nn.Module | None, optimiser: torch.optim.Optimizer) -> int:
    """Restore a state into the given objects and return after how many updates it was written.

    Raises
    ------
    ModelError
        When the file is broken, of a newer version, or does not fit the network.
    """
    header, tensors = _read(path, tensors=True)
    try:
        network.load_state_dict(_part(tensors, "network."))
        if average is not None:
            average.load_state_dict(_part(tensors, "average."))
        state: dict[int, dict[str, Any]] = {}
        weights = [p for group in optimiser.param_groups for p in group["params"]]
        for key, value in _part(tensors, "optimiser.").items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = _laid_out(value, weights[int(index)])
        for index, values in header["numbers"].items():
            state.setdefault(int(index), {}).update(values)
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        problem = str(error).splitlines()[0]
        raise ModelError(
            expected(
                path,
                f"it does not fit the plan's network ({problem})",
                "the plan that the run was started with is needed",
            ),
            path=path,
        ) from error
    return int(header["step"])


def step_of(path: Path) -> int:
    """Return after how many updates a checkpoint was written.

    Raises
    ------
    ModelError
        When the file is broken or of a newer version.
    """
    return int(_read(path, tensors=False)[0]["step"])


def _read(path: Path, *, tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("striate-checkpoint", "{}"))
            found = {k: file.get_tensor(k) for k in file.keys()} if tensors else {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            expected(path, f"not a readable checkpoint ({error})", "a whole checkpoint is needed",
                     "Remove it to begin the run's learning anew."), path=path,
        ) from error  # fmt: skip
    if header.get("schema_version") != VERSION:
        version = header.get("schema_version")
        raise ModelError(
            expected(path, f"checkpoint version {version}", f"this Striate reads version {VERSION}",
                     "Go on with the Striate that wrote it, or upgrade: pip install -U striate"), path=path,
        )  # fmt: skip
    return header, found


def _laid_out(value: Tensor, weight: Tensor) -> Tensor:
    """Return a moment in the memory format of its weight: fused updates pair numbers by their place in memory."""
    if value.shape != weight.shape:
        return value
    return torch.empty_like(weight, dtype=value.dtype, memory_format=torch.preserve_format).copy_(value)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
