"""What a run learns from and how its result is shown, by task: masks (`masks`) or whole images (`whole`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import nn

from striate.core.progress import Progress
from striate.data.cohort import Cohort
from striate.data.loader import Loader
from striate.data.split import Split
from striate.model.model import Model
from striate.networks.network import Network
from striate.planning.plan import Plan
from striate.training.run import Run


class Measured(Protocol):
    """Measures on the validation cases: `Evaluation` or `ClassEvaluation`."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it, with the key ``summary``."""
        ...


class Material(Protocol):
    """The prepared data of a run, for one kind of task.

    Attributes
    ----------
    inputs
        File → SHA-256 of every file that was read.
    notes
        What was done to the data that the user should know.
    fitted_by
        ``name`` and ``precision`` of the engine that limits were fitted with, once `validate` has done so.
    """

    inputs: dict[str, str]
    notes: tuple[str, ...]
    fitted_by: dict[str, str]

    def loader(self, step: int, network: Network) -> Loader:
        """Open the batches from `step` on."""
        ...

    def organise(self, network: Network) -> None:
        """Let a fresh network learn what it learns without a teacher."""
        ...

    def validator(self) -> Callable[[nn.Module], dict[str, float]]:
        """Return the function that measures a network while it learns."""
        ...

    def reserve_s(self) -> float:
        """Return the seconds to keep for predicting and measuring the validation cases."""
        ...

    def validate(self, model: Model, progress: Progress) -> Measured | None:
        """Predict the validation cases, measure them and write both into ``validation`` of the run; None without any."""
        ...


def build(run: Run, plan: Plan, split: Split, cohort: Cohort, progress: Progress) -> None:
    """Prepare the images of a run."""
    kind = _kind(plan)
    kind.build(run, plan, split, cohort, progress)


def open_material(run: Run, plan: Plan, split: Split) -> Material:
    """Open what `build` prepared."""
    material: Material = _kind(plan)(run, plan, split)
    return material


def _kind(plan: Plan) -> Any:
    if plan.task.kind == "segmentation":
        from striate.workflows.masks import Masks

        return Masks
    from striate.workflows.whole import WholeImages

    return WholeImages
