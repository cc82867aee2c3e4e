"""``striate train COHORT``: learn, or go on with a run."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from striate.workflows.finish import Finished


def command(
    cohort: Annotated[
        Path | None, typer.Argument(help="A folder in a known layout, or a CSV; not with --resume.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/COHORT by default.")] = None,
    plan: Annotated[Path | None, typer.Option(help="A plan.yaml to follow; else one is made.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run; --steps or --budget extend it.")] = None,
    budget: Annotated[str | None, typer.Option(help="Time of the whole run, for instance 10m (the default).")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of updates instead of a time.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory that training may use, for instance 6G.")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="segmentation, classification, sequence, reconstruction, contains:REGION or sequence:REGION."
        ),
    ] = None,
    regions: Annotated[list[str] | None, typer.Option(help="Unions of labels, for instance tumour=1+2+3+4.")] = None,
    holdout: Annotated[list[str] | None, typer.Option(help="Subject or case kept for validation; repeatable.")] = None,
    fold: Annotated[str | None, typer.Option(help="K/N: validate on part K of N, by subject.")] = None,
    fraction: Annotated[float | None, typer.Option(help="Share of the training subjects that teach, by seed.")] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Start from the weights of this run or model, its last layer excepted.")
    ] = None,
    frozen: Annotated[bool, typer.Option("--frozen", help="What comes from the encoder does not learn.")] = False,
    network: Annotated[str | None, typer.Option(help="Use this network.")] = None,
    dims: Annotated[int | None, typer.Option(help="2: a 2D network on slices of 3D scans.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Train a model on a cohort; resumable."""
    from striate.cli.screen import Screen
    from striate.workflows.train import train

    finished = train(
        cohort, out=out, plan=plan, resume=resume, progress=Screen(quiet=as_json), budget=budget, steps=steps,
        memory=memory, regions=regions, holdout=holdout, fold=fold, fraction=fraction, network=network, task=task, dims=dims,
        encoder=None if encoder is None else str(encoder), frozen=frozen or None, seed=seed,
    )  # fmt: skip
    if finished.model is not None:
        show_finished(finished, as_json=as_json)


def show_finished(finished: Finished, *, as_json: bool) -> None:
    """Print what a run ended with."""
    from striate.cli.screen import say, show_json

    evaluation = finished.evaluation
    if as_json:
        document = {
            "run": finished.folder,
            "model": finished.folder / "model",
            "report": finished.report,
            "steps": finished.steps,
        }
        show_json(
            {**document, "waiting_share": finished.waiting_share, "evaluation": evaluation and evaluation.to_dict()}
        )
        return
    summary = evaluation.to_dict()["summary"] if evaluation else {}
    kind = "segmentation" if finished.model is None else finished.model.plan.task.kind
    if kind == "reconstruction":
        show_reconstructions(summary)
    elif kind != "segmentation":
        show_overall(summary.get("overall", {}))
    if kind != "segmentation":
        summary = {}
    for label, measures in summary.items():
        dice = measures["dice"]
        interval = f" (95 % {dice['low']:.3f} … {dice['high']:.3f})" if dice["low"] is not None else ""
        shown = "not measurable" if dice["mean"] is None else f"{dice['mean']:.3f}"
        say(f"Dice {label}: {shown}{interval}, {dice['n']} validation cases")
    say(f"Model:  {finished.folder / 'model'}")
    say(f"Report: {finished.report}")
    say(f"Next:   striate predict {quote(str(finished.folder))} IMAGE --out DIR")


def show_overall(measures: dict[str, Any]) -> None:
    """Print measures over all classes, with their intervals."""
    from striate.cli.screen import say

    for name, found in measures.items():
        if found["value"] is not None:
            interval = f" (95 % {found['low']:.3f} … {found['high']:.3f})" if found["low"] is not None else ""
            say(f"{name.replace('_', ' ')}: {found['value']:.3f}{interval}, n {found['n']}")


def show_reconstructions(summary: dict[str, Any]) -> None:
    """Print the mean measures of reconstructions, with their intervals, for each channel."""
    from striate.cli.screen import say

    for channel, measures in summary.items():
        for name, found in measures.items():
            if found["mean"] is not None:
                interval = f" (95 % {found['low']:.3g} … {found['high']:.3g})" if found["low"] is not None else ""
                say(f"{channel} {name.replace('_', ' ')}: {found['mean']:.3g}{interval}, n {found['n']}")
