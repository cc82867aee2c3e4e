"""Arguments and options that several verbs share, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a model, or of the run that trained it.")]
Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT",
        help="An image (a file, or a folder with a DICOM series); the channels of one case in the model's order; a folder;"
        " a cohort folder or CSV.",
    ),
]
NewCohort = Annotated[
    Path | None, typer.Argument(metavar="COHORT", help="A folder in a known layout, or a CSV; not with --resume.")
]
Budget = Annotated[
    str | None, typer.Option(metavar="TIME", help="Time of the whole run: 90s, 10m (the default), 1h30m …")
]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Number of updates, instead of a time.")]
Memory = Annotated[str | None, typer.Option(metavar="SIZE", help="Memory that training may use: 6G, 800M …")]
TaskName = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        help="What is learned: segmentation, classification, sequence, reconstruction, contains:REGION or sequence:REGION.",
        show_default="masks where there are any, else classes",
    ),
]
Regions = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=LABELS", help="Unions of labels, for instance tumour=1+2+3+4 core=1+3+4."),
]
Holdout = Annotated[
    list[str] | None, typer.Option(metavar="SUBJECT", help="Subject or case kept for validation; repeatable.")
]
Fold = Annotated[str | None, typer.Option(metavar="K/N", help="Validate on part K of N, by subject.")]
Fraction = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", help="Learn from this share of the training subjects, above 0 to 1; --seed chooses them."
    ),
]
Adversarial = Annotated[
    float | None,
    typer.Option(
        metavar="[EPS]",
        help="Harden the network: attack its patches by at most EPS (0.05 where not given) of the tissue contrast.",
    ),
]
NetworkName = Annotated[str | None, typer.Option(metavar="NAME", help="Use this network: striate networks lists them.")]
Dims = Annotated[int | None, typer.Option(help="2: a 2D network on slices of 3D scans.")]
Uncertainty = Annotated[
    str | None,
    typer.Option(
        metavar="WAY",
        help="Where several answers come from, which differ where a mask is unsure: none, tta (mirrored copies), dropout,"
        " ensemble.",
        show_default="none; ensemble with --ensemble",
    ),
]
Ensemble = Annotated[
    list[Path] | None,
    typer.Option("--ensemble", metavar="MODEL", help="A further model of the same task; may be given several times."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; only warnings and progress go to stderr.")
]
