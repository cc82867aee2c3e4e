"""`unfinished`: a folder that is filled piece by piece beside its place, ``OUT.unfinished``, until all pieces are there.

What is done stays when the process is stopped or killed, and the next one goes on with it. In ``OUT.unfinished`` lie ``files``,
which becomes OUT, and ``done/NAME.json`` for each piece: what is known of it, and the SHA-256 of its files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from striate.core.errors import DataError, FormatError, expected
from striate.core.files import explained, followed, hash_file, read_json, refuse_filled, sweep, write_json
from striate.core.lock import take

KIND, VERSION = "striate-done", 1
FILES, DONE, LOCK = "files", "done", "lock"


class Unfinished:
    """The pieces of a folder that are done.

    Parameters
    ----------
    out
        What the folder will be called.

    Attributes
    ----------
    out
        As given.
    place
        Where that will lie: `out`, absolute; of a link, what it leads to.
    folder
        Where the pieces lie until all are done.
    files
        Of it, what becomes `out`.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(out)
        self.place = followed(self.out)
        self.folder = self.place.parent / f"{self.place.name}.unfinished"
        self.files = self.folder / FILES

    @property
    def names(self) -> list[str]:
        """Names of the pieces that are done, in the order of the alphabet."""
        return sorted(path.name.removesuffix(".json") for path in (self.folder / DONE).glob("[!.]*.json"))

    def get(self, name: str) -> dict[str, Any] | None:
        """Return what `keep` was given of a piece, with ``files`` (path in `files` → SHA-256).

        None where it is not done, cannot be read, or its files are not those that were written.
        """
        try:
            known = read_json(self._of(name), KIND, VERSION)
        except FormatError:
            return None
        if known.get("name") != name:  # a file system that does not tell a from A
            return None
        for path, digest in known["files"].items():
            if not (self.files / path).is_file() or hash_file(self.files / path) != digest:
                return None
        return known

    def keep(self, name: str, known: Mapping[str, Any], files: Iterable[Path]) -> dict[str, str]:
        """Write down that a piece is done.

        Parameters
        ----------
        name
            Of the piece.
        known
            What will be asked of it, as JSON can hold it.
        files
            In `files`, whole.

        Returns
        -------
        dict
            Path in `files` → SHA-256.
        """
        hashes = {path.relative_to(self.files).as_posix(): hash_file(path) for path in files}
        head = {"kind": KIND, "schema_version": VERSION, "name": name}
        write_json(self._of(name), {**head, **known, "files": hashes})
        return hashes

    def keep_only(self, files: Collection[str]) -> None:
        """Remove all from `files` but these, and folders that are empty then."""
        for path in sorted(self.files.rglob("*"), reverse=True):  # what lies in a folder comes before it
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.rmdir()
            elif path.relative_to(self.files).as_posix() not in files:
                path.unlink()

    def _of(self, name: str) -> Path:
        return self.folder / DONE / f"{name}.json"


@contextlib.contextmanager
def unfinished(out: Path) -> Iterator[Unfinished]:
    """Give the pieces of `out` that are done; on success their files become `out`, else they stay for the next call.

    Nothing is left where no piece is done. One process at a time works on `out`.

    Raises
    ------
    DataError
        When `out` exists and is not empty, its path leads through a file, another process fills it, or ``OUT.unfinished`` holds
        something else.
    DiskFullError
        When the disk is full or the place cannot be written.
    """
    work, place = Unfinished(out), None
    if work.out.exists() and not work.files.exists() and work.names and _ours(work.folder):
        # killed between the last two steps; where no piece is done another process has just begun
        shutil.rmtree(work.folder, ignore_errors=True)
    refuse_filled(work.out)
    with explained(work.out):
        work.place.parent.mkdir(parents=True, exist_ok=True)
        sweep(work.place)
        try:
            place = _entered(work)
            work.files.mkdir(exist_ok=True)
            yield work
            if work.place.exists():
                work.place.rmdir()
            work.files.replace(work.place)
        finally:
            _leave(work, place)


def _leave(work: Unfinished, place: int | None) -> None:
    """Let the lock go; what is there is removed where nothing is done. None: an interruption came while entering."""
    if place is None:
        with contextlib.suppress(OSError):
            work.folder.rmdir()  # only where nothing lies in it
            return
        if not _ours(work.folder):
            return
        with contextlib.suppress(OSError):
            place = os.open(work.folder / LOCK, os.O_RDWR)
        if place is None:
            return
        if not take(place):  # another process works there
            os.close(place)
            return
    if not work.files.exists() or not work.names:
        shutil.rmtree(work.folder, ignore_errors=True)
    if place:
        os.close(place)


def _ours(folder: Path) -> bool:
    """Tell whether a folder is empty, or holds what is written here and nothing else."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
    return not there or (there <= {FILES, DONE, LOCK} and bool(there & {DONE, LOCK}))


def _entered(work: Unfinished) -> int:
    """Make the folder where it is not there, and lock it; return the lock, to be closed; 0 where there are no locks."""
    while True:
        work.folder.mkdir(exist_ok=True)
        if not _ours(work.folder):
            raise DataError(
                expected(work.folder, "it holds something else", "it is where cases wait until all are done",
                         "Rename it, or choose another --out."), path=work.folder,
            )  # fmt: skip
        try:
            place = os.open(work.folder / LOCK, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:  # its last owner has just removed it
            continue
        taken = take(place)
        if not taken:
            os.close(place)
        if taken is None:
            return 0
        if not taken:
            raise DataError(
                expected(work.out, "another process fills it", "one at a time is needed, they would overwrite each other",
                         "Wait until it ends, or choose another --out."), path=work.out,
            )  # fmt: skip
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(place), (work.folder / LOCK).stat()):
                return place
        os.close(place)
