"""A process killed at any moment loses nothing that it said was done, and shows nothing that it had not finished."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace
from public_state import check_same_results, chunks, documents, results

from kernel.merkle import leaf_hash
from kernel.records import LOCAL_OWNER

CHILD = Path(__file__).with_name("crash_child.py")
FILES = 12
WORDS = [
    f"{first}{second}"
    for first in ("ba", "de", "fi", "go", "hu", "ka")
    for second in ("lo", "mar", "net", "pis", "rut")
]
QUESTIONS = ("balo denet fimar", "Alpha Team", "What does file 3 of round 2 say of hurut?")
Shown = dict[str, str]


def run_and_kill(arguments: list[str], seconds: float) -> list[str]:
    """Start a child, kill it that long after it began its work (or let it end), and give the lines it printed."""
    with subprocess.Popen([sys.executable, str(CHILD), *arguments], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begin\n"
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().splitlines()
    assert child.returncode in (0, -signal.SIGKILL)
    return lines


def change(folder: Path, chance: random.Random, round_number: int) -> Shown:
    """Change, remove and add some files; all of them as they are now."""
    for name in chance.sample(range(FILES), 5):
        path = folder / f"file {name}.md"
        if chance.random() < 0.25:
            path.unlink(missing_ok=True)
            continue
        lines = [" ".join(chance.choices(WORDS, k=9)) + "." for _ in range(60)]
        path.write_text(f"# File {name} of round {round_number}\n\n" + "\n\n".join(lines) + "\n\nAlpha Team.\n")
    return {path.name: path.read_text() for path in folder.iterdir()}


def shown(made: FastWorkspace, number: int) -> Shown:
    """The documents of a snapshot with their texts, each with all of its chunks."""
    found = {}
    visible = set(made.snapshots.visible_revisions(number, LOCAL_OWNER))
    for item in made.catalog.documents(number, LOCAL_OWNER, limit=100):
        found[item.path] = made.catalog.text(item.id, item.revision)
        assert item.chunks > 0
    assert len(found) == len(visible)
    return found


def check_whole(made: FastWorkspace, known: dict[int, Shown], trying: Shown) -> None:
    """Each snapshot that was reported is as it was; the live one is one that was reported, or all of the last try."""
    for number, expected in known.items():
        assert shown(made, number) == expected
    live = made.snapshots.live().snapshot
    assert live >= max(known)
    assert shown(made, live) == known.get(live, trying)
    assert list(made.verifier.faults()) == []


def check_goes_on(home: Path, folder: Path, fresh_home: Path) -> tuple[int, Shown]:
    """The next ingest succeeds and shows what an ingest from nothing shows; the snapshot and what is in it."""
    with fast_workspace(home) as made, fast_workspace(fresh_home) as fresh:
        (report,) = made.indexer.ingest(InlineParser(), [folder], "folder")
        fresh.indexer.ingest(InlineParser(), [folder], "folder")
        assert documents(made) == documents(fresh)
        assert chunks(made) == chunks(fresh)
        check_same_results(results(made, QUESTIONS), results(fresh, QUESTIONS))
        assert list(made.verifier.faults()) == []
        assert report.snapshot is not None
        return report.snapshot, shown(made, report.snapshot)


def crash_ingests(tmp_path: Path, rounds: int, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    home, folder = tmp_path / "home", tmp_path / "folder"
    folder.mkdir()
    known: dict[int, Shown] = {0: {}}
    longest = 0.4
    interrupted = 0
    for round_number in range(rounds):
        trying = change(folder, chance, round_number)
        lines = run_and_kill(["ingest", str(home), str(folder)], chance.uniform(0, longest))
        interrupted += not lines
        for line in lines:
            known[int(line.split()[1])] = trying
        with fast_workspace(home) as made:
            check_whole(made, known, trying)
        if chance.random() < 0.5:
            number, state = check_goes_on(home, folder, tmp_path / f"fresh{round_number}")
            known[number] = state
    assert interrupted, "no run was killed on its way; the test shows nothing"


def crash_records(tmp_path: Path, rounds: int, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    promised: dict[str, tuple[int, str]] = {}
    for round_number in range(rounds):
        names = [f"writer{round_number}{side}" for side in "ab"]
        for name in names[: 1 + round_number % 2]:
            for line in run_and_kill(["record", str(tmp_path / "home"), name], chance.uniform(0.02, 0.25)):
                parts = line.split()
                if len(parts) == 4 and len(parts[3]) == 64:
                    promised[parts[1]] = (int(parts[2]), parts[3])
        with fast_workspace(tmp_path / "home") as made:
            rows = {row.id: row for row in made.answers.rows()}
            leaves = {leaf.number: leaf for leaf in made.ledger.leaves(0, 10**6)}
            assert list(leaves) == list(range(len(leaves)))
            assert [leaf.subject for leaf in leaves.values() if leaf.kind == "answer"] == list(rows)
            for answer_id, (index, leaf) in promised.items():
                row = rows[answer_id]
                assert (row.number, leaf_hash(leaves[index].text.encode()).hex()) == (index, leaf)
            assert list(made.verifier.faults()) == []
    assert len(promised) > rounds


@pytest.mark.slow
def test_a_killed_ingest_leaves_whole_snapshots(tmp_path: Path) -> None:
    crash_ingests(tmp_path, rounds=6, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_killed_ingests_leave_whole_snapshots(tmp_path: Path) -> None:
    crash_ingests(tmp_path, rounds=50, seed=int.from_bytes(os.urandom(4), "big"))


@pytest.mark.slow
def test_a_killed_writer_loses_no_answer(tmp_path: Path) -> None:
    crash_records(tmp_path, rounds=3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_killed_writers_lose_no_answer(tmp_path: Path) -> None:
    crash_records(tmp_path, rounds=50, seed=int.from_bytes(os.urandom(4), "big"))
