"""Files in one folder: each appears whole or not at all, below the folder, and exactly once a delivery.

What is to be delivered is first written beside its place, as a draft with a random token. A draft that is gone was put
in place: moving it there is one step that cannot happen twice. So whoever goes on after a crash can tell, whatever
happened to the file since. (Where the system can move a file to a free name only by a link, one that is deleted before
the link is recorded is delivered again.)
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from kernel.errors import InvalidInput, Unavailable

DEEPEST = 10
LONGEST_NAME = 180
MOST_VERSIONS = 100_000
DRAFT = ".draft"
_PART = re.compile(r"[^\x00-\x1f\x7f/\\]+")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
NO_REPLACE = 1
"""RENAME_NOREPLACE of Linux."""
_RENAMEAT2: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
"""Linux's way to move a file to a name that must be free, in one step; None elsewhere."""


class Folder:
    """A folder that files are delivered into; it is made when it is first needed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def draft(self, path: str, token: str, data: bytes) -> None:
        """Write, durably, what is to be put at `path`. Raises InvalidInput for a path that leaves the folder."""
        with self._parent(path, make=True) as folder:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(_draft(token), flags, 0o644, dir_fd=folder), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.fsync(folder)

    def drop(self, path: str, token: str) -> None:
        """Remove the drafts whose token begins so."""
        try:
            with self._parent(path) as folder:
                for name in os.listdir(folder):  # noqa: PTH208 - of an open folder
                    if name.startswith(f".{token}") and name.endswith(DRAFT):
                        _unlink(folder, name)
        except Unavailable:  # the folder is gone, and the drafts with it
            return

    def replace(self, path: str, token: str) -> None:
        """Put the draft in place of whatever is there; nothing where that was done before."""
        with self._parent(path) as folder:
            name = parts_of(path)[-1]
            try:
                os.rename(_draft(token), name, src_dir_fd=folder, dst_dir_fd=folder)
            except FileNotFoundError:
                return
            except IsADirectoryError as error:
                raise InvalidInput(f"{path} is a folder: no file can be put there") from error
            os.fsync(folder)

    def add(self, path: str, token: str) -> tuple[str, int] | None:
        """Give the draft the first free name: `brief.md`, `brief.2.md`, … . The name and its number, also where that
        was done before, whatever became of the file since; None where the draft is gone for another reason.
        """
        *above, name = parts_of(path)
        with self._parent(path) as folder:
            number = _added(folder, name, token)
            os.fsync(folder)
        return None if number is None else ("/".join([*above, _version(name, number)]), number)

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[int]:
        """The open folder that a path lies in, reached without following a link."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        above = parts_of(path)[:-1]
        folder = -1
        try:
            if make:
                self._root.mkdir(parents=True, exist_ok=True)
            folder = os.open(self._root, flags)
            for part in above:
                if make:
                    _mkdir(folder, part)
                inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InvalidInput(f"{path} does not lie in plain folders below the delivery folder") from error
            raise Unavailable(f"{path} cannot be delivered: {error.strerror}") from error
        finally:
            if folder >= 0:
                os.close(folder)


def parts_of(path: str) -> Sequence[str]:
    """The folders and the name of a path below the folder. Raises InvalidInput for any other path."""
    parts = path.split("/")
    fine = len(parts) <= DEEPEST and all(
        _PART.fullmatch(part) and not part.startswith(".") and len(part.encode()) <= LONGEST_NAME for part in parts
    )
    if not fine:
        raise InvalidInput(
            f"{path!r} is not a path below the delivery folder: names with / between them, none of which begins with a "
            f"dot, at most {DEEPEST}"
        )
    return parts


def _draft(token: str) -> str:
    return f".{token}{DRAFT}"


def _version(name: str, number: int) -> str:
    pure = PurePosixPath(name)
    return name if number == 1 else f"{pure.stem}.{number}{pure.suffix}"


def _added(folder: int, name: str, token: str) -> int | None:
    """The number that the draft got. Which one is tried is marked before it is: once the draft is gone, that was it."""
    draft = _draft(token)
    if _links(folder, draft) > 1:  # linked, and then the process died
        _unlink(folder, draft)
    if not _there(folder, draft):
        return min(_marks(folder, token), default=None)
    for stale in _marks(folder, token):
        _unlink(folder, _draft(f"{token}.{stale}"))
    for number in range(1, MOST_VERSIONS):
        version, mark = _version(name, number), _draft(f"{token}.{number}")
        if _there(folder, version):
            continue
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder))
        os.fsync(folder)
        try:
            _move(folder, draft, version)
        except FileExistsError:
            _unlink(folder, mark)
            continue
        except FileNotFoundError:
            return min(_marks(folder, token), default=None)
        return number
    raise InvalidInput(f"{name} has {MOST_VERSIONS} versions: no further one is made")


def _marks(folder: int, token: str) -> list[int]:
    """The numbers that a draft was to get."""
    begin = f".{token}."
    found = [name[len(begin) : -len(DRAFT)] for name in os.listdir(folder) if name.startswith(begin)]
    return [int(one) for one in found if one.isdecimal()]


def _move(folder: int, draft: str, name: str) -> None:
    """Move the draft to a name that must be free: in one step where the system can, else by a link."""
    if _RENAMEAT2 is not None:
        done = _RENAMEAT2(folder, os.fsencode(draft), folder, os.fsencode(name), NO_REPLACE)
        if done == 0:
            return
        if ctypes.get_errno() not in (*_NO_LINKS, errno.EINVAL):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
    try:
        os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_LINKS:
            raise InvalidInput(
                "the delivery folder lies on a file system without links, which versions need: say `existing: replace`"
            ) from error
        raise
    _unlink(folder, draft)


def _links(folder: int, name: str) -> int:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_nlink
    except FileNotFoundError:
        return 0


def _there(folder: int, name: str) -> bool:
    return _links(folder, name) > 0


def _mkdir(folder: int, name: str) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return
    os.fsync(folder)


def _unlink(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
