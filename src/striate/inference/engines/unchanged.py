"""`refuse_changed`: an exported model must be as it was written; its network has no other guard against a flipped byte."""

from __future__ import annotations

from striate.core.errors import ModelError, expected
from striate.core.files import hash_file
from striate.model.model import Model


def refuse_changed(model: Model) -> None:
    """Refuse an exported model of which a file is missing or not as it was written; those of before have no hashes.

    Raises
    ------
    ModelError
        With the file, and what to do.
    """
    for name, digest in model.facts.get("exported", {}).get("files", {}).items():
        path = model.folder / name
        if path.is_file() and hash_file(path) == digest:
            continue
        came = "it is not as striate export wrote it" if path.is_file() else "it is missing"
        raise ModelError(
            expected(path, came, "the file as it was exported is needed", "Export the model again, or copy the folder again."),
            path=path,
        )  # fmt: skip
