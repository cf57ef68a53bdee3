"""A document's journey: source -> parse -> split -> extract -> embed -> stage; then, for all at once, publish.

Documents are staged in small durable steps, invisible until one transaction publishes them. A process that dies on the
way leaves nothing half visible, and the next run takes up what was staged instead of making it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from graph.mentions import REACH, about, names_in, subjects, title_of
from graph.names import name_key
from graph.relations import ALIAS, find_relations, structural_relations, title_aliases
from ingest.formats import NAMES, RECORDS, SUFFIXES
from ingest.similar import signature
from ingest.sources import SourceFile, SourcePlan, files_of, plan_sources
from ingest.split import split
from kernel.ids import canonical_json, derived_id, file_sha256, sha256
from kernel.ports import Embedder, EmbeddingInput, PassageVectors, Tokenizer
from kernel.records import (
    ChunkDraft,
    FailedDocument,
    IngestReport,
    Mention,
    MentionKind,
    ParsedDocument,
    Relation,
    RevisionState,
    StoredChunk,
    StoredRevision,
)
from kernel.storage.catalog import Catalog
from kernel.storage.snapshots import Snapshots
from retrieval.analysis import plain
from retrieval.library import Library

STEP_CHUNKS = 384
"""Chunks that are embedded and stored in one step."""
LARGEST_PREFIX = 160

Progress = Callable[[str, int, int], None]
"""Told what is being done (a phrase), how many files are done, and how many there are."""


class Parser(Protocol):
    """Turns a file into documents; never raises for a bad file."""

    def parse(self, path: Path, name: str | None = None) -> Iterator[ParsedDocument | FailedDocument]: ...


@dataclass(slots=True)
class _Tally:
    """What one ingest has found so far; revision row ids."""

    births: set[int] = field(default_factory=set)
    deaths: set[int] = field(default_factory=set)
    groups: dict[int, tuple[str, ...] | None] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    chunks: int = 0
    source: str = ""
    erased: set[str] = field(default_factory=set)
    failures: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A parsed document whose chunks wait for their vectors."""

    path: str
    content_sha256: str
    document: ParsedDocument
    title: str
    uri: str
    drafts: Sequence[ChunkDraft]

    @property
    def heading(self) -> str:
        """What the model reads above the text: a record's title where it is not taken from the text itself."""
        return self.title if self.document.title or not self.document.external_id else ""


