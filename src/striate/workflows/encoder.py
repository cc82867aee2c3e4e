"""A plan that starts from a trained model of the same architecture instead of from random weights."""

from __future__ import annotations

from pathlib import Path

from striate.core.errors import ModelError, UsageError, expected
from striate.model.model import Model
from striate.planning.plan import Plan
from striate.workflows.options import Options


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
            raise UsageError(f"frozen {frozen}: an encoder is needed whose layers are kept.")
        return plan
    source = Model.open(Path(path)).plan.network
    if (source.name, source.spatial_dims) != (plan.network.name, plan.network.spatial_dims):
        got = f"a {source.spatial_dims}D {source.name}"
        want = f"the weights of a {plan.network.spatial_dims}D {plan.network.name} are needed to start from"
        raise ModelError(expected(path, got, want, f"Train that network: --network {source.name}."), path=path)
    training = plan.training.changed(encoder=str(Path(path).resolve()), frozen=frozen)
    return plan.changed(training=training.model_dump())
