"""The runs of a comparison, one after the other: skipped where finished, gone on with where begun."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from striate.comparing.asked import Asked
from striate.comparing.row import COST, FINISHED, finished
from striate.comparing.trial import Trial
from striate.core.counted import counted, is_or_are
from striate.core.energy import WATTS_PER_CORE, EnergyMeter
from striate.core.errors import DiskFullError, Interrupted, StriateError
from striate.core.files import read_json, write_json
from striate.core.machine import restart_peak_rss, show_seconds
from striate.core.progress import Bar, Progress
from striate.core.record import Record
from striate.workflows.checked import FILE as CHECK
from striate.workflows.train import train

NOT_KEPT = ("cache", "features", "checkpoint.safetensors")
"""What is removed from a finished run: the prepared images, and what only an unfinished run needs."""
RECORD = "record.json"
NOT_METERED = f"estimate: seconds × {WATTS_PER_CORE:g} W of every core (killed before its meter was read)"


def run_all(asked: Asked, runs: Sequence[Trial], run_s: float | None, out: Path, progress: Progress) -> dict[str, str]:
    """Run what is not finished and return why runs failed, by name.

    Raises
    ------
    Interrupted
        With the command that goes on.
    DiskFullError
        When the disk is full.
    """
    failed: dict[str, str] = {}
    left = [t for t in runs if not finished(t.folder(out))]
    if len(left) < len(runs):
        done = len(runs) - len(left)
        progress.note(f"{done} of {counted(len(runs), 'run')} {is_or_are(done)} finished already.")
    for number, trial in enumerate(left):
        time_left = "" if run_s is None else f" ({show_seconds(run_s * (len(left) - number))} left)"
        progress.note(f"Run {number + 1} of {len(left)}: {trial.told()}{time_left}")
        try:
            run_one(asked, trial, run_s, out, _Quiet(progress))
        except (KeyboardInterrupt, Interrupted) as error:
            on = f"striate compare --out {shlex.quote(str(out))} --resume"
            raise Interrupted(f"stopped in run {number + 1} of {len(left)} ({trial.name}); go on with: {on}") from error
        except DiskFullError:
            raise
        except StriateError as error:
            failed[trial.name] = str(error)
            progress.warn(f"{trial.told()}: {error}")
    return failed


def run_one(asked: Asked, trial: Trial, run_s: float | None, out: Path, progress: Progress) -> None:
    """Train one network, or do what a kill left of it; what it takes is added to what earlier parts of the run took."""
    folder = trial.folder(out)
    if (folder / RECORD).exists():
        _complete(folder)
    else:
        _train(asked, trial, run_s, out, progress)
    if asked.probe:
        from striate.workflows.compare_probe import probe

        probe(folder)
    for name in NOT_KEPT:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).unlink(missing_ok=True)
    write_json(folder / FINISHED, {"run": trial.name})


def _train(asked: Asked, trial: Trial, run_s: float | None, out: Path, progress: Progress) -> None:
    folder = trial.folder(out)
    restart_peak_rss()
    began, meter = time.monotonic(), EnergyMeter()
    try:
        with meter:
            if (folder / "run.json").exists():
                train(resume=folder, progress=progress)
            else:
                folder.parent.mkdir(parents=True, exist_ok=True)
                train(asked.cohort, out=folder, check=out / CHECK, progress=progress, **trial.options(asked, run_s))
    finally:
        if folder.is_dir():
            _spend(folder, time.monotonic() - began, meter.used.joules, meter.used.source)


def _complete(folder: Path) -> None:
    """Write the cost and the page of a run that was killed after its record was written."""
    cost, record = folder / COST, folder / RECORD
    if not cost.exists() or cost.stat().st_mtime_ns < record.stat().st_mtime_ns:
        seconds = Record.read(record).duration_s
        _spend(folder, seconds, seconds * (os.cpu_count() or 1) * WATTS_PER_CORE, NOT_METERED)
    if not (folder / "report.html").exists():
        from striate.workflows.report import report

        report(folder)


def _spend(folder: Path, seconds: float, joules: float, source: str) -> None:
    """Add to what earlier parts of the run took."""
    cost = folder / COST
    before = read_json(cost) if cost.exists() else {"seconds": 0.0, "joules": 0.0}
    spent = {"seconds": before["seconds"] + seconds, "joules": before["joules"] + joules}
    write_json(cost, {**spent, "source": source})


class _Quiet:
    """Hands on bars, and each warning once; notes of single runs are not shown."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """Drop it."""

    def warn(self, text: str) -> None:
        """Hand it on the first time."""
        self.warnings.append(text)
        if text not in self._progress.warnings:
            self._progress.warn(text)

    def bar(self, title: str, total: float | None) -> Bar:
        """Hand it on."""
        return self._progress.bar(title, total)