class Indexer:
    """Brings the store and the index in line with what sources hold now."""

    def __init__(
        self,
        catalog: Catalog,
        snapshots: Snapshots,
        library: Library,
        embedder: Embedder,
        tokenizer: Tokenizer,
        recipe: str,
        chunk_tokens: int,
    ) -> None:
        self._catalog = catalog
        self._snapshots = snapshots
        self._library = library
        self._embedder = embedder
        self._tokenizer = tokenizer
        self._recipe = recipe
        self._chunk_tokens = chunk_tokens

    def ingest(
        self, parser: Parser, paths: Sequence[Path], name: str | None = None, progress: Progress = lambda *_: None
    ) -> list[IngestReport]:
        """Bring one source a path (or the one source `name`) up to date; a report of each, in order.

        Raises InvalidInput, before anything is touched, where a path does not exist.
        """
        return [self._ingest_source(parser, plan, progress) for plan in plan_sources(paths, name)]

    def _ingest_source(self, parser: Parser, plan: SourcePlan, progress: Progress) -> IngestReport:
        started = time.monotonic()
        source_id = self._catalog.source_id(plan.name, plan.location)
        states = self._catalog.states(source_id, self._snapshots.live().snapshot)
        files = list(files_of(plan, SUFFIXES, NAMES))
        tally = _Tally(source=plan.name, erased=self._catalog.erased())
        waiting: list[_Waiting] = []
        for number, file in enumerate(files):
            progress(file.name, number, len(files))
            for item in self._changed_documents(parser, file, source_id, states, tally):
                waiting.append(item)
                if sum(len(one.drafts) for one in waiting) >= STEP_CHUNKS:
                    self._stage(source_id, waiting, tally)
                    waiting = []
                    progress(file.name, number, len(files))
        self._stage(source_id, waiting, tally)
        tally.deaths |= {state.revision_id for path, state in states.items() if path not in tally.seen}
        progress("publishing", len(files), len(files))
        removed = sum(not states[path].erased for path in states.keys() - tally.seen)
        snapshot = self._publish(plan, states, tally)
        return IngestReport(
            source=plan.name,
            added=tally.added,
            changed=tally.changed,
            unchanged=tally.unchanged,
            removed=removed,
            failed=len(tally.failures),
            chunks=tally.chunks,
            snapshot=snapshot,
            failures=tuple(tally.failures),
            seconds=round(time.monotonic() - started, 3),
        )

    def _publish(self, plan: SourcePlan, states: dict[str, RevisionState], tally: _Tally) -> int:
        """Who may see what takes effect before the documents do, so nobody sees one too early."""
        self._catalog.set_revision_groups(tally.groups)
        self._library.update()
        births = tally.births - {state.revision_id for state in states.values()}
        return self._snapshots.publish(f"ingest {plan.name}", births, tally.deaths)

    def _changed_documents(
        self, parser: Parser, file: SourceFile, source_id: int, states: dict[str, RevisionState], tally: _Tally
    ) -> Iterator[_Waiting]:
        """The documents of a file whose content is not the one that is visible; failed ones are staged at once."""
        records = file.path.suffix.lower() in RECORDS
        if not records and _kept_out(file.name, tally):
            return
        digest = "" if records else _file_digest(file.path)
        if digest and self._known(source_id, file.name, digest, states, tally):
            return
        for item in parser.parse(file.path, file.name):
            path = _unused(f"{file.name}#{item.external_id}" if records and item.external_id else file.name, tally.seen)
            if records:
                if _kept_out(path, tally):
                    continue
                digest = _record_digest(item)
                if self._known(source_id, path, digest, states, tally, item):
                    continue
            self._count(path, states, tally)
            if isinstance(item, FailedDocument):
                tally.failures.append((path, item.reason))
                self._stage_failed(source_id, path, digest, item, tally)
                continue
            drafts = split(item, self._tokenizer, self._chunk_tokens)
            title = item.title or _called(item, file, records)
            yield _Waiting(path, digest, item, title, item.uri or _uri(file, item, records), drafts)

    def _known(
        self,
        source_id: int,
        path: str,
        digest: str,
        states: dict[str, RevisionState],
        tally: _Tally,
        item: ParsedDocument | FailedDocument | None = None,
    ) -> bool:
        """Whether this content needs no work: it is visible already, or was stored at some time before."""
        state = states.get(path)
        if state and (state.content_sha256, state.recipe) == (digest, self._recipe):
            tally.seen.add(path)
            tally.unchanged += 1
            if isinstance(item, ParsedDocument):
                tally.groups[state.revision_id] = item.groups
            return True
        stored = self._catalog.staged(source_id, path, digest, self._recipe)
        if stored is None:
            return False
        self._count(path, states, tally)
        tally.births.add(stored.revision_id)
        if isinstance(item, ParsedDocument):
            tally.groups[stored.revision_id] = item.groups
        if stored.reason:
            tally.failures.append((path, stored.reason))
        return True

    @staticmethod
    def _count(path: str, states: dict[str, RevisionState], tally: _Tally) -> None:
        tally.seen.add(path)
        if path in states:
            tally.changed += 1
            tally.deaths.add(states[path].revision_id)
        else:
            tally.added += 1

    def _stage_failed(self, source_id: int, path: str, digest: str, item: FailedDocument, tally: _Tally) -> None:
        made = StoredRevision(
            path=path,
            external_id=item.external_id,
            content_sha256=digest,
            media_type=item.media_type,
            title=Path(path).name,
            uri="",
            text="",
            reason=item.reason,
            details={},
            groups=None,
        )
        tally.births.update(self._catalog.stage(source_id, self._recipe, [made]))

    def _stage(self, source_id: int, waiting: Sequence[_Waiting], tally: _Tally) -> None:
        if not waiting:
            return
        inputs = [embedding_input(one.heading, draft) for one in waiting for draft in one.drafts]
        vectors = iter(self._embedder.embed_passages(inputs))
        revisions = [_revision(one, vectors) for one in waiting]
        tally.births.update(self._catalog.stage(source_id, self._recipe, revisions))
        tally.chunks += len(inputs)


