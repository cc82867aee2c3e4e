"""How long work tells of its progress, without knowing who listens (terminal, log, web page or nobody)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """What a listener offers.

    Attributes
    ----------
    warnings
        All that `warn` was told, in order; workflows write them into the record.
    """

    warnings: list[str]

    def note(self, text: str) -> None:
        """Show one line of text."""
        ...

    def warn(self, text: str) -> None:
        """Show one warning and keep it."""
        ...

    def bar(self, title: str, total: float | None) -> Bar:
        """Open a progress bar; `total` is in the unit that `Bar.update` is given (steps, cases, seconds)."""
        ...


class Bar(Protocol):
    """One progress bar; a context manager."""

    def update(self, done: float, **shown: object) -> None:
        """Set what is done so far, and values to show beside it, for instance ``loss=0.31``."""
        ...

    def __enter__(self) -> Bar: ...

    def __exit__(self, *exc: object) -> None: ...


class Silent:
    """Nobody listens; warnings are kept in `warnings`."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """Ignore."""

    def warn(self, text: str) -> None:
        """Keep the warning."""
        self.warnings.append(text)

    def bar(self, title: str, total: float | None) -> Bar:
        """Return a bar that shows nothing."""
        return _SilentBar()


class _SilentBar:
    def update(self, done: float, **shown: object) -> None:
        """Ignore."""

    def __enter__(self) -> _SilentBar:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


def each(progress: Progress, title: str, items: Iterable[T], total: int) -> Iterator[T]:
    """Yield `items` while a bar counts them."""
    with progress.bar(title, total) as bar:
        for done, item in enumerate(items):
            yield item
            bar.update(done + 1)


@contextlib.contextmanager
def hearing_warnings(progress: Progress) -> Iterator[None]:
    """Hand Python warnings of Striate on to `progress` as sentences, each once; those of other packages are dropped."""
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **more: Any) -> None:
        text = str(message)
        if category is RuntimeWarning and "striate" in filename and text not in told:
            told.add(text)
            progress.warn(text)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield
