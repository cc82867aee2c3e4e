"""A plan that starts from a trained model of the same architecture, and what that model has seen already."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import DataError, ModelError, UsageError, expected
from striate.core.progress import Progress
from striate.io.read import hash_image
from striate.model.model import Model
from striate.planning.plan import RANDOM, Plan
from striate.workflows.options import Options

SHOWN = 8
"""Subjects that a message names."""


def from_encoder(plan: Plan, options: Options) -> Plan:
    """Return the plan with the encoder that was asked for, if one was.

    Raises
    ------
    UsageError
        When layers are to be frozen that nobody trained.
    ModelError
        When the encoder is no model, or of another architecture.
    """
    path, frozen = options.get("encoder"), bool(options.get("frozen"))
    if path is None:
        if frozen:
            raise UsageError(f"frozen {frozen}: an encoder is needed whose layers are kept, or --encoder random.")
        return plan
    if path == RANDOM:
        return plan.changed(training=plan.training.changed(encoder=RANDOM, frozen=frozen).model_dump())
    source = Model.open(Path(path)).plan.network
    if (source.name, source.spatial_dims) != (plan.network.name, plan.network.spatial_dims):
        got = f"a {source.spatial_dims}D {source.name}"
        want = f"the weights of a {plan.network.spatial_dims}D {plan.network.name} are needed to start from"
        raise ModelError(expected(path, got, want, f"Train that network: --network {source.name}."), path=path)
    training = plan.training.changed(encoder=str(Path(path).resolve()), frozen=frozen)
    return plan.changed(training=training.model_dump())


def taught_by(encoder: Path | str) -> frozenset[str] | None:
    """Return the SHA-256 of the images that a model, and those that it started from, learned from; None: not known.

    Random weights learned from none.

    Raises
    ------
    ModelError
        When the encoder is no model.
    """
    if encoder == RANDOM:
        return frozenset()
    known = Model.open(Path(encoder)).facts.get("training_images")
    return None if known is None else frozenset(known)


def refuse_taught(encoder: Path | str, validation: Iterable[Case], progress: Progress) -> None:
    """Refuse to validate on images that the encoder learned from.

    Parameters
    ----------
    encoder
        A run or model.
    validation
        The validation cases.
    progress
        Hears a warning where the model does not say what it learned from.

    Raises
    ------
    DataError
        With how many subjects, and which.
    ModelError
        When the encoder is no model.
    """
    taught, cases = taught_by(encoder), list(validation)
    if taught is None:
        progress.warn(
            f"{encoder} does not say which images it learned from: whether validation subjects are among them is not known."
        )
        return
    if not taught:
        return
    subjects = {c.subject for c in cases}
    seen = sorted({c.subject for c in cases if any(hash_image(p) in taught for p in c.channels.values())})
    if seen:
        named = ", ".join(seen[:SHOWN]) + (" …" if len(seen) > SHOWN else "")
        of = counted(len(subjects), "validation subject")
        raise DataError(
            expected(f"encoder {encoder}", f"it learned from {len(seen)} of the {of} ({named})",
                     "validation on subjects that it has not seen is needed",
                     "Validate on others with --holdout, or with the --seed and --fold that the encoder was trained with.")
        )  # fmt: skip
