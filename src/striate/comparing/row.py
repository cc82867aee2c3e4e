"""`row_of`: what one finished run reached and cost, as one flat row of numbers with units in their names."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch

from striate import networks
from striate.comparing.outcomes import Measures
from striate.comparing.trial import Trial
from striate.core.files import read_json
from striate.data.split import Split
from striate.networks.depth import depth
from striate.planning.cost import samples_of, seen_patch, training_operations
from striate.planning.fingerprint import Fingerprint
from striate.planning.plan import Plan
from striate.training.run import Run

COST = "cost.json"
"""What a run took in all its parts: ``seconds``, ``joules`` and the ``source`` of the joules."""


FINISHED = "finished.json"
"""Written last: nothing is left to do in the run."""


def finished(folder: Path) -> bool:
    """Tell whether all of the run in `folder` is done: trained, measured, its cost told, and what is not kept removed."""
    return (folder / FINISHED).exists()


def row_of(trial: Trial, folder: Path, measures: Measures) -> dict[str, Any]:
    """Return the row of a finished run."""
    plan, record = Plan.read(folder / "plan.yaml"), read_json(folder / "record.json")
    split, spent = Split.read(folder / "split.json"), read_json(folder / COST)
    facts, model = record["facts"], read_json(folder / "model" / "model.json")
    seen = Fingerprint.read(folder / "fingerprint.json")
    samples = samples_of(plan, seen)
    size = size_of(plan)
    by_operations, by_time = training_flops(plan, facts["steps"], facts["training_s"], samples)
    return {
        **trial.to_dict(),
        "training_subjects": model["training_subjects"],
        "training_cases": len(split.train),
        "training_samples": samples,
        "validation_cases": len(split.validation),
        **flat(measures),
        **size,
        "steps": facts["steps"],
        "training_flops_by_operations": by_operations,
        "training_flops_by_time": by_time,
        "seconds": round(spent["seconds"], 2),
        "training_s": facts["training_s"],
        "peak_memory_bytes": facts.get("gpu", {}).get("peak_memory_bytes", facts["peak_rss_bytes"]),
        "kwh": spent["joules"] / 3.6e6,
        "kwh_source": spent["source"],
        "samples_per_parameter": samples / max(size["parameters"], 1),
        "voxels_per_parameter": plan.expected.samples_per_parameter,
        "number_format": plan.training.precision,
        "batch": plan.training.batch,
        "size": "×".join(str(n) for n in seen_patch(plan.training.patch, plan.network.spatial_dims)),
        "options": json.dumps({k: v for k, v in plan.network.options.items() if k != "input_size"}),
        "run": str(Run.open(folder).folder.name),
    }


def flat(measures: Measures) -> dict[str, float | int | None]:
    """Return measures as columns: value, ``_low`` and ``_high``."""
    found: dict[str, float | int | None] = {}
    for name, one in measures.items():
        found |= {name: one["value"], f"{name}_low": one["low"], f"{name}_high": one["high"]}
    return found


def size_of(plan: Plan) -> dict[str, int]:
    """Return what the network of a plan is: layers that multiply, depth, parameters, and MACs of one image or patch.

    ``parameters_run`` are those that predict, as the MACs are; ``parameters`` hold those of auxiliary heads too.
    """
    choice = plan.network
    options = {k: v for k, v in choice.options.items() if k != "input_size"}  # it is the patch
    size = seen_patch(plan.training.patch, choice.spatial_dims)
    return dict(_size(plan.task.kind, choice.name, size, len(plan.task.channels), plan.task.outputs.out_channels,
                      json.dumps(options)))  # fmt: skip


@functools.lru_cache(maxsize=64)
def _size(
    kind: str, name: str, size: tuple[int, ...], in_channels: int, out_channels: int, options: str
) -> tuple[tuple[str, int], ...]:
    given: dict[str, Any] = json.loads(options)
    cost = networks.cost(name, size, in_channels=in_channels, out_channels=out_channels, training=False, **given)
    with torch.device("meta"):
        network = networks.create(
            name, spatial_dims=len(size), in_channels=in_channels, out_channels=out_channels,
            **networks.sized(name, size, given),
        )  # fmt: skip
    images = networks.SEQUENCE_LENGTH if kind == "sequence" else 1
    return (
        ("layers", sum(layer.macs > 0 for layer in cost.layers)),
        ("depth", depth(network, (*((1,) if kind == "sequence" else ()), in_channels, *size))),
        ("parameters", cost.parameters),
        ("parameters_run", cost.parameters_run),
        ("macs", round(cost.macs / images)),
    )


def training_flops(plan: Plan, steps: int, training_s: float, samples: int) -> tuple[float, float | None]:
    """Return the FLOPs of training by counting and by time (arXiv 2202.05924).

    Parameters
    ----------
    plan
        What was followed.
    steps, training_s
        What was done.
    samples
        Training images.
    """
    by_operations = training_operations(plan, steps, samples)
    told = plan.expected
    expected_s = (told.steps or 0) * (told.step_s or 0)
    if not told.training_flops_by_time or not expected_s:
        return by_operations, None
    return by_operations, told.training_flops_by_time / expected_s * training_s
