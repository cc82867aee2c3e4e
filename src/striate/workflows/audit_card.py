"""The model card after an audit: the card of training (Mitchell et al., FAT* 2019) with what the audit adds to each section."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from striate.core.counted import counted
from striate.core.files import read_json
from striate.data.cohort import Cohort
from striate.model.card import write_card
from striate.model.model import Model

UNKNOWN = "not recorded"
_FILES = ("dataset.json", "dataset_description.json")
_TEXTS = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "COPYING")


def card_part(model: Model, cohort: Cohort, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of the card, the licence of the cohort, and who is under-represented."""
    licence, groups = licence_of(cohort), document["subgroups"]
    few = list(groups.get("under_represented") or [])
    sections = {title: list(lines) for title, lines in _sections(write_card(model.plan, model.facts)).items()}
    n = document["cohort"]["measured_subjects"]
    measured = f"{counted(document['cohort']['measured_cases'], 'case')} of {counted(n, 'subject')}"
    sections["Factors"] = [line for line in sections["Factors"] if "not measured by training" not in line]
    sections["Factors"] += _factors(groups, few)
    sections["Evaluation data"].append(
        f"Audit: cohort {cohort.name}, {measured} that did not teach the model; licence: {licence or UNKNOWN}."
    )
    sections["Evaluation data"] += document["cohort"]["notes"]
    sections["Quantitative analyses"] += [
        f"Audit, {row['con'].lower()}: {row['sentence']} ({counted(row['n_subjects'], 'subject')})"
        for row in document["answers"]
        if row["n_subjects"] and row["part"] != "card"
    ]
    sections["Training data"].append(
        f"Licence of the training data: {_training_licence(licence, *document['cohort']['teaching_images'])}."
    )
    missing = [part for part, told in document["parts"].items() if told["status"] != "done"]
    if missing:
        names = ", ".join(part.replace("_", " ") for part in missing)
        sections["Caveats and recommendations"].append(f"Not, or only partly, audited: {names}.")
    return {
        "n_subjects": n, "sections": sections, "licence": licence, "under_represented": few,
        "not_taught": groups.get("not_taught") or [],
    }  # fmt: skip


def text_of(title: str, sections: Mapping[str, Sequence[str]]) -> str:
    """Return the card as Markdown."""
    body = "".join(f"\n## {name}\n" + "".join(f"- {line}\n" for line in lines) for name, lines in sections.items())
    return f"# {title}\n{body}"


def licence_of(cohort: Cohort) -> str | None:
    """Return the licence that a cohort's folder states; None where it states none."""
    if cohort.root is None:
        return None
    folder = cohort.root if cohort.root.is_dir() else cohort.root.parent
    for name in _FILES:
        try:
            told = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for key in ("License", "Licence", "license", "licence"):
            if isinstance(told, dict) and told.get(key):
                return str(told[key]).strip()
    for name in _TEXTS:
        try:
            lines = (folder / name).read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            continue
        first = next((line.strip() for line in lines if line.strip()), "")
        return f"{first[:100]} ({name})" if first else None
    return None


def _training_licence(licence: str | None, held: int, taught: int) -> str:
    """Return the licence of a cohort that holds `held` of the `taught` images that the model learned from."""
    if licence is None or not held:
        return UNKNOWN
    return (
        licence if held == taught else f"{licence}, for {held} of {counted(taught, 'image')}; of the others {UNKNOWN}"
    )


def _sections(card: str) -> dict[str, list[str]]:
    """Return title → lines of a card."""
    found: dict[str, list[str]] = {}
    for line in card.split("\n"):
        if line.startswith("## "):
            found[line[3:]] = []
        elif line.startswith("- ") and found:
            found[list(found)[-1]].append(line[2:])
    return found


def _factors(groups: Mapping[str, Any], few: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for column in groups.get("columns") or []:
        told = "; ".join(f"{g['name']}: {g['mean']:.2f} (n = {g['n_subjects']})" for g in column["groups"])
        verdict = "differ by more than chance" if column["differs"] else "no difference beyond chance was found"
        lines.append(
            f"{column['measure']} by {column['name']}: {told}; {verdict} (p = {column['p_corrected']:.2g}, corrected)."
        )
    lines += [
        f"Under-represented: {f['column']} {f['group']}, {f['n_subjects']} of {counted(f['of'], 'subject')}."
        for f in few
    ]
    lines += [
        f"No training subject of this cohort: {f['column']} {f['group']}." for f in groups.get("not_taught") or []
    ]
    lines += [f"Not compared: {name}, {why}." for name, why in (groups.get("skipped") or {}).items()]
    return lines or ["The cohort names no groups."]


def read_part(path: Path) -> dict[str, Any]:
    """Read a part of an audit that was finished before."""
    return read_json(path)
