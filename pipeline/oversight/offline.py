"""Checking a bundle or an audit pack with nothing but the file and the ledger's public key.

Opens no workspace. Each thing that was shown to hold is said in a sentence; the first that does not ends the check.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Never

from kernel import merkle
from kernel.errors import IntegrityFailure
from kernel.ids import sha256
from kernel.notes import Checkpoint, Verifier
from kernel.records import Fault
from kernel.storage.answers import ANSWER, answer_row
from kernel.storage.ledger import commitment

BUNDLE = "vouch-bundle/1"
FACTS = ("status", "snapshot", "prompt_sha256", "policy_sha256", "model", "confidence")
"""What an answer's entry says openly and its record says too."""


@dataclass(slots=True)
class Outcome:
    """What was proven, in order, and what was not, if anything; `stated` is what the file says without proof."""

    proven: list[str] = field(default_factory=list)
    stated: list[str] = field(default_factory=list)
    fault: Fault | None = None

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return self.fault is None


class Failed(Exception):
    """Something does not hold; carries the fault."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.fault = Fault(where, what)


def fail(where: str, what: str) -> Never:
    """End the check with its first fault."""
    raise Failed(where, what)


def check_bundle(text: str, key: Verifier) -> Outcome:
    """Whether the bundle of one answer holds. Never raises for what the text says."""
    outcome = Outcome()
    try:
        for sentence in _bundle(_object(text), key):
            outcome.proven.append(sentence)
    except Failed as error:
        outcome.fault = error.fault
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        outcome.fault = Fault("the bundle", "cannot be read: a member is missing or of another form")
    if outcome.ok:
        outcome.stated.append(
            "titles and hashes of the revisions: what the workspace said of its documents when it made the bundle"
        )
    return outcome


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        fail("the bundle", "is not JSON")
    if not isinstance(document, dict) or document.get("format") != BUNDLE:
        fail("the bundle", f"is not of the form {BUNDLE}")
    return document


def _bundle(bundle: Mapping[str, Any], key: Verifier) -> Iterator[str]:
    head = opened("the checkpoint", bundle["checkpoint"], key)
    yield f"the head over {head.size} entries is signed by {key.name}, the key that was given"
    leaf, index = str(bundle["leaf"]), int(bundle["index"])
    proof = [bytes.fromhex(step) for step in bundle["inclusion"]]
    if not merkle.included(merkle.leaf_hash(leaf.encode()), index, head.size, proof, head.root):
        fail(f"ledger entry {index}", "is not in the tree that the checkpoint signs: it was changed, or never there")
    said = check_leaf(leaf, index)
    if (said["kind"], said["subject"]) != (ANSWER, bundle["answer_id"]):
        fail(f"ledger entry {index}", f"is not that of the answer {bundle['answer_id']}")
    yield f"entry {index}, made at {said['at']} for {said['subject']}, is in that tree: {len(proof)} hashes lead there"
    if bundle["payload"] is None:
        yield "what was asked and answered was erased: only the facts of the entry are left, and they hold"
        return
    record = check_payload(leaf, index, bundle["salt"], bundle["payload"])
    yield "question, answer and run are, to the byte, those that the entry commits to"
    yield f"they say what the entry says: status {said['facts']['status']}, snapshot {said['facts']['snapshot']}"
    yield from check_prompt(said, bundle["prompt"])
    yield from check_policy(said, bundle["policy"])
    yield from _quotes(record, bundle["revisions"])


def opened(where: str, note: str, key: Verifier) -> Checkpoint:
    """The signed head of a note."""
    try:
        return key.open(str(note))
    except (IntegrityFailure, UnicodeError) as error:
        fail(where, str(error))


def check_leaf(leaf: str, number: int) -> dict[str, Any]:
    """What a leaf says, if it is the one of that number."""
    said = json.loads(leaf)
    if not isinstance(said, dict) or said.get("number") != number:
        fail(f"ledger entry {number}", "says that it is another one")
    return said


def check_payload(leaf: str, number: int, salt: str, payload: str) -> dict[str, Any]:
    """The record that an answer's leaf commits to, if it is this payload and says what the leaf says."""
    said = json.loads(leaf)
    if commitment(bytes.fromhex(salt), payload) != said["commitment"]:
        fail(f"ledger entry {number}", "commits to another record than this one: question, answer or run was changed")
    record: dict[str, Any] = json.loads(payload)
    row = answer_row(record["body"], record["run"])
    facts = {name: row[name] for name in FACTS}
    if (row["id"], row["created_at"]) != (said["subject"], said["at"]) or facts.items() - said["facts"].items():
        fail(f"answer {said['subject']}", "its record does not say what its ledger entry says")
    return record


def check_prompt(said: Mapping[str, Any], prompt: Mapping[str, Any] | None) -> Iterator[str]:
    """The prompt's template against the hash in the entry."""
    if prompt is None or sha256(str(prompt["template"])) != said["facts"]["prompt_sha256"]:
        fail(f"answer {said['subject']}", "the prompt's template is not the one whose SHA-256 the entry names")
    yield f"prompt {prompt['name']} version {prompt['version']} is the template whose SHA-256 the entry names"


def check_policy(said: Mapping[str, Any], policy: Mapping[str, Any] | None) -> Iterator[str]:
    """The policy's text against the hash in the entry, where one was in force."""
    expected = said["facts"]["policy_sha256"]
    if not expected:
        return
    if policy is None or sha256(str(policy["text"])) != expected:
        fail(f"answer {said['subject']}", "the policy's text is not the one whose SHA-256 the entry names")
    yield "the policy is the text whose SHA-256 the entry names"


def _quotes(record: Mapping[str, Any], revisions: list[Mapping[str, Any]]) -> Iterator[str]:
    body = record["body"]
    answer_id = body["id"]
    prompt = "\n".join(str(message["content"]) for message in record["run"]["messages"])
    known = {(one["document_id"], one["revision"]): one for one in revisions}
    for citation in body["citations"]:
        name = f"citation {citation['id']} of {answer_id}"
        if sha256(citation["quote"]) != citation["quote_sha256"]:
            fail(name, "its quote does not have the SHA-256 that was recorded")
        if citation["quote"] not in prompt:
            fail(name, "its quote does not stand in the prompt that was recorded")
        shown = known.get((citation["document_id"], citation["revision"]))
        kept = {"citation": citation["id"], "start": citation["start"], "end": citation["end"]}
        if shown is None or kept | {"quote": citation["quote"]} not in shown["quotes"]:
            fail(name, "the list of revisions does not show it as it was recorded")
    if body["citations"]:
        yield f"all {len(body['citations'])} quotes have the SHA-256 recorded, and stand in the prompt recorded"
