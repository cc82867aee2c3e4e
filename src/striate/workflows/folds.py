"""What of a model of nnU-Net predicts: which of its folds, mirrored or not; nnU-Net itself averages them all."""

from __future__ import annotations

from striate.model.model import Model


def folds_told(model: Model, way: str, *, exact: bool = False, others: bool = False) -> str:
    """Return a line on the folds and mirrored copies that are averaged, and how to have those of nnU-Net.

    Parameters
    ----------
    model
        Any; empty for one that was not imported from nnU-Net.
    way
        One of `striate.inference.engines.uncertainty.UNCERTAINTIES`.
    exact
        Whether nnU-Net's way is followed (`striate.inference.exact`).
    others
        Whether other models are averaged too, of which nothing can be told: empty.
    """
    folds, copies = list(model.facts.get("folds") or ()), 2 ** len(model.plan.inference.mirror_axes)
    if not isinstance(model.facts.get("nnunet"), dict) or not folds or others:
        return ""
    whole, mirrored = len(folds) == 1 or way == "ensemble" or exact, copies == 1 or way == "tta" or exact
    some = f"fold {folds[0]}" if len(folds) == 1 else f"{len(folds)} folds averaged" if whole else ""
    some = some or f"fold {folds[0]} of {len(folds)}"
    told = f"{some}, {f'with {copies} mirrored copies' if copies > 1 and mirrored else 'not mirrored'}"
    lacking = [
        text
        for text, there in ((f"all {len(folds)} folds", whole), (f"{copies} mirrored copies", mirrored))
        if not there
    ]
    return f"{told}; --exact averages {' and '.join(lacking)}, as nnU-Net does" if lacking else told
