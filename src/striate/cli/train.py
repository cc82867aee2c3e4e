"""``striate train COHORT``: learn, or go on with a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli import options
from striate.core.counted import counted, three_digits

if TYPE_CHECKING:
    from striate.measure.detection import Detection
    from striate.workflows.finish import Finished


def command(
    cohort: options.NewCohort = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="Run folder; runs/COHORT by default.")] = None,
    plan: Annotated[Path | None, typer.Option(metavar="FILE", help="A plan.yaml to follow; else one is made.")] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with this run; --steps or --budget extend it.")
    ] = None,
    budget: options.Budget = None,
    steps: options.Steps = None,
    memory: options.Memory = None,
    task: options.TaskName = None,
    regions: options.Regions = None,
    holdout: options.Holdout = None,
    fold: options.Fold = None,
    fraction: options.Fraction = None,
    encoder: Annotated[
        Path | None,
        typer.Option(help="Start from the weights of this run or model, its last layer excepted; or: random."),
    ] = None,
    frozen: Annotated[bool, typer.Option("--frozen", help="What comes from the encoder does not learn.")] = False,
    adversarial: options.Adversarial = None,
    network: options.NetworkName = None,
    dims: options.Dims = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    as_json: options.AsJson = False,
) -> int:
    """Train a model on a cohort; resumable."""
    from striate.cli.screen import Screen
    from striate.workflows.train import train

    finished = train(
        cohort, out=out, plan=plan, resume=resume, progress=Screen(quiet=as_json), budget=budget, steps=steps,
        memory=memory, regions=regions, holdout=holdout, fold=fold, fraction=fraction, network=network, task=task, dims=dims,
        encoder=None if encoder is None else str(encoder), frozen=frozen or None, seed=seed, adversarial=adversarial,
    )  # fmt: skip
    if finished.model is None:
        return 0
    show_finished(finished, as_json=as_json)
    updated = finished.model.facts.get("update")  # of a run that `striate update` has begun
    return 0 if updated is None or updated["kept"] else 1


def show_finished(finished: Finished, *, as_json: bool) -> None:
    """Print what a run ended with."""
    from striate.cli.classes import show_limits
    from striate.cli.screen import say, show_json
    from striate.measure.evaluation import Evaluation
    from striate.trust.class_trust import ClassTrust

    evaluation = finished.evaluation
    if as_json:
        document = {
            "run": finished.folder,
            "model": finished.folder / "model",
            "report": finished.report,
            "steps": finished.steps,
            "waiting_share": finished.waiting_share,
            "seconds": finished.seconds,
            "evaluation": evaluation and evaluation.to_dict(),
        }
        show_json(document)
        return
    summary = evaluation.to_dict()["summary"] if evaluation else {}
    kind = "segmentation" if finished.model is None else finished.model.plan.task.kind
    if kind == "reconstruction":
        show_reconstructions(summary)
    elif kind != "segmentation":
        show_overall(summary.get("overall", {}))
        show_samples(evaluation.to_dict() if evaluation else {})
        if finished.model is not None and (trust := ClassTrust.read(finished.model.folder)) is not None:
            show_limits(trust)
    if evaluation is None:
        say("No case was held out, so nothing is known of how good the model is.")
    if kind != "segmentation":
        summary = {}
    for label, measures in summary.items():
        dice = measures["dice"]
        interval = f" (95 % {dice['low']:.3f} … {dice['high']:.3f})" if dice["low"] is not None else ""
        shown = "not measurable" if dice["mean"] is None else f"{dice['mean']:.3f}"
        say(f"Dice {label}: {shown}{interval}, {counted(dice['n'], 'validation case')}")
    if isinstance(evaluation, Evaluation):
        show_detection(evaluation.detection)
    say(f"Model:  {finished.folder / 'model'}")
    say(f"Report: {finished.report}")
    say(f"Next:   striate predict {quote(str(finished.folder))} IMAGE --out DIR")


def show_detection(detection: Mapping[str, Detection]) -> None:
    """Print how many lesions the masks find, and the mean sensitivity of LUNA16 where lesions have probabilities."""
    from striate.cli.screen import say

    for label, found in detection.items():
        if found.lesions:
            mean = found.mean_sensitivity
            ranked = "" if mean is None or mean.value is None else f"; mean sensitivity at 1/8 to 8: {mean.value:.3f}"
            alarms = alarms_per_scan(found.false_positives_per_scan)
            say(f"Lesions {label}: {found.found} of {found.lesions} found with {alarms}{ranked}")


def alarms_per_scan(rate: float) -> str:
    """Return ``1.5 false positives per scan``, ``1 false positive per scan``."""
    told = three_digits(rate)
    return f"{told} false {'positive' if told == '1' else 'positives'} per scan"


def show_overall(measures: dict[str, Any]) -> None:
    """Print measures over all classes, with their intervals."""
    from striate.cli.screen import say

    for name, found in measures.items():
        if found["value"] is not None:
            interval = f" (95 % {found['low']:.3f} … {found['high']:.3f})" if found["low"] is not None else ""
            say(f"{name.replace('_', ' ')}: {found['value']:.3f}{interval}, n {found['n']}")


def show_samples(document: dict[str, Any]) -> None:
    """Print how many samples of how many subjects classes were measured on, and what is to know of them."""
    from striate.cli.screen import say

    if document:
        say(f"{counted(document['samples'], 'sample')} of {counted(document['subjects'], 'subject')}")
    for note in document.get("notes", []):
        say(note)


def show_reconstructions(summary: dict[str, Any]) -> None:
    """Print the mean measures of reconstructions, with their intervals, for each channel."""
    from striate.cli.screen import say

    for channel, measures in summary.items():
        for name, found in measures.items():
            if found["mean"] is not None:
                interval = f" (95 % {found['low']:.3g} … {found['high']:.3g})" if found["low"] is not None else ""
                say(f"{channel} {name.replace('_', ' ')}: {found['mean']:.3g}{interval}, n {found['n']}")
