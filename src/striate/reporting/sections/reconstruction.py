"""Images beside their reconstructions and the difference of both."""

from __future__ import annotations

from striate.reporting.folder import Folder
from striate.reporting.sample_panel import FILE
from striate.reporting.section import Section
from striate.reporting.sprites import tile

TITLE = "Image, reconstruction and difference"


def make(folder: Folder) -> Section:
    """Return the triples of ``panels/samples.npz``."""
    found = folder.samples
    if found is None or found.reconstructions is None or found.differences is None:
        name = (folder.results / FILE).relative_to(folder.path).as_posix()
        why = folder.why.get(name, f"{name} holds no reconstructions.")
        return Section("reconstruction", TITLE, absent=f"There is nothing to look at: {why}")
    rows = [
        {"caption": one.caption, "tiles": [tile(image), tile(made), tile(apart)]}
        for one, image, made, apart in zip(
            found.samples, found.images, found.reconstructions, found.differences, strict=True
        )
    ]
    return Section("reconstruction", TITLE, {"rows": rows, "hidden": found.total - len(rows)})
