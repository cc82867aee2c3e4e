"""``striate networks [NAME]``: which networks there are, and what one of them is, costs and looks like."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli.options import AsJson

if TYPE_CHECKING:
    from striate.networks.counting import Cost
    from striate.networks.network import Network


def command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of them; all in a table without it.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="VOXELS", help="Voxels per axis, for instance 64,64 or 32,64,64.")
    ] = None,
    channels: Annotated[int, typer.Option(help="Channels of the image.")] = 1,
    classes: Annotated[int, typer.Option(help="Classes, or labels with background.")] = 10,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="One of the network's own options; repeatable.")
    ] = None,
    training: Annotated[bool, typer.Option("--training", help="Count what runs while training.")] = False,
    draw: Annotated[Path | None, typer.Option(help="Draw the network: FILE.svg.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the networks."""
    from striate.cli.screen import show_json

    if name is None:
        _refuse_without_name(size=size, option=option, draw=draw)
        rows = _all(channels, classes, training=training)
        if as_json:
            show_json({"networks": rows})
        else:
            _show_all(rows)
        return
    given = _options(option or [])
    voxels = _size(size) if size is not None else _default_size(name, given)
    network, cost = _counted(name, voxels, channels, classes, given, training=training)
    document = _document(network, name, voxels, given, cost, training=training)
    if draw is not None:
        _draw(draw, name, document["input"]["shape"], cost)
        document["drawing"] = str(draw)
    if as_json:
        show_json(document)
    else:
        _show(document)


def _refuse_without_name(**given: object) -> None:
    from striate.core.errors import UsageError, expected

    alone = next((key for key, value in given.items() if value), None)
    if alone:
        raise UsageError(
            expected(f"--{alone}", f"{given[alone]} without a network", "the name of one is needed before it")
        )


def _options(texts: list[str]) -> dict[str, Any]:
    """Return options from texts such as ``features=[8, 16]``; values are read as YAML."""
    import yaml

    from striate.core.errors import UsageError, expected

    found = {}
    for text in texts:
        key, sign, value = text.partition("=")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(expected("--option", f"'{text}'", "a value as in a plan.yaml is needed")) from error
        if not sign or not key.strip():
            raise UsageError(expected("--option", f"'{text}'", "KEY=VALUE is needed, for instance width=0.25"))
    return found


def _size(text: str) -> tuple[int, ...]:
    from striate.core.errors import UsageError, expected

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            expected("--size", f"'{text}'", "whole numbers of voxels with commas are needed", "Such as 64,64.")
        )
    return tuple(map(int, parts))


def _default_size(name: str, given: dict[str, Any]) -> tuple[int, ...]:
    from striate.networks import load
    from striate.networks.describe import default_size

    return default_size(name, load(name).dims[0], given)


def _counted(
    name: str, size: tuple[int, ...], channels: int, classes: int, given: dict[str, Any], *, training: bool
) -> tuple[Network, Cost]:
    """Return the network on torch's ``meta`` device, and its cost."""
    from striate.core.errors import UsageError, expected
    from striate.networks import cost, refuse_arguments
    from striate.networks.describe import built

    refuse_arguments(name, given)
    options = {key: value for key, value in given.items() if key != "input_size"}
    if "input_size" in given:
        built(name, size, in_channels=channels, out_channels=classes, options=given)
        own = given["input_size"] or size
        if tuple(own) != size:
            raise UsageError(expected("--size", _times(size), f"{_times(own)} is needed, as --option input_size says"))
    counted = cost(name, size, in_channels=channels, out_channels=classes, training=training, **options)
    return built(name, size, in_channels=channels, out_channels=classes, options=given), counted


def _all(channels: int, classes: int, *, training: bool) -> list[dict[str, Any]]:
    """Return one row per network, in its default form."""
    from striate.networks import cost, names
    from striate.networks.describe import default_size, describe

    rows = []
    for name in names():
        told = describe(name)
        size = default_size(name, told.dims[0], {})
        counted = cost(name, size, in_channels=channels, out_channels=classes, training=training)
        row = {key: value for key, value in asdict(told).items() if key != "options"}
        rows.append({**row, "size": size, **_parameters(counted), "macs": counted.macs})
    return rows


