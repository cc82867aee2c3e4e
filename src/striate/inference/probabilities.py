"""`ProbabilityWriter`: probability maps on the files' own grid, put together on disk instead of in memory.

Restored rows of each target are appended to one plain file per target; at the end each file alone is read, put into the
frame of the case, and written as an image. Both are float32: in half precision all above 0.9998 would be 1, and the logits of
sure lesions lost. Outside of what the network saw the probability is 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from striate.core.errors import UsageError
from striate.core.image import Image
from striate.core.targets import Targets
from striate.data.prepare import Prepared
from striate.io.write import write_image


class ProbabilityWriter:
    """Collects probability rows of one case; a context manager that removes its intermediate files.

    Parameters
    ----------
    folder
        Where ``CASE_TARGET.nii.gz`` (2D: ``.npz``) are written.
    case
        Name of the case.
    targets
        One map is written for each.
    """

    def __init__(self, folder: Path, case: str, targets: Targets) -> None:
        self.folder, self.case, self.targets = Path(folder), case, targets
        self.folder.mkdir(parents=True, exist_ok=True)
        self._names = file_names(targets.names)
        self._streams: dict[str, IO[bytes]] = {}
        self._frame: tuple[Prepared, list[int]] | None = None

    def __enter__(self) -> ProbabilityWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        for name, stream in self._streams.items():
            stream.close()
            self._raw(name).unlink(missing_ok=True)

    def begin(self, prepared: Prepared, axis: int) -> None:
        """Get ready for rows along `axis` of the cropped grid; of the images nothing is kept."""
        shape = prepared.cropped.shape
        order = [axis, *(a for a in range(len(shape)) if a != axis)]
        self._frame = replace(prepared, array=np.zeros(0, np.float32), classes=None), order
        self._streams = {name: self._raw(name).open("wb") for name in self.targets.names}

    def push(self, target: int, rows: NDArray[np.float32]) -> None:
        """Append restored rows (rows, *other axes) of one target; rows come in order."""
        name = self.targets.names[target]
        self._streams[name].write(np.ascontiguousarray(rows, dtype=np.float32).data)

    def finish(self) -> dict[str, Path]:
        """Write the images, once all rows have come, and return their paths by name of target."""
        if self._frame is None:
            raise UsageError(f"probabilities of case {self.case}: no rows came; predict the case first.")
        (prepared, order), written = self._frame, {}
        shape = prepared.cropped.shape
        for name, stream in self._streams.items():
            stream.close()
            whole = np.zeros(prepared.turned_shape, dtype=np.float32)
            rows = np.fromfile(self._raw(name), dtype=np.float32).reshape([shape[a] for a in order])
            whole[prepared.crop] = rows.transpose(np.argsort(order))
            del rows  # 4 bytes per voxel, while the image is written
            self._raw(name).unlink()
            array = np.ascontiguousarray(prepared.reorientation.invert(whole))
            path = self.folder / f"{self.case}_{self._names[name]}{'.nii.gz' if len(shape) == 3 else '.npz'}"
            write_image(path, Image(array[None], prepared.source.affine))
            written[name] = path
        return written

    def _raw(self, name: str) -> Path:
        return self.folder / f".{self.case}_{self._names[name]}.rows"


def map_beside(mask: Path, case: str, name: str, names: Sequence[str]) -> Path | None:
    """Return the probability of target `name`, one of `names`, that lies beside the mask of a case; None where none does."""
    stem = mask.parent / "probabilities" / f"{case}_{file_names(names)[name]}"
    places = (stem.with_name(stem.name + ending) for ending in (".nii.gz", ".npz"))
    return next((place for place in places if place.is_file()), None)


def file_names(names: Sequence[str]) -> Mapping[str, str]:
    """Return for each name of a target a different one that can be part of a file name, also where a is A."""
    found: dict[str, str] = {}
    for index, name in enumerate(names, start=1):
        plain = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or f"target{index}"
        while plain.casefold() in {other.casefold() for other in found.values()}:
            plain = f"{plain}-{index}"
        found[name] = plain
    return found
