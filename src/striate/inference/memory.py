"""How much memory a prediction takes, known from headers before a voxel is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from striate.core.body_scan import impossible
from striate.core.counted import counted, some
from striate.core.errors import MemoryLimitError, expected
from striate.core.image import Grid, to_ras
from striate.core.machine import memory_available_bytes, native_precision, show_bytes
from striate.data.prepare import uncut_shape
from striate.inference.restore import ROWS_BYTES
from striate.inference.sliding_window import HALF_ABOVE_BYTES
from striate.inference.tiling import Tiling
from striate.planning.plan import Plan

Parts = Mapping[str, int]
"""Stage of a prediction → bytes, see `needed_bytes`."""

ACTIVATIONS_PER_VOXEL = 200.0
"""Numbers that a network keeps per voxel of a patch, where the model does not say (the 3D U-Net with 32 features)."""
ALIVE = {("torch", "fp32"): 1.15, ("torch", "bf16"): 0.6, ("openvino", "fp32"): 0.7, ("openvino", "bf16"): 0.38}
"""Engine and precision → memory of a window in shares of all activations in single precision: skips, the layer at work and
its copies in other layouts. Measured as resident memory at its peak less that before, less what libraries and probabilities
take, of 3D U-Nets of 31 million parameters, windows of 96³ and 160 × 160 × 96: 1.0 to 1.2, 0.4 to 0.65, 0.63 and 0.36. Others are
taken as PyTorch in single precision: ONNX Runtime, windows of 96³, 0.95. In int8 it is that of its floats, or less: 0.22."""
GPU = "gpu"
"""The engine, for what is computed here, of a network that lies in memory of a GPU's own: main memory holds no activations."""
GPU_BYTES = 500_000_000
"""What a GPU's libraries take of main memory, once they are loaded. Assumed, not measured: no GPU was at hand."""
READ_BYTES, FOUND_BYTES = 8, 2
"""While a case is prepared, per voxel of the files: of each channel as read and as prepared; and what is background."""
GATE_BYTES = 24
"""Of the facts of the images, per voxel that the network sees, one channel at a time (measured with `tracemalloc`)."""
MASK_BYTES, MAP_BYTES = 8, 1
"""Of the mask while it is made, per voxel of the files, and of what is observed, of each region."""
TRUTH_BYTES = 4
"""Of the truth, per voxel of the files: 2 as it was read, 2 as classes (measured with `tracemalloc`)."""
RESTORED = 5
"""Portions of restored rows that are held at a time."""
JUDGED_BYTES, SHOWN_BYTES = 28, 5
"""While a case is judged and written, per voxel of the files: lesions of a mask that fills the image (measured with
`tracemalloc`), and of each channel in the panel."""
KEPT_BYTES = 800_000
"""Of each case until the table of all is written: its findings (measured with some hundred lesions each, docs/benchmarks.md)."""
CRF_BYTES = 100
"""Of the CRF, per voxel of the prepared image; all voxels may be in doubt (`striate.inference.crf`)."""
EXACT_BYTES = 32
"""Of nnU-Net's way, per voxel of the files: one class at a time is resampled in double precision and compared."""
SHARE_BYTES = 32
"""Of the mask of a cascade's first stage, per voxel before and after: one label at a time is resampled in double precision."""
LIBRARIES_BYTES = 150_000_000
"""What the libraries take once they compute (measured: 120 MB)."""


