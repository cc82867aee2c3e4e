"""`Kept`: cases that a call which was stopped has predicted; they are taken where nothing that masks depend on has changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from striate.core.case import Case
from striate.core.counted import counted, is_or_are, some
from striate.core.errors import DataError, Interrupted, MemoryLimitError
from striate.core.files import hash_file, plain
from striate.core.machine import processor
from striate.core.progress import Progress, each
from striate.core.record import versions
from striate.core.targets import Targets
from striate.core.together import MOST_TOLD
from striate.core.unfinished import Unfinished
from striate.inference.engines import Engine, network_in
from striate.inference.engines.int8 import FOLDER, VERDICT
from striate.inference.engines.openvino import PARITY
from striate.inference.prediction import Prediction
from striate.io.read import hash_image
from striate.measure.finding import CaseFindings
from striate.model.model import EXPORTED, FACTS, PLAN, Model
from striate.model.weights import SNAPSHOTS
from striate.trust.trust import FILE as TRUST

ABOUT_MODEL = (PLAN, FACTS, TRUST, PARITY, str(EXPORTED / PARITY), f"{FOLDER}/{VERDICT}", f"{SNAPSHOTS}/*.safetensors")
"""Files of a model that say all that masks and findings depend on: the first two name the hash of the weights."""
HEADERS = (".mhd", ".nhdr")
"""Endings of files whose voxels lie in another one, so that their hash does not tell whether the image is the same."""
OPTIONS = ("save_probabilities", "save_uncertainty", "uncertainty", "tta", "crf", "exact", "dicom_seg")
WORDS = {
    "model": "with another model", "options": "with other options", "engine": "by another engine",
    "programs": "with other versions of the programs", "processor": "on another processor", "images": "from other images",
    "panel": "without a panel", "truth": "beside another truth",
}  # fmt: skip
"""What a mask depends on → how it is told where that is another one now."""

Done = tuple[Prediction, CaseFindings]


def way_of(models: Sequence[Model], options: Mapping[str, Any], engines: Sequence[Engine | None]) -> dict[str, Any]:
    """Return what the masks of all cases depend on, beside their images.

    Parameters
    ----------
    models
        The model, and the others of an ensemble.
    options
        That were in force.
    engines
        What computes the network, and the first stage of a cascade.
    """
    return {
        "model": [of_model(stage) for model in models for stage in (model, model.previous) if stage is not None],
        "options": {name: options[name] for name in OPTIONS},
        "engine": [None if engine is None else [engine.name, engine.precision, _device(engine)] for engine in engines],
        "programs": versions(),
        "processor": processor(),
    }


def of_model(model: Model) -> dict[str, str]:
    """Return the hashes of the files of a model that what it says depends on."""
    files = [path for name in ABOUT_MODEL for path in sorted(model.folder.glob(name)) if path.is_file()]
    return {path.relative_to(model.folder).as_posix(): hash_file(path) for path in files}


def _device(engine: Engine) -> str:
    """Return the kind of device that a network lies on; empty where the engine does not tell."""
    network = network_in(engine)
    return "" if network is None else next((p.device.type for p in network.parameters()), "")


@dataclass(frozen=True, slots=True)
class Kept:
    """The cases of one call that are done.

    Attributes
    ----------
    place
        Where they lie until all are done.
    way
        See `way_of`.
    targets
        What label values mean.
    panels
        Names of the cases that get a panel.
    files
        Path in the output → SHA-256, of every file of every case that is done.
    inputs
        "CASE/CHANNEL" → SHA-256 of every image of these.
    """

    place: Unfinished
    way: Mapping[str, Any]
    targets: Targets
    panels: Collection[str]
    files: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)

    def find(self, cases: Sequence[Case], progress: Progress) -> dict[str, Done]:
        """Return by name what is done of `cases`; what differs from what would be done now is told and left."""
        waiting, found, other = set(self.place.names), dict[str, Done](), dict[str, list[str]]()
        there = [case for case in cases if case.name in waiting]
        for case in each(progress, "look at what is kept", there, len(there)) if there else ():
            known = self.place.get(case.name)
            reason = "not whole" if known is None else self._differs(known, case)
            if known is not None and not reason:
                with contextlib.suppress(KeyError, TypeError, ValueError):  # of numbers that JSON does not know
                    found[case.name] = self._taken(known, case)
            if case.name not in found:
                other.setdefault(reason or "not whole", []).append(case.name)
        if there:
            progress.note(resumed(len(found), len(cases), self.place.folder))
        for reason, names in other.items():
            told = f"predicted {reason}" if reason in WORDS.values() else reason
            progress.note(f"kept, but {told}: {some(names)}; predicted anew")
        return found

    def keep(self, prediction: Prediction, judged: CaseFindings, files: Iterable[Path]) -> None:
        """Write down that a case is done, whose images are in `inputs`.

        Parameters
        ----------
        prediction, judged
            What came of it; files of the prediction lie in `Unfinished.out`.
        files
            What was written, in `Unfinished.files`.
        """
        case, out = prediction.case, self.place.out
        known = {
            **plain(self.way), **self._seen(case, self.inputs), "findings": judged.to_dict(), "facts": plain(prediction.facts),
            "mask": None if prediction.path is None else prediction.path.relative_to(out).as_posix(),
            "probabilities": {name: path.relative_to(out).as_posix() for name, path in prediction.probabilities.items()},
        }  # fmt: skip
        self.files.update(self.place.keep(case.name, known, files))

    def _differs(self, known: Mapping[str, Any], case: Case) -> str:
        """Return in words what has changed since a case was predicted; empty where nothing has."""
        if any(not path.exists() or path.suffix.lower() in HEADERS for path in case.channels.values()):
            return WORDS["images"]
        now = {
            **plain(self.way),
            **self._seen(case, {f"{case.name}/{n}": hash_image(p) for n, p in case.channels.items()}),
        }
        if known.get("panel") and not now["panel"]:  # one more than is needed
            now = {**now, "panel": True, "truth": known.get("truth")}
        return next((word for key, word in WORDS.items() if known.get(key) != now[key]), "")

    def _seen(self, case: Case, hashes: Mapping[str, str]) -> dict[str, Any]:
        """Return what the mask and the panel of a case are made of."""
        panel = case.name in self.panels
        images = {name: [path.name, hashes[f"{case.name}/{name}"]] for name, path in case.channels.items()}
        shown = panel and case.label is not None and case.label.is_file()
        return {"images": images, "panel": panel, "truth": hash_file(case.label) if shown and case.label else None}

    def _taken(self, known: Mapping[str, Any], case: Case) -> Done:
        """Return what is known of a case that is done, and remember its files."""
        judged, out, facts = CaseFindings.from_dict(known["findings"]), self.place.out, dict(known["facts"])
        maps = {name: out / path for name, path in known["probabilities"].items()}
        prediction = Prediction(
            case, self.targets, path=out / known["mask"], probabilities=maps, warnings=judged.warnings, facts=facts
        )
        panel = f"panels/{case.name}.npz"
        self.files.update({p: sha for p, sha in known["files"].items() if p != panel or case.name in self.panels})
        self.inputs.update({f"{case.name}/{name}": sha for name, (_, sha) in known["images"].items()})
        return prediction, judged


def resumed(found: int, of: int, folder: Path) -> str:
    """Return the sentence that `found` of `of` cases were there in `folder`."""
    return f"resumed: {found} of {counted(of, 'case')} {'was' if found == 1 else 'were'} there in {folder}"


@contextlib.contextmanager
def telling(
    place: Unfinished, cases: Sequence[Case], progress: Progress, count: Callable[[], int] | None = None
) -> Iterator[None]:
    """Say what is kept where the work is stopped, and how to go on.

    `count` tells how many cases are kept, where `place` does not hold each by its name.

    Raises
    ------
    Interrupted
        In the place of Ctrl-C, where anything is kept.
    """
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as error:
        if kept := _told(place, cases, count):
            raise Interrupted(f"stopped; {kept}") from error
        raise
    except Exception as error:
        kept = _told(place, cases, count)
        if kept and kept not in str(error):
            progress.note(kept)
        raise


def _told(place: Unfinished, cases: Sequence[Case], count: Callable[[], int] | None = None) -> str:
    """Return what is kept and how to go on; empty where nothing is."""
    done = len({case.name for case in cases} & set(place.names)) if count is None else count()
    kept = f"{done} of {counted(len(cases), 'case')} {'is' if done == 1 else 'are'} kept in {place.folder}"
    return f"{kept}, the same call goes on with {'it' if done == 1 else 'them'}." if done else ""


def warn_left_out(large: Sequence[MemoryLimitError], cases: Sequence[Case], progress: Progress) -> None:
    """Say which cases are known to be too large for the memory, before the others are predicted."""
    if large:
        told = f"{counted(len(large), 'case')} of {len(cases)} {is_or_are(len(large))} too large for the free memory"
        progress.warn(f"{told} and left out: {some([str(error.case) for error in large])}; why is told at the end.")


def refuse_failed(
    failed: Sequence[DataError | MemoryLimitError],
    place: Unfinished,
    cases: Sequence[Case],
    count: Callable[[], int] | None = None,
) -> None:
    """Raise where cases could not be predicted, once the others are; `count` as of `telling`.

    Raises
    ------
    DataError, MemoryLimitError
        With the sentence of each, and what is kept of the others; where all fail the first `MOST_TOLD` sentences. The latter
        where memory alone was lacking.
    """
    if not failed:
        return
    first, kept = failed[0], _told(place, cases, count)
    if len(failed) == 1:
        kind, told = type(first), f"{first}"
    else:
        kind = MemoryLimitError if all(isinstance(error, MemoryLimitError) for error in failed) else DataError
        shown = failed if len(failed) < len(cases) else failed[:MOST_TOLD]
        told = f"{len(failed)} of {len(cases)} cases cannot be predicted:" + "".join(f"\n  {error}" for error in shown)
        told += f"\n  and {len(failed) - len(shown)} more" if len(shown) < len(failed) else ""
        told += "\n" if kept else ""
    raise kind(
        f"{told} {kept} Mend or leave out the rest." if kept else told, case=first.case, path=first.path
    ) from first
