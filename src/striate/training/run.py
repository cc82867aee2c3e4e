"""`Run`: the folder of one training run, from which it can go on at any time.

RUN/  run.json            what was asked for
      check.json          what the data checks found
      split.json          which cases train and which validate
      fingerprint.json  plan.yaml
      metrics.csv  validation.csv  tensorboard/
      checkpoint.safetensors
      cache/              prepared images; can be deleted once the run is done
      model/              plan, weights, card: what `striate predict` needs
      validation/         masks, findings, measures and panels of the validation cases
      record.json  report.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from striate.core.errors import DataError, FormatError, ModelError, expected
from striate.core.files import read_json, write_json

VERSION = 1


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
    """

    folder: Path
    cohort: Path
    options: dict[str, Any]

    @classmethod
    def start(cls, folder: Path, cohort: Path, options: dict[str, Any]) -> Run:
        """Make the folder of a new run.

        Raises
        ------
        DataError
            When the folder exists and is not empty.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(
                expected(
                    folder,
                    "it exists and is not empty",
                    "a new run needs a folder of its own",
                    f"Choose another --out, or go on with that run: striate train --resume {folder}",
                )
            )
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
        return cls(folder, Path(document["cohort"]), dict(document["options"]))

    def write(self) -> None:
        """Write ``run.json``."""
        document = {
            "kind": "striate-run",
            "schema_version": VERSION,
            "cohort": str(self.cohort),
            "options": self.options,
        }
        write_json(self.folder / "run.json", document)

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file or folder of the run."""
        return self.folder / name
