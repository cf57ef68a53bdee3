"""The shelf: only whole indexes of this program's own kind are opened; all else is built anew from the store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace
from handbook import DOCUMENTS, fill

from kernel.records import LOCAL_OWNER
from retrieval.index import Index
from retrieval.shelf import KEPT, Shelf

QUESTION = "Who leads the People Office?"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with an index on its shelf."""
    fill(tmp_path / "docs", DOCUMENTS)
    with fast_workspace(tmp_path / "home") as made:
        made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
    return tmp_path / "home"


def folder_of(home: Path) -> Path:
    (folder,) = (home / "workspaces" / "default" / "index").glob("[0-9]*")
    return folder


def same(one: Index, other: Index) -> None:
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name], err_msg=name)


def answers(made: FastWorkspace) -> list[tuple[str, float]]:
    found = made.searcher.search(QUESTION, made.snapshots.live(), LOCAL_OWNER, 10)
    return [(passage.chunk_id, passage.score) for passage in found.passages]


def flip_byte(folder: Path) -> None:
    path = folder / "post_tf.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def manifest(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a flipped bit": flip_byte,
    "a missing array": lambda folder: (folder / "vectors.npy").unlink(),
    "an array cut short": lambda folder: (folder / "names.npy").write_bytes(b""),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "half a manifest": lambda folder: (folder / "manifest.json").write_text('{"sha256": {'),
    "another format": manifest(format="1:chunk_id"),
    "another recipe": manifest(recipe="rcp_other"),
    "half written": lambda folder: folder.rename(folder.with_name(f"{folder.name}.1.tmp")),
    "nothing": shutil.rmtree,
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_not_whole_is_built_anew(home: Path, what: str) -> None:
    with fast_workspace(home) as made:
        before, index = answers(made), made.library.reach(0).index
        copied = Index(**{name: np.array(array) for name, array in index.arrays().items()})
    DAMAGE[what](folder_of(home))
    with fast_workspace(home) as made:
        assert made.shelf.newest() is None
        assert answers(made) == before
        made.library.rebuild()
        assert made.shelf.faults() == []
        put = made.shelf.newest()
        assert put is not None
        same(put, copied)


@pytest.mark.parametrize("what", ["a flipped bit", "a missing array", "no manifest", "half a manifest"])
def test_damage_is_named(home: Path, what: str) -> None:
    with fast_workspace(home) as made:
        assert made.shelf.faults() == []
        DAMAGE[what](folder_of(home))
        assert [fault.where for fault in made.shelf.faults()] == [f"index {folder_of(home).name}"]


def test_only_the_newest_few_are_kept(home: Path, tmp_path: Path) -> None:
    with fast_workspace(home) as made:
        for number in range(KEPT + 1):
            fill(tmp_path / "docs", {f"more-{number}.md": f"More text {number}."})
            made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
        shelf: Shelf = made.shelf
        names = sorted(int(path.name) for path in folder_of_all(home))
        assert len(names) == KEPT
        newest, older = shelf.newest(), shelf.newest(at_most=names[-1] - 1)
        assert newest is not None
        assert older is not None
        assert (older.last_chunk, newest.last_chunk) == (names[0], names[-1])
        assert shelf.newest(at_most=names[0] - 1) is None


def folder_of_all(home: Path) -> list[Path]:
    return list((home / "workspaces" / "default" / "index").glob("[0-9]*"))


def test_a_dead_writers_folder_is_cleared(home: Path, tmp_path: Path) -> None:
    """A writer that died (no process has this id) leaves a folder; the next one takes it away, a live one's stays."""
    folder = folder_of(home).parent
    (folder / "000000000099.4194304999.tmp").mkdir()
    (folder / "000000000098.1.tmp").mkdir()
    fill(tmp_path / "docs", {"more.md": "More text."})
    with fast_workspace(home) as made:
        made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
    assert [path.name for path in folder.glob("*.tmp")] == ["000000000098.1.tmp"]
