"""BIDS: ``sub-01[/ses-01]/anat/sub-01_FLAIR.nii.gz``, masks in ``derivatives/PIPELINE`` under the same subject.

Definition: https://bids-specification.readthedocs.io (entities, ``_mask``, ``_dseg``). One case per subject and session;
a channel is the suffix with the entities that tell images of one session apart (``ce-gadolinium_t1w``).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from striate.core.case import Case
from striate.core.counted import counted, has_or_have
from striate.core.errors import LayoutError, expected
from striate.io.layouts.layout import Layout
from striate.io.layouts.listing import entries, folders_in, images_in, listed, modality_of
from striate.io.layouts.naming import channel_name, known
from striate.io.read import stem

_DATATYPES = ("anat", "pet", "ct")
_MASKS = ("mask", "dseg")
_OTHER = ("probseg", "defacemask")
_PLACE = ("sub", "ses")
_BRAIN = ("brain", "head", "BrainMask")


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    entities: dict[str, str]
    suffix: str

    @property
    def session(self) -> tuple[str, str]:
        return self.entities["sub"], self.entities.get("ses", "")

    @property
    def channel(self) -> str:
        parts = [f"{k}-{v}" for k, v in self.entities.items() if k not in _PLACE]
        return channel_name("_".join([*parts, self.suffix]))


def sniff(path: Path) -> str | None:
    """Recognise subjects' folders with ``anat`` below them."""
    if not path.is_dir():
        return None
    subjects = [p for p in folders_in(path) if p.name.startswith("sub-")]
    scanned = [s for s in subjects if any(True for _ in _images(s))]
    return f"BIDS: {counted(len(scanned), 'subject')} with scans" if scanned else None


def read(path: Path) -> Layout:
    """Read raw images, and masks of derivatives."""
    notes: list[str] = []
    raw = [f for s in folders_in(path) if s.name.startswith("sub-") for f in _images(s)]
    derived = [
        (pipeline.name, f)
        for top in folders_in(path) if top.name == "derivatives"
        for pipeline in [top, *folders_in(top)]
        for s in folders_in(pipeline) if s.name.startswith("sub-")
        for f in _images(s)
    ]  # fmt: skip
    masks = [("raw", f) for f in raw if f.suffix in _MASKS] + [(n, f) for n, f in derived if f.suffix in _MASKS]
    images = _simple_runs([f for f in raw if f.suffix not in (*_MASKS, *_OTHER)])
    shared = _shared_channels(images, path, notes)
    people = _participants(path / "participants.tsv")
    columns = list(dict.fromkeys(column for person in people.values() for column in person))
    cases: list[Case] = []
    names: dict[int, str] = {}
    for session, files in images.items():
        subject, visit = session
        label, raters = _label(session, masks, names)
        metadata = {**known(people.get(f"sub-{subject}", {})), **({"time": visit} if visit else {})}
        name = f"sub-{subject}" + (f"_ses-{visit}" if visit else "")
        channels = {c: files[c] for c in shared}
        cases.append(Case(name, f"sub-{subject}", channels, label, raters, metadata=metadata))
    bare = [c.name for c in cases if c.label is None]
    if bare:
        notes.append(f"{len(bare)} of {counted(len(cases), 'case')} {has_or_have(len(bare))} no mask: {listed(bare)}")
    return Layout("bids", cases, names, modality_of(shared), notes, columns)


def _images(subject: Path) -> list[_File]:
    places = [subject, *(p for p in folders_in(subject) if p.name.startswith("ses-"))]
    folders = [f for place in places for f in folders_in(place) if f.name in _DATATYPES]
    found = []
    for file in (p for folder in folders for p in images_in(folder)):
        *parts, suffix = stem(file).split("_")
        entities = dict(part.split("-", 1) for part in parts if "-" in part)
        if "sub" in entities:
            found.append(_File(file, entities, suffix))
    return found


