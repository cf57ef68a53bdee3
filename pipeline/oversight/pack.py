"""Audit packs: one zip of everything about the answers of a period or a source, checkable offline with the public key.

The same state gives the same bytes. `checkpoint.note` is a signed head of the ledger that also signs the SHA-256 of
`manifest.json`, which lists every other file: so a pack is the workspace's own, whole and unchanged, or it is refused.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel import merkle
from kernel.errors import Unavailable
from kernel.ids import sha256
from kernel.moments import bound_of
from kernel.notes import Checkpoint, Verifier
from kernel.records import LOCAL_OWNER, Fault
from kernel.storage.answers import ANSWER, AnswerRecord, Answers
from kernel.storage.audit import AuditRecords
from kernel.storage.database import Database
from kernel.storage.ledger import Leaf, Ledger
from pipeline.oversight.lineage import LineageReader
from pipeline.oversight.offline import (
    Failed,
    Outcome,
    check_leaf,
    check_payload,
    check_policy,
    check_prompt,
    fail,
    opened,
)
from pipeline.oversight.report import Reporter, report_html, report_markdown

FORM = "vouch-audit-pack/1"
SIGNED = "manifest-sha256 "
MANIFEST = "manifest.json"
HEAD = "checkpoint.note"
_MOMENT = (1980, 1, 1, 0, 0, 0)
LARGEST_FILE = 4 << 30
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which answers: those given in `[since, until)`, those that a source was read for, or both; all by default."""

    since: str | None = None
    until: str | None = None
    source: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the ledger's entries alone tell which answers belong to it."""
        return self.source is None

    def holds(self, moment: str) -> bool:
        """Whether a moment lies in it."""
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


def scope_of(since: str | None, until: str | None, source: str | None) -> Scope:
    """A scope from what a person wrote: ISO 8601 moments, UTC where they name no zone. Raises InvalidInput."""
    return Scope(bound_of("since", since), bound_of("until", until), source)


