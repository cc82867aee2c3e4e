"""Ways to a less certain answer: how several answers are had from what was learned once or several times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from striate.core.errors import UsageError
from striate.core.names import lookup
from striate.inference.engines import Engine, open_engine
from striate.model.model import Model

UNCERTAINTIES: dict[str, str] = {
    "none": "one answer of one network",
    "tta": "mean over mirrored copies of the image",
    "dropout": "mean over passes with dropout at work",
    "ensemble": "mean over several trained models, or snapshots of one",
}


def way_of(uncertainty: str | None, ensemble: Sequence[Path | str] = (), *, tta: bool = False) -> str:
    """Return which of `UNCERTAINTIES` is meant by what was asked for.

    Raises
    ------
    UsageError
        When two things were asked for that exclude each other.
    """
    meant = uncertainty or ("ensemble" if ensemble else "tta" if tta else "none")
    if tta and meant != "tta":
        raise UsageError(f"--tta was given with --uncertainty {meant}; leave one of them away.")
    return meant


def made_by(uncertainty: str, *, crf: bool = False, others: Sequence[Model] = ()) -> dict[str, Any]:
    """Return what tells one way of making masks from another: limits fitted to one are not those of another.

    Parameters
    ----------
    uncertainty
        One of `UNCERTAINTIES`.
    crf
        Whether the CRF refines the masks.
    others
        The other models of an ensemble; the hashes of their weights tell them apart.
    """
    way: dict[str, Any] = {"uncertainty": uncertainty, "crf": crf}
    return {**way, "others": sorted(str(m.facts.get("weights_sha256", "")) for m in others)} if others else way


def open_uncertain(
    model: Model, uncertainty: str, others: Sequence[Model] = (), tell: Callable[[str], None] = lambda note: None
) -> Engine:
    """Return the engine that answers in the way asked for; the copies of ``tta`` are the sliding window's.

    Parameters
    ----------
    model
        Whose plan is followed.
    uncertainty
        One of `UNCERTAINTIES`.
    others
        Models of the same task, for ``ensemble``.
    tell
        Is told why a GPU that is there cannot compute it, so that the processor does.

    Raises
    ------
    UsageError
        When the way is unknown, or the model has nothing to answer differently with.
    ModelError
        When the models are not of one task.
    """
    check_way(model, uncertainty, others)
    if uncertainty == "ensemble":
        from striate.inference.engines.ensemble import open_ensemble

        return open_ensemble([model, *others], tell=tell)
    from striate.inference.engines.place import placed

    network, exclusive = placed(model, tell=tell).network, model.plan.targets.exclusive
    if uncertainty == "dropout":
        from striate.inference.engines.dropout import DropoutEngine

        return DropoutEngine(network, exclusive)
    return open_engine(network, exclusive=exclusive)


def check_way(model: Model, uncertainty: str, others: Sequence[Model] = ()) -> None:
    """Check that a model can answer in the way asked for.

    Raises
    ------
    UsageError
        When the way is unknown, excludes other models that were given, or ``tta`` has nothing to mirror.
    """
    lookup("uncertainty", uncertainty, UNCERTAINTIES)
    if uncertainty == "tta" and not model.plan.inference.mirror_axes:
        raise UsageError(
            "--uncertainty tta: inference.mirror_axes is () in the model's plan, so there is nothing to average; leave it away."
        )
    if others and uncertainty != "ensemble":
        raise UsageError(f"--ensemble MODEL was given with --uncertainty {uncertainty}; leave one of them away.")
