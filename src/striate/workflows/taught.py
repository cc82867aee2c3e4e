"""Cases that a model learned from: recognised by the hashes of their images, told where they are predicted and measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from striate.core.case import Case
from striate.core.caution import Caution
from striate.core.counted import counted, some
from striate.core.errors import StriateError
from striate.core.files import read_json
from striate.core.progress import Progress
from striate.model.model import Model

CODE, FACT = "trained-on", "trained_on"
"""The code of the warning in ``findings.json``, and the key in the facts of ``record.json`` that holds the cases."""


def images_of(models: Sequence[Model | None]) -> frozenset[str]:
    """Return the hashes of all images that the models, with the first stages of cascades, say they learned from."""
    stages = [stage for model in models if model is not None for stage in (model, model.previous) if stage is not None]
    return frozenset(digest for stage in stages for digest in stage.facts.get("training_images") or ())


def caution_of(case: Case, hashes: Mapping[str, str], taught: Collection[str]) -> Caution | None:
    """Return the warning on a case that was learned from, else None.

    Parameters
    ----------
    case
        The case.
    hashes
        "CASE/CHANNEL" → SHA-256 of the file.
    taught
        Hashes of the images that were learned from.
    """
    seen = [name for name in case.channels if hashes[f"{case.name}/{name}"] in taught]
    if not seen:
        return None
    return Caution(
        CODE,
        f"case {case.name}: the model learned from this very image ({', '.join(seen)}); its answer is better than it would be"
        " for one it never saw, and measures of it are not those of a held-out case.",
    )


def taught_of(folder: Path) -> frozenset[str]:
    """Return the cases of a prediction that the model had learned from, as the record in `folder` says."""
    try:
        facts = read_json(folder / "record.json", "striate-record").get("facts")
    except StriateError:
        return frozenset()
    return frozenset(map(str, facts.get(FACT) or ())) if isinstance(facts, dict) else frozenset()


def told(trained: Sequence[str], count: int, progress: Progress) -> tuple[str, ...]:
    """Warn, and return the sentence, where cases that are measured were learned from; nothing where there are none."""
    if not trained:
        return ()
    all_of = "figures hold no held-out case" if len(trained) == count else "figures are not of held-out cases alone"
    sentence = (
        f"the model learned from {len(trained)} of {counted(count, 'case')} ({some(trained)}), so the {all_of}; they flatter"
        " the model."
    )
    progress.warn(sentence)
    return (sentence,)
