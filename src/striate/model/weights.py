"""Weights on disk: safetensors, checked before torch is needed and matched name by name with the network.

Format (huggingface/safetensors): 8 bytes little-endian length of the header, a JSON header of tensors with their byte
ranges, then the bytes. A truncated file is therefore known from its size alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from striate.core.counted import counted
from striate.core.errors import ModelError, expected
from striate.core.files import hash_file, writing
from striate.core.machine import show_bytes

if TYPE_CHECKING:
    from torch import Tensor, nn

HEADER_LIMIT_BYTES = 100_000_000
SNAPSHOTS = "snapshots"
"""Folder inside a model's that holds weights of earlier moments, ``*.safetensors``."""
AGAIN = "Copy the model folder again, or train again: striate train"


def save_weights(path: Path, state_dict: Mapping[str, Tensor]) -> None:
    """Write tensors (made contiguous, on the CPU) to `path`, whole or not at all."""
    from safetensors.torch import save_file

    with writing(path) as beside:
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_dict.items()}, beside)
        beside.chmod(0o644)


def check_weights(path: Path) -> None:
    """Check from header and size that the file is whole; takes a millisecond and no torch.

    Raises
    ------
    ModelError
        When it is not safetensors or its size differs from what the header says.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        text = stream.read(length) if 0 < length <= HEADER_LIMIT_BYTES else b""
    try:
        header: dict[str, Any] = json.loads(text)
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            expected(path, f"{show_bytes(size)} that are no safetensors header", "whole weights are needed", AGAIN),
            path=path,
        ) from error
    needed = 8 + length + max(ends, default=0)
    if needed != size:
        raise ModelError(
            expected(
                path, counted(size, "byte"), f"its header announces {needed} bytes, so the weights are truncated", AGAIN
            ),
            path=path,
        )


def load_weights(path: Path, network: nn.Module, sha256: str = "") -> None:
    """Load the weights at `path` into `network`.

    Raises
    ------
    ModelError
        When the hash differs from `sha256` (empty: not checked), or names or shapes do not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found = hash_file(path) if sha256 else ""
    if found != sha256:
        raise ModelError(
            expected(
                path, f"SHA-256 {found[:12]}…", f"model.json says {sha256[:12]}…, so the weights are not its own", AGAIN
            ),
            path=path,
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            expected(path, f"not readable ({error})", "whole weights are needed", AGAIN), path=path
        ) from error
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    problem = next((name for name in (*wanted, *given) if wanted.get(name) != given.get(name)), None)
    if problem is not None:
        raise ModelError(
            expected(path, f"tensor {problem} is {given.get(problem, 'missing')}",
                     f"the network of plan.yaml has it as {wanted.get(problem, 'nothing')}",
                     "Undo the edit of `network`, `channels` or `regions` in the model's plan.yaml, or train again:"
                     " striate train"),
            path=path,
        )  # fmt: skip
    refuse_not_finite(tensors, path, AGAIN)
    network.load_state_dict(tensors)


def refuse_not_finite(tensors: Mapping[str, Tensor], path: Path, advice: str) -> None:
    """Refuse weights among which one is NaN or infinite: such a network finds nothing, without a word.

    Raises
    ------
    ModelError
        With the name of the tensor.
    """
    wrong = next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)
    if wrong is not None:
        raise ModelError(
            expected(path, f"tensor {wrong} holds numbers that are not finite", "its training failed or the file is damaged;"
                     " whole weights are needed", advice), path=path,
        )  # fmt: skip
