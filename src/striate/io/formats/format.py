"""What a file format offers, and what is known of a file before its voxels are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from striate.core.geometry import Affine
from striate.core.image import Grid, Image


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself, without its voxels.

    Attributes
    ----------
    grid
        Spatial shape and affine (mm, RAS+).
    channels
        Number of channels C of the image that reading gives.
    dtype
        Type of the stored numbers, for instance ``int16``.
    format
        Name of the format, for instance ``nifti``.
    file_bytes
        Size of the file on disk in bytes.
    """

    grid: Grid
    channels: int
    dtype: str
    format: str
    file_bytes: int


class Format(Protocol):
    """One file format.

    Attributes
    ----------
    name
        How it is called in messages.
    extensions
        Endings in lower case, with their dots.
    lossy
        True where what is read is not what was written: refused for label maps.
    """

    @property
    def name(self) -> str:
        """Name in messages."""
        ...

    @property
    def extensions(self) -> tuple[str, ...]:
        """Endings."""
        ...

    @property
    def lossy(self) -> bool:
        """Whether numbers change."""
        ...

    def read_header(self, path: Path, *, stack: int = 0) -> Header:
        """Read what the file says of itself; `stack` as in `read`."""
        ...

    def read(self, path: Path, *, stack: int = 0, labels: bool = False) -> Image:
        """Read the voxels.

        Parameters
        ----------
        path
            An existing file.
        stack
            True: the last axis of a file with one axis more than space has holds channels.
        labels
            True: the numbers are labels (a palette gives its indices, not its colours).
        """
        ...

    def write(self, path: Path, array: NDArray[Any], affine: Affine) -> None:
        """Write `array` (C, I, J, K) or (C, I, J) to `path`, which does not exist yet."""
        ...
