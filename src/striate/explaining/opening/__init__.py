"""How each kind of operation is opened: one family per file, found by the name of torch's operation in one table.

An opener is a function of a `Call` and the index of one number of its output (with the batch axis); it reads from the
operands what that number was made of and computes it again, in float64. To add one, write it into its family and add its
line to `OPENERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from striate.explaining.opening import arranged, enlarged, joined, normalised, pointwise, pooled, reduced, weighted
from striate.explaining.opening.opened import Opened
from striate.explaining.passing import Call

Opener = Callable[[Call, tuple[int, ...]], Opened]

OPENERS: dict[str, tuple[str, Opener]] = {
    "convolution": ("convolution", weighted.convolution),
    **dict.fromkeys(("mm", "bmm", "mv", "dot"), ("matrix product", weighted.product)),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), ("matrix product", weighted.product_and_sum)),
    **{f"max_pool{d}d_with_indices": ("max pooling", pooled.maximum) for d in (2, 3)},
    **{f"avg_pool{d}d": ("average pooling", pooled.mean) for d in (1, 2, 3)},
    **{f"_adaptive_avg_pool{d}d": ("average pooling", pooled.adaptive_mean) for d in (2, 3)},
    "native_batch_norm": ("batch normalisation", normalised.batch),
    "cudnn_batch_norm": ("batch normalisation", normalised.batch),
    "_native_batch_norm_legit": ("batch normalisation", normalised.batch),
    "_native_batch_norm_legit_no_training": ("batch normalisation", normalised.batch),
    "_batch_norm_no_update": ("batch normalisation", normalised.batch),
    "native_group_norm": ("group normalisation", normalised.group),
    "native_layer_norm": ("layer normalisation", normalised.layer),
    "cat": ("concatenation", joined.concatenation),
    "stack": ("concatenation", joined.stack),
    "constant_pad_nd": ("padding", arranged.padding),
    **{f"reflection_pad{d}d": ("padding", arranged.reflection) for d in (1, 2, 3)},
    **{f"replication_pad{d}d": ("padding", arranged.replication) for d in (1, 2, 3)},
    "repeat": ("arrangement", arranged.repetition),
    "index_select": ("arrangement", arranged.selection),
    "index": ("arrangement", arranged.indexing),
    "flip": ("arrangement", arranged.mirroring),
    "roll": ("arrangement", arranged.rolling),
    "fill": ("constant", arranged.filling),
    "zero": ("constant", arranged.filling),
    **{
        f"{kind}{d}d": ("enlarging", enlarged.interpolation)
        for kind, axes in (
            ("upsample_nearest", (1, 2, 3)),
            ("_upsample_nearest_exact", (1, 2, 3)),
            ("upsample_linear", (1,)),
            ("upsample_bilinear", (2,)),
            ("upsample_trilinear", (3,)),
            ("upsample_bicubic", (2,)),
        )
        for d in axes
    },
    **dict.fromkeys(reduced.NAMES, ("", reduced.reduced)),
}
"""Name of torch's operation → what it is called here, and its opener."""


def opener_of(call: Call) -> Opener | None:
    """Return the opener of an operation; None where there is none."""
    if call.name in OPENERS:
        return OPENERS[call.name][1]
    return pointwise.pointwise if pointwise.fits(call) else None


def operation_of(call: Call) -> str:
    """Return what an operation is called, in plain words."""
    if call.name == "convolution":
        transposed = "transposed " if call.args[6] else ""
        return f"{transposed}convolution"
    if call.name in reduced.NAMES:
        return reduced.words(call)
    if call.name in OPENERS:
        words, opener = OPENERS[call.name]
        return normalised.words(call) if opener in (normalised.batch, normalised.group) else words
    return pointwise.words(call)


def closed_because(call: Call) -> str | None:
    """Say in one sentence why the sums of an operation cannot be opened; None where they can."""
    name = operation_of(call)
    if any(o.tensor is not None and not o.tensor.is_floating_point() for o in call.tracked):
        return f"The operation '{name}' does not work on real numbers here, so that it is no sum."
    if opener_of(call) is None:
        return f"The operation '{name}' is not one that Striate knows how to take apart."
    if call.name == "convolution":
        return weighted.closed(call)
    return arranged.closed(call) if call.name == "index" else None
