"""`Cohort`: the cases one works with, whatever layout they came in."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from striate.core.case import NO_CLASS, SEPARATOR, Case
from striate.core.errors import DataError, LayoutError, UsageError, expected
from striate.core.files import write_json, write_text
from striate.core.names import did_you_mean, natural_order
from striate.io.layouts import recognise

COLOURS = {"red", "green", "blue"}
MIXED = "Save all pictures in grey, or all in colour."


@dataclass(frozen=True, slots=True)
class Cohort:
    """Cases with the same channels.

    Attributes
    ----------
    name
        For people; the folder's or the CSV's name.
    cases
        With names of their own.
    channels
        Channel names, the same and in the same order in all cases.
    label_names
        Label value → name, without 0; empty where nothing tells.
    layout
        How it was found: ``nnunet``, ``decathlon``, ``bids``, ``csv`` or ``plain``.
    root
        The folder or CSV that it came from; None for one made in memory.
    notes
        What was assumed or left out when it was read.
    modality
        ``ct``, ``mr`` … or None where nothing tells.
    columns
        Columns of metadata that the table has, those without any value included.
    """

    name: str
    cases: tuple[Case, ...]
    channels: tuple[str, ...] = ()
    label_names: dict[int, str] = field(default_factory=dict)
    layout: str = "memory"
    root: Path | None = None
    notes: tuple[str, ...] = ()
    modality: str | None = None
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.cases:
            raise LayoutError(expected(f"cohort {self.name}", "no cases", "at least one is needed"))
        object.__setattr__(self, "cases", tuple(self.cases))
        object.__setattr__(self, "channels", tuple(self.channels or self.cases[0].channels))
        object.__setattr__(self, "notes", tuple(self.notes))
        twice = next((n for n, count in Counter(c.name for c in self.cases).items() if count > 1), None)
        if twice is not None:
            raise LayoutError(
                expected(f"cohort {self.name}", f"two cases named {twice}", "each case needs a name of its own"),
                case=twice,
            )
        for case in self.cases:
            if tuple(case.channels) != self.channels:
                raise LayoutError(
                    expected(f"case {case.name}", f"channels {', '.join(case.channels)}",
                             f"the cohort's channels {', '.join(self.channels)} are needed in every case",
                             MIXED if COLOURS in (set(case.channels), set(self.channels)) else ""), case=case.name,
                )  # fmt: skip

    @classmethod
    def open(cls, path: Path | str) -> Cohort:
        """Open a folder in any known layout, or a CSV.

        Raises
        ------
        LayoutError
            When it is not understood: what was found, what was expected, and the CSV that would settle it.
        """
        path = Path(path)
        layout = recognise(path)
        name = path.stem if path.is_file() else path.resolve().name
        return cls(
            name, tuple(layout.cases), (), layout.label_names, layout.name, path, tuple(layout.notes), layout.modality,
            tuple(layout.columns),
        )  # fmt: skip

    @property
    def labelled(self) -> tuple[Case, ...]:
        """The cases with a label map."""
        return tuple(c for c in self.cases if c.label is not None)

    @property
    def classified(self) -> tuple[Case, ...]:
        """The cases of which the classes are known, none of them counting as known."""
        return tuple(c for c in self.cases if c.classes is not None)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, each once, in natural order (10 after 9)."""
        return tuple(sorted({n for c in self.classified for n in c.classes or ()}, key=natural_order))

    @property
    def multi_label(self) -> bool:
        """Whether a case may have several classes or none: some case of this cohort has."""
        return any(len(c.classes or ()) != 1 for c in self.classified)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects, each once, in the order of the cases."""
        return tuple(dict.fromkeys(c.subject for c in self.cases))

    def case(self, name: str) -> Case:
        """Return the case named `name`.

        Raises
        ------
        UsageError
            When there is none; the nearest name is given.
        """
        for case in self.cases:
            if case.name == name:
                return case
        raise UsageError(
            f"cohort {self.name}: unknown case '{name}'. {did_you_mean(name, [c.name for c in self.cases])}"
        )

    def only(self, names: tuple[str, ...]) -> Cohort:
        """Return the cohort with the named cases only, in their order here."""
        chosen = {self.case(n).name for n in names}
        cases = tuple(c for c in self.cases if c.name in chosen)
        return replace(self, cases=cases)

    def write_csv(self, path: Path) -> None:
        """Write the cohort as a CSV that `open` reads; paths count from its folder where they lie below it.

        Names of labels go beside it, into ``NAME.labels.json``.

        Raises
        ------
        DataError
            When a name of a channel or metadata is one of the CSV's own columns.
        """
        path = Path(path)
        raters = sorted({r for c in self.cases for r in c.raters})
        known = sorted({k for c in self.cases for k in c.metadata})
        own = ["case", "subject", *self.channels, "label", *(f"rater_{r}" for r in raters), "class", "split"]
        clash = next((k for k in own + known if (own + known).count(k) > 1), None)
        if clash:
            raise DataError(
                expected(path, f"two columns named '{clash}'", "channels and metadata need other names"), path=path
            )
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        classified = bool(self.classified) or "classes" in known  # else read back as the column of classes
        table.writerow([c for c in own if c != "class" or classified] + known)
        folder = path.resolve().parent
        for case in self.cases:
            files = [*(case.channels[c] for c in self.channels), case.label, *(case.raters.get(r) for r in raters)]
            paths = [_from(folder, file) for file in files]
            classes = [_cell(case.classes)] if classified else []
            rest = [case.metadata.get(k, "") for k in known]
            table.writerow([case.name, case.subject, *paths, *classes, case.split or "", *rest])
        write_text(path, text.getvalue())
        if self.label_names:
            write_json(path.with_name(f"{path.stem}.labels.json"), {str(k): v for k, v in self.label_names.items()})


def _cell(classes: tuple[str, ...] | None) -> str:
    """Write classes into one cell: empty for unknown, ``none`` for none of them."""
    return "" if classes is None else SEPARATOR.join(classes) or NO_CLASS


def _from(folder: Path, file: Path | None) -> str:
    """Write a path as seen from `folder`, absolute where it does not lie below."""
    if file is None:
        return ""
    whole = file.absolute()
    return str(whole.relative_to(folder)) if whole.is_relative_to(folder) else str(whole)
