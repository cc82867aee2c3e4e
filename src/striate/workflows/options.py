"""What `plan` and `train` both let the user decide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypedDict

from striate.core.errors import UsageError
from striate.core.machine import bytes_of, memory_available_bytes, seconds_of
from striate.core.names import did_you_mean
from striate.core.targets import Targets
from striate.data.cohort import Cohort
from striate.data.split import Split, fold, from_column, hold_out
from striate.planning.make import Budget, Wishes

DEFAULT_BUDGET = "10m"


class Options(TypedDict, total=False):
    """Keyword arguments of `plan` and `train`; each may be left out.

    Attributes
    ----------
    budget
        Wall-clock time of the whole run, for instance ``10m``; 10 minutes where neither it nor `steps` is given.
    steps
        Number of updates instead of a time.
    memory
        Memory that training may use, for instance ``6G``; by default four fifths of what is free.
    regions
        Unions of labels, for instance ``["tumour=1+2+3+4"]``.
    holdout
        Subjects or cases kept aside for validation.
    fold
        ``K/N``: validate on part K (from 1) of N, by subject.
    network
        Use this network (see ``striate.networks.names()``).
    dims
        2 trains a 2D network on slices of 3D scans.
    seed
        Seed of everything that is drawn.
    """

    budget: str | None
    steps: int | None
    memory: str | None
    regions: Sequence[str] | None
    holdout: Sequence[str] | None
    fold: str | None
    network: str | None
    dims: int | None
    seed: int


def checked(options: Options) -> Options:
    """Return `options` when every key is known and they do not exclude each other.

    Raises
    ------
    UsageError
        With the nearest name of an unknown key, or what excludes what.
    """
    known = Options.__optional_keys__
    for key in options:
        if key not in known:
            raise UsageError(f"unknown option '{key}'. {did_you_mean(key, known)}")
    if options.get("budget") and options.get("steps"):
        raise UsageError(
            f"budget {options['budget']} and steps {options['steps']}: give one of them, both set the length."
        )
    if options.get("holdout") and options.get("fold"):
        raise UsageError(f"holdout and fold {options['fold']}: give one of them, both choose the validation cases.")
    steps = options.get("steps")
    if steps is not None and steps < 1:
        raise UsageError(f"steps {steps}: at least 1 is needed.")
    return options


def budget_of(options: Options, spent_s: float = 0.0) -> Budget:
    """Return time, steps and memory as numbers; `spent_s` has gone already."""
    steps = options.get("steps")
    time_s = None if steps else seconds_of(options.get("budget") or DEFAULT_BUDGET) - spent_s
    memory = options.get("memory")
    return Budget(time_s, steps, bytes_of(memory) if memory else int(0.8 * memory_available_bytes()))


def wishes_of(options: Options) -> Wishes:
    """Return what the user fixed beforehand."""
    return Wishes(options.get("network"), options.get("dims"), options.get("seed") or 0)


def split_of(cohort: Cohort, options: Options) -> Split:
    """Return which cases train and which validate: as asked, as the cohort's split column says, else one part in five.

    Raises
    ------
    UsageError
        When a fold is not written K/N, or a name is unknown.
    """
    seed = options.get("seed") or 0
    if options.get("holdout"):
        return hold_out(cohort, list(options["holdout"] or ()))
    asked = options.get("fold")
    if asked:
        match = re.fullmatch(r"(\d+)/(\d+)", asked)
        if not match or not 1 <= int(match.group(1)) <= int(match.group(2)):
            raise UsageError(f"fold '{asked}': K/N with K from 1 to N is needed, for instance 1/5.")
        return fold(cohort, int(match.group(1)) - 1, int(match.group(2)), seed)
    given = from_column(cohort)
    if given is not None:
        return given
    subjects = len({case.subject for case in cohort.labelled if case.split != "test"})
    if subjects < 2:
        return Split(tuple(c.name for c in cohort.labelled if c.split != "test"), ())
    return fold(cohort, 0, min(5, subjects), seed)


def targets_of(cohort: Cohort, options: Options) -> Targets | None:
    """Return the regions that were asked for, or None for the labels that the data hold."""
    regions = options.get("regions")
    return Targets.parse(list(regions), cohort.label_names) if regions else None


def plain_options(options: Options) -> dict[str, Any]:
    """Return the options as JSON can hold them."""
    return {k: list(v) if isinstance(v, (list, tuple)) else v for k, v in options.items()}
