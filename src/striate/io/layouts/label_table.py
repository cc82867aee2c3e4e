"""Names of labels beside a cohort: ``labels.json`` with ``{"1": "lesion"}``."""

from __future__ import annotations

from pathlib import Path

from striate.core.errors import LayoutError, expected
from striate.core.files import read_json


def beside(file: Path) -> dict[int, str]:
    """Return the names that belong to a CSV (``NAME.labels.json``, else ``labels.json`` in its folder), or to a folder."""
    if file.is_dir():
        tables = [file / "labels.json"]
    else:
        tables = [file.with_name(f"{file.stem}.labels.json"), file.with_name("labels.json")]
    found = next((t for t in tables if t.is_file()), None)
    return {} if found is None else names_of(found)


def names_of(table: Path) -> dict[int, str]:
    """Read label value → name, in rising order, without 0.

    Raises
    ------
    LayoutError
        When a key is not a whole number or a name is not text.
    """
    document = read_json(table)
    for key, name in document.items():
        if not (key.isascii() and key.isdecimal()) or not isinstance(name, str) or not name.strip():
            raise LayoutError(
                expected(table, f"the entry {key!r}: {name!r}", 'label value and name are needed, as {"1": "lesion"}'),
                path=table,
            )
    return {int(k): document[k] for k in sorted(document, key=int) if int(k) != 0}
