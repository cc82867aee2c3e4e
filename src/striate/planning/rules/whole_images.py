"""How whole images are shown to a classifier, an autoencoder or a network for sequences: size, voxel size, network."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from striate import networks
from striate.core.errors import UsageError, expected
from striate.networks.fits import able, small_sentence, smallest
from striate.planning.cost import seen_patch
from striate.planning.fingerprint import Fingerprint
from striate.planning.plan import NetworkChoice, Plan, Task
from striate.planning.rules import Decision
from striate.planning.rules.normalisation import normalisation

USUAL_NETWORK = {"classification": "inception_3d", "sequence": "cnn_rnn", "reconstruction": "autoencoder"}
MOST_PIXELS, MOST_VOXELS = (96, 256), (48, 96)
"""Largest edge that is shown in 2D and in 3D: on a processor, on a GPU. Time grows with its square or cube."""
SMALL_EDGE = 128
"""Below it networks that were made for 224 pixels take their small-input form (Shin et al., TMI 2016)."""
NARROW = 0.25
"""Share of the paper's feature maps that a processor trains where the architecture can be scaled."""


FOR_PROCESSORS: dict[str, dict[str, Any]] = {
    "alexnet": {"initial": "he"},
    "conv_lstm": {"hidden": [32], "kernel": 3},
    "deep_autoencoder": {"pretraining_epochs": 5},
    "hmax": {"upscale": 2, "bands": 4},
    "neocognitron": {"output": "all"},
}
"""What is chosen for few images and minutes instead of the papers' own options, which are slower or need more images."""


@dataclass(frozen=True)
class Shown:
    """What a network sees.

    Attributes
    ----------
    choice
        The network with its options.
    size
        Voxels along each axis of its input.
    spacing_mm
        Voxel size of the prepared images; for slices the third is that of the scans, which is kept.
    """

    choice: NetworkChoice
    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]