def _parameters(cost: Cost) -> dict[str, int]:
    """Return all learned numbers, and those that predict where these are fewer."""
    fewer = {"parameters_run": cost.parameters_run} if cost.parameters_run != cost.parameters else {}
    return {"parameters": cost.parameters, **fewer}


def _document(
    network: Network, name: str, size: tuple[int, ...], given: dict[str, Any], cost: Cost, *, training: bool
) -> dict[str, Any]:
    from striate.networks import SEQUENCE_LENGTH
    from striate.networks.describe import describe, sizes

    told = describe(name)
    time = (SEQUENCE_LENGTH,) if told.task == "sequence" else ()
    steps = {"least": network.least, "step": network.divisor, "most": network.most, "words": sizes(network)}
    return {
        **asdict(told),
        "given": given,
        "input": {"shape": (*time, network.in_channels, *size), "fits": steps},
        "classes": network.out_channels,
        "counted": "training" if training else "predicting",
        **_parameters(cost),
        "macs": cost.macs,
        "activations": cost.activations,
        "receptive_field": cost.receptive_field,
        "layers": [asdict(layer) for layer in cost.layers],
    }


def _draw(path: Path, name: str, shape: tuple[int, ...], cost: Cost) -> None:
    from striate.core.errors import UsageError, expected
    from striate.core.files import write_text
    from striate.reporting.figures.network import network_drawing, short

    if path.suffix.lower() != ".svg":
        raise UsageError(expected("--draw", str(path), "the name of an SVG file is needed", "Such as network.svg."))
    note = f"{short(cost.parameters_run)} parameters · {short(cost.macs)} multiply-accumulates"
    write_text(path, network_drawing(name, shape, cost.layers, cost.blocks, note))


def _show_all(rows: list[dict[str, Any]]) -> None:
    from striate.cli.screen import say, table

    header = ["network", "task", "axes", "image", "parameters", "MACs"]
    cells = [
        [
            row["name"],
            row["task"],
            ", ".join(f"{d}D" for d in row["dims"]),
            _times(row["size"]),
            _counted_parameters(row),
            _whole(row["macs"]),
        ]
        for row in rows
    ]
    table(cells, header)
    say()
    for row in rows:
        say(f"  {row['name']:<{max(len(r['name']) for r in rows)}}  {row['title']}.\n      {row['paper']}")
    say("\nMore of one: striate networks NAME")


def _show(document: dict[str, Any]) -> None:
    from striate.cli.screen import say, table

    shape = document["input"]["shape"]
    say(f"{document['name']}: {document['title']}")
    for title, value in (
        ("paper", document["paper"]),
        ("task", f"{document['task']}; {' or '.join(f'{d}D' for d in document['dims'])}"),
        ("input", f"{_times(shape)}; {document['input']['fits']['words']}"),
        ("counted", f"while {document['counted']}, one {'sequence' if document['task'] == 'sequence' else 'image'}"),
        ("parameters", _counted_parameters(document)),
        ("MACs", _whole(document["macs"])),
        ("activations", _whole(document["activations"])),
        ("sees", f"{_times(document['receptive_field'])} voxels"),
    ):
        say(f"  {title:<12} {value}")
    say("\nOptions")
    given = document["given"]
    for option in document["options"]:
        now = f" (now {_value(given[option['name']])})" if option["name"] in given else ""
        say(f"  {option['name']} = {_value(option['default'])}{now}\n      {option['meaning']}")
    say("\nLayers")
    rows = [
        [
            row["name"] or "(whole)",
            row["kind"],
            _times(row["output_shape"]),
            _whole(row["parameters"]),
            _whole(row["macs"]),
            _times(row["receptive_field"]),
        ]
        for row in document["layers"]
    ]
    table(rows, ["layer", "kind", "output", "parameters", "MACs", "sees"])
    left = document["parameters"] - document.get("parameters_run", document["parameters"])
    if left:
        say(f"  {_whole(left)} parameters are of layers that do not run while {document['counted']}.")
    if "drawing" in document:
        say(f"\nDrawn: {document['drawing']}")


def _times(values: tuple[int, ...]) -> str:
    return "×".join(map(str, values))


def _counted_parameters(told: dict[str, Any]) -> str:
    run = told.get("parameters_run")
    return _whole(told["parameters"]) + ("" if run is None else f" ({_whole(run)} predict)")


def _whole(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _value(value: Any) -> str:
    """Write a value as it stands in a plan."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "not given" if value is None else str(value)
