"""Why a network said what it said: attributions of a lesion, a region or a class, each with checks that it can fail.

Methods, one file each, found by name in one table; add yours here. A method is a function of a `Scene` and an `Effort`
that returns (C, *region) float32, or (1, *region) where it does not tell channels apart: how much each voxel speaks for
(positive) or against (negative) what is explained.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from striate.core.names import lookup

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from striate.explaining.effort import Effort
    from striate.explaining.scene import Scene

METHODS: dict[str, str] = {
    "occlusion": "striate.explaining.occlusion",
    "gradient_input": "striate.explaining.gradient_input",
    "integrated_gradients": "striate.explaining.integrated_gradients",
    "grad_cam": "striate.explaining.grad_cam",
}

__all__ = ["METHODS", "Method", "method_named"]


class Method(Protocol):
    """What every method is."""

    def __call__(self, scene: Scene, effort: Effort) -> NDArray[np.float32]:
        """Return the attribution (C or 1, *region)."""
        ...


def method_named(name: str) -> Method:
    """Return the method `name`.

    Raises
    ------
    UsageError
        When it is unknown, or captum is not installed.
    """
    home = lookup("method", name, METHODS)
    from striate.core.optional import require

    require("captum", "trust", "striate explain")
    found: Method = importlib.import_module(home).attribute
    return found
