"""`Joint`: the cohort of a finished run and a new one as a single cohort, in which nobody teaches and judges.

A subject of both keeps the side that it had; one that the earlier cohort keeps for testing neither teaches nor judges. It is the
same where the name is the same or an image is; an examination that both cohorts hold counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from striate.core.case import Case
from striate.core.counted import counted, has_or_have, is_or_are, some
from striate.core.errors import DataError, FormatError, ModelError, UsageError, expected
from striate.core.files import read_json
from striate.core.progress import Progress, each
from striate.core.record import Record
from striate.data.cohort import Cohort
from striate.data.split import Split
from striate.inference.inputs import match
from striate.io.read import hash_image, read_label
from striate.model.model import Model
from striate.training.run import Run
from striate.workflows.options import Options, split_of
from striate.workflows.unseen import check_labels

OUT_OF_SCOPE = "An update learns the labels that the model knows; for others train anew: striate train COHORT --out RUN"
LONGEST = 80
"""Characters of the name of a joint cohort, which becomes a file name."""


@dataclass(frozen=True, slots=True)
class Joint:
    """Both cohorts, split by subject; `Split.earlier` names the cases of the earlier one."""

    cohort: Cohort
    split: Split

    def counts(self) -> dict[str, int]:
        """Return how many subjects of either cohort teach and judge."""
        earlier, found = set(self.split.earlier), dict[str, int]()
        for whose in ("earlier", "new"):
            for side in ("train", "validation"):
                names = [n for n in getattr(self.split, side) if (n in earlier) == (whose == "earlier")]
                found[f"{whose}_{side}"] = len({self.cohort.case(name).subject for name in names})
        return found


def join(run: Run, model: Model, before: Cohort | None, new: Cohort, options: Options, progress: Progress) -> Joint:
    """Join the cohort that a model learned from with a new one.

    Parameters
    ----------
    run, model
        What learns more.
    before
        The cohort of the run; None where it is not at hand.
    new
        What is learned in addition.
    options
        Who of the new subjects judges: ``holdout``, ``fold``, ``seed``.
    progress
        Who listens.

    Raises
    ------
    DataError
        When channels or labels are others than the model's, the earlier cohort is not the one that the model learned from,
        or no subject of the new one is left to learn from or to judge.
    UsageError
        When a subject shall be held out that taught the model.
    """
    known = Split.read(run / "split.json")
    fresh = _fitting(model, new, progress)
    old = [] if before is None else _earlier(run, model, before, known, progress)
    taught = frozenset(model.facts.get("training_images") or ())
    if before is None and not taught:
        progress.warn(
            f"model {model.folder}: which images it learned from is not known. What it says of new held-out subjects holds only"
            " if none of them is among these."
        )
    hashes = {c.name: _hashes(c) for c in each(progress, "Read", fresh, len(fresh))}
    aside = [] if before is None else [match(c, model.channels) for c in before.cases if c.split == "test"]
    of_old = {c.name: _hashes(c) for c in each(progress, "Read earlier", [*old, *aside], len(old) + len(aside))}
    if before is not None:
        _refuse_others(run, before, old, of_old, taught)
    owners = {digest: case.subject for case in (*old, *aside) for digest in of_old[case.name]}
    sides = {case.subject: "test" for case in aside} | _sides(run, known)
    pairs = [(c.subject, owners[h]) for c in fresh for h in hashes[c.name] if h in owners]
    alias = dict(
        sorted(pairs, key=lambda pair: sides.get(pair[1]) != "train")
    )  # of several owners one who does not teach
    held = _held_out(run, taught)
    sides |= {c.subject: "validation" for c in fresh if c.subject not in alias and hashes[c.name] & held}
    sides |= {c.subject: "train" for c in fresh if c.subject not in alias and hashes[c.name] & taught}
    seen = [c for c in fresh if hashes[c.name] <= owners.keys()]
    if seen:
        progress.note(
            f"{counted(len(seen), 'case')} of {new.name} {is_or_are(len(seen))} in the earlier cohort too and not counted twice:"
            f" {some([c.name for c in seen])}"
        )
    left = [replace(c, subject=alias.get(c.subject, c.subject)) for c in fresh if c not in seen]
    if not left:
        raise DataError(
            expected(f"cohort {new.name}", f"all of its {counted(len(fresh), 'case')} are in the cohort of the run already",
                     "examinations are needed that are new")
        )  # fmt: skip
    split = _split(replace(new, cases=tuple(left), channels=model.channels), sides, options, progress)
    return _joined(model, before, new.name, old, aside, left, split)


def _fitting(model: Model, new: Cohort, progress: Progress) -> list[Case]:
    """Return the cases with a mask, with the model's channels; refuse other channels and labels."""
    wanted = ", ".join(model.channels)
    try:
        fitting = [match(case, model.channels) for case in new.labelled]
    except ModelError:
        fitting = []
    if new.labelled and (not fitting or len(new.channels) != len(model.channels)):
        mine, theirs = ({name.casefold() for name in names} for names in (model.channels, new.channels))
        differ = (
            [f"{', '.join(sorted(mine - theirs))} {is_or_are(len(mine - theirs))} missing"] if mine - theirs else []
        )
        differ += (
            [f"{', '.join(sorted(theirs - mine))} {is_or_are(len(theirs - mine))} not known"] if theirs - mine else []
        )
        raise DataError(
            expected(f"cohort {new.name}", f"channels {', '.join(new.channels)}",
                     f"those of the model are needed: {wanted} ({'; '.join(differ)})")
        )  # fmt: skip
    if not fitting:
        raise DataError(
            expected(
                f"cohort {new.name}", f"{counted(len(new.cases), 'case')}, none with a mask", "masks teach an update"
            )
        )
    without = len(new.cases) - len(fitting)
    if without:
        progress.warn(
            f"cohort {new.name}: {without} of {counted(len(new.cases), 'case')} {has_or_have(without)} no mask and"
            f" {is_or_are(without)} left out."
        )
    check_labels(model, new, progress)
    names = {value: name for value, name in model.plan.task.label_names.items() if value}
    told, held = {value for value in new.label_names if value}, set[int]()
    if told:
        _refuse_labels(model, new, told - names.keys(), names.keys() - told, new.label_names, names)
    for case in each(progress, "Read masks", fitting, len(fitting)):
        held |= {value for value in read_label(Path(str(case.label))).values() if value}
    _refuse_labels(model, new, held - names.keys(), set(), new.label_names, names)
    for value in sorted(names.keys() - held):
        progress.warn(
            f"cohort {new.name}: no mask holds {names[value]} (value {value}). Where it is there and was not drawn, the update"
            " teaches that it is not there."
        )
    return fitting


