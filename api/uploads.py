"""Files that came over HTTP: kept durably in a folder of the workspace, which is a source like any other."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ingest.formats import NAMES, SUFFIXES
from kernel.errors import Conflict, InvalidInput

DEFAULT_SOURCE = "uploads"
LONGEST_NAME = 200
"""Bytes of a file name that are kept; file systems take 255."""
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came: its name is already safe."""

    name: str
    sha256: str
    file: BinaryIO


class UploadFolder:
    """The folders of uploaded sources, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, source: str) -> Path:
        """Where the files of an uploaded source lie. Raises InvalidInput where the name cannot be one's."""
        if not _SOURCE.fullmatch(source):
            raise InvalidInput(
                "the name of an uploaded source has 1 to 64 letters, digits, dots, dashes and underscores, "
                "and begins with a letter or a digit"
            )
        return self._root / source

    def holds(self, source: str, location: str) -> bool:
        """Whether a source at `location` is one of uploads, also where the whole workspace has moved since."""
        if not _SOURCE.fullmatch(source):
            return False
        known = Path(location)
        if known == self._root / source:
            return True
        return known.parts[-2:] == (self._root.name, source) and not known.exists()

    def keep(self, source: str, uploads: Sequence[Upload]) -> Path:
        """Store the files, all or none, on the disk itself before this returns; the folder that holds them.

        A file of the same name is replaced. Readers see the old file or the new one, never a part.
        """
        folder = self.of(source)
        _make_durably(folder)
        staged: list[tuple[Path, Path]] = []
        try:
            for upload in uploads:
                hidden = folder / f".{secrets.token_hex(8)}.part"
                staged.append((hidden, folder / upload.name))
                _write(hidden, upload.file)
            for hidden, target in staged:
                hidden.replace(target)
        finally:
            for hidden, _ in staged:
                hidden.unlink(missing_ok=True)
        _sync_folder(folder)
        return folder

    def remove(self, source: str, path: str) -> Path:
        """Remove an uploaded file for good; the folder that held it. Raises Conflict where it is gone already."""
        folder = self.of(source)
        if PurePosixPath(path).name != path:
            raise Conflict(f"{path} is not a file of its own; upload {path.partition('#')[0]} again without it")
        try:
            (folder / path).unlink()
        except FileNotFoundError as error:
            raise Conflict(f"{path} is not among the uploaded files any more") from error
        _sync_folder(folder)
        return folder


def as_uploads(files: Sequence[tuple[str | None, BinaryIO]]) -> list[Upload]:
    """Named files, checked. Raises InvalidInput for none, for a name that cannot be kept, and for two of one name."""
    if not files:
        raise InvalidInput("send at least one file in the form field `files`")
    uploads = [Upload(safe_name(name or ""), _digest(file), file) for name, file in files]
    names = [upload.name for upload in uploads]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"two of the files are named {twice[0]}")
    return uploads


def safe_name(name: str) -> str:
    """The last part of a file's name, without what a file system or a terminal could trip over.

    Raises InvalidInput where nothing is left, or where the kind of file is not one that can be parsed.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join("_" if unicodedata.category(one)[0] == "C" or one in '#:*?"<>|' else one for one in last)
    kept = kept.strip().lstrip(".").strip()
    stem, suffix = Path(kept).stem, Path(kept).suffix
    if not stem:
        raise InvalidInput("a file was sent without a name")
    if suffix.lower() not in SUFFIXES and kept not in NAMES:
        raise InvalidInput(f"files of the kind of {kept!r} cannot be read; these can: {' '.join(sorted(SUFFIXES))}")
    while len((stem + suffix).encode()) > LONGEST_NAME:
        stem = stem[:-1]
    return stem + suffix


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _write(path: Path, file: BinaryIO) -> None:
    file.seek(0)
    with path.open("xb") as target:
        shutil.copyfileobj(file, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())


def _make_durably(folder: Path) -> None:
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        with suppress(FileExistsError):
            one.mkdir()
        _sync_folder(one.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
