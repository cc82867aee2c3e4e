"""Why the model said so: of each target the image, what was predicted, and one map per method with its checks.

A map that failed a check says so before anything else.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from striate.core.counted import counted
from striate.core.errors import DataError
from striate.core.machine import show_seconds
from striate.reporting.explanation_panel import ExplanationPanel, read_pictures
from striate.reporting.figures.lines import Series, line_plot
from striate.reporting.figures.overlay import colour_bar, full_colour, picture
from striate.reporting.folder import EXPLANATIONS, Folder
from striate.reporting.numbers import compact, fixed, number
from striate.reporting.section import Section
from striate.reporting.sprites import tile

TITLE = "Why the model said so"
METHODS = {
    "occlusion": ("Occlusion", "how much the score falls when a box is hidden"),
    "gradient_input": ("Gradient × input", "what each voxel adds, to first order"),
    "integrated_gradients": ("Integrated gradients", "what each voxel adds on the way from an empty image"),
    "grad_cam": ("Grad-CAM", "where the maps of a layer speak for it"),
}
CHECKS = {
    "random_weights": "Random weights",
    "faithfulness": "Deletion and insertion",
    "inside": "Inside the target",
}
SHOWN_CHANNELS = 5


def make(folder: Folder) -> Section:
    """Return targets with their maps, feature maps of a layer, and patches that excite a unit."""
    document = folder.explanations
    rows = [row for row in document.get("explanations") or [] if isinstance(row, dict)]
    if not rows:
        why = folder.why.get(EXPLANATIONS, f"{EXPLANATIONS} holds none.")
        return Section("explanations", TITLE, absent=f"There is no explanation to show: {why}")
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(str(row["panel"]), []).append(row)
    failed = [row for row in rows if not row["passed"]]
    targets = [_target(folder, name, some) for name, some in grouped.items()]
    return Section(
        "explanations",
        TITLE,
        {
            "targets": targets,
            "axial": any(target["axial"] for target in targets),
            "failed": len(failed),
            "total": len(rows),
            "features": [_features(folder, one) for one in document.get("features") or []],
            "patches": _patches(folder, document.get("patches")),
        },
    )


def title_of(method: str) -> str:
    """Return the name of a method for readers."""
    return METHODS.get(method, (method, ""))[0]


def _target(folder: Folder, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    try:
        panel, why = ExplanationPanel.read(folder.path / name), ""
    except DataError as error:
        panel, why = None, str(error).replace(f"{folder.path}/", "")
    decided = number(first.get("decided"))
    notes = [] if panel is None or not panel.place else [panel.place]
    if decided is not None and decided < 0.995:
        notes.append(f"the windows that were looked at decide {fixed(100 * decided, 0)} % of the target")
    return {
        "case": first["case"],
        "told": first["target"]["told"],
        "why": why,
        "notes": "; ".join(notes),
        "axial": panel is not None and bool(panel.place),
        "pictures": [] if panel is None else _pictures(panel, str(first["target"]["label"])),
        "methods": [_method(row, panel) for row in sorted(rows, key=lambda row: not row["passed"])],
    }


def _pictures(panel: ExplanationPanel, label: str) -> list[tuple[str, str]]:
    """Return (data URI, caption) of the channels and of what was predicted."""
    images = list(panel.images.items())[:SHOWN_CHANNELS]
    shown = [(picture(image, panel.spacing_mm), name) for name, image in images]
    if panel.prediction is not None and panel.target is not None:
        drawn = picture(images[0][1], panel.spacing_mm, filled=panel.prediction, outlines=(panel.target,))
        shown.append((drawn, f"predicted {label}; outlined: what is explained"))
    return shown


def _method(row: dict[str, Any], panel: ExplanationPanel | None) -> dict[str, Any]:
    title, meaning = METHODS.get(row["method"], (row["method"], ""))
    values = None if panel is None else panel.maps.get(row["method"])
    drawn, bar = "", Markup("")
    if panel is not None and values is not None:
        full, image = full_colour(values), next(iter(panel.images.values()))
        outlines = () if panel.target is None else (panel.target,)
        drawn = picture(image, panel.spacing_mm, values=values, full=full, outlines=outlines)
        bar = colour_bar(full, both=row["method"] != "grad_cam")
    facts = [f"layer {row['layer']}"] if row.get("layer") else []
    if (error := number(row.get("completeness_error"))) is not None:
        facts.append(f"adds up to the score with an error of {compact(100 * error)} %")
    facts += [f"{name} {fixed(100 * share, 0)} %" for name, share in (row.get("channels") or {}).items()]
    seconds = number(row.get("seconds"))
    if seconds is not None:
        facts.append(show_seconds(seconds))
    checks = [c for c in row["checks"] if isinstance(c, dict)]
    return {
        "title": title,
        "meaning": meaning,
        "picture": drawn,
        "bar": bar,
        "facts": " · ".join(facts),
        "failed": [CHECKS.get(str(c["check"]), str(c["check"])).lower() for c in checks if c["passed"] is False],
        "checks": [_check(c) for c in sorted(checks, key=lambda c: c["passed"] is not False)],
        "curves": next((plot for c in checks if c["check"] == "faithfulness" and (plot := _curves(c))), None),
        "file": " · ".join(str(row[name]) for name in ("file", "previous_file") if row.get(name)),
    }


def _check(check: dict[str, Any]) -> dict[str, str]:
    kind, word = {True: ("passed", "passed"), False: ("failed", "failed")}.get(check["passed"], ("unknown", "not made"))
    return {
        "kind": kind,
        "word": word,
        "name": CHECKS.get(check["check"], check["check"]),
        "sentence": check["sentence"],
    }


def _curves(check: dict[str, Any]) -> Markup | None:
    """Draw deletion and insertion, each beside the mean of random orders."""
    series = []
    for name, colour in (("deletion", 6), ("insertion", 7)):
        own, other, shares = check.get(name), check.get(f"{name}_random"), check.get("shares")
        if not (own and other and shares):
            return None
        percent = [100 * float(s) for s in shares]
        series.append(Series(f"random {name}", percent, [float(v) for v in other], 8))
        series.append(Series(name, percent, [float(v) for v in own], colour))
    series.sort(key=lambda one: one.colour != 8)
    return line_plot(series, "% of blocks removed, or put back", "probability of the target", y_range=(0, 1))


def _features(folder: Folder, one: dict[str, Any]) -> dict[str, Any]:
    shown, why = _tiles(folder, str(one["panel"]), [f"map {unit}" for unit in one["units"]])
    told = f"{len(one['units'])} of {counted(one['total'], 'map')}, those that vary most"
    place = f", {one['place']}" if one.get("place") else ""
    return {
        "title": f"Maps of layer {one['layer']}, {one['case']}",
        "tiles": shown,
        "why": why,
        "note": f"{told}{place}.",
    }


def _patches(folder: Folder, one: dict[str, Any] | None) -> dict[str, Any] | None:
    if not isinstance(one, dict):
        return None
    captions = [
        f"{p['case']}, {compact(p['activation'])}, at ({', '.join(fixed(v, 0) for v in p['centre_mm'])}) mm"
        for p in one["patches"]
    ]
    shown, why = _tiles(folder, str(one["panel"]), captions)
    searched = counted(len(one["cases"]), "case")
    note = f"The strongest answers in {searched}, at most three of one case; the first channel is shown."
    return {
        "title": f"What excites map {one['unit']} of layer {one['layer']}",
        "tiles": shown,
        "why": why,
        "note": note,
    }


def _tiles(folder: Folder, name: str, captions: list[str]) -> tuple[list[tuple[str, str]], str]:
    try:
        found = read_pictures(folder.path / name)
    except DataError as error:
        return [], str(error).replace(f"{folder.path}/", "")
    return [(tile(one), caption) for one, caption in zip(found, captions, strict=False)], ""
