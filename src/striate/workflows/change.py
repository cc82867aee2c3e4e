"""`change`: two examinations of a subject → what is new, enlarged, shrunken or vanished, and whom to look at first."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.counted import counted
from striate.core.errors import DataError, UsageError, expected
from striate.core.files import filling, hash_file, write_json, write_text
from striate.core.grouped import grouped
from striate.core.kinds import kinds
from striate.core.machine import peak_rss_bytes
from striate.core.optional import require
from striate.core.progress import Progress, Silent
from striate.core.record import Record, Stopwatch
from striate.io.read import hash_image
from striate.measure.change import Change
from striate.measure.finding import CaseFindings
from striate.measure.findings import Findings
from striate.model.model import Model
from striate.trust import triage
from striate.trust.repeatability import FILE as REPEATABILITY
from striate.trust.repeatability import Repeatability, refuse_few
from striate.trust.transform_file import read_transform
from striate.workflows.change_masks import DrawnMasks, GivenMasks, Masks, refuse_other_models
from striate.workflows.change_pair import Finished, PairDone, compare_pair, not_compared, stem_of
from striate.workflows.change_pairs import Given, Pair, pairs_of, two_examinations

PANELS = 24
"""Pairs that are pictured."""


@dataclass(frozen=True)
class Changed:
    """What `change` ends with.

    Attributes
    ----------
    folder
        Where it lies.
    changes
        One per pair of examinations.
    rows
        Whom to look at first.
    report
        The HTML page.
    repeatability
        What was measured where nothing changed between the visits; None where that was not asked for.
    """

    folder: Path
    changes: tuple[Change, ...]
    rows: tuple[triage.Row, ...]
    report: Path
    repeatability: Repeatability | None = None


@kinds
def change(
    model: Model | Path | str | None,
    before: Given,
    after: Given | None,
    out: Path | str,
    *,
    masks: tuple[Path | str, Path | str] | None = None,
    predictions: Path | str | None = None,
    transform: Path | str | None = None,
    subject: str | None = None,
    rescan: bool = False,
    repeatability: Path | str | None = None,
    progress: Progress | None = None,
) -> Changed:
    """Predict the examinations, register each pair, and say what became of every lesion.

    Parameters
    ----------
    model
        A model that draws masks, or the folder of one or of a run; None where `masks` are given.
    before, after
        The earlier and the later examination (an image, or one file per channel); or a cohort and None, of which each subject's
        examinations are compared in order of time.
    out
        New folder: masks, ``changes/SUBJECT_BEFORE_AFTER.nii.gz`` (`striate.trust.change.KINDS`) on the later image's grid,
        ``registered/`` (the earlier image, both masks, the transform), findings, triage, record and report. Pairs of a
        cohort that are done wait in ``OUT.unfinished`` until all are; the same call goes on with them.
    masks
        Earlier and later mask, instead of a model.
    predictions
        Folder of an earlier `predict` of the same model, whose masks are used.
    transform
        File with a rigid transform, mm of the later image → mm of the earlier one; by default it is found.
    subject
        Whose the two examinations are; by default what their names say.
    rescan
        Nothing changed between the examinations: measure how far masks differ then, into ``repeatability.json``.
    repeatability
        Such a file; by default that in the model's folder, if there is one.
    progress
        Who listens; by default nobody.

    Raises
    ------
    UsageError
        When the model draws no masks, options exclude each other, or SimpleITK is not installed.
    DataError
        When an image cannot be read, both examinations are one, no subject has two, or two heads do not fit.
    """
    progress, watch, out = progress or Silent(), Stopwatch(), Path(out)
    pairs, drawn = _asked(model, before, after, masks, transform, subject)
    options = {
        "model": None if drawn is None else drawn.folder, "before": before, "after": after, "out": out,
        "masks": masks, "predictions": predictions, "transform": transform, "subject": subject, "rescan": rescan,
        "repeatability": repeatability,
    }  # fmt: skip
    require("SimpleITK", "itk", "comparing two examinations")
    sha = None if drawn is None else str(drawn.facts.get("weights_sha256", ""))
    known = _repeatability(drawn, repeatability, sha, pairs if rescan else None)
    read = _hashes(pairs)
    with filling(out) as folder:
        seen = _masks(drawn, pairs, masks, predictions, progress)
        asked = {
            "weights_sha256": sha,
            "repeatability": known and known.to_dict(),
            "predictions": predictions,
            "inputs": read,
        }
        finished = Finished(out, asked) if after is None else None
        done = _compare_all(pairs, seen, folder, finished, progress, transform=transform, repeatability=known)
        changes = tuple(pair.change for pair in done)
        rows = _findings(done, folder)
        measured = _measured(done, sha or "", folder, progress) if rescan else None
        _record(options, done, seen, read, sha, folder, watch, progress).write(folder / "record.json")
    if finished is not None:
        finished.remove()
    from striate.workflows.report import report

    return Changed(out, changes, rows, report(out), measured)


def foresee(
    model: Model | Path | str | None,
    before: Given,
    after: Given | None,
    *,
    masks: tuple[Path | str, Path | str] | None = None,
    transform: Path | str | None = None,
    subject: str | None = None,
) -> list[dict[str, str]]:
    """Return the pairs that `change` would compare, as ``subject``, ``before`` and ``after``; nothing is computed.

    Raises
    ------
    UsageError, DataError, ModelError
        As `change`.
    """
    pairs, _ = _asked(model, before, after, masks, transform, subject)
    return [{"subject": later.subject, "before": earlier.name, "after": later.name} for earlier, later in pairs]


def _asked(
    model: Model | Path | str | None,
    before: Given,
    after: Given | None,
    masks: tuple[Path | str, Path | str] | None,
    transform: Path | str | None,
    subject: str | None,
) -> tuple[list[Pair], Model | None]:
    """Return the pairs and the opened model; refuse what excludes each other."""
    if (model is None) == (masks is None):
        raise UsageError(f"change: {'neither' if model is None else 'both'} a model {'nor' if model is None else 'and'} masks"
                         " were given; one of them says what the lesions are.")  # fmt: skip
    if after is None:
        alone = {"--masks": masks, "--transform": transform, "--subject": subject}
        given = next((option for option, value in alone.items() if value is not None), None)
        if given is not None:
            raise UsageError(f"{given} {alone[given]}: it is for two examinations; of a cohort each pair has its own.")
    opened = None if model is None else model if isinstance(model, Model) else Model.open(model)
    if opened is not None:
        refuse_other_models(opened)
    channels = ("image",) if opened is None else opened.channels
    if after is None:
        return pairs_of(before, channels), opened
    return [two_examinations(channels, before, after, subject)], opened


def _repeatability(
    model: Model | None, given: Path | str | None, sha: str | None, rescans: Sequence[Pair] | None
) -> Repeatability | None:
    """Return what is known of noise; nothing where it is to be measured on enough `rescans`."""
    if rescans is not None:
        if given is not None:
            raise UsageError(f"--repeatability {given}: --rescan measures it; leave one of them away.")
        refuse_few(len({later.subject for _, later in rescans}))
        return None
    if given is not None:
        return Repeatability.read(Path(given), sha or "")
    if model is not None and (model.folder / REPEATABILITY).exists():
        return Repeatability.read(model.folder, sha)
    return None


def _masks(
    model: Model | None, pairs: Sequence[Pair], given: Any, predictions: Path | str | None, progress: Progress
) -> Masks:
    """Return where the masks come from."""
    if model is not None:
        return DrawnMasks(model, progress, None if predictions is None else Path(predictions))
    if predictions is not None:
        raise UsageError(f"--predictions {predictions}: --masks was given too; leave one of them away.")
    names = [case.name for case in pairs[0]]
    return GivenMasks(dict(zip(names, map(Path, given), strict=True)), dict(zip(names, pairs[0], strict=True)))


def _hashes(pairs: Sequence[Pair]) -> dict[str, str]:
    cases: dict[str, Case] = {case.name: case for pair in pairs for case in pair}
    for case in cases.values():
        for path in case.channels.values():
            if not path.exists():
                raise DataError(expected(f"case {case.name}", f"no file {path}", "its image is needed"), case=case.name)
    return {f"{case.name}/{name}": hash_image(path) for case in cases.values() for name, path in case.channels.items()}


def _compare_all(
    pairs: Sequence[Pair],
    masks: Masks,
    folder: Path,
    finished: Finished | None,
    progress: Progress,
    **how: Any,
) -> list[PairDone]:
    """Compare every pair; one of a cohort that cannot be compared is reported, one alone is refused."""
    transform = how.pop("transform")
    how["matrix"] = None if transform is None else read_transform(Path(transform))
    done = list[PairDone]()
    with progress.bar("compare", len(pairs)) as bar:
        for index, pair in enumerate(pairs):
            how["pictured"], how["given"] = index < PANELS, isinstance(masks, GivenMasks)
            if finished is None:
                done.append(compare_pair(pair, masks, folder, **how))
            else:
                stem, found = stem_of(pair), finished.get(stem_of(pair))
                if found is None:
                    with finished.filling(stem) as place:
                        try:
                            found = compare_pair(pair, masks, place, **how)
                        except DataError as error:
                            found = not_compared(pair, error)
                        found.write(place)
                finished.copy(stem, folder)
                done.append(found)
            bar.update(index + 1, subject=pair[1].subject)
    for line in grouped((p.change.subject, c.code, c.message) for p in done for c in p.change.warnings):
        progress.warn(line)
    return done


def _measured(done: Sequence[PairDone], sha: str, folder: Path, progress: Progress) -> Repeatability:
    """Fit and write the repeatability to pairs between which nothing changed."""
    names = list(dict.fromkeys(name for pair in done for name in pair.sides))
    rescans = {n: [(p.change.subject, p.sides[n]) for p in done if n in p.sides] for n in names}
    if not names:
        raise DataError(expected("change --rescan", "no pair that could be compared", "scans and rescans are needed"))
    found = Repeatability.fit(rescans, sha)
    found.write(folder / REPEATABILITY)
    for name, label in found.labels.items():
        progress.note(
            f"{name}: the edge of all lesions together moves by {label.total_mm:.3g} mm (SEM),"
            f" of one by {label.lesion_mm:.3g} mm;"
            f" lesions count as new from {label.least_ml:.2g} mL; {counted(label.n_subjects, 'subject')},"
            f" {counted(label.n_lesions, 'lesion')}"
        )
    return found


def _record(
    options: dict[str, Any],
    done: Sequence[PairDone],
    masks: Masks,
    read: dict[str, str],
    sha: str | None,
    folder: Path,
    watch: Stopwatch,
    progress: Progress,
) -> Record:
    written = {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    registered = {f"{p.change.before} to {p.change.after}": p.registration for p in done if p.registration}
    facts = {
        "peak_rss_bytes": peak_rss_bytes(), "weights_sha256": sha, "registrations": registered, "limits": masks.limits,
        "not_compared": sum(not p.change.labels for p in done),
    }  # fmt: skip
    record = Record(
        "change",
        options=options,
        inputs={**read, **masks.read},
        outputs=written,
        facts=facts,
        warnings=progress.warnings,
    )
    return replace(record, **watch.fields())


def _findings(done: Sequence[PairDone], folder: Path) -> tuple[triage.Row, ...]:
    """Write findings and the triage list, for machines and for spreadsheets."""
    cases: dict[str, CaseFindings] = {case.case: case for pair in done for case in pair.cases}
    changes = tuple(pair.change for pair in done)
    Findings(tuple(cases.values()), changes).write(folder)
    rows = triage.triage(changes, cases)
    write_json(folder / "triage.json", triage.to_dict(rows))
    write_text(folder / "triage.csv", _csv(rows))
    return rows


def _csv(rows: Sequence[triage.Row]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["rank", "subject", "before", "after", "priority", "reason"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return stream.getvalue()
