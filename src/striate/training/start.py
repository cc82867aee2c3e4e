"""Start from what a trained model has learned: all but its last layer is taken, to go on learning or to stay as it is.

Three starts are compared by H.-C. Shin et al., IEEE Transactions on Medical Imaging 35(5):1285-1298, 2016: random weights,
all fine-tuned, and features kept as they are with only the last layer learned. The fourth of that square, random features kept
as they are, tells what kept features are worth: a random network with a learned last layer can be hard to beat (K. Jarrett et
al., What is the best multi-stage architecture for object recognition? ICCV 2009).
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from striate import networks
from striate.model.model import Model
from striate.model.transfer import Transfer, transfer
from striate.networks.network import Network
from striate.planning.cost import seen_patch
from striate.planning.plan import RANDOM, Plan
from striate.training import checkpoint, optimise


def start_from(network: Network, plan: Plan) -> Transfer:
    """Take the weights of the plan's encoder into `network`, in place.

    Of random weights only the parameters are kept: normalisations with running statistics still follow the data, as
    statistics that nobody measured would be no normalisation.

    Raises
    ------
    ModelError
        When the encoder is no model, or nothing of it fits.
    """
    path = str(plan.training.encoder)
    source = dict(network.named_parameters()) if path == RANDOM else Model.open(Path(path)).network().state_dict()
    head = last_layer(plan)
    kept = {name: tensor for name, tensor in source.items() if not name.startswith(f"{head}.")}
    return transfer(network, kept, freeze=plan.training.frozen)


def begin_from(network: nn.Module, plan: Plan, path: Path) -> None:
    """Write a checkpoint of no updates, from which `striate.training.loop.learn` goes on with the weights of `network`.

    Unlike an encoder's these are all of them, the last layer's too: what is learned is the same task.
    """
    checkpoint.save(
        path, step=0, network=network, average=network, optimiser=optimise.create(network, plan.training)
    )  # fmt: skip


def last_layer(plan: Plan) -> str:
    """Return the path of the last layer with weights: it is learned anew, as what it tells apart may be something else."""
    choice, size = plan.network, seen_patch(plan.training.patch, plan.network.spatial_dims)
    given = {key: value for key, value in choice.options.items() if key != "input_size"}  # it is the patch
    cost = networks.cost(
        choice.name, size, in_channels=len(plan.task.channels), out_channels=plan.task.outputs.out_channels,
        training=False, **given,
    )  # fmt: skip
    return [layer.name for layer in cost.layers if layer.parameters][-1]