def embedding_input(title: str, draft: ChunkDraft) -> EmbeddingInput:
    """What the model reads of a passage: its title and headings, then its text without link targets and tags."""
    path = [title, *(heading for heading in draft.heading if heading != title)]
    prefix = plain(" > ".join(piece for piece in path if piece))[:LARGEST_PREFIX]
    return EmbeddingInput(prefix, draft.text, draft.sentences)


def _kept_out(path: str, tally: _Tally) -> bool:
    """Whether this document was erased: then it is not read again, and the report says so."""
    public_id = derived_id("doc", tally.source, path)
    if public_id not in tally.erased:
        return False
    tally.seen.add(path)
    tally.failures.append(
        (path, f"erased: not ingested; `vouch erase --document {public_id} --allow-again` lets it in")
    )
    return True


def _unused(path: str, seen: set[str]) -> str:
    """`path`, or the path with a number, where another document of this ingest has it: a record's id used twice."""
    number, free = 1, path
    while free in seen:
        number += 1
        free = f"{path} ({number})"
    return free


def _file_digest(path: Path) -> str:
    """The hash of a file's bytes; of one that cannot be read, a hash that says so (its document says why)."""
    try:
        return file_sha256(path)
    except OSError as error:
        return sha256(f"unreadable: {error.errno}")


def _record_digest(item: ParsedDocument | FailedDocument) -> str:
    if isinstance(item, FailedDocument):
        return sha256(canonical_json({"failed": item.reason}))
    values = {"text": item.text, "title": item.title, "uri": item.uri, "metadata": dict(item.metadata)}
    return sha256(canonical_json(values))


def _called(item: ParsedDocument, file: SourceFile, records: bool) -> str:
    """What to call a document without a title: a record by its subject or else its id, a file by its name."""
    return (title_of(item.text) or item.external_id or "") if records else Path(file.name).stem.replace("_", " ")


def _uri(file: SourceFile, item: ParsedDocument, records: bool) -> str:
    return file.path.as_uri() + (f"#{item.external_id}" if records else "")


def _revision(one: _Waiting, vectors: Iterator[PassageVectors]) -> StoredRevision:
    document = one.document
    return StoredRevision(
        path=one.path,
        external_id=document.external_id,
        content_sha256=one.content_sha256,
        media_type=document.media_type,
        title=one.title,
        uri=one.uri,
        text=document.text,
        reason=None,
        details={"metadata": dict(document.metadata), "pages": len(document.pages)},
        groups=document.groups,
        chunks=tuple(_chunk(one, draft, next(vectors)) for draft in one.drafts),
    )


def _chunk(one: _Waiting, draft: ChunkDraft, vectors: PassageVectors) -> StoredChunk:
    mentions, relations = extract(one.title, one.path, draft, one.document)
    return StoredChunk(
        draft=draft,
        vector=vectors.passage.astype("<f4").tobytes(),
        sentence_vectors=vectors.sentences.astype("<f2").tobytes(),
        signature=signature(draft.text).astype("<u4").tobytes(),
        mentions=tuple(mentions),
        relations=tuple(relations),
    )


def extract(title: str, path: str, draft: ChunkDraft, document: ParsedDocument) -> tuple[list[Mention], list[Relation]]:
    """The mentions and relations of a chunk: of its words, its structure, and the document's own names.

    A title that is only a record's id names nothing.
    """
    key = name_key(title)
    named = names_in(draft.text)
    relations = find_relations(draft.text, named, key)
    relations += structural_relations(draft, key, document.facts, document.links)
    if draft.ordinal == 0:
        stem = () if document.external_id else (Path(path).stem,)
        relations += title_aliases(title, stem)
    rows = dict.fromkeys(f.subject for f in document.facts if draft.start <= f.start and f.end <= draft.end)
    before = document.text[max(draft.start - REACH, 0) : draft.start]
    told = subjects(draft.text, named, rows, before) if document.title is None else []
    named_by = title if document.title or title != document.external_id else ""
    known = {mention.key for mention in named}  # "the rules of conduct (roc)" is a name that no other rule may see
    long = [
        Mention(one.subject, MentionKind.TERM, one.start, one.end)
        for one in relations
        if one.predicate == ALIAS and one.end and one.subject not in known
    ]
    heads = {mention.key: mention for mention in (*long, *about(named_by, draft.heading), *told)}
    return [*heads.values(), *named], relations
