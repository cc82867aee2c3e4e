"""`folder_of`: where a network that was converted for a model is kept: in the model's folder, or in the user's cache.

A model on a share that is only read, or in somebody else's folder, takes no files. What is converted for it then lies in
the user's cache folder (``~/.cache/striate`` on Linux, ``~/Library/Caches/striate`` on a Mac), under
the hash of its weights, so that it too is made once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from striate.model.model import Model


def cache_folder() -> Path:
    """Return the user's cache folder for Striate; it need not be there."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("striate", appauthor=False))


def folder_of(model: Model, form: str, key: str, serves: Callable[[Path], object]) -> Path:
    """Return the folder of what is converted of `model` to `form`; `key` tells for which windows, processor and versions.

    It need not be there. Beside it lies what was converted of the same weights for others. `serves` tells whether what lies
    in a folder that takes no files can be used.
    """
    beside = model.folder / form
    writable = os.access(beside if beside.is_dir() else model.folder, os.W_OK)
    if writable or serves(beside / key):
        return beside / key
    return cache_folder() / str(model.facts.get("weights_sha256"))[:16] / form / key
