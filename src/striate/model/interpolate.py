"""Weights between those of a model and of the same model after it learned more: (1 − a) · old + a · new.

Source
    M. Wortsman et al.: Robust fine-tuning of zero-shot models. CVPR 2022 (arXiv 2109.01903): on the straight line between the
    weights before and after fine-tuning they find networks that keep most of what was known and have most of what was learned.

Running means and variances of a normalisation are interpolated as weights are, which the paper does not treat: its networks have
none. Whole numbers (counters) cannot be; they are those of the nearer end.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from striate.core.errors import ModelError, UsageError, expected


def interpolated(old: Mapping[str, Tensor], new: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return (1 − share) · old + share · new, tensor by tensor; at 0 and at 1 the very bits of that end.

    Parameters
    ----------
    old, new
        Name → tensor, as ``state_dict()`` of two networks of one architecture gives it.
    share
        How far to go from `old`, from 0 to 1.

    Raises
    ------
    UsageError
        When `share` is not from 0 to 1.
    ModelError
        When names or shapes differ.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share {share:g}: a number from 0 (the old weights) to 1 (the new ones) is needed.")
    shapes = [{name: tuple(tensor.shape) for name, tensor in side.items()} for side in (old, new)]
    other = next((name for name in (*old, *new) if shapes[0].get(name) != shapes[1].get(name)), None)
    if other is not None:
        raise ModelError(
            expected("interpolation", f"tensor {other} is {shapes[0].get(other, 'missing')} in the old weights and"
                     f" {shapes[1].get(other, 'missing')} in the new ones", "two networks of one architecture are needed")
        )  # fmt: skip
    if share in (0, 1):
        return {name: tensor.detach().clone() for name, tensor in (new if share else old).items()}
    nearer = new if share >= 0.5 else old
    return {
        name: tensor.detach().lerp(new[name].detach(), share)
        if tensor.is_floating_point()
        else nearer[name].detach().clone()
        for name, tensor in old.items()
    }