def _refuse_labels(
    model: Model, new: Cohort, more: set[int], fewer: set[int], theirs: Mapping[int, str], mine: Mapping[int, str]
) -> None:
    if more or fewer:
        differ = [f"the model does not know {theirs.get(v, f'value {v}')}" for v in sorted(more)]
        differ += [f"{mine[v]} is missing" for v in sorted(fewer)]
        raise DataError(
            expected(f"cohort {new.name}", f"other labels than the model's: {'; '.join(differ)}",
                     f"those of the model are needed: {', '.join(f'{v} {n}' for v, n in sorted(mine.items()))}", OUT_OF_SCOPE)
        )  # fmt: skip


def _earlier(run: Run, model: Model, before: Cohort, known: Split, progress: Progress) -> list[Case]:
    """Return those cases of the run that its cohort still holds, with their side."""
    there = {case.name: case for case in before.cases if case.label is not None}
    sides = {name: side for side in ("train", "validation") for name in getattr(known, side)}
    cases = [replace(match(there[name], model.channels), split=side) for name, side in sides.items() if name in there]
    lost = [name for name in sides if name not in there]
    if not cases:
        raise DataError(
            expected(f"cohort {before.name}", f"none of the {counted(len(sides), 'case')} of {run.folder} is in it",
                     "the cohort that the run learned from is needed", "Name it with --earlier, or leave --earlier away.")
        )  # fmt: skip
    if lost:
        progress.warn(
            f"cohort {before.name}: {counted(len(lost), 'case')} of the run {is_or_are(len(lost))} not in it any more, neither"
            f" rehearsed nor measured: {some(lost)}."
        )
    return cases


def _refuse_others(
    run: Run, before: Cohort, old: list[Case], hashes: Mapping[str, frozenset[str]], taught: frozenset[str]
) -> None:
    """Refuse a cohort whose cases have the names of the run's and hold other images."""
    teachers = [case for case in old if case.split == "train"]
    judges = [case.name for case in old if case.split == "validation" and hashes[case.name] & taught]
    if judges or (taught and teachers and not any(hashes[case.name] & taught for case in teachers)):
        got = f"images of {some(judges)} taught the model" if judges else "none of its images taught the model"
        want = "the cohort that the run learned from, with the cases that it held out, is needed"
        raise DataError(expected(f"cohort {before.name}", f"{got} of {run.folder}", want, "Name it with --earlier."))