def _simple_runs(files: list[_File]) -> dict[tuple[str, str], dict[str, Path]]:
    """Return session → channel → file; ``run`` is left out of the name where a session has one run only."""
    runs: dict[tuple[tuple[str, str], str], int] = {}
    for file in files:
        file.entities.setdefault("run", "")
    short = {}
    for file in files:
        run = file.entities.pop("run")
        key = (file.session, file.channel)
        runs[key] = runs.get(key, 0) + 1
        short[id(file)] = run
    sessions: dict[tuple[str, str], dict[str, Path]] = {}
    for file in files:
        name = file.channel
        if runs[file.session, name] > 1:
            name = f"run-{short[id(file)]}_{name}"
        sessions.setdefault(file.session, {})[name] = file.path
    return sessions


def _shared_channels(images: dict[tuple[str, str], dict[str, Path]], path: Path, notes: list[str]) -> list[str]:
    """Return the channels that all sessions have."""
    every = list(dict.fromkeys(c for files in images.values() for c in files))
    shared = sorted(c for c in every if all(c in files for files in images.values()))
    left = [c for c in every if c not in shared]
    if not shared:
        found = "; ".join(f"sub-{s[0]} {listed(f)}" for s, f in list(images.items())[:3])
        raise LayoutError(
            expected(path, f"no channel that all {len(images)} sessions have ({found})", "the same channels are needed in all",
                     "A CSV settles it: subject,flair,label"), path=path,
        )  # fmt: skip
    if left:
        notes.append(f"channels that not every case has were left out: {listed(left, 8)}")
    return shared


def _label(
    session: tuple[str, str], masks: list[tuple[str, _File]], names: dict[int, str]
) -> tuple[Path | None, dict[str, Path]]:
    """Choose the mask of a session; masks of other pipelines are further raters, brain masks are left out."""
    here = [(n, f) for n, f in masks if f.session == session]
    lesions = [(n, f) for n, f in here if f.entities.get("label", f.entities.get("desc", "")) not in _BRAIN]
    if not lesions:
        return None, {}
    ranked = sorted(lesions, key=lambda pair: ("consensus" not in pair[0].lower(), pair[0], pair[1].path.name))
    per_pipeline = [f.entities.get("label") for n, f in ranked if n == ranked[0][0]]
    if len(set(per_pipeline)) > 1:
        raise LayoutError(
            expected(f"case sub-{session[0]}", f"masks of several labels ({listed([str(p) for p in per_pipeline])})",
                     "one label map per case is needed",
                     "Merge them into one _dseg file, or name one in a CSV: subject,flair,label"),
            case=f"sub-{session[0]}",
        )  # fmt: skip
    chosen = ranked[0][1]
    if chosen.suffix == "mask" and "label" in chosen.entities:
        names.setdefault(1, channel_name(chosen.entities["label"]))
    elif chosen.suffix == "dseg":
        names.update(_segments(chosen.path))
    raters = {}
    for pipeline, file in ranked[1:]:
        raters[file.entities.get("desc", pipeline) if file.entities.get("desc") not in raters else file.path.name] = (
            file.path
        )
    return chosen.path, raters


def _segments(mask: Path) -> dict[int, str]:
    """Read the label names of a ``_dseg``: a table beside it, or one further up (BIDS inheritance)."""
    for folder in (mask.parent, *mask.parent.parents[:4]):
        for table in (p for p in entries(folder) if p.name.endswith("dseg.tsv")):
            rows = _table(table)
            return {
                int(r["index"]): channel_name(r["name"])
                for r in rows
                if r.get("index", "").isdigit() and r.get("name") and int(r["index"])
            }
    return {}


def _participants(path: Path) -> dict[str, dict[str, str]]:
    """Read all columns of each subject."""
    rows = _table(path) if path.is_file() else []
    return {
        row["participant_id"]: {k: v for k, v in row.items() if k != "participant_id"}
        for row in rows if row.get("participant_id")
    }  # fmt: skip


def _table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return [
                {k: v for k, v in row.items() if k and isinstance(v, str)}
                for row in csv.DictReader(stream, delimiter="\t")
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(
            expected(path, f"not readable ({error})", "a table with tabs is needed"), path=path
        ) from error
