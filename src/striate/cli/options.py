"""Arguments and options that several verbs share, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelFolder = Annotated[Path, typer.Argument(help="Folder of a model, or of the run that trained it.")]
Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT...",
        help="An image; the channel files of one case in the model's order; a folder; a cohort folder or CSV.",
    ),
]
NewCohort = Annotated[Path | None, typer.Argument(help="A folder in a known layout, or a CSV; not with --resume.")]
Budget = Annotated[str | None, typer.Option(help="Time of the whole run, for instance 10m (the default).")]
Steps = Annotated[int | None, typer.Option(help="Number of updates instead of a time.")]
Memory = Annotated[str | None, typer.Option(help="Memory that training may use, for instance 6G.")]
TaskName = Annotated[
    str | None,
    typer.Option(help="segmentation, classification, sequence, reconstruction, contains:REGION or sequence:REGION."),
]
Regions = Annotated[list[str] | None, typer.Option(help="Unions of labels, for instance tumour=1+2+3+4.")]
Holdout = Annotated[list[str] | None, typer.Option(help="Subject or case kept for validation; repeatable.")]
Fold = Annotated[str | None, typer.Option(help="K/N: validate on part K of N, by subject.")]
Fraction = Annotated[float | None, typer.Option(help="Share of the training subjects that teach, by seed.")]
Adversarial = Annotated[
    float | None,
    typer.Option(
        metavar="[EPS]",
        help="Harden the network: attack its patches by at most EPS (0.05 where not given) of the tissue contrast.",
    ),
]
NetworkName = Annotated[str | None, typer.Option(help="Use this network.")]
Dims = Annotated[int | None, typer.Option(help="2: a 2D network on slices of 3D scans.")]
Uncertainty = Annotated[
    str | None,
    typer.Option(help="How several answers are had: none, tta, dropout, ensemble.", show_default="none"),
]
Ensemble = Annotated[
    list[Path] | None,
    typer.Option("--ensemble", metavar="MODEL", help="A further model of the same task; may be given several times."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; only warnings and progress go to stderr.")
]
