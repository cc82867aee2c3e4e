"""What training costs: operations by two methods, and memory."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from striate import networks
from striate.core.counted import counted
from striate.planning.plan import NetworkChoice, Plan, Task

if TYPE_CHECKING:
    from striate.networks.counting import Cost
    from striate.planning.fingerprint import Fingerprint

T = TypeVar("T", int, float)

UTILISATION = 0.4
"""Share of the machine's peak that training usually reaches (Sevilla et al., arXiv 2202.05924; not for language)."""

BASE_BYTES = 450e6
"""torch, libraries and the run itself; measured with an idle run."""

COPIES = 2.6
"""Activations held per convolution output during a step (output, normalised output, gradient in flight); measured."""


def network_cost(
    task: Task, choice: NetworkChoice, patch: tuple[int, ...], length: int = networks.SEQUENCE_LENGTH
) -> Cost:
    """Count the network of a plan on one patch, or on one sequence of `length` images."""
    size, channels = seen_patch(patch, choice.spatial_dims), len(task.channels)
    return _counted(choice.name, size, channels, task.outputs.out_channels, length, json.dumps(choice.options))


def window_cost(plan: Plan) -> Cost:
    """Count the network on one window of prediction, with what is mirrored around it (`striate.networks.surrounded`).

    Raises
    ------
    UsageError
        When the network refuses the window's size.
    """
    import torch

    from striate.networks.surrounded import seen_size

    task, choice = plan.task, plan.network
    size, channels = seen_patch(plan.inference.patch, choice.spatial_dims), plan.in_channels
    options = networks.sized(choice.name, size, choice.options)
    with torch.device("meta"):
        size = seen_size(networks.create(choice.name, spatial_dims=choice.spatial_dims, **options), size)
    return _counted(
        choice.name, size, channels, task.outputs.out_channels, plan.training.length, json.dumps(choice.options)
    )


@functools.lru_cache(maxsize=64)
def _counted(name: str, size: tuple[int, ...], in_channels: int, out_channels: int, length: int, options: str) -> Cost:
    """Count once what planning asks for again and again."""
    given = {key: value for key, value in json.loads(options).items() if key != "input_size"}  # it is the patch
    return networks.cost(name, size, in_channels=in_channels, out_channels=out_channels, length=length, **given)


def seen_patch(patch: tuple[int, ...], spatial_dims: int, values: tuple[T, ...] | None = None) -> tuple[T, ...]:
    """Return `values` (the patch itself where not given) without the axis of one voxel that a 2D network does not see."""
    kept: tuple[Any, ...] = patch if values is None else values
    if spatial_dims == len(patch):
        return kept
    thin = patch.index(1)
    return kept[:thin] + kept[thin + 1 :]


def flops_by_operations(macs_per_patch: int, batch: int, steps: int) -> float:
    """Training FLOPs by counting: 2 per MAC, three passes (forward 1, backward 2) per patch (arXiv 2202.05924, method 1)."""
    return 2.0 * macs_per_patch * 3.0 * batch * steps


def training_operations(plan: Plan, steps: int, samples: int) -> float:
    """Return the training FLOPs of `plan` by counting.

    Where all but the read-out is fixed, the features of the samples are computed once and the read-out alone is trained.

    Parameters
    ----------
    plan
        What is followed.
    steps
        Updates.
    samples
        Training images; see `samples_of`.
    """
    cost = network_cost(plan.task, plan.network, plan.training.patch, plan.training.length)
    batch = plan.training.batch
    if not networks.load(plan.network.name).fixed_features:
        return flops_by_operations(cost.macs, batch, steps)
    learned = sum(layer.macs for layer in cost.layers if layer.name.split(".")[0] == "readout")
    return flops_by_operations(learned, batch, steps) + 2.0 * cost.macs * samples


def samples_of(plan: Plan, facts: Fingerprint) -> int:
    """Return the training images: cases, or the axial slices that preparation leaves of them."""
    if plan.task.unit != "slice":
        return len(facts.cases)
    return sum((c.cropped if plan.preparation.crop else c.shape)[2] for c in facts.cases)


def flops_by_time(seconds: float, peak_flops: float) -> float:
    """Training FLOPs by time: seconds × measured peak × usual utilisation (arXiv 2202.05924, method 2)."""
    return seconds * peak_flops * UTILISATION


def training_bytes(cost: Cost, batch: int, precision: str) -> int:
    """Estimate the peak memory of training in bytes: weights with gradient, moments and average, and activations."""
    width = 2 if precision == "bf16" else 4
    return round(BASE_BYTES + 20 * cost.parameters + COPIES * batch * cost.activations * width)


@dataclass(frozen=True)
class SampleCount:
    """The lecture's rule of ten samples per parameter (Yamins & DiCarlo 2016), with its caveat.

    Every network that the lecture praises breaks the rule, and neighbouring voxels are not independent samples: the
    number of subjects stands beside it.
    """

    voxels: int
    parameters: int
    subjects: int

    @property
    def per_parameter(self) -> float:
        """Voxels of all training images per parameter."""
        return self.voxels / max(self.parameters, 1)


def samples_sentence(per_parameter: float, subjects: int) -> str:
    """Return the figure of `SampleCount` with its caveat."""
    return (
        f"{per_parameter:.3g} training voxels per parameter (rule of thumb: 10), {counted(subjects, 'subject')};"
        " voxels of one scan are far from independent, so read it as an upper bound"
    )
