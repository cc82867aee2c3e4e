"""Striate: convolutional networks for medical images, from a folder of scans to a number that one can trust.

Every name here is loaded on first use, so that ``import striate`` stays light and brings no torch.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as in `typing`, which takes longer to import than all that is here

__version__ = "0.1.0"

_HOME = {
    "Image": "striate.core.image",
    "LabelMap": "striate.core.image",
    "Case": "striate.core.case",
    "Record": "striate.core.record",
    "StriateError": "striate.core.errors",
    "read_image": "striate.io.read",
    "read_label": "striate.io.read",
    "write_image": "striate.io.write",
    "write_label": "striate.io.write",
    "Cohort": "striate.data.cohort",
    "Fingerprint": "striate.planning.fingerprint",
    "Plan": "striate.planning.plan",
    "Model": "striate.model.model",
    "Prediction": "striate.inference.prediction",
    "Findings": "striate.measure.findings",
    "check": "striate.workflows.check",
    "plan": "striate.workflows.plan",
    "train": "striate.workflows.train",
    "predict": "striate.workflows.predict",
    "evaluate": "striate.workflows.evaluate",
    "calibrate": "striate.workflows.calibrate",
    "update": "striate.workflows.update",
    "audit": "striate.workflows.audit",
    "change": "striate.workflows.change",
    "compare": "striate.workflows.compare",
    "explain": "striate.workflows.explain",
    "inspect": "striate.workflows.inspect",
    "export": "striate.workflows.export",
    "report": "striate.workflows.report",
    "phantom": "striate.workflows.phantom",
    "digits": "striate.workflows.digits",
    "demo": "striate.workflows.demo",
    "toy": "striate.workflows.toy",
}

__all__ = ["__version__", *sorted(("networks", *_HOME))]


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name == "networks":
        return importlib.import_module("striate.networks")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'striate' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from typing import Any

    from striate import networks as networks
    from striate.core.case import Case as Case
    from striate.core.errors import StriateError as StriateError
    from striate.core.image import Image as Image
    from striate.core.image import LabelMap as LabelMap
    from striate.core.record import Record as Record
    from striate.data.cohort import Cohort as Cohort
    from striate.inference.prediction import Prediction as Prediction
    from striate.io.read import read_image as read_image
    from striate.io.read import read_label as read_label
    from striate.io.write import write_image as write_image
    from striate.io.write import write_label as write_label
    from striate.measure.findings import Findings as Findings
    from striate.model.model import Model as Model
    from striate.planning.fingerprint import Fingerprint as Fingerprint
    from striate.planning.plan import Plan as Plan
    from striate.workflows.audit import audit as audit
    from striate.workflows.calibrate import calibrate as calibrate
    from striate.workflows.change import change as change
    from striate.workflows.check import check as check
    from striate.workflows.compare import compare as compare
    from striate.workflows.demo import demo as demo
    from striate.workflows.digits import digits as digits
    from striate.workflows.evaluate import evaluate as evaluate
    from striate.workflows.explain import explain as explain
    from striate.workflows.export import export as export
    from striate.workflows.inspect import inspect as inspect
    from striate.workflows.phantom import phantom as phantom
    from striate.workflows.plan import plan as plan
    from striate.workflows.predict import predict as predict
    from striate.workflows.report import report as report
    from striate.workflows.toy import toy as toy
    from striate.workflows.train import train as train
    from striate.workflows.update import update as update
