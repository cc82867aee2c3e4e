"""What `plan` and `train` both let the user decide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from striate import networks
from striate.core.errors import TimeLimitError, UsageError, expected
from striate.core.machine import bytes_of, seconds_of, show_seconds
from striate.core.names import lookup
from striate.core.targets import Targets
from striate.data.cohort import Cohort
from striate.data.split import Split, Truth, fold, from_column, hold_out, share_of, usual
from striate.planning.make import LEAST_BUDGET_S, Budget, Wishes
from striate.workflows.harden import refuse_epsilon

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
    task
        ``segmentation``, ``classification``, ``sequence``, ``reconstruction``, ``contains:REGION`` or ``sequence:REGION``
        (see `striate.workflows.task`); by default what the truth of the cohort says.
    regions
        Unions of labels, for instance ``["tumour=1+2+3+4"]``.
    holdout
        Subjects or cases kept aside for validation.
    fold
        ``K/N``: validate on part K (from 1) of N, by subject.
    fraction
        Share of the training subjects that teach, above 0 and at most 1; smaller shares lie within larger ones.
    encoder
        A run or model of the same network; training starts from its weights, the last layer's excepted. ``random``: from
        random weights, as without one.
    frozen
        What was taken from the encoder does not learn; of random weights all but the last layer.
    adversarial
        Harden the network: attack its patches by changes of at most this fraction of the tissue contrast.
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
    task: str | None
    regions: Sequence[str] | None
    holdout: Sequence[str] | None
    fold: str | None
    fraction: float | None
    encoder: Path | str | None
    frozen: bool | None
    adversarial: float | None
    network: str | None
    dims: int | None
    seed: int | None


def checked(options: Options) -> Options:
    """Return `options` when every value can be read, and they do not exclude each other; of the right kinds they are.

    Raises
    ------
    UsageError
        With what is needed, or what excludes what.
    TimeLimitError
        When the time is too short for anything.
    """
    if options.get("budget") and options.get("steps"):
        raise UsageError(
            f"budget {options['budget']} and steps {options['steps']}: give one of them, both set the length."
        )
    if options.get("holdout") and options.get("fold"):
        raise UsageError(f"holdout and fold {options['fold']}: give one of them, both choose the validation cases.")
    fraction = options.get("fraction")
    if fraction is not None and not 0 < fraction <= 1:
        raise UsageError(f"fraction {fraction:g}: a share of the training subjects above 0, at most 1, is needed.")
    refuse_epsilon(options.get("adversarial"))
    steps = options.get("steps")
    if steps is not None and steps < 1:
        raise UsageError(f"steps {steps}: at least 1 is needed.")
    dims, seed = options.get("dims"), options.get("seed")
    if dims not in (None, 2, 3):
        raise UsageError(f"dims {dims}: 2 or 3 is needed.")
    if seed is not None and seed < 0:
        raise UsageError(f"seed {seed}: a number of at least 0 is needed.")
    network = options.get("network")
    if network is not None:
        lookup("network", network, networks.NETWORKS)
    if options.get("memory"):
        bytes_of(str(options["memory"]))
    budget = options.get("budget")
    if budget and seconds_of(budget) < LEAST_BUDGET_S:
        least = f"at least {show_seconds(LEAST_BUDGET_S)} are needed to learn anything"
        raise TimeLimitError(expected("budget", show_seconds(seconds_of(budget)), least))
    return options


def budget_of(options: Options, spent_s: float = 0.0) -> Budget:
    """Return time, steps and memory as numbers; `spent_s` has gone already.

    Raises
    ------
    TimeLimitError
        When too little time is left.
    """
    from striate.training.gpu import memory_free_bytes

    steps, memory = options.get("steps"), options.get("memory")
    whole_s = seconds_of(options.get("budget") or DEFAULT_BUDGET)
    if not steps and whole_s - spent_s < LEAST_BUDGET_S:
        got = f"{show_seconds(whole_s)}, of which reading the data took {show_seconds(spent_s)}"
        least = f"at least {show_seconds(LEAST_BUDGET_S)} must be left to learn anything"
        raise TimeLimitError(
            expected("budget", got, least, f"Give at least {show_seconds(spent_s + 2 * LEAST_BUDGET_S)}.")
        )
    memory_bytes = bytes_of(memory) if memory else int(0.8 * memory_free_bytes())
    return Budget(None if steps else whole_s - spent_s, steps, memory_bytes)


def wishes_of(options: Options) -> Wishes:
    """Return what the user fixed beforehand."""
    return Wishes(options.get("network"), options.get("dims"), options.get("seed") or 0)


def split_of(cohort: Cohort, options: Options, truth: Truth | None = None) -> Split:
    """Return which cases train and which validate: as asked, as the cohort's split column says, else one part in five.

    Parameters
    ----------
    cohort, options
        What is split, and how.
    truth
        What a case needs to be used; see `striate.data.split`.

    Raises
    ------
    UsageError
        When a fold is not written K/N, or a name is unknown.
    DataError
        When no case has the truth.
    """
    split, fraction = _sides(cohort, options, truth), options.get("fraction")
    return split if fraction is None else share_of(cohort, split, fraction, options.get("seed") or 0, truth=truth)


def _sides(cohort: Cohort, options: Options, truth: Truth | None) -> Split:
    """Return the split with all training subjects."""
    seed = options.get("seed") or 0
    if options.get("holdout"):
        return hold_out(cohort, list(options["holdout"] or ()), truth=truth)
    asked = options.get("fold")
    if asked:
        match = re.fullmatch(r"(\d+)/(\d+)", asked)
        if not match or not 1 <= int(match.group(1)) <= int(match.group(2)) or int(match.group(2)) < 2:
            raise UsageError(f"fold '{asked}': K/N with K from 1 to N, and N at least 2, is needed, for instance 1/5.")
        return fold(cohort, int(match.group(1)) - 1, int(match.group(2)), seed, truth=truth)
    return from_column(cohort, truth=truth) or usual(cohort, seed, truth=truth)


def targets_of(cohort: Cohort, options: Options) -> Targets | None:
    """Return the regions that were asked for, or None for the labels that the data hold."""
    regions = options.get("regions")
    return Targets.parse(list(regions), cohort.label_names) if regions else None


def plain_options(options: Options) -> dict[str, Any]:
    """Return the options as JSON can hold them."""
    return {k: list(v) if isinstance(v, (list, tuple)) else v for k, v in options.items()}
