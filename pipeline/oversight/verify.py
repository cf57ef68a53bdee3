"""Checking that what is stored is what was stored: texts, chunks, indexes, the ledger, and all that it records."""

from __future__ import annotations

from collections.abc import Iterator

from kernel.errors import IntegrityFailure, InvalidInput
from kernel.ids import sha256
from kernel.notes import Checkpoint
from kernel.notes import Verifier as Key
from kernel.records import Fault
from kernel.storage.checks import erased_entries, stored_chunks, stored_texts, structure_faults
from kernel.storage.database import END_OF_NOTE, Database
from kernel.storage.ledger import OPENED, Ledger
from kernel.storage.ledger_checks import store_faults
from pipeline.oversight.tree_check import TreeCheck
from retrieval.shelf import Shelf


class Verifier:
    """Reads everything and changes nothing."""

    def __init__(self, database: Database, ledger: Ledger, shelf: Shelf) -> None:
        self._database = database
        self._ledger = ledger
        self._shelf = shelf

    def faults(self, witnesses: tuple[str, ...] = ()) -> Iterator[Fault]:
        """Everything that is wrong: the ledger first, then the store against it, then indexes; empty where all is
        well. `witnesses` are signed checkpoints that were kept elsewhere: the ledger must have grown out of each.
        """
        broken = False
        for fault in self._ledger_faults(witnesses):
            broken = True
            yield fault
        yield from structure_faults(self._database)
        yield from self._text_faults()
        if not broken:
            yield from store_faults(self._database, self._ledger)
        yield from self._shelf.faults()

    def _ledger_faults(self, witnesses: tuple[str, ...]) -> Iterator[Fault]:
        size = self._ledger.size()
        heads = self._database.heads()
        if size == 0 and not heads and not witnesses:
            return
        if not self._database.signer.path.is_file():
            yield Fault("the key file", f"{self._database.signer.path.name} is gone: no signature can be checked")
            return
        try:
            key = self._ledger.key
        except InvalidInput as error:
            yield Fault("the key file", str(error))
            return
        if size:
            yield from self._key_faults(key)
        if not heads and self._database.is_sqlite:
            name = self._database.head_file.name
            yield Fault("the head file", f"{name} is gone: what was the newest entry cannot be told from the ledger")
        notes = [("the head file", note) for note in heads or ()]
        notes += [(f"checkpoint {number}", note) for number, note in enumerate(witnesses, 1)]
        opened: list[tuple[str, Checkpoint]] = []
        for name, note in notes:
            try:
                opened.append((name, key.open(note)))
            except IntegrityFailure as error:
                yield Fault(name, str(error))
        check = TreeCheck(key, erased_entries(self._database), {head.size for _, head in opened})
        yield from check.faults(self._ledger.rows())
        for name, head in opened:
            if head.size > check.frontier.size:
                missing = f"ledger entry {check.frontier.size}"
                yield Fault(missing, f"is missing: {name} was signed over {head.size} entries")
                break
            if head.size and check.roots.get(head.size) != head.root:
                yield Fault(name, f"was signed over another history: the first {head.size} entries have another root")
                break
        yield from self._node_faults(check)

    def _key_faults(self, key: Key) -> Iterator[Fault]:
        opened = next(iter(self._ledger.leaves(0, 1)), None)
        if opened is None or opened.kind != OPENED or opened.facts.get("key") != str(key):
            yield Fault(
                "ledger entry 0", "does not name the key that this workspace has: it was signed anew, or is lost"
            )

    def _node_faults(self, check: TreeCheck) -> Iterator[Fault]:
        stored = dict(self._ledger.stored_nodes())
        expected = {node: digest.hex() for node, digest in check.nodes.items() if node[0]}
        for node in sorted({*stored, *expected}):
            if stored.get(node) != expected.get(node):
                yield Fault(f"ledger node {node[0]}/{node[1]}", "is not the hash of the entries under it")
                return

    def _text_faults(self) -> Iterator[Fault]:
        chunks = stored_chunks(self._database)
        waiting = next(chunks, None)
        for revision_id, text, expected in stored_texts(self._database):
            if text is None or sha256(text) != expected:
                yield Fault(f"revision {revision_id}", "its text does not match its SHA-256")
            while waiting is not None and waiting[0] == revision_id:
                _, chunk_id, start, end, piece = waiting
                if (text or "")[start:end] != piece:
                    yield Fault(f"chunk {chunk_id}", "its text is not the slice of its revision that it says it is")
                waiting = next(chunks, None)


def read_witnesses(text: str) -> tuple[str, ...]:
    """The signed checkpoints of a file that `vouch ledger export` wrote. Raises InvalidInput where it holds none."""
    notes = tuple(f"{part.strip()}\n" for part in text.split(END_OF_NOTE) if part.strip())
    if not notes:
        raise InvalidInput("the file holds no checkpoint")
    return notes
