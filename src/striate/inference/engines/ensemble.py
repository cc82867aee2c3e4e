"""Several engines that answer as one: the mean of their probabilities, and how far they disagree.

A deep ensemble (Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017) is several models of one task; a snapshot ensemble
(Huang et al., ICLR 2017) is one model at several moments of its training, as the files in its folder ``snapshots``.
Disagreement is the mutual information between the answer and the member that gives it (Houlsby et al., 2011; Gal and
Ghahramani, ICML 2016): the entropy of the mean less the mean entropy, in nats, summed over regions where these may overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import ModelError, UsageError, expected
from striate.inference.engines import Engine, network_in, on_gpu, open_engine
from striate.model.model import PLAN, Model
from striate.model.weights import SNAPSHOTS, check_weights, load_weights

if TYPE_CHECKING:
    from torch import nn

_LEAST = np.float32(1e-12)


class EnsembleEngine:
    """Averages the probabilities of `members`.

    Parameters
    ----------
    members
        Engines for the same classes or regions, one at least.
    exclusive
        Whether they give classes.

    Raises
    ------
    UsageError
        When there is no member.
    """

    name = "ensemble"

    def __init__(self, members: Sequence[Engine], *, exclusive: bool) -> None:
        if not members:
            raise UsageError("ensemble: no member; at least one model is needed.")
        self.members, self.exclusive = tuple(members), exclusive
        self.precision = "+".join(sorted({engine.precision for engine in self.members}))

    @property
    def on_gpu(self) -> bool:
        """Whether all members' networks lie in memory of a GPU's own."""
        return all(on_gpu(member) for member in self.members)

    @property
    def network(self) -> nn.Module | None:
        """The network of the first member; None where it has none."""
        return network_in(self.members[0])

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean probabilities (B, K, *patch) float32 of `tiles` (B, C, *patch) float32."""
        total = self.members[0](tiles).copy()
        for member in self.members[1:]:
            total += member(tiles)
        return total / np.float32(len(self.members))

    def disagreement(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean probabilities and, as one channel more, the disagreement in nats: (B, K + 1, *patch)."""
        return with_disagreement((member(tiles) for member in self.members), exclusive=self.exclusive)


class Disagreeing(Protocol):
    """An engine that knows how far its answers differ."""

    name: str
    precision: str

    def disagreement(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (B, K + 1, *patch): probabilities, and disagreement in nats."""
        ...


class DisagreementEngine:
    """Makes the disagreement of an engine its last channel, so that a sliding window blends it like the others.

    Parameters
    ----------
    source
        `EnsembleEngine` or `DropoutEngine`.
    """

    def __init__(self, source: Disagreeing) -> None:
        self.name, self.precision, self._ask = source.name, source.precision, source.disagreement

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (B, K + 1, *patch): probabilities, and disagreement in nats."""
        return self._ask(tiles)


def with_disagreement(answers: Iterable[NDArray[np.float32]], *, exclusive: bool) -> NDArray[np.float32]:
    """Return the mean of answers (B, K, *patch) and their mutual information as channel K; two sums are held.

    Raises
    ------
    UsageError
        When there is no answer.
    """
    total: NDArray[np.float32] | None = None
    apart: NDArray[np.float32] | None = None
    count = 0
    for answer in answers:
        count += 1
        entropy = _entropy(answer, exclusive)
        total = answer.copy() if total is None else np.add(total, answer, out=total)
        apart = entropy if apart is None else np.add(apart, entropy, out=apart)
    if total is None or apart is None:
        raise UsageError("ensemble: no member; at least one model is needed.")
    mean = total / np.float32(count)
    information = np.maximum(_entropy(mean, exclusive) - apart / np.float32(count), 0)
    return np.concatenate([mean, information], axis=1)


def open_ensemble(
    models: Sequence[Model],
    *,
    wrap: Callable[[nn.Module], Engine] | None = None,
    tell: Callable[[str], None] = lambda note: None,
) -> EnsembleEngine:
    """Return several models of one task, or the snapshots of one, as one engine.

    Parameters
    ----------
    models
        Two or more; or one whose folder has `SNAPSHOTS`.
    wrap
        Makes an engine of a network; by default `open_engine`.
    tell
        Is told once why a GPU that is there cannot compute members.

    Raises
    ------
    ModelError
        When the models differ in channels, labels, regions or preparation, or a file is broken.
    UsageError
        When there is nothing to average.
    """
    if not models:
        raise UsageError("ensemble: no model; give two or more of one task.")
    first = models[0]
    exclusive = first.plan.targets.exclusive
    for other in models[1:]:
        _refuse_difference(first, other)
    from striate.inference.engines.place import placed

    places = [placed(model) for model in models]
    if len(models) == 1:
        places += [placed(first, network) for network in snapshots(first)]
        if len(places) == 1:
            raise UsageError(
                expected(f"ensemble: model {first.folder}", f"one model without {SNAPSHOTS}/",
                         "at least two sets of weights are needed to disagree",
                         "Give more with --ensemble MODEL, train with training.snapshots in plan.yaml, or use --uncertainty tta.")
            )  # fmt: skip
    for problem in dict.fromkeys(place.problem for place in places if place.problem):
        tell(f"{problem}; the processor does it")
    make = wrap or (lambda network: open_engine(network, exclusive=exclusive))
    return EnsembleEngine([make(place.network) for place in places], exclusive=exclusive)


def snapshots(model: Model) -> list[nn.Module]:
    """Return the network of a model with the weights of each earlier moment, in the order of their names."""
    found = []
    for path in sorted((model.folder / SNAPSHOTS).glob("*.safetensors")):
        check_weights(path)
        network = model.network()
        load_weights(path, network)
        found.append(network.eval())
    return found


def _refuse_difference(first: Model, other: Model) -> None:
    """Refuse two models whose answers cannot be averaged voxel by voxel."""
    one, two = first.plan, other.plan
    pairs = {
        "channels": (one.task.channels, two.task.channels),
        "labels or regions": (_sets(first), _sets(other)),
        "preparation": (one.preparation, two.preparation),
        "inference.patch": (one.inference.patch, two.inference.patch),
        "network.spatial_dims": (one.network.spatial_dims, two.network.spatial_dims),
    }
    for what, (mine, theirs) in pairs.items():
        if mine != theirs:
            raise ModelError(
                expected(f"ensemble: {other.folder}", f"its {what}: {_short(theirs)}",
                         f"{first.folder} has {_short(mine)}, and only models that see the same image and answer"
                         " the same question can be averaged",
                         f"Train all from one plan: striate train COHORT --plan {first.folder / PLAN}"),
                path=other.folder,
            )  # fmt: skip


def _sets(model: Model) -> tuple[bool, tuple[tuple[str, tuple[int, ...]], ...]]:
    targets = model.plan.targets
    return targets.exclusive, tuple(targets.sets.items())


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 160 else f"{text[:157]}…"


def _entropy(shares: NDArray[np.float32], exclusive: bool) -> NDArray[np.float32]:
    """Return the entropy in nats, (B, 1, *patch): over classes, or of each region, summed."""
    found: NDArray[np.float32] = -(shares * np.log(np.maximum(shares, _LEAST))).sum(axis=1, keepdims=True)
    if exclusive:
        return found
    others = 1 - shares
    found -= (others * np.log(np.maximum(others, _LEAST))).sum(axis=1, keepdims=True)
    return found