class Packer:
    """Writes audit packs."""

    def __init__(
        self,
        database: Database,
        answers: Answers,
        ledger: Ledger,
        records: AuditRecords,
        lineage: LineageReader,
        reporter: Reporter,
    ) -> None:
        self._signer = database.signer
        self._answers = answers
        self._ledger = ledger
        self._records = records
        self._lineage = lineage
        self._reporter = reporter

    def write(self, path: Path, scope: Scope) -> Json:
        """Write the pack, whole or not at all; its manifest. Raises NotFound for an unknown source or no entries."""
        numbers = self._records.answer_numbers(scope.since, scope.until, scope.source)
        head = self._ledger.key.open(self._ledger.checkpoint())
        draft = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as file:
                hashes: dict[str, str] = {}
                for name, pieces in self._files(numbers, head.size, scope):
                    hashes[name] = _put(file, name, pieces)
                manifest = self._manifest(scope, head, numbers, hashes)
                text = _pretty(manifest)
                _put(file, MANIFEST, [text])
                signed = Checkpoint(head.origin, head.size, head.root, (f"{SIGNED}{sha256(text)}",))
                _put(file, HEAD, [self._ledger.key.note(signed, self._signer.sign(signed.text))])
            draft.replace(path)
        except OSError as error:
            raise Unavailable(f"cannot write {path}: {error.strerror}") from error
        finally:
            draft.unlink(missing_ok=True)
        return manifest

    def _manifest(self, scope: Scope, head: Checkpoint, numbers: list[int], hashes: Mapping[str, str]) -> Json:
        return {
            "format": FORM,
            "scope": {"since": scope.since, "until": scope.until, "source": scope.source},
            "ledger": {"key": str(self._ledger.key), "size": head.size, "root": head.root.hex()},
            "answers": numbers,
            "files": dict(sorted(hashes.items())),
        }

    def _files(self, numbers: list[int], size: int, scope: Scope) -> Iterator[tuple[str, Iterator[str] | list[str]]]:
        """Every file by name with its text in pieces, but for the manifest and the head."""
        yield "leaves.jsonl", (f"{leaf.text}\n" for leaf in self._leaves(size))
        yield "payloads.jsonl", self._payloads(numbers)
        yield "proofs.jsonl", self._proofs(numbers, size)
        yield "checkpoints.txt", [self._ledger.checkpoint(size)]
        prompts: dict[str, Json] = {}
        policies: dict[str, Json] = {}
        for record in self._answers.records(numbers):
            self._keep_texts(record, prompts, policies)
            if not record.erased:
                body = {"body": record.body, "run": record.run}
                yield f"answers/{record.id}.json", [_pretty(body)]
                yield from self._lineages(record)
        for digest, prompt in sorted(prompts.items()):
            yield f"prompts/{digest}.json", [_pretty(prompt)]
        for digest, policy in sorted(policies.items()):
            yield f"policies/{digest}.json", [_pretty(policy)]
        yield "keys.json", [_pretty(self._records.keys())]
        yield "reviews.json", [_pretty(self._reviews(numbers))]
        for name, rows in (
            ("prompt-journal", self._records.prompt_events()),
            ("prompt-runs", self._records.prompt_runs()),
            ("workflow-journal", self._records.workflow_events()),
            ("workflows", self._records.workflow_versions()),
            ("releases", self._records.releases()),
            ("release-moves", self._records.release_moves()),
            *self._records.workflow_tables().items(),
        ):
            yield f"{name}.json", [_pretty(rows)]
        for row in self._records.erasures():
            yield f"erasures/{row['id']}.json", [_pretty(row)]
        report = self._reporter.report(scope.since, scope.until, scope.source)
        yield "report.json", [_pretty(report)]
        yield "report.md", [report_markdown(report)]
        yield "report.html", [report_html(report)]

    def _leaves(self, size: int) -> Iterator[Leaf]:
        for start in range(0, size, 1000):
            yield from self._ledger.leaves(start, min(1000, size - start))

    def _payloads(self, numbers: list[int]) -> Iterator[str]:
        for number in numbers:
            stored = self._ledger.payload(number)
            row = {"number": number, "salt": stored and stored[0].hex(), "payload": stored and stored[1]}
            yield f"{json.dumps(row, ensure_ascii=False)}\n"

    def _proofs(self, numbers: list[int], size: int) -> Iterator[str]:
        for number in numbers:
            steps = [step.hex() for step in self._ledger.inclusion(number, size)]
            yield f"{json.dumps({'index': number, 'size': size, 'inclusion': steps})}\n"

    def _keep_texts(self, record: AnswerRecord, prompts: dict[str, Json], policies: dict[str, Json]) -> None:
        digest = record.body["prompt"]["sha256"]
        if digest not in prompts and (prompt := self._records.prompt(digest)):
            prompts[digest] = prompt
        digest = record.body.get("policy", {}).get("sha256", "")
        if digest and digest not in policies and (policy := self._records.policy(digest)):
            policies[digest] = policy

    def _lineages(self, record: AnswerRecord) -> Iterator[tuple[str, list[str]]]:
        try:
            texts = [self._lineage.text(record.id, LOCAL_OWNER, form) for form in ("turtle", "jsonld")]
        except KeyError:  # a passage of it was erased since
            return
        yield f"lineage/{record.id}.ttl", [texts[0]]
        yield f"lineage/{record.id}.jsonld", [texts[1]]

    def _reviews(self, numbers: list[int]) -> list[Json]:
        """Reviews with their events, each with what its entry's payload says."""
        found = self._records.reviews(numbers)
        for review in found:
            for event in review["events"]:
                stored = self._ledger.payload(event["leaf"])
                event["said"] = json.loads(stored[1]) if stored else None
        return found


def _put(file: zipfile.ZipFile, name: str, pieces: Iterator[str] | list[str]) -> str:
    """Write a file of a pack; the SHA-256 of its bytes."""
    info = zipfile.ZipInfo(name, _MOMENT)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    digest = hashlib.sha256()
    with file.open(info, "w", force_zip64=True) as target:
        for piece in pieces:
            data = piece.encode()
            digest.update(data)
            target.write(data)
    return digest.hexdigest()


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def is_pack(path: Path) -> bool:
    """Whether a file is a zip, as packs are."""
    return zipfile.is_zipfile(path)


def check_pack(path: Path, key: Verifier) -> Outcome:
    """Whether an audit pack holds. Never raises for what is in the file."""
    outcome = Outcome()
    try:
        with zipfile.ZipFile(path) as file:
            for sentence in _pack(file, key):
                outcome.proven.append(sentence)
    except Failed as error:
        outcome.fault = error.fault
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        outcome.fault = Fault("the pack", f"cannot be read: {error}")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        outcome.fault = Fault("the pack", "cannot be read: a member is missing or of another form")
    if outcome.ok:
        outcome.stated.append(
            "lineage, keys, reviews, what was done with prompts, releases and the report: what the workspace said when "
            "it made the pack, signed with it"
        )
    return outcome


