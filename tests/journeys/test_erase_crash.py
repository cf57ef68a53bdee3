"""Killed at any moment, an erasure either did not happen or is finished by the next start; and a server goes on."""

from __future__ import annotations

import random
import secrets
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from erased_search import found_in
from fast_parts import FastWorkspace, InlineParser

from kernel.errors import Conflict
from kernel.ids import derived_id
from kernel.records import Question
from kernel.settings import Settings
from kernel.storage.erasure import ErasureRequest

CHILD = Path(__file__).with_name("erase_child.py")
SECRET = "Quandelbrock"
KILLS = 10


def made_home(home: Path, folder: Path) -> Settings:
    """A workspace with thirty pages, one of which is to be erased, an answer from it, and a backup."""
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.md").write_text(f"# Page {number}\n\nRoom {number} is painted in shade {number * 7}.\n")
    (folder / "dossier.md").write_text(f"# Dossier\n\n{SECRET} keeps 481516234210 euros in the Zwirbelbank.\n")
    settings = Settings.load(home=home, workspace=f"t{secrets.token_hex(4)}", chunk_tokens=48)
    with FastWorkspace(settings) as made:
        made.indexer.ingest(InlineParser(), [folder], "folder")
        made.answering.ask(Question(f"Where does {SECRET} keep euros?"))
        made.backups.make(folder / "a.backup", "local")
    return settings


def start(settings: Settings, document: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(settings.home), settings.workspace, document],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begin\n"
    return child


def ended(child: subprocess.Popen[str]) -> int:
    """Its exit code, once it has ended."""
    child.communicate(timeout=120)
    return child.returncode


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    document = derived_id("doc", "folder", "dossier.md")
    pristine = made_home(tmp_path / "pristine", tmp_path / "folder")
    lasts = tmp_path / "whole"
    shutil.copytree(pristine.home, lasts)
    whole = start(pristine.model_copy(update={"home": lasts}), document)
    begun = time.perf_counter()
    assert ended(whole) == 0
    length = time.perf_counter() - begun
    dice, states = random.Random(7), set()
    for number in range(KILLS):
        home = tmp_path / f"home-{number}"
        shutil.copytree(pristine.home, home)
        settings = pristine.model_copy(update={"home": home})
        child = start(settings, document)
        time.sleep(dice.random() * length * 1.1)
        child.kill()
        ended(child)
        with FastWorkspace(settings) as made:
            made.eraser.resume()
            states.add(len(made.erasures.items()))
            if not made.erasures.items():
                assert found_in(home, [SECRET])
                made.eraser.erase(ErasureRequest(documents=(document,)), "a request", "local")
            (info,) = made.erasures.items()
            assert info.certificate["ledger"]["verified"]
            assert len(info.certificate["backups"]["destroyed_keys"]) == 1
            assert [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()] == []
            assert made.erasures.unfinished() == []
            with pytest.raises(Conflict):
                made.eraser.erase(ErasureRequest(documents=(document,)), "again", "local")
        assert found_in(home, [SECRET, "Zwirbelbank", "481516234210"]) == []
    assert 1 in states


def test_an_erasure_beside_a_process_that_answers(tmp_path: Path) -> None:
    """Another process erases while this one answers: no question fails, and nothing is left."""
    document = derived_id("doc", "folder", "dossier.md")
    settings = made_home(tmp_path / "home", tmp_path / "folder")
    stop, asked, failed = threading.Event(), list[float](), list[BaseException]()

    def ask(made: FastWorkspace) -> None:
        while not stop.is_set():
            try:
                made.answering.ask(Question("Who keeps euros in a bank, and which shade has room 7?"))
                asked.append(time.monotonic())
            except BaseException as error:  # noqa: BLE001 - reported below
                failed.append(error)
                return

    with FastWorkspace(settings) as made:
        threads = [threading.Thread(target=ask, args=(made,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        child = start(settings, document)
        assert ended(child) == 0
        seen = len(asked)
        while len(asked) < seen + 4 and not failed:
            time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()
        assert failed == []
        (info,) = made.erasures.items()
        assert info.done
        assert [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()] == []
        assert found_in(settings.home, [SECRET, "Zwirbelbank", "481516234210"]) == []
