"""A cascade: a network sees the images and the mask that another has drawn of them (nnU-Net's ``3d_cascade_fullres``).

The first stage predicts as a model by itself does; its mask on the grid of the files is prepared together with the images
(`striate.data.prepare_nnunet`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from striate.core.case import Case
from striate.core.errors import UsageError
from striate.core.image import Grid
from striate.data.prepare import Prepared, prepare, prepare_images
from striate.inference.engines import Engine
from striate.inference.engines.choose import macs_of
from striate.inference.engines.uncertainty import open_uncertain
from striate.model.model import Model
from striate.model.weights import SNAPSHOTS


def prepare_stage(
    model: Model,
    case: Case,
    *,
    first: Engine | None = None,
    mirror: bool = False,
    exact: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Read a case and prepare it as the network of `model` sees it; of a cascade, the first stage is run.

    Parameters
    ----------
    model
        Any.
    case
        Its channels are taken in their order.
    first
        Engine of the first stage; by default its network alone, computed by PyTorch.
    mirror
        Whether the first stage averages over mirrored copies.
    exact
        Whether the first stage predicts as nnU-Net does (`striate.inference.exact`), all its folds averaged.
    tell
        Called with the windows of the first stage done and their number.

    Raises
    ------
    DataError
        When the files cannot be read or do not fit together.
    """
    stage, preparation = model.previous, model.plan.preparation
    if stage is None:
        return prepare(case, preparation)
    from striate.io.read import read_channels

    images, channels = list(read_channels(case).values()), tuple(case.channels)
    ready = prepare_images(images, stage.plan.preparation, case.name, channels=channels)
    if exact:
        from striate.inference.exact import predict_exact

        found = predict_exact(stage, case, mirror=mirror, prepared=ready, tell=tell)
    else:
        from striate.inference.predict import predict_case

        found = predict_case(stage, case, network=first, tta=mirror, prepared=ready, tell=tell)
    del ready
    return prepare_images(images, preparation, case.name, previous=found.label, channels=channels)


def shares_of_first(model: Model, grids: Mapping[str, Grid]) -> dict[str, float]:
    """Return by case which share of the multiply-accumulates on its grid a cascade's first stage has; 0 without one."""
    stage = model.previous
    if stage is None:
        return dict.fromkeys(grids, 0.0)
    both = {name: (macs_of(stage, [grid]), macs_of(model, [grid])) for name, grid in grids.items()}
    return {name: first / (first + second) for name, (first, second) in both.items()}


def open_first(
    model: Model, way: str, others: Sequence[Model] = (), tell: Callable[[str], None] = lambda note: None
) -> Engine | None:
    """Return the engine of a cascade's first stage where masks are made in `way`; None for a model that is none.

    Parameters
    ----------
    model
        Any.
    way
        One of `striate.inference.engines.uncertainty.UNCERTAINTIES`; where it is ``ensemble`` all folds of the first stage are
        averaged.
    others
        The other models of an ensemble.
    tell
        Is told why a GPU that is there cannot compute it.

    Raises
    ------
    UsageError
        When there are others beside a cascade.
    """
    stage = model.previous
    if stage is None:
        return None
    if others:
        raise UsageError(
            f"--ensemble MODEL: {model.folder} is a cascade, and other models would see the mask of its first stage instead of"
            " their own; leave it away. --uncertainty ensemble averages the folds of the cascade."
        )
    several = way == "ensemble" and any((stage.folder / SNAPSHOTS).glob("*.safetensors"))
    return open_uncertain(stage, "ensemble" if several else "none", tell=tell)