def _sides(run: Run, known: Split) -> dict[str, str]:
    """Return subject → the side that it has in the run."""
    owners = {str(f["case"]): str(f["subject"]) for f in read_json(run / "check.json")["facts"]}
    return {owners.get(name, name): side for side in ("validation", "train") for name in getattr(known, side)}


def _split(new: Cohort, sides: Mapping[str, str], options: Options, progress: Progress) -> Split:
    """Split the new cases; subjects that the run knows keep their side, and only of the others some are drawn to judge."""
    owners = {case.name: case.subject for case in new.cases}
    known, wished = sorted({*owners.values()} & sides.keys()), list(options.get("holdout") or ())
    asked = {owners.get(name, name) for name in wished}
    if taught := [subject for subject in known if subject in asked and sides[subject] == "train"]:
        raise UsageError(
            f"holdout {some(taught)}: the model learned from this subject, so it cannot judge; hold out others."
        )
    if known:
        progress.note(
            f"{counted(len(known), 'subject')} of {new.name} {is_or_are(len(known))} in the earlier cohort too, by name or"
            f" image, and stay on the side that they had there: {some(known)}. Where a name stands for two people, rename one."
        )
    side = {case.name: sides[case.subject] for case in new.cases if case.subject in sides and case.split != "test"}
    free = tuple(case for case in new.cases if case.subject not in sides)
    usable = any(case.split != "test" for case in free)
    if usable and asked and asked <= set(known):
        side |= {case.name: "train" for case in free if case.split != "test"}
    elif usable:
        left = [name for name in wished if owners.get(name, name) not in known]
        drawn = split_of(replace(new, cases=free), Options(**{**options, "holdout": left or None}), "label")
        side |= dict.fromkeys(drawn.train, "train") | dict.fromkeys(drawn.validation, "validation")
    parts = [tuple(name for name in owners if side.get(name) == which) for which in ("train", "validation")]
    for part, words in zip(parts, ("to learn from", "held out, to judge what was learned"), strict=True):
        if not part:
            raise DataError(
                expected(f"cohort {new.name}", f"{counted(len(set(owners.values())), 'subject')}, none {words}",
                         "one at least is needed on either side", "Add subjects, or name others with --holdout.")
            )  # fmt: skip
    return Split(*parts)


def _joined(
    model: Model, before: Cohort | None, name: str, old: list[Case], aside: list[Case], fresh: list[Case], split: Split
) -> Joint:
    """Put both together, with those that neither teach nor judge; a new case whose name is taken gets another."""
    taken = {case.name for case in (*old, *aside)}
    sides = {name: side for side in ("train", "validation") for name in getattr(split, side)}
    cases, new_names = [*old, *aside], dict[str, list[str]](train=[], validation=[])
    for case in fresh:
        if case.name not in sides:
            continue
        other = case.name
        while other in taken:
            other += "_new"
        taken.add(other)
        new_names[sides[case.name]].append(other)
        cases.append(replace(case, name=other, split=sides[case.name]))
    own = {side: [case.name for case in old if case.split == side] for side in ("train", "validation")}
    labels = {value: word for value, word in model.plan.task.label_names.items() if value}
    both = (name if before is None else f"{before.name}+{name}")[:LONGEST]
    columns = tuple(dict.fromkeys(key for case in cases for key in case.metadata))
    joined = Cohort(both, tuple(cases), model.channels, labels, "csv", None, (), None, columns)
    sorted_out = Split(
        (*own["train"], *new_names["train"]), (*own["validation"], *new_names["validation"]), tuple(c.name for c in old)
    )
    return Joint(joined, sorted_out)


def _held_out(run: Run, taught: frozenset[str]) -> frozenset[str]:
    """Return the hashes of what the run read and did not learn from, wherever its cohort is; nothing where that is not known."""
    with suppress(FormatError):
        return frozenset(Record.read(run / "record.json").inputs.values()) - taught if taught else frozenset()
    return frozenset()


def _hashes(case: Case) -> frozenset[str]:
    return frozenset(hash_image(path) for path in case.channels.values())
