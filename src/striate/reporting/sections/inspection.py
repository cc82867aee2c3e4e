"""Inside a network, on one scan: its steps as a graph, the maps of each, and the sums that made single numbers of them.

The graph, the maps and the sums are drawn by the page's script from the document; without it there are the scan with the
point, the chain of largest terms from the output back to the image, and some maps of each stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from striate.core.counted import counted
from striate.reporting.figures.network import KINDS, QUIET
from striate.reporting.figures.overlay import picture
from striate.reporting.folder import INSPECTION, Folder
from striate.reporting.inspection_pictures import Pictures, Planes, source_of
from striate.reporting.inspection_stages import Stage, Step, colour_of, stages_of, steps_of
from striate.reporting.numbers import compact, fixed, number
from striate.reporting.section import Section

TITLE = "Inside the network"
STILL_MAPS, STILL_STAGES = 8, 24
"""Maps of a stage, and stages, that are shown where no script runs."""
LONG_CHAIN = 40
"""Steps of a chain beyond which those are left out that only rescale."""
MOST_VALUES = 4096


def make(folder: Folder) -> Section:
    """Return what ``inspection.json`` holds, for readers and for the page's script."""
    document = folder.inspection
    nodes = [node for node in document.get("nodes") or [] if isinstance(node, dict)]
    if not nodes:
        why = folder.why.get(INSPECTION, f"{INSPECTION} holds no steps.")
        return Section("inspection", TITLE, absent=f"There is nothing to look into: {why}")
    tile: dict[str, Any] = document.get("tile") or {}
    size = [int(n) for n in nodes[0]["shape"][1:]]
    pictures, planes = Pictures(folder.path), Planes({**tile, "shape": size}, len(size))
    steps = steps_of(nodes, size)
    stages = stages_of(steps)
    top = _top(document, nodes[0], pictures, planes)
    chain, left_out = _chain(document, nodes, steps, pictures, planes)
    shown = [_node(node, step, pictures) for node, step in zip(nodes, steps, strict=True)]
    data: dict[str, Any] = {
        "told": told(document),
        "facts": _facts(document, nodes),
        "top": top,
        "chain": chain,
        "left_out": left_out,
        "stages": [s for s in (_still(stage, nodes, pictures, planes) for stage in stages) if s][:STILL_STAGES],
        "kinds": [(kind, colour_of(kind)) for kind in dict.fromkeys(s.kind for s in steps if s.kind not in ("input",))],
        "aspect": planes.aspect,
        "live": folder.live is not None,
        "broken": pictures.broken,
        "document": {
            "nodes": shown,
            "stages": [stage.plain() for stage in stages],
            "sums": document.get("sums") or {},
            "chain": document.get("chain") or [],
            "asked": document.get("asked"),
            "channels": [str(name) for name in tile.get("channels") or []],
            "plane": {**planes.plain(), "size": size, "mm": tile.get("spacing_mm"), "at": document.get("at_tile")},
            "live": folder.live,
        },
    }
    return Section("inspection", TITLE, data)


def told(document: Mapping[str, Any]) -> str:
    """Return in a sentence or two what is looked at and what the network says there."""
    if document.get("told"):
        return str(document["told"])
    output: Mapping[str, Any] = document.get("output") or {}
    at = document.get("at") or []
    place = f"voxel ({', '.join(str(v) for v in at)}) of {document.get('case')}" if at else str(document.get("case"))
    name, share = output.get("name"), number(output.get("probability"))
    says = f" says {name}" if name else " gives"
    if share is not None:
        says += f" with a probability of {fixed(100 * share, 1)} %"
    elif (value := number(output.get("value"))) is not None:
        says += f" {compact(value)}" if not name else f" with {compact(value)}"
    what = f" ({output['what']})" if output.get("what") else ""
    return f"This is {place}. There the network{says}{what}."


