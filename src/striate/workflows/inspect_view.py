"""`View`: what of one case is inspected: one window as `predict` gives it to the network, and one point in it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from striate.core.case import Case
from striate.core.errors import DataError, expected
from striate.data.prepare import Prepared
from striate.workflows.inspect_place import Place, file_at


@dataclass(frozen=True, slots=True)
class Ask:
    """What of a case is to be inspected; see `striate.workflows.inspect.inspect`."""

    at: Place | None = None
    label: str | None = None
    plane: int | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """The number of the output that is followed.

    Attributes
    ----------
    what
        ``label``, ``class`` or ``channel``.
    name, unit
        Of the label, class or channel, and which channel of the network's output it is.
    at
        Its place there: in the output's map; of a sequence the number of the image; empty for one number per class.
    blended
        The probability that `predict` gives there, of all windows together; None of reconstructions.
    """

    what: str
    name: str
    unit: int
    at: Place
    blended: float | None


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One window of one case, and a point in it.

    Attributes
    ----------
    case, prepared, network
        Which, as the network sees it, and the network.
    tile
        What is given to it: (1, C, *S), or (1, T, C, *S) of a sequence; with what is mirrored around it.
    channels
        Names of C.
    corner
        Voxel of the working grid at which the window begins, per axis of the network; negative where it reaches over the border.
    flat
        Axis of the working grid that a 2D network does not see; None where there is none.
    at, seen, inside
        The point: a voxel of the files, of the working grid, of the tile.
    step
        Image of the sequence that the point lies in; None where there is no sequence.
    output
        What is followed.
    notes
        What a reader should know, as sentences.
    """

    case: Case
    prepared: Prepared
    network: nn.Module
    tile: Tensor
    channels: tuple[str, ...]
    corner: Place
    flat: int | None
    at: Place
    seen: Place
    inside: Place
    step: int | None
    output: Output
    notes: list[str]

    @property
    def oriented(self) -> bool:
        """Whether the first two axes of the tile grow to the right and to the front."""
        ras = len(self.prepared.grid.shape) == 3 and self.prepared.grid.axes == "RAS"
        return ras and self.flat in (None, 2)


def unseen(case: Case, at: Place, prepared: Prepared) -> DataError:
    """Return the error for a voxel of the files where the network does not look."""
    told = ",".join(map(str, at))
    low, high = (file_at(end, prepared) for end in ((0,) * len(at), tuple(n - 1 for n in prepared.grid.shape)))
    ends = " × ".join(f"{min(a, b)} to {max(a, b)}" for a, b in zip(low, high, strict=True))
    return DataError(
        expected(f"case {case.name}", f"--at {told} lies outside of what the network sees", f"a voxel of {ends} is needed"),
        case=case.name,
    )  # fmt: skip
