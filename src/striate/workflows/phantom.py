"""`phantom`: nothing → a cohort of FLAIR-like scans with known lesions."""

from __future__ import annotations

from pathlib import Path

from striate.core.files import filling
from striate.core.kinds import kinds
from striate.core.progress import Progress, Silent, each
from striate.core.record import Record, Stopwatch
from striate.phantoms.cohort import Row, validate, write_subjects, write_table


@kinds
def phantom(
    out: Path | str,
    *,
    subjects: int = 12,
    seed: int = 0,
    spacing_mm: float | tuple[float, ...] | None = None,
    visits: int = 1,
    artefacts: str = "none",
    sites: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Make a phantom cohort and return the path of its ``cohort.csv``.

    Parameters
    ----------
    out
        Folder to be made; it must not exist or be empty.
    subjects
        Number of subjects. Subject i is the same whatever their number.
    seed
        Seed of everything that is drawn.
    spacing_mm
        Voxel size along x, y, z, or one number for all; 2 mm where None. A large last value gives thick axial slices.
    visits
        Examinations per subject; from the second on lesions have grown, vanished or are new.
    artefacts
        ``none``, ``mixed``, or one of ``motion``, ``ghosting``, ``spikes``, ``low_snr``.
    sites
        Number of simulated scanners, each with voxels, noise, coil, units and contrast of its own. With two or more, subjects
        also have an age and a sex, and the table the columns ``site``, ``tesla``, ``age``, ``sex``.
    progress
        Who is told of the progress.

    Raises
    ------
    UsageError
        When a number is out of range or the artefact is unknown.
    DataError
        When `out` exists and is not empty.
    DiskFullError
        When the disk is full or `out` cannot be written; nothing is left.
    """
    wanted = 2.0 if spacing_mm is None else spacing_mm
    spacing = (wanted,) * 3 if isinstance(wanted, (int, float)) else tuple(wanted)
    validate(subjects, seed, spacing, visits, artefacts, sites)
    watch = Stopwatch()
    progress = progress or Silent()
    with filling(Path(out)) as folder:
        rows: list[Row] = []
        made = write_subjects(
            folder, subjects=subjects, seed=seed, spacing_mm=spacing, count=visits, artefacts=artefacts, sites=sites
        )
        for visited in each(progress, "phantom", made, subjects):
            rows += visited
        write_table(folder, rows)
        options: dict[str, object] = {
            "subjects": subjects, "spacing_mm": spacing, "visits": visits, "artefacts": artefacts,
        }  # fmt: skip
        if sites > 1:
            options["sites"] = sites
        Record("phantom", options, seed, **watch.fields()).write(folder / "record.json")
    return Path(out) / "cohort.csv"
