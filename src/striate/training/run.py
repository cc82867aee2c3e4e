"""`Run`: the folder of one training run, from which it can go on at any time.

RUN/  run.json            what was asked for, and the schedule that is followed
      check.json          what the data checks found
      split.json          which cases train and which validate
      fingerprint.json  plan.yaml
      metrics.csv  validation.csv  tensorboard/
      checkpoint.safetensors
      cache/              prepared images; can be deleted once the run is done
      model/              plan, weights, card: what `striate predict` needs
      earlier/            of an update alone: the model that learned more; cohort/: the cases of both cohorts;
                          update.json: what it learned and forgot
      validation/         masks, findings, measures and panels of the validation cases
      record.json  report.html
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from striate.core.errors import DataError, FormatError, ModelError, expected
from striate.core.files import read_json, write_json
from striate.core.lock import take

VERSION = 1
CHECKPOINT = "checkpoint.safetensors"
COHORT = "cohort"
"""Folder of the table of an update's cases, those of both cohorts."""
EARLIER = "earlier"
"""Folder of the model that an update starts from; no other run has it."""


@dataclass(frozen=True)
class Run:
    """A run folder and what was asked for.

    Attributes
    ----------
    folder
        Where the run lies.
    cohort
        Folder or CSV of the cohort.
    options
        The options of the call, as JSON.
    schedule
        What a resumed run needs to follow the same clock; see `striate.training.schedule`.
    """

    folder: Path
    cohort: Path
    options: dict[str, Any]
    schedule: dict[str, float] = field(default_factory=dict)

    @classmethod
    def start(cls, folder: Path, cohort: Path, options: dict[str, Any]) -> Run:
        """Make the folder of a new run.

        Raises
        ------
        DataError
            When the folder exists and is not empty.
        """
        refuse_begun(folder)
        run = cls(folder, cohort.resolve(), options)
        run.write()
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open the folder of an earlier run.

        Raises
        ------
        ModelError
            When it is not the folder of a run.
        """
        try:
            document = read_json(folder / "run.json", "striate-run", VERSION)
        except FormatError as error:
            raise ModelError(
                expected(
                    folder, "not the folder of a run (no readable run.json)", "a folder made by striate train is needed"
                ),
                path=folder,
            ) from error
        return cls(
            folder, folder.resolve() / document["cohort"], dict(document["options"]), dict(document.get("schedule", {}))
        )

    def write(self) -> None:
        """Write ``run.json``; a cohort that lies in the run moves with it."""
        here = self.folder.resolve()
        inside = self.cohort.is_relative_to(here)
        document = {
            "kind": "striate-run",
            "schema_version": VERSION,
            "cohort": str(self.cohort.relative_to(here) if inside else self.cohort),
            "options": self.options,
            "schedule": self.schedule,
        }
        write_json(self.folder / "run.json", document)

    def sweep(self) -> None:
        """Remove what a kill left half-written; called where no other process works in the folder."""
        for path in _left_overs(self.folder.iterdir()):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file or folder of the run."""
        return self.folder / name


def refuse_begun(folder: Path) -> None:
    """Refuse a folder that no new run can have.

    Raises
    ------
    DataError
        When it exists and is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(not _left_over(p) for p in folder.iterdir())):
        known = (folder / "run.json").is_file()
        on = f", or go on with that run: {resuming(folder)}" if known else " or remove it."
        raise DataError(
            expected(folder, "it exists and is not empty", "a new run needs a folder of its own", f"Choose another --out{on}"),
            path=folder,
        )  # fmt: skip


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of the run in `folder`; the lock ends with the block, or with the process.

    Raises
    ------
    DataError
        When another process works in the run.
    """
    if os.name == "nt":  # which has no such lock, and opens no folders
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        if take(place) is False:
            got, want = "another process works in this run", "one at a time is needed, they would overwrite each other"
            raise DataError(expected(folder, got, want, "Wait until it ends, or stop it."), path=folder)
        yield
    finally:
        os.close(place)


def resuming(folder: Path) -> str:
    """Return the command that goes on with the run in `folder`."""
    return f"striate train --resume {shlex.quote(str(folder))}"


def _left_overs(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if _left_over(path)]


def _left_over(path: Path) -> bool:
    """Tell whether a name is one that `striate.core.files` and `Model` write beside the place of what they write."""
    return path.name.startswith(".") and any(part in path.name for part in (".part.", ".new.", ".old."))
