"""``striate demo``: the whole path on phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.options import AsJson
from striate.core.counted import counted


def command(
    out: Annotated[Path, typer.Option(help="Folder to be made.")] = Path("demo"),
    subjects: Annotated[int, typer.Option(help="Phantoms to learn from.")] = 12,
    budget: Annotated[str, typer.Option(help="Time for training.")] = "4m",
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run the whole path on a phantom cohort."""
    from striate.cli.screen import Screen, say, show_json
    from striate.workflows.demo import demo

    done = demo(out, subjects=subjects, budget=budget, seed=seed, progress=Screen(quiet=as_json))
    summary = done.evaluation.to_dict()["summary"]
    if as_json:
        show_json({"run": done.run, "predictions": done.predictions, "report": done.report, "summary": summary})
        return
    for label, measures in summary.items():
        say(f"Dice {label} on {counted(measures['dice']['n'], 'phantom')} never seen: {measures['dice']['mean']:.3f}")
    say(f"Report of the training:    {done.report.resolve()}")
    say(f"Report of the predictions: {done.prediction_report.resolve()}")
