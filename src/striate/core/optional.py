"""One door to packages that are not always installed; its message names the extra that brings them."""

from __future__ import annotations

import importlib
from types import ModuleType

from striate.core.errors import UsageError


def require(package: str, extra: str, purpose: str) -> ModuleType:
    """Import and return an optional `package`.

    Parameters
    ----------
    package
        Name to import, for instance ``SimpleITK``.
    extra
        The extra of Striate that installs it, for instance ``itk``.
    purpose
        What needs it, for instance ``reading NRRD``.

    Raises
    ------
    UsageError
        When it is not installed; the message holds the pip command.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"{purpose} needs the package {package}, which is not installed. Install it: pip install 'striate[{extra}]'"
        ) from error
