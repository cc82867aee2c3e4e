"""Writing that either finishes or leaves nothing, hashes, and JSON with a version.

A file is written beside its place and renamed; a folder is filled beside its place and renamed. A full disk becomes
`DiskFullError`, and what was half-written is removed. What a process that was killed left of a folder goes with the next one
that fills a folder of that name.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from striate.core.errors import DataError, DiskFullError, FormatError, StriateError, expected
from striate.core.lock import take

T = TypeVar("T")

_FULL = re.compile(
    rf"os error (?:{errno.ENOSPC}|{errno.EDQUOT})\b|No space left on device|^\d+ requested and \d+ written$"
)
"""How other packages (safetensors, numpy) report a full disk, without a number of the operating system."""
_NO_PLACE = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG)


def explain_writing(error: Exception, path: Path) -> Exception:
    """Turn an operating system's error about writing `path` into a sentence; other errors come back as they are."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT) or (number is None and _FULL.search(str(error))):
        return DiskFullError(
            expected(path, "the disk is full", "room for the output is needed; nothing was left half-written",
                     "Free some space or choose another --out.")
        )  # fmt: skip
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DiskFullError(
            expected(
                path, "writing is not permitted", "a folder that can be written is needed",
                "Make it writable or choose another --out.",
            )
        )  # fmt: skip
    if number in _NO_PLACE:
        problem = os.strerror(number).lower()
        where = str(path) if number != errno.ENAMETOOLONG else f"{str(path)[:60]}…"
        return DataError(
            expected(where, f"it cannot be written ({problem})", "the path of a new file or folder is needed",
                     "Choose another --out."), path=path,
        )  # fmt: skip
    return error


def refuse_unwritable(folder: Path) -> None:
    """Refuse a folder in which, or of which the first parent that is there, nothing may be written; before long work.

    Raises
    ------
    DiskFullError
        The sentence that writing would end with.
    """
    there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), None)
    if there is not None and there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        raise explain_writing(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), there)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of writing `path` into sentences, see `explain_writing`."""
    try:
        yield
    except StriateError:
        raise
    except Exception as error:
        sentence = explain_writing(error, path)
        if sentence is error:
            raise
        raise sentence from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; on success it is renamed to `path`, else removed.

    The given path keeps all suffixes of `path` (``.nii.gz``), because writers look at them.

    Raises
    ------
    DiskFullError
        When the disk is full or the folder cannot be written.
    DataError
        When the path is a folder, leads through a file, or is too long, or when it is a device or a pipe, which must
        not be replaced by a file.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataError(
            expected(path, "a device or a pipe, which is never replaced", "the path of a new file is needed",
                     "For a document on stdout give --json."), path=path,
        )  # fmt: skip
    beside = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            with beside.open("rb") as stream:
                os.fsync(stream.fileno())
            beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`; on success it is renamed to `folder`, else removed.

    Raises
    ------
    DataError
        When `folder` exists and is not empty (nothing of the user's is overwritten), or its path leads through a file.
    DiskFullError
        When the disk is full or the place cannot be written.
    """
    given, folder = Path(folder), followed(Path(folder))
    refuse_filled(given)
    beside, held = folder, None
    try:  # an interruption may come right after the folder was made
        with explained(given):
            folder.parent.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            while held is None:
                beside = folder.with_name(f".{folder.name}.part.{secrets.token_hex(4)}")
                held = _made(beside)
            yield beside
            if folder.exists():
                folder.rmdir()
            beside.replace(folder)
    finally:
        if beside is not folder:
            shutil.rmtree(beside, ignore_errors=True)
        if held:
            os.close(held)


def followed(folder: Path) -> Path:
    """Return the absolute path of a folder that is to be filled; where it is a link, of what that leads to."""
    return folder.resolve() if folder.is_symlink() else folder.absolute()


