"""``striate plan COHORT``: what would be done, why, what it would cost."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli import options
from striate.core.counted import counted

if TYPE_CHECKING:
    from striate.planning.fingerprint import Fingerprint
    from striate.planning.plan import Plan


def command(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="A folder in a known layout, or a CSV.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the plan there, to read, edit and train with.")
    ] = None,
    budget: options.Budget = None,
    steps: options.Steps = None,
    memory: options.Memory = None,
    task: options.TaskName = None,
    regions: options.Regions = None,
    holdout: options.Holdout = None,
    fold: options.Fold = None,
    fraction: options.Fraction = None,
    adversarial: options.Adversarial = None,
    network: options.NetworkName = None,
    dims: options.Dims = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    as_json: options.AsJson = False,
) -> None:
    """Decide how to train on a cohort."""
    from striate.cli.screen import Screen, say, show_json
    from striate.workflows.plan import plan

    facts, made = plan(
        cohort, out=out, progress=Screen(quiet=as_json), budget=budget, steps=steps, memory=memory, regions=regions,
        holdout=holdout, fold=fold, fraction=fraction, network=network, task=task, dims=dims, seed=seed,
        adversarial=adversarial,
    )  # fmt: skip
    if as_json:
        show_json({"fingerprint": facts.model_dump(mode="json"), "plan": made.model_dump(mode="json")})
        return
    show_plan(facts, made)
    if out is not None:
        say(f"\nPlan written: {out}. Train with it: striate train {quote(str(cohort))} --plan {quote(str(out))}")
    else:
        say(f"\nKeep it: striate plan {quote(str(cohort))} --out plan.yaml")


def show_plan(facts: Fingerprint, made: Plan) -> None:
    """Print the decisions with their reasons, and the cost."""
    from striate.cli.screen import say
    from striate.core.machine import show_bytes, show_seconds
    from striate.planning.cost import samples_sentence
    from striate.planning.rules.network import subjects

    task, training, told = made.task, made.training, made.expected
    mirrored = training.augmentation.mirror_axes
    length = (
        counted(training.steps, "step")
        if training.steps
        else f"about {counted(told.steps or 0, 'step')} in {show_seconds(training.budget_s or 0)}"
    )
    say(
        f"{facts.cohort}: {counted(len(facts.cases), 'training case')} of {counted(subjects(facts), 'subject')},"
        f" channels {', '.join(facts.channels)}"
    )
    say(f"learns       {', '.join(task.outputs.names)}")
    for title, value, key in (
        ("spacing", f"{_times(made.preparation.spacing_mm)} mm", "preparation.spacing_mm"),
        ("intensities", ", ".join(made.preparation.normalisation), "preparation.normalisation"),
        ("network", f"{made.network.name} {made.network.spatial_dims}D", "network.name"),
        ("patch" if task.kind == "segmentation" else "image", f"{_times(training.patch)} voxels", "training.patch"),
        ("batch", counted(training.batch, task.sample, task.samples), "training.batch"),
        ("mirroring", f"axes {list(mirrored)}" if mirrored else "none", "training.augmentation.mirror_axes"),
        ("precision", training.precision, "training.precision"),
        *(
            [("hardening", f"ε {training.adversarial.epsilon:g}", "training.adversarial")]
            if training.adversarial
            else []
        ),
    ):
        say(f"{title:<12} {value}\n{'':<12}   because: {made.reasons.get(key, '')}")
    say(f"{'schedule':<12} {length}, {told.step_s or 0:.3g} s each (measured)")
    objects = f"; objects are {_times(told.object_mm)} mm" if told.object_mm else ""
    say(f"{'sees':<12} {_times(told.receptive_field_mm or ())} mm{objects}")
    say(f"{'parameters':<12} {told.parameters or 0:,}; {(told.macs_per_patch or 0) / 1e9:.3g} GMAC per {task.sample}")
    say(f"{'samples':<12} {samples_sentence(told.samples_per_parameter or 0, subjects(facts))}")
    say(
        f"{'computing':<12} {told.training_flops_by_operations or 0:.2e} FLOP by operations,"
        f" {told.training_flops_by_time or 0:.2e} by time × peak × 40 % (arXiv 2202.05924)"
    )
    say(f"{'memory':<12} about {show_bytes(told.peak_memory_bytes or 0)} at the peak")
    say(f"{'disk':<12} up to about {show_bytes(told.disk_bytes or 0)}")
    say(f"{'time':<12} about {show_seconds(told.time_s or 0)} in all")


def _times(values: tuple[float, ...]) -> str:
    return " × ".join(f"{v:.3g}" for v in values)
