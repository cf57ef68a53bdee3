"""Finding the files of a source. A source is a folder, walked whole, or a single file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernel.errors import InvalidInput

_IGNORED = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source; `name` is its path within the source, with `/`, unique there."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What one ingest reads: the source's name, where it lies, and the paths that it is made of."""

    name: str
    location: str
    roots: tuple[Path, ...]


def plan_sources(paths: Sequence[Path], name: str | None) -> list[SourcePlan]:
    """One source a path, named after it, or one source of all paths where `name` is given.

    Raises InvalidInput where a path does not exist: a missing folder must not look like an empty one.
    """
    roots = [path.expanduser().absolute() for path in paths]
    for root in roots:
        if not root.exists():
            raise InvalidInput(f"{root} does not exist")
    if name is not None:
        return [SourcePlan(name, ", ".join(str(root) for root in roots), tuple(roots))]
    return [SourcePlan(str(root), str(root), (root,)) for root in dict.fromkeys(roots)]


def files_of(plan: SourcePlan, suffixes: frozenset[str], names: frozenset[str]) -> Iterator[SourceFile]:
    """The files of a source that can be parsed, in order of name. Hidden files and folders are left out.

    A file that is named itself is taken whatever its type: where it cannot be parsed, its document says so. Names are
    relative to the source's folder, or to the folder that all its paths have in common.
    """
    base = Path(os.path.commonpath([root.parent for root in plan.roots]))
    for root in plan.roots:
        above = base if len(plan.roots) > 1 else root.parent if root.is_file() else root
        for path in [root] if root.is_file() else sorted(_walk(root)):
            if root.is_file() or path.suffix.lower() in suffixes or path.name in names:
                yield SourceFile(path.relative_to(above).as_posix(), path)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _IGNORED]
        yield from (Path(folder) / name for name in files if not name.startswith("."))
