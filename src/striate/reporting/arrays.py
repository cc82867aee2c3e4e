"""``*.npz`` files of a report: arrays with facts in JSON beside them, written whole or not at all, refused with a reason."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import FormatError, expected
from striate.core.files import writing

Arrays = Mapping[str, NDArray[Any]]


def write_arrays(path: Path, kind: str, version: int, facts: Mapping[str, Any], arrays: Arrays) -> None:
    """Store `arrays` with their `facts`, which say what `kind` of file of which schema `version` it is."""
    told = json.dumps({"kind": kind, "schema_version": version, **facts})
    with writing(Path(path)) as beside, beside.open("wb") as stream:
        np.savez_compressed(stream, facts=np.array(told), **arrays)  # type: ignore[arg-type]


@contextmanager
def reading(path: Path, wanted: str) -> Iterator[Arrays]:
    """Give the arrays of a file, read one by one as they are asked for; whatever is wrong with them names the file.

    Raises
    ------
    FormatError
        When the file is missing or broken, or holds something else than what is `wanted`.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            yield stored
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        problem = "there is no such file" if isinstance(error, FileNotFoundError) else f"not readable ({error})"
        raise FormatError(expected(path, problem, f"{wanted} needed"), path=path) from error


def facts_of(stored: Arrays, path: Path, kind: str, version: int) -> dict[str, Any]:
    """Return the facts of a file that `write_arrays` wrote.

    Raises
    ------
    FormatError
        When it is of another kind or of a newer version.
    """
    facts: dict[str, Any] = json.loads(str(stored["facts"]))
    if facts["kind"] != kind or facts["schema_version"] > version:
        got = f"kind '{facts['kind']}', schema version {facts['schema_version']}"
        want = f"kind '{kind}' up to version {version} is needed"
        raise FormatError(expected(path, got, want, "Upgrade Striate: pip install -U striate"), path=path)
    return facts
