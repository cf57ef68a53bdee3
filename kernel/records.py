"""The vocabulary that every room shares: frozen values, no behaviour beyond what follows from their fields.

Offsets are always half-open `[start, end)` and count Unicode code points of the text they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

# --- What parsing gives -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a document: `start` is where its own text begins, `level` 1 is the outermost."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Link:
    """A hyperlink; `[start, end)` covers its visible text."""

    start: int
    end: int
    target: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A relation that the document's structure states (front matter, table cell, package metadata), with its span."""

    subject: str
    predicate: str
    object: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a parser makes of some bytes: canonical text and the structure found in it.

    `text` is NFC, with `\\n` line ends and neither NUL nor lone surrogates; every offset refers to it.
    `pages` holds the start offset of each page, in order, for formats that have pages, else it is empty.
    """

    text: str
    media_type: str
    title: str | None = None
    headings: tuple[Heading, ...] = ()
    pages: tuple[int, ...] = ()
    links: tuple[Link, ...] = ()
    facts: tuple[Fact, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    external_id: str | None = None
    uri: str | None = None
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """A file or record that could not become text, and why, in words for an admin."""

    reason: str
    media_type: str = "application/octet-stream"
    external_id: str | None = None


# --- What indexing makes of a document ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of code points."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ChunkDraft:
    """A passage of a revision: `text == canonical[start:end]`, `heading` is its path of headings, `tokens` its size."""

    ordinal: int
    start: int
    end: int
    text: str
    heading: tuple[str, ...] = ()
    page: int | None = None
    sentences: tuple[Span, ...] = ()
    tokens: int = 0


class MentionKind(StrEnum):
    """What makes a run of characters a mention."""

    TITLE = "title"
    NAME = "name"
    CODE = "code"
    TERM = "term"
    DATE = "date"
    AMOUNT = "amount"


@dataclass(frozen=True, slots=True)
class Mention:
    """An entity named at `[start, end)` of a chunk's text. `key` is the entity's normalised name."""

    key: str
    kind: MentionKind
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Relation:
    """`subject predicate object` between entity keys, stated at `[start, end)` of a chunk's text."""

    subject: str
    predicate: str
    object: str
    start: int
    end: int


# --- Who asks, and for what ---------------------------------------------------------------------------------------


class Role(StrEnum):
    """What an API key may do: ask; also write prompts; also read every answer and decide; administer everything."""

    APP = "app"
    EDITOR = "editor"
    REVIEWER = "reviewer"
    ADMIN = "admin"

    @property
    def oversees(self) -> bool:
        """Whether it reads what others asked, and decides on it."""
        return self in (Role.REVIEWER, Role.ADMIN)

    @property
    def reaches(self) -> frozenset[Role]:
        """The roles that it stands for: what asks for one of them, it may do."""
        return frozenset(Role) if self is Role.ADMIN else frozenset({Role.APP, self})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. `groups` of None sees every document (the local owner and admins); else public ones and theirs."""

    id: str
    role: Role
    groups: frozenset[str] | None = frozenset()


LOCAL_OWNER = Principal("local", Role.ADMIN, None)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen earlier, by the usual rules, for something that is done only now: number and hash of a prompt's
    version, and the policy's hash (empty: the one in force).
    """

    number: int
    sha256: str
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question as asked. `as_of` names a snapshot number; None means the one that is live.

    `stakes` is low, medium or high; None leaves it to the policy, which may also hold a question for more. `inputs` are
    those that its prompt declares besides. Steps of workflows also give: what was chosen at their run's start; the ids
    of the only documents that are searched (of those that the principal may see); and a key, asked with which a second
    time it gets the answer that was recorded the first time.
    """

    text: str
    principal: Principal = LOCAL_OWNER
    top_k: int | None = None
    as_of: int | None = None
    prompt: str | None = None
    session: str | None = None
    stakes: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    chosen: Choice | None = None
    within: frozenset[str] | None = None
    key: str = ""


# --- What retrieval finds -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SentenceScore:
    """A sentence of a passage, `[start, end)` in the passage's text, and its cosine to the question."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class PathStep:
    """One hop of how the graph reached a passage: an entity, or a relation with the chunk that supports it."""

    entity: str | None = None
    relation: str | None = None
    chunk_id: str | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved chunk. `start`/`end` count characters of the revision's canonical text.

    Where it was asked for: `signals` are its features, `contributions` what each adds to its score.
    """

    chunk_id: str
    document_id: str
    external_id: str | None
    revision: int
    source: str
    title: str
    uri: str
    heading: tuple[str, ...]
    text: str
    start: int
    end: int
    page: int | None
    score: float
    signals: Mapping[str, float] = field(default_factory=dict)
    sentences: tuple[SentenceScore, ...] = ()
    path: tuple[PathStep, ...] = ()
    duplicate_of: str | None = None
    notices: tuple[Notice, ...] = ()
    tokens: int = 0
    contributions: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning about a document: `kind` is revoked, superseded, amended or outdated; `by` names what did it."""

    document_id: str
    kind: str
    by: str | None
    chunk_id: str
    quote: str


