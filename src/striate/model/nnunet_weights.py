"""Weights of a checkpoint of nnU-Net v2, read without running pickled code, under the names of Striate's networks.

A checkpoint is a pickle; ``weights_only`` builds tensors and plain Python values and refuses any other class. nnU-Net
logs losses as numpy numbers, so those constructors are allowed by name. An array of numbers that a trainer logged is skipped:
`_Skipped` stands for it, and numpy is never given its bytes.
"""

from __future__ import annotations

import importlib
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from striate.core.errors import ModelError, expected
from striate.model.weights import refuse_not_finite

if TYPE_CHECKING:
    from torch import Tensor

_REPEATED = re.compile(r"(^|\.)all_modules\.|^decoder\.encoder\.")
"""The same tensors again: nnU-Net registers them under two names."""
_UNET: tuple[tuple[str, str], ...] = (
    (r"encoder\.stages\.(\d+)\.(?:0\.)?convs\.(\d+)\.conv\.(.+)", r"encoder.\1.\2.0.\3"),
    (r"encoder\.stages\.(\d+)\.(?:0\.)?convs\.(\d+)\.norm\.(.+)", r"encoder.\1.\2.1.\3"),
)
_RESIDUAL: tuple[tuple[str, str], ...] = (
    (r"encoder\.stem\.convs\.0\.conv\.(.+)", r"stem.0.\1"),
    (r"encoder\.stem\.convs\.0\.norm\.(.+)", r"stem.1.\1"),
    (r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv1\.conv\.(.+)", r"encoder.\1.\2.first.0.\3"),
    (r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv1\.norm\.(.+)", r"encoder.\1.\2.first.1.\3"),
    (r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv2\.conv\.(.+)", r"encoder.\1.\2.second.0.\3"),
    (r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv2\.norm\.(.+)", r"encoder.\1.\2.second.1.\3"),
    (r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.skip\.0\.conv\.(.+)", r"encoder.\1.\2.shortcut.0.\3"),
    (r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.skip\.0\.norm\.(.+)", r"encoder.\1.\2.shortcut.1.\3"),
    (r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.skip\.1\.conv\.(.+)", r"encoder.\1.\2.shortcut.1.\3"),
    (r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.skip\.1\.norm\.(.+)", r"encoder.\1.\2.shortcut.2.\3"),
)
_DECODER: tuple[tuple[str, str], ...] = (
    (r"decoder\.stages\.(\d+)\.convs\.(\d+)\.conv\.(.+)", r"decoder.\1.\2.0.\3"),
    (r"decoder\.stages\.(\d+)\.convs\.(\d+)\.norm\.(.+)", r"decoder.\1.\2.1.\3"),
    (r"decoder\.transpconvs\.(\d+)\.(.+)", r"up.\1.\2"),
    (r"decoder\.seg_layers\.(\d+)\.(.+)", r"heads.\1.\2"),
)
_PREFIX = re.compile(r"^(?:module\.|_orig_mod\.)+")
"""What wrappers of PyTorch (several GPUs, compilation) put before the names, in any order."""
_STATISTICS = re.compile(r"\.running_(?:mean|var)$")
PIECE_BYTES = 1 << 20
NAMES = {"unet": (*_UNET, *_DECODER), "residual_unet": (*_RESIDUAL, *_DECODER)}
"""Network → (pattern of nnU-Net's name, Striate's name)."""


class _Skipped:
    """Stands for an array of numpy, whose content is let go of."""

    def __setstate__(self, state: object) -> None:
        """Keep nothing."""


def _skip(*arguments: object) -> _Skipped:
    """Stand for numpy's ``_reconstruct``, which would make an empty array for a state to fill."""
    return _Skipped()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of ``checkpoint_final.pth``; no code that it names is run.

    Raises
    ------
    ModelError
        When it is truncated or changed since it was written, names classes that are not numbers or tensors, or is no
        checkpoint of nnU-Net v2.
    """
    import torch

    allowed: list[Any] = [np.dtype, np.ndarray, np.float64, np.float32, np.int64, np.int32, np.bool_]
    number = getattr(importlib.import_module("numpy._core.multiarray"), "scalar")  # noqa: B009  (not in numpy's stubs)
    allowed += [(number, "numpy.core.multiarray.scalar"), (number, "numpy._core.multiarray.scalar")]
    allowed += [_Skipped, (_skip, "numpy.core.multiarray._reconstruct"), (_skip, "numpy._core.multiarray._reconstruct")]
    allowed += [type(np.dtype(kind)) for kind in ("float64", "float32", "float16", "int64", "int32", "bool")]
    try:
        changed = _changed(path)
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of protocols that it may not read: then it says so by an error
            found = {} if changed else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)|global ([\w.]+)|class ([\w.]+)", str(error))
        what = next((n for n in named.groups() if n), "") if named else ""
        got = f"it names {what}, a class" if what else "it holds something"
        raise ModelError(
            expected(path, f"{got} that is neither a tensor nor a number", "opening it could run foreign code, so it is refused",
                     "Save the checkpoint again with plain numbers only."), path=path,
        ) from error  # fmt: skip
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            expected(path, "it cannot be read as a checkpoint of torch; it is truncated or not one",
                     "a whole checkpoint_final.pth is needed", "Copy it again."), path=path,
        ) from error  # fmt: skip
    if changed:
        raise ModelError(
            expected(path, f"its part '{changed}' is not as it was written (CRC-32)", "a whole checkpoint_final.pth is needed",
                     "Copy it again."), path=path,
        )  # fmt: skip
    weights = found.get("network_weights") if isinstance(found, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(v, torch.Tensor) for v in weights.values()):
        raise ModelError(
            expected(path, "it has no 'network_weights'", "a checkpoint of nnU-Net v2 is needed"), path=path
        )
    odd = next((n for n, v in weights.items() if v.layout != torch.strided or v.is_quantized or v.is_meta), None)
    if odd is not None:
        raise ModelError(
            expected(path, f"tensor {odd} is sparse, quantised or empty", "weights with all their numbers are needed",
                     "Save the checkpoint again with dense tensors."), path=path,
        )  # fmt: skip
    return dict(found)


def _changed(path: Path) -> str:
    """Return which part of a checkpoint is not as it was written, by the CRC-32 that torch writes and does not check.

    Empty where all are, where the file is no zip (torch before 1.6), and where no part has its sum: torch can leave sums away.
    """
    if not zipfile.is_zipfile(path):
        return ""
    wrong, right = "", 0
    with zipfile.ZipFile(path) as parts:
        for entry in parts.infolist():
            try:
                with parts.open(entry) as stream:
                    while stream.read(PIECE_BYTES):
                        pass
                right += bool(entry.CRC)  # nothing at all sums up to 0
            except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError):
                wrong = wrong or entry.filename
    return wrong if right else ""


def norm_of(weights: Mapping[str, Tensor]) -> Literal["instance", "batch"]:
    """Return how the network of some weights normalises: ``batch`` where they hold running statistics.

    Trainers such as nnUNetTrainerBN take another normalisation than ``plans.json`` says.
    """
    return "batch" if any(_STATISTICS.search(name) for name in weights) else "instance"


def translate(weights: Mapping[str, Tensor], network: str, axes: Sequence[int], path: Path) -> dict[str, Tensor]:
    """Return nnU-Net's weights under the names of a network of Striate, for images whose axes are permuted.

    Convolutions without a bias get one of 0.

    Parameters
    ----------
    weights
        ``network_weights`` of a checkpoint.
    network
        One of `NAMES`.
    axes
        Per spatial axis of Striate's network, the axis of nnU-Net's.
    path
        For messages.

    Raises
    ------
    ModelError
        When a tensor belongs to another architecture.
    """
    found: dict[str, Tensor] = {}
    for given, tensor in weights.items():
        name = _PREFIX.sub("", given)
        if _REPEATED.search(name):
            continue
        ours = next((m.expand(new) for old, new in NAMES[network] if (m := re.fullmatch(old, name))), None)
        if ours is None:
            raise ModelError(
                expected(
                    path, f"tensor {name}", f"network '{network}' has nothing like it, so it is another architecture"
                ),
                path=path,
            )
        moved = tensor.permute(0, 1, *(2 + a for a in axes)) if tensor.ndim == 2 + len(axes) else tensor
        found[ours] = (moved.float() if moved.is_floating_point() else moved).contiguous()
    for name, tensor in list(found.items()):
        if tensor.ndim > 2 and ".shortcut." not in name:
            bias = name.removesuffix("weight") + "bias"
            found.setdefault(bias, tensor.new_zeros(tensor.shape[1 if name.startswith("up.") else 0]))
    refuse_not_finite(found, path, "Take another fold or checkpoint.")
    return found