def refuse_filled(folder: Path) -> None:
    """Refuse a folder that cannot be filled.

    Raises
    ------
    DataError
        When it exists and is not empty: nothing of the user's is overwritten. When it is the current folder or a mount
        point, which cannot be replaced by another one.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            expected(folder, "it exists and is not empty", "output never overwrites what is there",
                     "Choose another --out or remove it.")
        )  # fmt: skip
    if folder.exists() and folder.samefile(Path.cwd()):
        raise DataError(
            expected(folder, "the current folder", "output is a new folder, made beside its place and renamed",
                     "Give a name in it, such as --out out, or call from another folder.")
        )  # fmt: skip
    if os.path.ismount(folder):
        raise DataError(
            expected(folder, "a disk or volume is mounted there", "output is a new folder, made beside its place and renamed",
                     f"Give a name in it, such as --out {folder / 'out'}.")
        )  # fmt: skip


def _made(folder: Path) -> int | None:
    """Make a folder and lock it, so that others see that its process lives; the open folder, 0 where there are no locks.

    None: another process took it for what a killed one had left, in the moment before it was locked, and removes it.
    """
    folder.mkdir()
    try:
        place = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return 0
    except FileNotFoundError:
        return None
    if take(place) is not False and folder.exists():
        return place
    os.close(place)
    return None


def sweep(folder: Path) -> None:
    """Remove what `filling` of `folder` left in processes that are gone; where the file system has no locks, nothing is."""
    name, beside = re.compile(rf"\.{re.escape(folder.absolute().name)}\.part\.[0-9a-f]{{8}}"), list[Path]()
    with contextlib.suppress(OSError):  # a folder may take files and show none
        beside = [path for path in folder.absolute().parent.iterdir() if name.fullmatch(path.name)]
    for left in beside:
        with contextlib.suppress(OSError):
            place = os.open(left, os.O_RDONLY)
            try:
                if take(place):
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(place)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all.

    Bytes of a file name that are not UTF-8 become an escape that JSON reads back as they were.
    """
    with writing(path) as beside:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")


def csv_text(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as CSV, a line feed behind each line; None becomes an empty cell."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def plain(value: Any) -> Any:
    """Return `value` made of what JSON knows; NaN and infinity become None, paths and numpy numbers plain ones."""
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write `document` as readable JSON (sorted as given, UTF-8), whole or not at all."""
    write_text(path, _indented(document, "\n") + "\n")


def _indented(value: Any, start: str) -> str:
    """Return what `json.dumps` with ``indent=1`` says of `plain(value)`, several times as fast; `start` begins a line."""
    kind = type(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else "null"
    if kind is int:
        return repr(value)
    if kind is str:
        return encode_basestring(value)
    inner = f"{start} "
    if kind is dict:
        rows = [f"{inner}{encode_basestring(str(k))}: {_indented(v, inner)}" for k, v in value.items()]
        return f"{{{','.join(rows)}{start}}}" if rows else "{}"
    if kind is list or kind is tuple:
        rows = [inner + _indented(v, inner) for v in value]
        return f"[{','.join(rows)}{start}]" if rows else "[]"
    known = plain(value)
    return (
        _indented(known, start) if type(known) is not kind else json.dumps(known, ensure_ascii=False, allow_nan=False)
    )


def read_json(path: Path, kind: str | None = None, version: int | None = None) -> dict[str, Any]:
    """Read a JSON object; with `kind`, its key ``kind`` must match and its ``schema_version`` be at most `version`.

    Raises
    ------
    FormatError
        When the file is missing, not JSON, not an object, or of another kind or a newer version.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(expected(path, "there is no such file", "a JSON file is needed here"), path=path) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(
            expected(path, f"not readable as JSON ({error})", "a JSON object is needed here"), path=path
        ) from error
    if not isinstance(document, dict):
        raise FormatError(
            expected(path, f"holds a JSON {type(document).__name__}", "a JSON object is needed"), path=path
        )
    if kind is not None and document.get("kind") != kind:
        raise FormatError(expected(path, f"kind {document.get('kind')!r}", f"kind '{kind}' is needed"), path=path)
    if version is not None and document.get("schema_version", 0) not in range(version + 1):
        raise FormatError(
            expected(path, f"schema version {document['schema_version']!r}", f"this Striate reads up to {version}",
                     "Upgrade Striate: pip install -U striate"), path=path,
        )  # fmt: skip
    return document


def read_document(path: Path, kind: str, version: int, parse: Callable[[dict[str, Any]], T]) -> T:
    """Return what `parse` makes of a JSON object; `kind` and `version` as of `read_json`.

    Raises
    ------
    FormatError
        As `read_json`, and when the object has another form than `parse` reads.
    """
    document = read_json(path, kind, version)
    try:
        return parse(document)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            expected(path, f"not readable as {kind} ({error!r})", f"the form of schema version {version} is needed"),
            path=path,
        ) from error


def in_folder(path: Path, name: str) -> Path:
    """Return the file `name` of a folder; a path that is no folder as it is."""
    path = Path(path)
    return path / name if path.is_dir() else path


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal text."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
