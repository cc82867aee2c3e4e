"""A folder becomes one HTML page that needs nothing else: no network, no fonts, no files beside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any, TypeVar

from markupsafe import Markup

from striate.measure.forgetting import FILE as UPDATE
from striate.reporting.audit import Audit
from striate.reporting.comparison import Comparison
from striate.reporting.folder import Folder
from striate.reporting.numbers import joined
from striate.reporting.section import Section
from striate.reporting.sections import OF_AUDIT, OF_COMPARISON, OF_LEARNING, sections_of

T = TypeVar("T")

SCRIPTS = ("theme.js", "plots.js", "volume.js", "viewer.js")
OF_INSPECTION = ("theme.js", "inspect_maps.js", "inspect_graph.js", "inspect_sum.js", "inspect.js")


def render(path: Path, live: Mapping[str, Any] | None = None) -> str:
    """Return the page about the folder of a run, a prediction, an explanation, an inspection, a comparison or an audit.

    Parameters
    ----------
    path
        The folder.
    live
        ``path`` and ``token`` with which the page of an inspection asks the server that it comes from; no other page may ask.

    Raises
    ------
    DataError
        When `path` is none of them. A missing or broken artefact inside is no error: its section states the reason.
    """
    if (Path(path) / Comparison.FILE).exists():
        return _compared(Comparison(path))
    if (Path(path) / Audit.FILE).exists():
        return _audited(Audit(path))
    folder = Folder(path)
    folder.live = None if live is None or folder.kind != "inspection" else dict(live)
    makers = sections_of(folder.task, folder.kind)
    if folder.calibrated:
        makers = {k: m for k, m in makers.items() if k not in OF_LEARNING}
    if not (folder.path / UPDATE).exists():
        makers = {k: m for k, m in makers.items() if k != "update"}
    if folder.kind == "prediction" and not folder.evaluation:  # what `measures` says of it is enough
        makers = {k: m for k, m in makers.items() if k != "detection"}
    if folder.changes:  # pictures are those of the changes, and a median over both times of a subject means nothing
        first = {"changes": makers["changes"]}
        makers = first | {k: m for k, m in makers.items() if k not in ("headline", "panels", "measures", "changes")}
    else:
        makers = {k: m for k, m in makers.items() if k != "changes"}
    return page(folder, [make_section(folder, key, make) for key, make in makers.items()])


def _compared(folder: Comparison) -> str:
    makers = {k: m for k, m in OF_COMPARISON.items() if k != "invariance" or folder.asked.get("probe")}
    sections = [make_section(folder, key, make) for key, make in makers.items()]
    cohort = Path(str(folder.asked.get("cohort") or "")).name
    count = len(folder.networks)
    title = f"{count} network{'s' * (count != 1)} on {cohort}" if cohort and count else "Networks compared"
    return written(title, f"Comparison {folder.path.resolve().name}", "comparison", sections)


def _audited(folder: Audit) -> str:
    sections = [make_section(folder, key, make) for key, make in OF_AUDIT.items()]
    model, cohort = folder.part("model"), folder.part("cohort")
    labels, channels = _few(model.get("labels") or [], "labels"), _few(model.get("channels") or [], "channels")
    title = f"Audit of {labels or 'a model'} from {channels}"
    started = str(folder.record.get("started") or "")[:10]
    told = f"{model.get('network', '')} on cohort {cohort.get('name', '')}"
    subtitle = " · ".join(part for part in (f"Audit {folder.path.resolve().name}", told, started) if part)
    return written(title, subtitle, "audit", sections)


def make_section(folder: T, key: str, make: Callable[[T], Section]) -> Section:
    """Return a section; where an artefact is readable but of another form, a section that says so."""
    try:
        return make(folder)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        problem = f"{type(error).__name__}: {error}"
        reason = f"This part cannot be shown: an artefact it needs has another form than Striate writes ({problem})."
        return Section(key, key.capitalize(), absent=reason)


def page(folder: Folder, sections: list[Section]) -> str:
    """Return the page that holds `sections` about a run or a prediction."""
    return written(_title(folder), _subtitle(folder), folder.kind, sections, asks=folder.live is not None)


def written(title: str, subtitle: str, kind: str, sections: list[Section], *, asks: bool = False) -> str:
    """Return the page that holds `sections`; every text is escaped, and only our own script may run.

    Where it `asks`, it may ask the server that it comes from, and nobody else.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("striate.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": True}
    script = "\n".join(asset(name) for name in (OF_INSPECTION if kind == "inspection" else SCRIPTS))
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    shown: dict[str, Any] = {
        "title": title,
        "kind": kind,
        "subtitle": subtitle,
        "sections": sections,
        "script": Markup(script),  # noqa: S704  (our own file)
        "style": Markup(asset("report.css")),  # noqa: S704  (our own file)
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        + "; connect-src 'self'" * asks,
        "version": metadata.version("striate"),
    }
    return environment.get_template("page.jinja").render(shown)


