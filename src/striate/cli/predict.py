"""``striate predict MODEL INPUT… --out DIR``: arguments in, a table of volumes or one JSON document out."""

from __future__ import annotations

import gc
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from striate.cli.options import AsJson, Ensemble, Inputs, ModelFolder, Uncertainty
from striate.core.counted import counted

ROWS_SHOWN = 40
REVIEWS_SHOWN = 10
NEW_OBJECTS = 50_000
"""Python looks for garbage after so many new objects: with its own 700 that takes about a tenth of the time to load torch."""


def command(
    model: ModelFolder,
    inputs: Inputs,
    out: Annotated[
        Path,
        typer.Option(
            help="New folder for masks, findings and record; the same call goes on with one that was stopped."
        ),
    ],
    uncertainty: Uncertainty = None,
    ensemble: Ensemble = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Average over mirrored copies: slower, often a little better.")
    ] = False,
    crf: Annotated[
        bool, typer.Option("--crf", help="Refine masks with a fully connected CRF: slower; try it on your own data.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="For a model imported from nnU-Net: its very masks, as with -device cpu.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(help="What computes: auto (the fastest that agrees, as measured), torch, openvino, int8, onnx."),
    ] = "auto",
    save_probabilities: Annotated[
        bool,
        typer.Option(
            "--save-probabilities", help="Also write a map of uncalibrated probabilities per label or region."
        ),
    ] = False,
    save_uncertainty: Annotated[
        bool, typer.Option("--save-uncertainty", help="Also write the probability that a voxel's label is wrong.")
    ] = False,
    dicom_seg: Annotated[
        bool,
        typer.Option(
            "--dicom-seg", help="Also write DICOM segmentations, for PACS: they name the patient as the series does."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: AsJson = False,
) -> int:
    """Predict masks, or classes, with a trained model."""
    gc.set_threshold(NEW_OBJECTS)
    from striate.cli.screen import Screen, show_json
    from striate.core.errors import MemoryLimitError
    from striate.core.files import read_json
    from striate.workflows.predict import predict

    progress = Screen(quiet=as_json)
    found = predict(
        model, inputs, out, save_probabilities=save_probabilities, save_uncertainty=save_uncertainty,
        uncertainty=uncertainty, ensemble=ensemble or (), tta=tta, crf=crf, exact=exact, dicom_seg=dicom_seg, engine=engine,
        dry_run=dry_run, progress=progress,
    )  # fmt: skip
    if not isinstance(found, list):
        show_json(found.document) if as_json else _show_foreseen(found.document)
        return MemoryLimitError.exit_code if found.document["left_out"] else 0  # as the call itself
    if (out / "predictions.csv").exists() or not (out / "findings.json").exists():
        _show_whole(out, as_json=as_json)
        return 0
    findings, record = read_json(out / "findings.json"), read_json(out / "record.json")
    if as_json:
        show_json(_document(found, findings, out, record))
    else:
        _show(found, findings, out, record)
    return 0


def _show_foreseen(document: dict[str, Any]) -> None:
    """Print the cases, the engine, the time where it is known, and where everything would be written."""
    from striate.cli.screen import say, table
    from striate.core.machine import show_bytes, show_seconds

    rows = []
    for case in document["cases"]:
        grid = [" × ".join(f"{value:.4g}" for value in case[key]) for key in ("shape", "spacing_mm")]
        rows.append([case["case"], ", ".join(case["channels"]), *grid, str(case.get("windows", ""))])
    table(rows[:ROWS_SHOWN], ["case", "channels", "voxels", "mm", "windows, at most" if document["windows"] else ""])
    if len(rows) > ROWS_SHOWN:
        say(f"  and {counted(len(rows) - ROWS_SHOWN, 'more case')}: see --json")
    engine = document["engine"]
    say(f"{' '.join(filter(None, (engine['name'], engine['precision']))) or 'engine'}: {engine['reason']}")
    if document["network_s"] is not None:
        time_s, windows = show_seconds(document["network_s"]), counted(document["windows"], "window")
        say(
            f"the network would take about {time_s} for {windows}, as measured here; reading and writing come beside it"
        )
    if document["kept"]:
        say(f"{counted(len(document['kept']), 'case')} of {len(rows)} kept from a call that was stopped")
    disk = document["disk"]
    free = f", {show_bytes(disk['free_bytes'])} free there" if disk["free_bytes"] is not None else ""
    say(f"disk: up to about {show_bytes(disk['needed_bytes'])}{free}")
    for left in document["left_out"][:ROWS_SHOWN]:
        say(f"left out: {left['reason']}")
    if len(document["left_out"]) > ROWS_SHOWN:
        say(f"  and {counted(len(document['left_out']) - ROWS_SHOWN, 'more case')}: see --json")
    count = counted(len(rows) - len(document["left_out"]), "case")
    say(f"{count} would be predicted into {document['out']}; nothing was written")


def _show_whole(out: Path, *, as_json: bool) -> None:
    """Show what a model of whole images said: its table of classes, or how well it reconstructs."""
    from striate.cli.classes import predicted_classes, show_predicted
    from striate.cli.screen import say, show_json
    from striate.cli.train import show_reconstructions
    from striate.core.files import read_json
    from striate.core.machine import show_bytes, show_seconds
    from striate.measure.anomaly import scores_of
    from striate.measure.class_table import FILE

    record = read_json(out / "record.json")
    document = {
        "out": out, "peak_rss_bytes": record["facts"]["peak_rss_bytes"], "duration_s": record["duration_s"],
    }  # fmt: skip
    if (out / FILE).exists():
        multi_label = bool(record["facts"]["task"]["multi_label"])
        if as_json:
            limits = record["facts"]["limits"]
            show_json({**document, "limits": limits, **predicted_classes(out, multi_label=multi_label)})
            return
        show_predicted(out, multi_label=multi_label)
    else:
        summary = read_json(out / "evaluation.json")["summary"]
        if as_json:
            show_json({**document, "summary": summary, "anomaly": scores_of(out)})
            return
        show_reconstructions(summary)
    say(f"{show_seconds(record['duration_s'])}, peak memory {show_bytes(record['facts']['peak_rss_bytes'])}")
    say(f"Look at it: striate report {quote(str(out))}")


def _document(found: list[Any], findings: dict[str, Any], out: Path, record: dict[str, Any]) -> dict[str, Any]:
    from striate.workflows.dicom_segs import FOLDER

    cases, dicom = {case["case"]: case for case in findings["cases"]}, record["options"].get("dicom_seg")
    return {
        "out": out, "peak_rss_bytes": record["facts"]["peak_rss_bytes"], "duration_s": record["duration_s"],
        "limits": record["facts"]["limits"],
        "cases": [
            {
                **cases[p.case.name], "mask": p.path, "probabilities": p.probabilities, "facts": p.facts,
                **({"dicom_seg": out / FOLDER / f"{p.case.name}.dcm"} if dicom else {}),
            }
            for p in found
        ],
    }  # fmt: skip


def _show(found: list[Any], findings: dict[str, Any], out: Path, record: dict[str, Any]) -> None:
    from striate.cli.screen import say, table
    from striate.core.machine import show_bytes, show_seconds

    rows = [
        [case["case"], name, _quantity(label["volume_ml"], ".2f"), _quantity(label["count"], "g")]
        for case in findings["cases"]
        for name, label in case["labels"].items()
    ]
    if len(rows) <= ROWS_SHOWN:
        table(rows, ["case", "label", "volume mL", "lesions"])
    for prediction in found[:ROWS_SHOWN]:
        seconds = prediction.facts["seconds"]
        stages = ", ".join(f"{name} {show_seconds(value)}" for name, value in seconds.items())
        said = f"{prediction.facts['engine']} {prediction.facts['precision']}"
        say(f"{prediction.case.name}: {show_seconds(sum(seconds.values()))} ({stages}), {said}")
    if "engine" in record["facts"]:
        say(f"{record['facts']['engine']['name']}: {record['facts']['engine']['reason']}")
    for line in _reviews(findings, record["facts"]["limits"]):
        say(line)
    say(f"{len(found)} mask{'s' if len(found) > 1 else ''}, findings.csv and record.json in {out}")
    if record["options"].get("dicom_seg"):
        named = "which names the patient" if len(found) == 1 else "which name the patients"
        say(f"{counted(len(found), 'DICOM segmentation')}, {named}, in {out / 'dicom_seg'}")
    say(f"{show_seconds(record['duration_s'])}, peak memory {show_bytes(record['facts']['peak_rss_bytes'])}")
    say(f"Look at it: striate report {quote(str(out))}")


def _quantity(quantity: dict[str, float], form: str) -> str:
    """Write a number, with its interval where it has one: ``12.30 (10.10 to 15.20)``."""
    value = f"{quantity['value']:{form}}"
    if "low" not in quantity or "high" not in quantity:
        return value
    return f"{value} ({quantity['low']:{form}} to {quantity['high']:{form}})"


def _reviews(findings: dict[str, Any], limits: list[str]) -> list[str]:
    """Return one line per case that must not be used without review, the lowest expected Dice first; few of many."""
    from striate.reporting.own_reason import own_reason

    judged = [(case["case"], case["review"]) for case in findings["cases"] if "review" in case]
    needed = [(name, review) for name, review in judged if review["needed"]]
    needed.sort(key=lambda pair: 1.0 if pair[1]["expected_dice"] is None else pair[1]["expected_dice"])
    lines = [
        f"do not use without review: {name}: {own_reason(review['reason'], limits, name)}" for name, review in needed
    ]
    more = len(lines) - REVIEWS_SHOWN
    told = f"and {counted(more, 'more case')}: see findings.csv, or the report"
    return lines if more <= 0 else [*lines[:REVIEWS_SHOWN], told]
