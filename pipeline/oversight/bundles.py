"""Proofs that leave the machine: of one answer as JSON, and of the whole ledger as a growing file of signed heads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernel.errors import Conflict, IntegrityFailure, InvalidInput, Unavailable
from kernel.merkle import consistent
from kernel.notes import Checkpoint, Verifier
from kernel.records import Principal, Role
from kernel.storage.answers import AnswerRecord, Answers
from kernel.storage.audit import AuditRecords
from kernel.storage.ledger import Ledger
from pipeline.oversight.offline import BUNDLE
from pipeline.oversight.verify import read_witnesses

Json = dict[str, Any]
HIDDEN = ("pending_review",)
"""Statuses whose record an app may not read: nobody released it."""


class Prover:
    """Makes proofs of what the ledger holds."""

    def __init__(self, answers: Answers, ledger: Ledger, records: AuditRecords) -> None:
        self._answers = answers
        self._ledger = ledger
        self._records = records

    def proof(self, answer_id: str, principal: Principal) -> Json:
        """The leaf of an answer, the way from it to a signed head, and the record that it commits to (null where it
        was erased, or waits for a person). Raises NotFound where `principal` may not read the answer.
        """
        return self._proof(self._answers.get(answer_id, principal), principal)

    def bundle(self, answer_id: str, principal: Principal) -> Json:
        """All that is needed to check an answer with the public key alone. Raises NotFound as `proof` does."""
        record = self._answers.get(answer_id, principal)
        proof = self._proof(record, principal)
        return proof | {"format": BUNDLE} | self.stood_on(record, shown=proof["payload"] is not None)

    def stood_on(self, record: AnswerRecord, *, shown: bool = True) -> Json:
        """Prompt, policy and revisions of an answer, with the quotes from each."""
        body = record.body
        prompt = self._records.prompt(body["prompt"]["sha256"])
        policy = self._records.policy(body.get("policy", {}).get("sha256", ""))
        return {
            "prompt": prompt and {name: prompt[name] for name in ("name", "version", "sha256", "template")},
            "policy": policy and {name: policy[name] for name in ("number", "sha256", "text")},
            "revisions": self._revisions(body) if shown else [],
        }

    def _proof(self, record: AnswerRecord, principal: Principal) -> Json:
        size = self._ledger.size()
        hidden = principal.role == Role.APP and record.body["status"] in HIDDEN
        stored = None if hidden else self._ledger.payload(record.number)
        return {
            "answer_id": record.id,
            "index": record.number,
            "leaf": self._ledger.leaf(record.number).text,
            "size": size,
            "inclusion": [step.hex() for step in self._ledger.inclusion(record.number, size)],
            "checkpoint": self._ledger.checkpoint(size),
            "key": str(self._ledger.key),
            "salt": stored and stored[0].hex(),
            "payload": stored and stored[1],
        }

    def _revisions(self, body: Mapping[str, Any]) -> list[Json]:
        quotes: dict[tuple[str, int], list[Json]] = {}
        for citation in body["citations"]:
            kept = {"citation": citation["id"], **{name: citation[name] for name in ("start", "end", "quote")}}
            quotes.setdefault((citation["document_id"], citation["revision"]), []).append(kept)
        known = self._records.revisions(list(quotes))
        names = ("source", "title", "uri", "content_sha256", "text_sha256", "created_at")
        return [
            {"document_id": name[0], "revision": name[1]}
            | {fact: known[name][fact] if name in known else None for fact in names}
            | {"quotes": found}
            for name, found in sorted(quotes.items())
        ]


def export_head(ledger: Ledger, path: Path) -> tuple[Checkpoint, bool]:
    """Append the newest signed head to a file that is kept elsewhere, durably; the head, and whether it was new there.

    Raises Conflict where the ledger did not grow out of what the file holds: then it was rewritten or cut short.
    """
    note = ledger.checkpoint()
    head = ledger.key.open(note)
    known = path.read_text(encoding="utf-8", errors="replace") if path.exists() and not path.is_fifo() else ""
    heads = check_grown(ledger, known) if known.strip() else []
    if any(one.size == head.size for one in heads):
        return head, False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n\n{note}" if known else note)
            file.flush()
            if path.is_file():
                os.fsync(file.fileno())
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from error
    return head, True


def check_grown(ledger: Ledger, text: str) -> list[Checkpoint]:
    """The heads of a file, if the ledger grew out of each. Raises Conflict where it did not."""
    newest = ledger.key.open(ledger.checkpoint())
    size = newest.size
    heads = []
    for number, note in enumerate(read_witnesses(text), 1):
        try:
            head = ledger.key.open(note)
        except IntegrityFailure as error:
            raise Conflict(
                f"checkpoint {number} of the file: {error}; it is another ledger's, or was changed"
            ) from error
        if head.size > size:
            raise Conflict(
                f"checkpoint {number} of the file was signed over {head.size} entries, the ledger has {size}: "
                "it was cut short"
            )
        if not consistent(head.size, size, head.root, newest.root, ledger.consistency(head.size, size)):
            raise Conflict(
                f"checkpoint {number} of the file was signed over other entries than the first {head.size}: "
                "the ledger was rewritten"
            )
        heads.append(head)
    return heads


def write_bundle(bundle: Json) -> str:
    """A bundle as the text of a file."""
    return json.dumps(bundle, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def read_key(text: str) -> Verifier:
    """A public key given as itself, or as a file that holds it. Raises InvalidInput where it is neither."""
    path = Path(text)
    try:
        found = path.read_text(encoding="utf-8").strip() if path.is_file() else text
    except (OSError, UnicodeError) as error:
        raise InvalidInput(f"cannot read the public key in {text}") from error
    return Verifier.parse(found)