def _facts(document: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    model: Mapping[str, Any] = document.get("model") or {}
    tile: Mapping[str, Any] = document.get("tile") or {}
    world = document.get("at_world_mm")
    size = " × ".join(str(n) for n in nodes[0]["shape"][1:])
    corner = tile.get("corner")
    rows = [
        ("Network", str(model.get("network") or "–")),
        ("Task", str(model.get("task") or "–")),
        ("Parameters", compact(model.get("parameters"))),
        ("Multiplications", compact(model.get("macs"))),
        ("Steps", str(len(nodes) - 1)),
        ("Window", size + (f" from ({', '.join(map(str, corner))})" if corner else "")),
        ("Channels", ", ".join(str(name) for name in tile.get("channels") or []) or "–"),
        ("Place in mm", ", ".join(fixed(v, 1) for v in world) if world else "–"),
    ]
    return [row for row in rows if row[1] != "–"]


def _top(
    document: Mapping[str, Any], image: Mapping[str, Any], pictures: Pictures, planes: Planes
) -> dict[str, Any] | None:
    """Return the channels of the tile's plane, the first one with what was predicted, and where the point lies."""
    given: Mapping[str, Any] = document.get("image") or {}
    channels = [(str(c["name"]), pictures.array(str(c["file"]))) for c in given.get("channels") or []]
    shown = [(name, pixels) for name, pixels in channels if pixels is not None]
    if not shown:
        return None
    mask = pictures.array(str(given["prediction"])) if given.get("prediction") else None
    found = []
    for n, (name, pixels) in enumerate(shown):
        mm = planes.size[0] * planes.mm[0] / pixels.shape[0], planes.size[1] * planes.mm[1] / pixels.shape[1]
        inside = mask > 0 if mask is not None and n == 0 and mask.shape == pixels.shape else None
        drawn = picture(pixels, mm, outlines=() if inside is None or not inside.any() else (inside,))
        found.append({"source": drawn, "name": name, "outlined": inside is not None and bool(inside.any())})
    at = document.get("at_tile")
    return {"pictures": found, "spot": planes.spot(at[-len(image["shape"]) + 1 :] if at else None, image["shape"])}


def _node(node: Mapping[str, Any], step: Step, pictures: Pictures) -> dict[str, Any]:
    """Return what the script needs of a node."""
    maps, filters = node.get("maps"), node.get("filters")
    values = node.get("values")
    return {
        "id": step.id,
        "layer": step.layer,
        "operation": str(node.get("operation")),
        "kind": step.kind,
        "colour": colour_of(step.kind),
        "level": step.level,
        "shape": node["shape"],
        "sources": node.get("sources") or [],
        "parameters": node.get("parameters"),
        "macs": node.get("macs"),
        "field": node.get("receptive_field"),
        "field_mm": node.get("receptive_field_mm"),
        "at": node.get("at"),
        "axes": node.get("axes"),
        "dead": node.get("dead"),
        "closed": node.get("closed"),
        "statistics": node.get("statistics"),
        "maps": _sheet(maps, pictures),
        "filters": _sheet(filters, pictures),
        "values": values[:MOST_VALUES] if isinstance(values, list) else None,
    }


def _sheet(sheet: Any, pictures: Pictures) -> dict[str, Any] | None:
    """Return a sheet with its picture in place of the file's name."""
    if not isinstance(sheet, dict) or not sheet.get("file"):
        return None
    source = pictures.source(str(sheet["file"]))
    return None if source is None else {**{k: v for k, v in sheet.items() if k != "file"}, "src": source}


def _still(
    stage: Stage, nodes: Sequence[Mapping[str, Any]], pictures: Pictures, planes: Planes
) -> dict[str, Any] | None:
    """Return some maps of the last step of a stage that has any."""
    by_id = {node["id"]: node for node in nodes}
    for step in reversed(stage.steps):
        node = by_id[step.id]
        maps = node.get("maps")
        if step.kind == "input" or not isinstance(maps, dict):
            continue
        units = list(maps["units"])[:STILL_MAPS]
        tiles = [(unit, pictures.tile(maps, unit)) for unit in units]
        shown = [(f"map {unit}", source_of(tile)) for unit, tile in tiles if tile is not None]
        what = f"{node['operation']}, {_size(node['shape'])}"
        return {"name": stage.name or "the network", "what": what, "tiles": shown} if shown else None
    return None


def _size(shape: Sequence[int]) -> str:
    if len(shape) == 1:
        return counted(shape[0], "number")
    return f"{counted(shape[0], 'map')} of {' × '.join(str(n) for n in shape[1:])}"


def _chain(
    document: Mapping[str, Any],
    nodes: Sequence[Mapping[str, Any]],
    steps: Sequence[Step],
    pictures: Pictures,
    planes: Planes,
) -> tuple[list[dict[str, Any]], int]:
    """Return the steps of the chain from the output to the image, and how many are left out because they only rescale."""
    sums: Mapping[str, Any] = document.get("sums") or {}
    by_id, kinds = {n["id"]: n for n in nodes}, {s.id: s.kind for s in steps}
    keys = [key for key in document.get("chain") or [] if key in sums]
    found = [_link(sums[key], by_id, kinds, pictures, planes) for key in keys]
    if found and (first := _largest(sums[keys[-1]])) is not None and kinds.get(first["source"]) == "input":
        made = {**first, "node": first["source"], "value": first["input"], "terms": []}
        found.append(_link(made, by_id, kinds, pictures, planes))
    if len(found) <= LONG_CHAIN:
        return found, 0
    kept = [one for n, one in enumerate(found) if n == 0 or one["kind"] not in QUIET]
    return kept, len(found) - len(kept)


def _largest(one: Mapping[str, Any]) -> Mapping[str, Any] | None:
    terms = one.get("terms") or []
    return terms[0] if terms else None


def _link(
    one: Mapping[str, Any],
    by_id: Mapping[int, Mapping[str, Any]],
    kinds: Mapping[int, str],
    pictures: Pictures,
    planes: Planes,
) -> dict[str, Any]:
    """Return one step of the chain."""
    node, unit, at = by_id[one["node"]], int(one["unit"]), list(one.get("at") or [])
    kind = kinds[one["node"]]
    tile = pictures.tile(node.get("maps"), unit)
    image = kind == "input"
    if tile is None and image:
        channels = (by_id[one["node"]].get("image") or {}).get("channels") or []
        tile = pictures.array(str(channels[unit]["file"])) if unit < len(channels) else None
    largest = _largest(one)
    return {
        "kind": kind,
        "colour": colour_of(kind),
        "operation": "the image" if image else str(node["operation"]),
        "layer": "" if image else str(node.get("layer") or ""),
        "unit": unit,
        "word": "channel" if image else "map" if len(node["shape"]) > 1 else "unit",
        "place": ", ".join(str(v) for v in at),
        "value": _short(one.get("value")),
        "source": None if tile is None else source_of(tile),
        "spot": planes.spot(at, node["shape"]),
        "share": None if largest is None else _product(largest),
        "link": f"n{node['id']}.u{unit}" + (f".at{','.join(str(v) for v in at)}" if at else ""),
    }


def _product(term: Mapping[str, Any]) -> str:
    weight = number(term.get("weight"))
    if weight == 1:
        return _short(term.get("product"))
    return f"{_short(weight)} × {_short(term.get('input'))} = {_short(term.get('product'))}"


def _short(value: Any) -> str:
    """Write a value with three digits."""
    found = number(value)
    if found is None:
        return "–"
    return compact(found) if found == 0 or not 1e-3 <= abs(found) < 1 else f"{found:.3g}".replace("-", "−")


KIND_NAMES = {**{kind: kind for kind in KINDS}, "joining": "joining of paths", "dense": "matrix product"}
"""Kinds as the legend names them."""
