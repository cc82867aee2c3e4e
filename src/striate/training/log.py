"""What a run writes down while it learns: ``metrics.csv``, ``validation.csv`` and TensorBoard scalars."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import IO, Any

from striate.core.files import explained, write_text
from striate.training import laps

COLUMNS = ("step", "elapsed_s", "fraction", "learning_rate", "loss", *laps.columns())
"""Of ``metrics.csv``; files of runs begun before a column was added go on with it, empty in their first rows."""


class TrainingLog:
    """Appends one row per step and one per validation; each row reaches the disk at once.

    Parameters
    ----------
    folder
        The run folder.
    step
        Rows of this step and later are dropped: they will be done again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        kept = [row for row in read_rows(folder / "metrics.csv") if int(row["step"]) < step]
        write_text(folder / "metrics.csv", _text(kept, COLUMNS))
        self.elapsed_s = float(kept[-1]["elapsed_s"]) if kept else 0.0
        checks = [row for row in read_rows(folder / "validation.csv") if int(row["step"]) <= step]
        if checks:
            write_text(folder / "validation.csv", _text(checks, tuple(checks[0])))
        self._metrics: IO[str] = (folder / "metrics.csv").open("a", encoding="utf-8", newline="")
        self._board: Any = None

    def step(self, row: dict[str, float]) -> None:
        """Write one training step (keys: `COLUMNS`).

        Raises
        ------
        DiskFullError
            When the disk is full; what is there stays.
        """
        with explained(self.folder / "metrics.csv"):
            self._metrics.write(",".join(repr(row[c]) for c in COLUMNS) + "\n")
            self._metrics.flush()
        self._scalars(int(row["step"]), {"train/loss": row["loss"], "train/learning_rate": row["learning_rate"]})

    def validation(self, step: int, elapsed_s: float, values: dict[str, float]) -> None:
        """Write one validation after `step` updates."""
        path = self.folder / "validation.csv"
        rows = [r for r in read_rows(path) if int(r["step"]) != step]
        row = {"step": step, "elapsed_s": round(elapsed_s, 3), **{k: round(v, 6) for k, v in values.items()}}
        columns = dict.fromkeys((*(rows[-1] if rows else ()), *row))
        write_text(path, _text([*rows, row], tuple(columns)))
        self._scalars(step, {f"validation/{k}": v for k, v in values.items()})

    def close(self) -> None:
        """Close the files."""
        self._metrics.close()
        if self._board is not None:
            self._board.close()

    def _scalars(self, step: int, values: dict[str, float]) -> None:
        if self._board is None:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(self.folder / "tensorboard"))
        for name, value in values.items():
            self._board.add_scalar(name, value, step)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV; a last line that was torn by a kill is left out, a missing file has no rows."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    whole = text[: text.rfind("\n") + 1]
    rows = list(csv.DictReader(io.StringIO(whole)))
    return [row for row in rows if None not in row.values() and None not in row]


def recorded_fractions(folder: Path) -> dict[int, float]:
    """Return step → fraction of the schedule, as an earlier part of the run followed it."""
    return {int(row["step"]): float(row["fraction"]) for row in read_rows(folder / "metrics.csv")}


def _text(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n", restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
