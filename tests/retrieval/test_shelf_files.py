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

QUESTION = "Who leads the People Office?"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with an index on its shelf."""
    fill(tmp_path / "docs", DOCUMENTS)
    with fast_workspace(tmp_path / "home") as made:
        made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
    return tmp_path / "home"


def folder_of(home: Path) -> Path:
    shelf = home / "workspaces" / "default" / "index"
    return shelf / (shelf / "current").read_text()


def answers(made: FastWorkspace) -> list[tuple[str, float]]:
    found = made.searcher.search(QUESTION, made.snapshots.live(), LOCAL_OWNER, 10)
    return [(passage.chunk_id, passage.score) for passage in found.passages]


def flip_byte(folder: Path) -> None:
    (path,) = folder.glob("runs/*/terms.3.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def flip_column(folder: Path) -> None:
    path = folder / "columns" / "vectors"
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(bytes(data))


def manifest(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a flipped bit": flip_byte,
    "a flipped bit in a column": flip_column,
    "a missing column": lambda folder: (folder / "columns" / "vectors").unlink(),
    "a column cut short": lambda folder: (folder / "columns" / "names").write_bytes(b""),
    "a missing run": lambda folder: shutil.rmtree(next((folder / "runs").iterdir())),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "half a manifest": lambda folder: (folder / "manifest.json").write_text('{"runs": {'),
    "another kind of manifest": lambda folder: (folder / "manifest.json").write_text("[]"),
    "another format": manifest(format="1:chunk_id"),
    "another recipe": manifest(recipe="rcp_other"),
    "no word of which is current": lambda folder: (folder.parent / "current").unlink(),
    "nothing": shutil.rmtree,
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_not_whole_is_built_anew(home: Path, what: str) -> None:
    with fast_workspace(home) as made:
        before, index = answers(made), made.library.reach(0).index
        copied = {name: np.array(array) for name, array in index.arrays().items()}
    DAMAGE[what](folder_of(home))
    with fast_workspace(home) as made:
        assert made.shelf.open() is None
        assert answers(made) == before
        made.library.rebuild()
        assert made.shelf.faults() == []
        put = made.shelf.open()
        assert put is not None
        for name, array in put.arrays().items():
            np.testing.assert_array_equal(array, copied[name], err_msg=name)


@pytest.mark.parametrize(
    "what", ["a flipped bit", "a flipped bit in a column", "a missing column", "a missing run", "no manifest"]
)
def test_damage_is_named(home: Path, what: str) -> None:
    with fast_workspace(home) as made:
        assert made.shelf.faults() == []
        DAMAGE[what](folder_of(home))
        assert {fault.where for fault in made.shelf.faults()} == {f"index {folder_of(home).name}"}


def test_growing_writes_what_is_added(home: Path, tmp_path: Path) -> None:
    """New rows go to the end of each column; an index that was open before stays as it was, and whole."""
    fill(tmp_path / "docs", {f"old-{number}.md": f"Old text {number} about the register." for number in range(60)})
    with fast_workspace(home) as made:
        made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
        before = made.library.reach(0).index
        copied = {name: np.array(array) for name, array in before.arrays().items()}
        folder = folder_of(home)
        written = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")}
        fill(tmp_path / "docs", {"new.md": "New text."})
        made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
        after = made.library.reach(0).index
        assert folder_of(home) == folder
        assert len(after) > len(before)
        assert {path: path.stat().st_mtime_ns for path in written} == written
        for name, array in before.arrays().items():
            np.testing.assert_array_equal(array, copied[name], err_msg=name)
            np.testing.assert_array_equal(after.arrays()[name][: len(array)], copied[name], err_msg=name)


def test_what_a_dead_writer_left_is_not_read(home: Path, tmp_path: Path) -> None:
    """Rows beyond the manifest, a run that it does not name, and an index that was never finished."""
    with fast_workspace(home) as made:
        before = answers(made)
    folder = folder_of(home)
    for column in (folder / "columns").iterdir():
        with column.open("ab") as file:
            file.write(b"\x07" * 160)
    (folder / "runs" / "0000000099-0000000100.tmp").mkdir()
    (folder.parent / "unfinished").mkdir()
    with fast_workspace(home) as made:
        assert answers(made) == before
        assert made.shelf.faults() == []
        fill(tmp_path / "docs", {"more.md": "More text."})
        made.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
        grown, rebuilt = made.library.reach(0).index, made.library.rebuild()
        for name, array in grown.arrays().items():
            np.testing.assert_array_equal(array, rebuilt.arrays()[name], err_msg=name)
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder_of(home).name]


def test_two_processes_share_one_index(home: Path, tmp_path: Path) -> None:
    """What one has indexed the other opens, and neither disturbs the other."""
    with fast_workspace(home) as one, fast_workspace(home) as other:
        first = other.library.reach(0).index
        fill(tmp_path / "docs", {"more.md": "More text about ferries."})
        one.indexer.ingest(InlineParser(), [tmp_path / "docs"], "handbook")
        state = other.snapshots.live()
        second = other.library.reach(state.last_chunk).index
        assert (second.lineage, len(second)) == (first.lineage, len(first) + 1)
        assert answers(one) == answers(other)