def _pack(file: zipfile.ZipFile, key: Verifier) -> Iterator[str]:
    names = [info.filename for info in file.infolist()]
    if len(set(names)) != len(names) or any(info.file_size > LARGEST_FILE for info in file.infolist()):
        fail("the pack", "holds a file twice, or one that is too large")
    for name in (HEAD, MANIFEST):
        if name not in names:
            fail(name, "is missing from the pack")
    head = opened(HEAD, file.read(HEAD).decode(), key)
    yield f"the pack's head over {head.size} entries is signed by {key.name}, the key that was given"
    text = file.read(MANIFEST)
    if head.more != (f"{SIGNED}{sha256(text)}",):
        fail(MANIFEST, "is not the one that the head signs")
    manifest = json.loads(text)
    if manifest["format"] != FORM:
        fail(MANIFEST, f"is not of the form {FORM}")
    yield from _same_files(file, names, manifest["files"])
    leaves = yield from _tree(file, head)
    yield from _answers(file, manifest, leaves)


def _same_files(file: zipfile.ZipFile, names: list[str], hashes: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*names, *hashes} - {HEAD, MANIFEST}):
        if name not in names:
            fail(name, "is missing from the pack")
        if name not in hashes:
            fail(name, "was added to the pack: its manifest does not list it")
        with file.open(name) as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
        if digest != hashes[name]:
            fail(name, "was changed: it does not have the SHA-256 that the manifest names")
    yield f"all {len(hashes)} files have the SHA-256 that the signed manifest names"


def _tree(file: zipfile.ZipFile, head: Checkpoint) -> Generator[str, None, dict[int, str]]:
    """Grow the tree from its leaves; the answers' leaves by index."""
    frontier = merkle.Frontier()
    answers: dict[int, str] = {}
    marks = f'"kind":"{ANSWER}"'
    with file.open("leaves.jsonl") as lines:
        for number, line in enumerate(lines):
            leaf = line.rstrip(b"\n")
            frontier.push(merkle.leaf_hash(leaf))
            text = leaf.decode()
            if marks in text and check_leaf(text, number)["kind"] == ANSWER:
                answers[number] = text
    if (frontier.size, frontier.root()) != (head.size, head.root):
        fail("leaves.jsonl", f"its {frontier.size} entries do not give the root that was signed over {head.size}")
    yield f"its {frontier.size} entries give the signed root: none was changed, left out, added or moved"
    return answers


def _answers(file: zipfile.ZipFile, manifest: Mapping[str, Any], leaves: Mapping[int, str]) -> Iterator[str]:
    names = set(file.namelist())
    texts = {
        kind: {name.split("/")[1][:-5]: json.loads(file.read(name)) for name in names if name.startswith(f"{kind}/")}
        for kind in ("prompts", "policies")
    }
    seen, erased = [], 0
    with file.open("payloads.jsonl") as lines:
        for line in lines:
            row = json.loads(line)
            number = row["number"]
            seen.append(number)
            if number not in leaves:
                fail(f"ledger entry {number}", "is not an answer's")
            said = check_leaf(leaves[number], number)
            if row["payload"] is None:
                erased += 1
                continue
            record = check_payload(leaves[number], number, row["salt"], row["payload"])
            facts = said["facts"]
            for _ in check_prompt(said, texts["prompts"].get(facts["prompt_sha256"])):
                pass
            for _ in check_policy(said, texts["policies"].get(facts["policy_sha256"])):
                pass
            shown = json.loads(file.read(f"answers/{said['subject']}.json"))
            shown["body"].pop("ledger", None)
            if shown != record:
                fail(f"answers/{said['subject']}.json", "is not the record that the ledger's entry commits to")
    yield f"{len(seen) - erased} records are those that their entries commit to; their prompts and policies too"
    if erased:
        yield f"{erased} more were erased: only their entries are left"
    yield from _whole(manifest, leaves, seen)


def _whole(manifest: Mapping[str, Any], leaves: Mapping[int, str], seen: list[int]) -> Iterator[str]:
    """That no answer of a period was left out: the entries tell which there were."""
    if seen != manifest["answers"]:
        fail("payloads.jsonl", "does not hold the answers that the manifest lists")
    scope = Scope(**manifest["scope"])
    if not scope.complete:
        return
    expected = [number for number, leaf in sorted(leaves.items()) if scope.holds(json.loads(leaf)["at"])]
    held = set(seen)
    for number in expected:
        if number not in held:
            fail(f"ledger entry {number}", "is an answer of this period that the pack leaves out")
    if expected != seen:
        fail("the pack", "holds an answer that is not of its period")
    yield f"these are all {len(expected)} answers that the ledger has for the period"