@dataclass(frozen=True, slots=True)
class GraphFact:
    """A typed relation that ties passages together, with the chunk that supports it."""

    subject: str
    predicate: str
    object: str
    chunk_id: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The context of an answer: passages in order, within the token budget, and the facts that tie them together.

    `rarity` weighs the question's index terms; `candidates` are all chunks that were considered, with their scores.
    """

    snapshot: int
    passages: tuple[Passage, ...]
    facts: tuple[GraphFact, ...] = ()
    rarity: Mapping[str, float] = field(default_factory=dict)
    candidates: tuple[tuple[str, float], ...] = ()
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reranked:
    """What the reranker did for a question. `state` is `used`, or `failed: ` and why: then our own order stood.

    `scores` are those of each chunk that it was sent, in our own order before it: enough to reorder again.
    """

    model: str
    state: str
    scores: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Decomposed:
    """Which sub-questions were searched for as well. `state` is `used`, or `failed: ` and why: then none were."""

    model: str
    prompt: str
    state: str
    parts: tuple[str, ...] = ()


# --- What generation and grounding make of it -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a rendered prompt."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Generation:
    """What a generator replied. `text` marks citations as `[c1]`; an empty text with a reason is an abstention.

    `model` is the one that replied, where that is another than the configured one.
    """

    text: str
    reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    model: ModelInfo | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model answered, and with what parameters: part of what a record pins."""

    provider: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Support:
    """How far the cited quotes carry a sentence: `label` is supported, contradicted or not_found.

    `score` is the probability that they support it. `judge` says what became of asking a language model: `used`,
    or `failed: ` and why; it is None where none was asked.
    """

    label: str
    score: float
    judge: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerSentence:
    """A sentence of an answer, `[start, end)` in it, the ids of its citations and its support."""

    start: int
    end: int
    text: str
    citations: tuple[str, ...]
    support: Support


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a sentence came from: `quote` equals `[start, end)` of the revision's canonical text."""

    id: str
    document_id: str
    external_id: str | None
    revision: int
    title: str
    uri: str
    page: int | None
    chunk_id: str
    start: int
    end: int
    quote: str
    quote_sha256: str
    path: tuple[PathStep, ...] = ()
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two citations that say different things about the same matter."""

    citations: tuple[str, str]
    reason: str


class AnswerStatus(StrEnum):
    """How far an answer may be relied on."""

    ANSWERED = "answered"
    PARTIAL = "partial"
    ABSTAINED = "abstained"
    PENDING_REVIEW = "pending_review"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """A version of a prompt; `sha256` is over its file's text. `label` is the one that it was found by, or empty."""

    name: str
    version: int
    sha256: str
    label: str
    template: str
    author: str = ""
    message: str = ""
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowVersion:
    """A version of a workflow; `sha256` is over its file's text."""

    name: str
    version: int
    sha256: str
    text: str
    author: str = ""
    message: str = ""
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A version of the workspace's policy; `sha256` is over its text. Numbers below 1 were shipped with a program."""

    number: int
    sha256: str
    text: str
    author: str
    message: str
    created_at: str


@dataclass(frozen=True, slots=True)
class RevisionStanding:
    """Since when a revision is stored (ISO 8601, UTC), and the groups that may see it; none: everyone."""

    since: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grounded:
    """An answer's text with every sentence tied to its citations, before it is recorded."""

    status: AnswerStatus
    reason: str | None
    answer: str
    confidence: float
    sentences: tuple[AnswerSentence, ...] = ()
    citations: tuple[Citation, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    notices: tuple[Notice, ...] = ()


# --- Administration -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one ingest did, in documents (`chunks` and `snapshot` say what became visible)."""

    source: str
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    chunks: int = 0
    snapshot: int | None = None
    failures: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that `verify` found wrong: where, and what."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """An API key as it may be listed: never the secret."""

    id: str
    name: str
    role: Role
    groups: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A source, with how many documents of it the live snapshot holds."""

    id: int
    name: str
    location: str
    created_at: str
    documents: int


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document as a listing shows it: its revision that the asked snapshot sees."""

    id: str
    source: str
    path: str
    external_id: str | None
    title: str
    uri: str
    status: str
    reason: str | None
    revision: int
    media_type: str
    length: int
    content_sha256: str
    chunks: int
    groups: tuple[str, ...] | None
    created_at: str


@dataclass(frozen=True, slots=True)
class WithdrawnDocument:
    """A document that was taken back: `leaf` is the entry of the ledger that says so."""

    id: str
    path: str
    leaf: int
    since: str


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A published state of the documents."""

    number: int
    parent: int
    reason: str
    documents: int
    created_at: str
    live: bool


@dataclass(frozen=True, slots=True)
class JobInfo:
    """Long work that was accepted, and how far it is."""

    id: str
    kind: str
    state: str
    input: Mapping[str, Any]
    progress: Mapping[str, Any]
    result: Mapping[str, Any] | None
    error: str | None
    created_at: str
    updated_at: str


# --- What storing takes and reading gives back --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk ready to be stored: its draft, vectors as bytes (float32; sentences float16), and its graph."""

    draft: ChunkDraft
    vector: bytes
    sentence_vectors: bytes
    signature: bytes
    mentions: tuple[Mention, ...] = ()
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredRevision:
    """A revision ready to be stored, whole: `path` is unique in its source."""

    path: str
    external_id: str | None
    content_sha256: str
    media_type: str
    title: str
    uri: str
    text: str
    reason: str | None
    details: Mapping[str, Any]
    groups: tuple[str, ...] | None
    chunks: tuple[StoredChunk, ...] = ()


@dataclass(frozen=True, slots=True)
class RevisionState:
    """Which content of a document is visible: what an ingest compares a file with."""

    revision_id: int
    document_id: int
    content_sha256: str
    recipe: str
    groups: tuple[str, ...] | None
    erased: bool = False


@dataclass(frozen=True, slots=True)
class StagedRevision:
    """A stored revision, and why it failed, if it did."""

    revision_id: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class LiveState:
    """Which snapshot is live, how far its chunks reach, and the version of all access rules."""

    snapshot: int
    last_chunk: int
    access_version: int
