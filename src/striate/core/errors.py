"""Every error that Striate raises on purpose, in one tree.

    StriateError
    ├── UsageError          exit 2: the call itself is wrong
    ├── DataError           exit 3: the user's data cannot be used as they are
    │   ├── FormatError         a file is not what its name says, or is broken
    │   ├── GeometryError       grids, affines or spacings do not fit together
    │   ├── LabelError          label values cannot be understood
    │   └── LayoutError         a folder or CSV is not a cohort that we know
    ├── ModelError          exit 4: a model or a plan cannot be used
    │   └── PlanError           a plan is not valid
    ├── ResourceError       exit 5: the machine ran out of something
    │   ├── MemoryLimitError
    │   ├── DiskFullError
    │   └── TimeLimitError
    └── Interrupted         exit 130: stopped by the user

A message is one sentence or two: which case or file, what came (with its unit), what was needed and why, what to do.
`expected` writes it, so that the wording is the same everywhere.
"""

from __future__ import annotations


class StriateError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, message: str, *, case: str | None = None, path: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.case = case
        self.path = None if path is None else str(path)

    @property
    def code(self) -> str:
        """Stable machine name of the error, as shown by `--json` (for instance ``geometry``)."""
        name = type(self).__name__.removesuffix("Error")
        return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


class UsageError(StriateError):
    """The call itself is wrong: an unknown name, options that exclude each other."""

    exit_code = 2


class DataError(StriateError):
    """The user's data cannot be used as they are."""

    exit_code = 3


class FormatError(DataError):
    """A file is not what its name says, is truncated, or is of a kind that cannot be read."""


class GeometryError(DataError):
    """Grids, affines or spacings are impossible or do not fit together."""


class LabelError(DataError):
    """Label values cannot be understood."""


class LayoutError(DataError):
    """A folder or a CSV is not a cohort that Striate knows."""


class ModelError(StriateError):
    """A model cannot be used: broken, of another version, or meant for other channels."""

    exit_code = 4


class PlanError(ModelError):
    """A plan is not valid."""


class ResourceError(StriateError):
    """The machine ran out of something."""

    exit_code = 5


class MemoryLimitError(ResourceError):
    """More memory is needed than there is."""


class DiskFullError(ResourceError):
    """The disk is full or cannot be written."""


class TimeLimitError(ResourceError):
    """The work does not fit into the time that was given."""


class Interrupted(StriateError):  # noqa: N818  (a wish, not an error)
    """The user stopped the work (SIGINT or SIGTERM)."""

    exit_code = 130


def expected(where: object, got: str, want: str, hint: str = "") -> str:
    """Write the one sentence that all errors share.

    Parameters
    ----------
    where
        The case, file or option that is meant, for instance ``case P012``.
    got
        What came, with its value and unit, for instance ``mask shape (240, 240, 155)``.
    want
        What was needed and why.
    hint
        The next command or argument; a full sentence.
    """
    sentence = f"{where}: {got}; {want.rstrip('.')}."
    return f"{sentence} {hint}".rstrip()
