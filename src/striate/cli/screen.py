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
    """Progress for a terminal, by rich; a line now and then where stderr is not one."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.warnings: list[str] = []
        self._live = sys.stderr.isatty() and not quiet

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
        return _LiveBar(title, total) if self._live else _LineBar(title, total, self.quiet)


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


class _LineBar:
    """One line at the start, one every 30 seconds, one at the end."""

    EVERY_S = 30.0

    def __init__(self, title: str, total: float | None, quiet: bool) -> None:
        self.title, self.total, self.quiet = title, total, quiet
        self._start = self._told = time.monotonic()

    def update(self, done: float, **shown: object) -> None:
        """Tell now and then."""
        now = time.monotonic()
        if self.quiet or now - self._told < self.EVERY_S:
            return
        self._told = now
        left = ""
        if self.total and done:
            left = f", {show_seconds((now - self._start) * (self.total - done) / done)} left"
        part = f"{100 * done / self.total:.0f}%" if self.total else f"{done:g}"
        say(f"{self.title}: {part}{left}  " + "  ".join(f"{k} {v}" for k, v in shown.items()))

    def __enter__(self) -> _LineBar:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self.quiet and time.monotonic() - self._start > self.EVERY_S:
            say(f"{self.title}: {show_seconds(time.monotonic() - self._start)}")