def needed_bytes(
    plan: Plan,
    grid: Grid,
    channels: int,
    facts: Mapping[str, Any],
    *,
    engine: str = "torch",
    precision: str | None = None,
    crf: bool = False,
    exact: bool = False,
    truth: bool = False,
) -> dict[str, int]:
    """Return the memory of each stage of a prediction, an upper estimate.

    Parameters
    ----------
    plan
        The model's.
    grid
        Of the files.
    channels
        Input channels.
    facts
        Of the model; ``activations_per_voxel`` and ``parameters`` are used where they are there.
    engine, precision
        What computes the network, `GPU` where that is one with memory of its own; None is the precision that suits this
        processor.
    crf
        Whether the fully connected CRF follows.
    exact
        Whether nnU-Net's way is followed, which keeps whole logits (`striate.inference.exact`).
    truth
        Whether the case is compared with its truth: each label then keeps a map of its own probability (`Observed.shares`).

    Returns
    -------
    dict
        ``images`` (while a case is read and prepared), ``prepared`` (what stays of it), ``gate`` (facts of the images),
        ``rows`` (unfinished rows of probabilities; with `exact` ``logits`` instead: all of them twice, as folds are averaged),
        ``network`` (one window), ``mask``, ``findings`` (while a case is judged and written), ``first`` (the mask of a
        cascade's first stage as the second sees it), and with `crf` ``crf`` (all probabilities before and after it, and its
        own). Which of them are held together: `peak_bytes`.
    """
    turned = to_ras(grid)[1].shape if plan.preparation.turned else grid.shape
    voxels, shape = math.prod(grid.shape), uncut_shape(plan.preparation, grid)
    seen, resampled = math.prod(shape), shape != turned
    tiling = Tiling.of(shape, plan.inference.patch, plan.inference.overlap)
    axis, classes = tiling.rolling_axis, plan.targets.out_channels
    height = min(tiling.patch[axis], shape[axis])
    rows = 4 * classes * height * math.prod(n for a, n in enumerate(shape) if a != axis)
    regions = 1 if plan.targets.exclusive else len(plan.targets.sets)
    maps = regions + len(plan.targets.sets) * (truth and plan.targets.exclusive)
    kept = MAP_BYTES * (maps - 1) + TRUTH_BYTES * truth
    earlier = len(plan.preparation.previous_labels)
    logits = {"logits": 4 * classes * seen + EXACT_BYTES * voxels}
    portion = min(ROWS_BYTES, 4 * regions * voxels * height // shape[axis])
    return {
        "images": (READ_BYTES * channels + FOUND_BYTES) * voxels + 4 * channels * _resampling(turned, shape),
        "prepared": 4 * (channels + earlier) * seen,
        "gate": GATE_BYTES * seen,
        **(logits if exact else {"rows": (1 + resampled) * (rows if rows <= HALF_ABOVE_BYTES else rows // 2)}),
        "network": _network_bytes(plan, facts, "torch" if exact else engine, "fp32" if exact else precision),
        "mask": (MASK_BYTES + kept) * voxels + RESTORED * portion,
        "findings": (JUDGED_BYTES + kept + SHOWN_BYTES * (channels + 1)) * voxels,
        **({"first": SHARE_BYTES * (voxels + seen)} if earlier else {}),
        **({"crf": (8 * classes + CRF_BYTES) * seen} if crf else {}),
    }


def _network_bytes(plan: Plan, facts: Mapping[str, Any], engine: str, precision: str | None) -> int:
    """Return the memory of one window, of the libraries, and of weights in another precision.

    Where a GPU with memory of its own computes, main memory holds the window and its answer alone.
    """
    voxels, answer = math.prod(plan.inference.patch), 3 * plan.targets.out_channels
    if engine == GPU:
        return LIBRARIES_BYTES + GPU_BYTES + 4 * voxels * (plan.in_channels + answer)
    per_voxel = float(facts.get("activations_per_voxel") or ACTIVATIONS_PER_VOXEL)
    floats = precision if precision not in (None, "int8") else native_precision()  # in int8 no more is alive
    alive = ALIVE.get((engine, floats), ALIVE["torch", "fp32"])
    window = 4 * voxels * (alive * per_voxel + answer)
    copied = 2 * int(facts.get("parameters") or 0) if engine == "torch" else 0  # others hold theirs from the start
    return LIBRARIES_BYTES + int(window) + copied


def _resampling(before: Sequence[int], after: Sequence[int]) -> int:
    """Return the voxels beyond the prepared array that resampling holds, one axis after the other, coarser ones first."""
    held, most = list(before), 0
    for ratio, axis in sorted((m / n, a) for a, (n, m) in enumerate(zip(before, after, strict=True))):
        if ratio != 1:
            given = math.prod(held)
            held[axis] = after[axis]
            copies = (
                given + math.prod(held) if axis + 1 == len(held) else 0
            )  # the last axis is turned to the front and back
            most = max(most, given + math.prod(held) + copies - math.prod(before))
    return most


def peak_bytes(cases: Sequence[Parts], *, together: bool) -> int:
    """Return the most that is held at one time while `cases` are predicted in this order.

    Parameters
    ----------
    cases
        What each needs.
    together
        Whether the next case is read, and the one before is judged and written, while one is computed.
    """
    network = max(parts["network"] for parts in cases)  # its memory stays with the engine

    def stage(index: int, *names: str) -> int:
        return sum(cases[index].get(name, 0) for name in names) if 0 <= index < len(cases) else 0

    computed = ("prepared", "rows", "logits", "mask", "crf")
    most = 0
    for i in range(len(cases)):
        if together:
            now = stage(i, *computed, "gate") + stage(i + 1, "images", "first") + stage(i - 1, "findings")
            now = max(now, stage(i, "images", "first"), stage(i, "findings"))
        else:
            alone = (
                stage(i, "images", "first"),
                stage(i, "prepared", "gate"),
                stage(i, *computed),
                stage(i, "findings"),
            )
            now = max(alone)
        most = max(most, now)
    return network + most


def check_memory(
    plan: Plan,
    grid: Grid,
    channels: int,
    facts: Mapping[str, Any],
    where: str,
    plan_file: object,
    *,
    engine: str = "torch",
    precision: str | None = None,
    crf: bool = False,
    exact: bool = False,
    truth: bool = False,
) -> dict[str, int]:
    """Refuse a case that by itself would not fit into the memory that is free; return what its stages need.

    Raises
    ------
    MemoryLimitError
        With what is needed, what there is, and the line of the plan to change.
    """
    parts = needed_bytes(
        plan, grid, channels, facts, engine=engine, precision=precision, crf=crf, exact=exact, truth=truth
    )
    needed, free = peak_bytes([parts], together=False), memory_available_bytes()
    if needed > free:
        worst = max(parts, key=lambda name: parts[name])
        advice = {
            "network": f"Make inference.patch {list(plan.inference.patch)} in {plan_file} smaller.",
            "rows": f"Make inference.patch {list(plan.inference.patch)} in {plan_file} smaller along its longest axis.",
            "crf": "Leave --crf away.",
        }.get(worst, "Cut the image to the part that matters, or close other programs.")
        wrong = impossible(grid, plan.preparation.spacing_mm)
        if wrong is not None:
            advice = f"It has {wrong[0]}; {wrong[1]}. {wrong[2]}"
        raise MemoryLimitError(
            expected(where, f"shape {grid.shape} with {counted(channels, 'channel')} needs about {show_bytes(needed)}"
                     f" ({', '.join(f'{k} {show_bytes(v)}' for k, v in parts.items())})",
                     f"{show_bytes(free)} of memory are free", advice), case=where.removeprefix("case "),
        )  # fmt: skip
    return parts


def ran_out(case: str) -> MemoryLimitError:
    """Return the sentence for a case at which the memory ran out, though headers did not foresee it."""
    return MemoryLimitError(
        expected(f"case {case}", "the memory ran out while it was predicted",
                 f"{show_bytes(memory_available_bytes())} are free now, and more was needed",
                 "Close other programs and call again, or cut the image to the part that matters."), case=case,
    )  # fmt: skip


def unheld(headers: Mapping[str, tuple[Grid, int]]) -> list[MemoryLimitError]:
    """Return why cases cannot be held, of each that `refuse_unheld` refuses."""
    found = list[MemoryLimitError]()
    for name, header in headers.items():
        try:
            refuse_unheld({name: header})
        except MemoryLimitError as error:
            found.append(error)
    return found


def refuse_unheld(headers: Mapping[str, tuple[Grid, int]]) -> None:
    """Refuse cases (name → grid and channels) whose images alone, in single precision, are more than the memory that is free.

    Raises
    ------
    MemoryLimitError
        With their names, and what the largest needs.
    """
    free = memory_available_bytes()
    large = {
        name: n for name, (grid, channels) in headers.items() if (n := 4 * channels * math.prod(grid.shape)) > free
    }
    if large:
        where = f"case {next(iter(large))}" if len(large) == 1 else f"{len(large)} cases ({some(list(large))})"
        raise MemoryLimitError(
            expected(where, f"images of {show_bytes(max(large.values()))}", f"{show_bytes(free)} of memory are free",
                     "Cut them to the part that matters, leave them out, or close other programs."), case=next(iter(large)),
        )  # fmt: skip