def shown(facts: Fingerprint, task: Task, name: str | None, *, fast: bool) -> tuple[Decision[str], Decision[Shown]]:
    """Decide which network sees the images, and at what size.

    Raises
    ------
    UsageError
        When the network is for another task or number of axes, or no size of the images fits it; networks that would do
        are named.
    """
    dims = 2 if task.unit == "slice" else facts.spatial_dims
    chosen = name or USUAL_NETWORK[task.kind]
    kind = networks.load(chosen)
    others = [n for n in networks.names(task.kind) if dims in networks.load(n).dims]
    if kind.task != task.kind or dims not in kind.dims:
        axes = " or ".join(f"{d}D" for d in kind.dims)
        raise UsageError(
            expected(f"network {chosen}", f"it does {kind.task} of {axes} images", f"{task.kind} of {dims}D images is asked for",
                     f"These do: {', '.join(others)}.")
        )  # fmt: skip
    largest = _largest_mm(facts, dims)
    finest = min(min(c.spacing_mm[:dims]) for c in facts.cases)
    most = (MOST_PIXELS if dims == 2 else MOST_VOXELS)[fast]
    edge = min(most, max(1, round(max(largest) / finest)))
    wished = tuple(max(1, min(edge, round(edge * mm / max(largest)))) for mm in largest)
    options = _options(chosen, edge, fast=fast)
    output = {"output": "linear"} if task.kind == "reconstruction" and _signed(facts) else {}
    size = _fitting(chosen, task, wished, options)
    spacing = max(max(mm / n for mm, n in zip(largest, size, strict=True)), finest)
    each = tuple(round(spacing, 5) for _ in range(dims))
    middle = sorted(c.spacing_mm[-1] for c in facts.cases)[len(facts.cases) // 2]
    spacing_mm = (*each, round(middle, 5)) if dims < facts.spatial_dims else each
    choice = NetworkChoice(name=chosen, spatial_dims=dims, options=networks.sized(chosen, size, options | output))
    why = "you asked for it" if name else f"the usual one for {task.kind}"
    if options:
        why += "; " + ", ".join(f"{k} {v}" for k, v in options.items()) + " fits images of this size on this machine"
    if output:
        why += "; output linear, because intensities of scans go below 0"
    seen = " × ".join(f"{mm:.0f}" for mm in largest)
    return Decision(chosen, why), Decision(
        Shown(choice, size, spacing_mm),
        f"the largest image ({seen} mm) fits whole; {spacing:.3g} mm per voxel, the finest there is has {finest:.3g} mm",
    )


def small_images(facts: Fingerprint, plan: Plan, *, fast: bool) -> str | None:
    """Return the sentence on whole images that are smaller than the least that the planned network takes, else None.

    Parameters
    ----------
    facts, plan
        Of the cohort, as `shown` decided.
    fast
        Whether a GPU does the work; the other networks that are named are taken as they would be planned.
    """
    choice, dims = plan.network, plan.network.spatial_dims
    size = seen_patch(plan.training.patch, dims)
    largest = _largest_mm(facts, dims)
    fills = [max(1, round(mm / s)) for mm, s in zip(largest, plan.preparation.spacing_mm, strict=False)]
    image = tuple(min(n, mine) for n, mine in zip(fills, size, strict=True))
    if plan.task.kind == "segmentation" or image == size:
        return None
    options = {key: value for key, value in choice.options.items() if key != "input_size"}
    found = smallest(choice.name, image, options, len(plan.task.channels), plan.task.outputs.out_channels)
    if found is None or all(n >= least for n, least in zip(image, found.least, strict=True)):
        return None
    takers = able(image, lambda name: _options(name, max(image), fast=fast))
    then = f"They are set into {'×'.join(map(str, size))}, what they show at their edges drawn out."
    return small_sentence(choice.name, image, found, {plan.task.kind: takers.get(plan.task.kind, ())}, then)


def _largest_mm(facts: Fingerprint, dims: int) -> tuple[float, ...]:
    """Return the largest extent of the images along each axis that the network sees."""
    extents = [
        [n * s for n, s in zip(c.cropped if cropping(facts) else c.shape, c.spacing_mm, strict=True)][:dims]
        for c in facts.cases
    ]
    return tuple(max(e[a] for e in extents) for a in range(dims))


def cropping(facts: Fingerprint) -> bool:
    """Tell whether empty borders are cut: of scans; the frame of a picture was chosen by who took it."""
    return facts.spatial_dims == 3


def _signed(facts: Fingerprint) -> bool:
    """Tell whether prepared intensities go below 0: those of scans, unless all channels are a photograph's."""
    return facts.spatial_dims == 3 and set(normalisation(facts).value[0]) != {"rescale"}


def _options(name: str, edge: int, *, fast: bool) -> dict[str, Any]:
    fields = networks.load(name).config_type.model_fields
    found: dict[str, Any] = {}
    if "width" in fields and not fast:
        found["width"] = NARROW
    if "small_input" in fields and edge < SMALL_EDGE:
        found["small_input"] = True
    return found if fast else found | FOR_PROCESSORS.get(name, {})


def _fitting(name: str, task: Task, wished: tuple[int, ...], options: dict[str, Any]) -> tuple[int, ...]:
    """Return the size nearest to `wished` that the network takes: where it cannot be built so small, the least it can."""
    import torch

    def size_of(given: dict[str, Any]) -> tuple[int, ...]:
        with torch.device("meta"):
            network = networks.create(
                name, spatial_dims=len(wished), in_channels=len(task.channels),
                out_channels=task.outputs.out_channels, **given,
            )  # fmt: skip
        return network.fitting(wished)

    grown = [tuple(max(n, edge) for n in wished) for edge in range(min(wished) + 1, MOST_PIXELS[1] + 1)]
    for size in (wished, *grown):
        with suppress(UsageError):
            return size_of(networks.sized(name, size, options))
    return size_of(options)
