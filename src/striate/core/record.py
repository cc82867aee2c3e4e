"""`Record`: what was run, so that it can be understood and run again."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from striate.core import machine
from striate.core.files import read_json, write_json

VERSION = 1
PACKAGES = (
    "torch", "numpy", "scipy", "nibabel", "pydicom", "highdicom", "monai", "safetensors", "openvino", "onnxruntime",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of Striate and of the installed packages that results depend on (none of them is imported)."""
    found = {}
    for name in ("striate", *PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Record:
    """What was run: verb, options, versions, seed, hashes of inputs, plan and weights, machine, duration.

    Attributes
    ----------
    verb
        ``train``, ``predict`` …
    options
        The arguments that were in force, defaults included.
    seed
        The seed, or None where nothing was drawn.
    inputs
        Name → SHA-256 of each image or other file that was read (`striate.io.read.hash_image`).
    outputs
        Name → SHA-256 of each file that was written.
    facts
        Measured facts of the run, for instance ``peak_rss_bytes``.
    warnings
        What the user was warned of.
    """

    verb: str
    options: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    started: str = ""
    duration_s: float = 0.0
    versions: dict[str, str] = field(default_factory=versions)
    machine: dict[str, Any] = field(default_factory=machine.describe)

    def write(self, path: Path) -> None:
        """Write the record to `path` (``record.json``)."""
        write_json(path, {"kind": "striate-record", "schema_version": VERSION, **asdict(self)})

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read a record.

        Raises
        ------
        FormatError
            When it is not a record or of a newer version.
        """
        document = read_json(path, "striate-record", VERSION)
        return cls(**{k: v for k, v in document.items() if k in cls.__slots__})


class Stopwatch:
    """Measures a run for its record."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self._start = time.monotonic()

    def fields(self) -> dict[str, Any]:
        """Return ``started`` and ``duration_s`` (from this object's making until now)."""
        return {"started": self.started, "duration_s": round(time.monotonic() - self._start, 3)}
