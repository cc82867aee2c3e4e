"""What people and machines see: text and progress on stderr, one JSON document on stdout."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from typing import Any

from striate.core.files import plain
from striate.core.machine import show_seconds


def show_json(document: dict[str, Any]) -> None:
    """Print exactly one JSON document on stdout.

    Raises
    ------
    OSError
        When stdout is closed or full.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "stdout")
    sys.stdout.write(json.dumps(plain(document), ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """Print one line for people on stderr."""
    sys.stderr.write(text + "\n")


def table(rows: list[list[str]], header: list[str]) -> None:
    """Print a plain table on stderr; columns after the first are right-aligned."""
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        say("  " + "  ".join(cells).rstrip())


class Screen:
    """Progress on stderr: by rich where it is a terminal; elsewhere, as in the log of a batch system, a line now and then.

    A `quiet` one, that of ``--json``, keeps notes to itself.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.warnings: list[str] = []
        self._live, self._lines = sys.stderr.isatty(), _Lines()

    def note(self, text: str) -> None:
        """Show one line."""
        if not self.quiet:
            say(text)

    def warn(self, text: str) -> None:
        """Show and keep one warning."""
        self.warnings.append(text)
        say(f"warning: {text}")

    def bar(self, title: str, total: float | None) -> _LiveBar | _LineBar:
        """Open a progress bar."""
        return _LiveBar(title, total) if self._live else _LineBar(title, total, self._lines)


class _LiveBar:
    def __init__(self, title: str, total: float | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
            TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[shown]}"), console=Console(stderr=True),
        )  # fmt: skip
        self._task = self._bar.add_task(title, total=total, shown="")

    def update(self, done: float, **shown: object) -> None:
        """Set what is done and what is shown beside the bar."""
        self._bar.update(self._task, completed=done, shown="  ".join(f"{k} {v}" for k, v in shown.items()))

    def __enter__(self) -> _LiveBar:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()


class _Lines:
    """When the next line of progress is due, however many bars share it.

    Every 30 s at first; as work takes longer, less often: a line for each twentieth of the time, and one every 10 minutes.
    """

    LEAST_S, MOST_S, SHARE = 30.0, 600.0, 1 / 20

    def __init__(self) -> None:
        self._start = self._told = time.monotonic()

    @property
    def apart_s(self) -> float:
        """Time between two lines."""
        return min(self.MOST_S, max(self.LEAST_S, self.SHARE * (time.monotonic() - self._start)))

    def due(self) -> bool:
        """Tell whether it is time for a line, and count it as told."""
        now = time.monotonic()
        due = now - self._told >= self.apart_s
        self._told = now if due else self._told
        return due


class _LineBar:
    """A line now and then, and one at the end of what took longer than the time between two."""

    def __init__(self, title: str, total: float | None, lines: _Lines) -> None:
        self.title, self.total, self._lines = title, total, lines
        self._start = time.monotonic()
        self._first: tuple[float, float] | None = None

    def update(self, done: float, **shown: object) -> None:
        """Tell now and then; the time left is reckoned from the first update on, at which a resumed run has much done."""
        now = time.monotonic()
        since, before = self._first = self._first or (now, done)
        if not self._lines.due():
            return
        left = ""
        if self.total and done > before:
            left = f", {show_seconds((now - since) * (self.total - done) / (done - before))} left"
        part = f"{100 * done / self.total:.0f}%" if self.total else f"{done:g}"
        say(f"{self.title}: {part}{left}  {'  '.join(f'{k} {v}' for k, v in shown.items())}".rstrip())

    def __enter__(self) -> _LineBar:
        return self

    def __exit__(self, *exc: object) -> None:
        took_s = time.monotonic() - self._start
        if took_s > self._lines.apart_s:
            say(f"{self.title}: {show_seconds(took_s)}")