def asset(name: str) -> str:
    """Return the text of one of our style or script files."""
    return resources.files("striate.reporting").joinpath("assets", name).read_text(encoding="utf-8")


TITLES = {
    "segmentation": "Segmentation",
    "classification": "Classification",
    "sequence": "Classification",
    "reconstruction": "Reconstruction",
}


def _title(folder: Folder) -> str:
    named = folder.channels if folder.task == "reconstruction" else folder.targets
    words = "channels" if folder.task == "reconstruction" else "classes" if folder.classes else "structures"
    what = _few(named, words) or folder.path.resolve().name
    if folder.kind == "explanation":
        rows = [row for row in folder.explanations.get("explanations") or [] if isinstance(row, dict)]
        labels = dict.fromkeys(str((row.get("target") or {}).get("label")) for row in rows)
        return f"Explanation of {_few(labels, 'labels')}" if labels else f"Explanation {folder.path.resolve().name}"
    if folder.kind == "inspection":
        model = folder.inspection.get("model")
        network = str(model.get("network") or "") if isinstance(model, dict) else ""
        return f"Inside {network or 'the network'} on {folder.inspection.get('case') or folder.path.resolve().name}"
    if folder.kind == "run":
        channels = "" if folder.task == "reconstruction" else _few(folder.channels, "channels")
        return f"{TITLES[folder.task]} of {what}" + (f" from {channels}" if channels else "")
    if folder.changes:
        changed = dict.fromkeys(str(name) for c in folder.changes for name in c.get("labels") or {})
        what = _few(changed, "structures") or what
        subjects = list(dict.fromkeys(str(c.get("subject")) for c in folder.changes))
        return f"Change of {what} in {f'{len(subjects)} subjects' if len(subjects) > 1 else subjects[0]}"
    names = [str(c.get("case")) for c in folder.cases]
    if folder.predictions is not None and folder.task in ("classification", "sequence"):
        names = list(dict.fromkeys(folder.predictions.cases))
    if folder.task == "reconstruction":
        names = [str(c.get("case")) for c in folder.evaluation.get("cases") or []]
    count = len(names) or len(folder.panels)
    word = "Reconstruction" if folder.task == "reconstruction" else "Prediction"
    return f"{word} of {what}" + (f" in {count} cases" if count > 1 else f" in {names[0]}" if names else "")


def _few(names: Collection[str], words: str) -> str:
    """Write up to four names, of more their number."""
    return joined(names) if len(names) < 5 else f"{len(names)} {words}"


def _subtitle(folder: Folder) -> str:
    started = str(folder.record.get("started") or "")[:10]
    kind = "Training run" if folder.kind == "run" else folder.kind.capitalize()
    kind = "Follow-up" if folder.changes else "Calibration" if folder.calibrated else kind
    return " · ".join(part for part in (f"{kind} {folder.path.resolve().name}", started) if part)
