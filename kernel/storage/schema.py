"""The system of record: one schema, for SQLite and PostgreSQL alike. Indexes over it are derived and disposable.

A workspace has a database file (SQLite) or a schema (PostgreSQL) of its own, so no table needs to name it.
Visibility is kept a revision: a chunk, mention or relation is visible exactly where its revision is.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Key = BigInteger().with_variant(Integer, "sqlite")
"""Row numbers: 64 bits everywhere (SQLite gives its INTEGER PRIMARY KEY 64 bits)."""


def _when() -> Column[str]:
    """A moment, ISO 8601 in UTC: text, so that both databases keep exactly the characters that are hashed."""
    return Column("created_at", String(32), nullable=False)


setting = Table(
    "setting",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    comment="What the stored data was made with: embedding model, version of the chunker.",
)

source = Table(
    "source",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("location", Text, nullable=False),
    _when(),
    comment="Where documents come from: a folder, a file, an upload box.",
)

document = Table(
    "document",
    metadata,
    Column("id", Key, primary_key=True),
    Column("public_id", String(40), nullable=False, unique=True),
    Column("source_id", ForeignKey("source.id"), nullable=False),
    Column("path", Text, nullable=False),
    Column("external_id", Text),
    _when(),
    UniqueConstraint("source_id", "path"),
    comment="A thing in a source that has text; its revisions hold the text.",
)

revision = Table(
    "revision",
    metadata,
    Column("id", Key, primary_key=True),
    Column("document_id", ForeignKey("document.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("text_sha256", String(64), nullable=False),
    Column("recipe", String(64), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text),
    Column("length", Integer, nullable=False),
    Column("details", Text, nullable=False),
    Column("sha256", String(64), nullable=False, server_default=text("''")),
    _when(),
    UniqueConstraint("document_id", "number"),
    UniqueConstraint("document_id", "content_sha256", "recipe", name="uq_revision_content"),
    comment="One state of a document. Immutable. `recipe` names the parser, chunker and model that made its chunks; "
    "`sha256` covers all that was stored with it. Status `erased`: its text and names are gone.",
)

revision_group = Table(
    "revision_group",
    metadata,
    Column("revision_id", ForeignKey("revision.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("born", Integer, primary_key=True),
    Column("died", Integer),
    comment="Who may see a revision, in versions `born <= v < died` of the access rules (0: as it came). One without "
    "rows here is visible to everyone in the workspace.",
)

withdrawal = Table(
    "withdrawal",
    metadata,
    Column("document_id", ForeignKey("document.id"), primary_key=True),
    Column("born", Integer, primary_key=True),
    Column("died", Integer),
    comment="Documents that nobody sees, in no snapshot, in versions `born <= v < died` of the access rules.",
)

revision_text = Table(
    "revision_text",
    metadata,
    Column("revision_id", ForeignKey("revision.id"), primary_key=True),
    Column("text", Text, nullable=False),
    comment="The canonical text, apart from its revision so that listings stay small.",
)

visibility = Table(
    "visibility",
    metadata,
    Column("revision_id", ForeignKey("revision.id"), primary_key=True),
    Column("born", Integer, primary_key=True),
    Column("died", Integer),
    comment="A revision is seen by snapshots born <= s < died. Several rows where a rollback brought it back.",
)
Index("ix_visibility_died", visibility.c.died)

chunk = Table(
    "chunk",
    metadata,
    Column("id", Key, primary_key=True),
    Column("public_id", String(40), nullable=False, unique=True),
    Column("revision_id", ForeignKey("revision.id"), nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("page", Integer),
    Column("heading", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("sentences", LargeBinary, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    Column("sentence_vectors", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("sha256", String(64), nullable=False),
    comment="A passage: text == canonical[start:end]. Vectors are little-endian float32, those of sentences float16.",
)

entity = Table(
    "entity",
    metadata,
    Column("id", Key, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    comment="A name that text uses, normalised. Two names of one thing are two rows, tied by `alias` relations.",
)

mention = Table(
    "mention",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    Column("start", Integer, primary_key=True),
    Column("end", Integer, primary_key=True),
    Column("entity_id", ForeignKey("entity.id"), primary_key=True),
    Column("kind", String(16), nullable=False),
    comment="An entity named in [start, end) of a chunk's text.",
)
Index("ix_mention_entity_id", mention.c.entity_id)

relation = Table(
    "relation",
    metadata,
    Column("id", Key, primary_key=True),
    Column("chunk_id", ForeignKey("chunk.id"), nullable=False, index=True),
    Column("subject_id", ForeignKey("entity.id"), nullable=False, index=True),
    Column("predicate", String(64), nullable=False),
    Column("object_id", ForeignKey("entity.id"), nullable=False, index=True),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    comment="A typed edge between entities, stated in [start, end) of the chunk that supports it.",
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("parent", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("documents", Integer, nullable=False),
    Column("last_chunk", Key, nullable=False),
    _when(),
    comment="A published state of all documents. `parent` is the snapshot that it was made from; 0 is the empty one.",
)

publication = Table(
    "publication",
    metadata,
    Column("id", Key, primary_key=True),
    Column("snapshot", Integer, nullable=False),
    Column("action", String(16), nullable=False),
    _when(),
    comment="Every move of the live pointer; the last row is the one in force.",
)

job = Table(
    "job",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("input", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("result", Text),
    Column("error", Text),
    Column("updated_at", String(32), nullable=False),
    _when(),
    comment="Long work that was accepted: queued, running, done or failed. Survives restarts.",
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("all_groups", Boolean, nullable=False),
    Column("groups", Text, nullable=False),
    Column("expires_at", String(32)),
    Column("revoked_at", String(32)),
    _when(),
    comment="API keys by the hash of their secret.",
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("principal", String(40), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_sha256", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("response", Text, nullable=False),
    _when(),
    comment="Answers to requests that carried an Idempotency-Key.",
)

prompt_version = Table(
    "prompt_version",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("template", Text, nullable=False),
    Column("author", String(40), nullable=False, server_default=text("''")),
    Column("message", Text, nullable=False, server_default=text("''")),
    _when(),
    comment="Every version of a prompt that was saved, or that came with the program and was used, by hash. Immutable.",
)
Index("ix_prompt_version_name", prompt_version.c.name, prompt_version.c.version, unique=True)

prompt_event = Table(
    "prompt_event",
    metadata,
    Column("leaf", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("name", String(48), nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("label", String(48), nullable=False),
    Column("data", Text, nullable=False),
    Column("actor", String(40), nullable=False, index=True),
    _when(),
    comment="Everything that was done with a prompt, by whom: its state, labels, rules and experiments follow from "
    "these rows alone. `version` 0: with the prompt as a whole. `data` names no person; texts are payloads.",
)
Index("ix_prompt_event_name", prompt_event.c.name, prompt_event.c.leaf)

prompt_run = Table(
    "prompt_run",
    metadata,
    Column("number", ForeignKey("ledger_leaf.number"), primary_key=True, autoincrement=False),
    Column("id", String(40), nullable=False, unique=True),
    Column("principal", String(64), nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("prompt_sha256", String(64), nullable=False),
    Column("model", Text, nullable=False),
    Column("experiment", String(40), nullable=False),
    Column("arm", String(48), nullable=False),
    _when(),
    comment="Uses of prompts that answer from no documents: facts to find them by. Input and output are the payload.",
)
Index("ix_prompt_run_prompt_sha256", prompt_run.c.prompt_sha256, prompt_run.c.number)
Index("ix_prompt_run_experiment", prompt_run.c.experiment, prompt_run.c.number)

prompt_favourite = Table(
    "prompt_favourite",
    metadata,
    Column("principal", String(40), primary_key=True),
    Column("name", String(48), primary_key=True),
    comment="Prompts that somebody marked for themselves.",
)

workflow_version = Table(
    "workflow_version",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("name", String(48), nullable=False),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("author", String(40), nullable=False),
    Column("message", Text, nullable=False),
    _when(),
    comment="Every version of a workflow that was saved, or that came with the program and was used. Immutable.",
)
Index("ix_workflow_version_name", workflow_version.c.name, workflow_version.c.version, unique=True)

workflow_event = Table(
    "workflow_event",
    metadata,
    Column("leaf", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("name", String(48), nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("label", String(48), nullable=False),
    Column("data", Text, nullable=False),
    Column("actor", String(40), nullable=False, index=True),
    _when(),
    comment="Everything that was done with a workflow, by whom: its state, labels and whether its triggers rest follow "
    "from these rows alone. `version` 0: with the workflow as a whole. `data` names no person; texts are payloads.",
)
Index("ix_workflow_event_name", workflow_event.c.name, workflow_event.c.leaf)

event_secret = Table(
    "event_secret",
    metadata,
    Column("leaf", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("name", String(80), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    _when(),
    comment="Secrets that senders of an event sign with, as they were made and ended; the last row of a name counts. "
    "The secrets themselves are derived from the key of the ledger, and stored nowhere.",
)

trigger_mark = Table(
    "trigger_mark",
    metadata,
    Column("workflow", String(48), primary_key=True),
    Column("trigger", Text, primary_key=True),
    Column("snapshot", Integer, nullable=False),
    comment="How far a trigger of a workflow has acted on new documents: up to which snapshot.",
)

release = Table(
    "release",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("manifest", Text, nullable=False),
    Column("author", String(40), nullable=False),
    Column("message", Text, nullable=False),
    _when(),
    comment="Sets of pinned versions (prompts, policy) that go live together. Immutable.",
)

release_move = Table(
    "release_move",
    metadata,
    Column("leaf", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("release", ForeignKey("release.number")),
    Column("before", Text, nullable=False),
    _when(),
    comment="Every move of the pointer to the release in force; the last row is the one, none: before any release. "
    "`before` is what the move replaced, so that it can be taken back.",
)

policy_version = Table(
    "policy_version",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("text", Text, nullable=False),
    Column("author", String(40), nullable=False),
    Column("message", Text, nullable=False),
    _when(),
    comment="Versions of the workspace's policy. Immutable.",
)

policy_release = Table(
    "policy_release",
    metadata,
    Column("leaf", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("policy", ForeignKey("policy_version.number"), nullable=False),
    _when(),
    comment="Every move of the pointer to the policy in force; the last row is the one.",
)

ledger_leaf = Table(
    "ledger_leaf",
    metadata,
    Column("number", Key, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("leaf", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("signature", LargeBinary, nullable=False),
    _when(),
    comment="The leaves of the workspace's Merkle tree (RFC 9162): canonical JSON of facts and a salted commitment. "
    "`signature` is over the checkpoint of the tree that ends with the leaf.",
)
Index("ix_ledger_leaf_kind", ledger_leaf.c.kind, ledger_leaf.c.number)
Index("ix_ledger_leaf_subject", ledger_leaf.c.subject)

ledger_payload = Table(
    "ledger_payload",
    metadata,
    Column("number", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("payload", Text, nullable=False),
    comment="What a leaf commits to. A row may be erased; the leaf, and every proof, stays.",
)

ledger_node = Table(
    "ledger_node",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("position", Key, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),
    comment="Roots of the perfect subtrees of two leaves and more: what proofs are made of. Derived from the leaves.",
)

answer = Table(
    "answer",
    metadata,
    Column("number", ForeignKey("ledger_leaf.number"), primary_key=True, autoincrement=False),
    Column("id", String(40), nullable=False, unique=True),
    Column("principal", String(64), nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("snapshot", Integer, nullable=False),
    Column("prompt_sha256", String(64), nullable=False),
    Column("policy_sha256", String(64), nullable=False),
    Column("model", Text, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("reask_of", String(40), nullable=False, server_default=text("''"), index=True),
    Column("experiment", String(40), nullable=False, server_default=text("''")),
    Column("arm", String(48), nullable=False, server_default=text("''")),
    _when(),
    comment="Facts of an answer, to find it by. Its text and all that it stood on is the payload of its leaf. "
    "`principal` is empty once that was erased. `reask_of` is the answer that this one was asked again for, or empty. "
    "`experiment` and `arm`: what chose its prompt, or empty.",
)
Index("ix_answer_created_at", answer.c.created_at)
Index("ix_answer_prompt_sha256", answer.c.prompt_sha256, answer.c.number)
Index("ix_answer_experiment", answer.c.experiment, answer.c.number)

answer_evidence = Table(
    "answer_evidence",
    metadata,
    Column("answer_number", ForeignKey("answer.number"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("chunk_id", Key, nullable=False),
    Column("revision_id", ForeignKey("revision.id"), nullable=False),
    Column("cited", Boolean, nullable=False),
    comment="The passages that an answer's context held, in order, for looking up what depends on a document. "
    "`chunk_id` outlives the chunk where that was erased.",
)
Index(
    "ix_answer_evidence_chunk_id", answer_evidence.c.chunk_id, answer_evidence.c.answer_number, answer_evidence.c.cited
)
Index(
    "ix_answer_evidence_revision_id",
    answer_evidence.c.revision_id,
    answer_evidence.c.answer_number,
    answer_evidence.c.cited,
)

feedback = Table(
    "feedback",
    metadata,
    Column("leaf", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("answer_number", ForeignKey("answer.number"), nullable=False, index=True),
    Column("actor", String(40), nullable=False, index=True),
    Column("score", Float, nullable=False),
    _when(),
    comment="What people said of answers, 0 to 1; the last word of each counts. Comments are payloads.",
)

stale = Table(
    "stale",
    metadata,
    Column("answer_number", ForeignKey("answer.number"), primary_key=True),
    Column("leaf", ForeignKey("ledger_leaf.number"), primary_key=True, index=True),
    comment="Answers that stood on something withdrawn, and the leaf that says what.",
)

review = Table(
    "review",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("answer_number", ForeignKey("answer.number"), nullable=False, index=True),
    Column("reason", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("approvals", Integer, nullable=False),
    Column("assignee", String(40)),
    Column("deadline", String(32), nullable=False),
    Column("decided_at", String(32)),
    _when(),
    comment="What waits, or waited, for a person. `approvals` is how many people must approve.",
)
Index("ix_review_state", review.c.state, review.c.deadline)

review_event = Table(
    "review_event",
    metadata,
    Column("leaf", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("review_id", ForeignKey("review.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("actor", String(40), nullable=False, index=True),
    _when(),
    comment="Everything that was done with a review, by whom; texts are payloads of the leaves.",
)

task = Table(
    "task",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("leaf", ForeignKey("ledger_leaf.number"), nullable=False),
    Column("sort", String(16), nullable=False),
    Column("run_id", String(40), nullable=False, index=True),
    Column("workflow", String(48), nullable=False),
    Column("spec", String(64), nullable=False),
    Column("step", String(48), nullable=False),
    Column("key", String(200), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("starter", String(64), nullable=False),
    Column("assignee", String(64)),
    Column("state", String(16), nullable=False),
    Column("payload_sha256", String(64), nullable=False),
    Column("deadline", String(32), nullable=False),
    Column("next_at", String(32)),
    Column("decided_at", String(32)),
    _when(),
    comment="What runs of workflows ask of people. `role`: who may decide besides `assignee`, or empty; `next_at`: "
    "when something is to be done next (remind, escalate, expire). What is shown, the form and what will happen are "
    "the payload of `leaf`.",
)
Index("ix_task_state", task.c.state, task.c.next_at)

task_event = Table(
    "task_event",
    metadata,
    Column("leaf", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("task_id", ForeignKey("task.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("actor", String(64), nullable=False, index=True),
    Column("label", String(48), nullable=False),
    _when(),
    comment="Everything that was done with a task, by whom; `label` is what somebody marked it with. Texts are "
    "payloads of the leaves.",
)

hold = Table(
    "hold",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("scope", String(16), nullable=False),
    Column("value", Text, nullable=False),
    Column("placed", ForeignKey("ledger_leaf.number"), nullable=False),
    Column("released", ForeignKey("ledger_leaf.number")),
    _when(),
    comment="Legal holds: what may be neither erased nor expired while one is on it.",
)

erasure = Table(
    "erasure",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("leaf", ForeignKey("ledger_leaf.number"), nullable=False),
    Column("certificate", Text, nullable=False),
    _when(),
    comment="Certificates of erasures: what was searched and removed, without what it was.",
)

erased_leaf = Table(
    "erased_leaf",
    metadata,
    Column("number", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("leaf", ForeignKey("ledger_leaf.number"), nullable=False),
    comment="Leaves whose payload was erased, and the leaf of the erasure or expiry that did it.",
)

erased_revision = Table(
    "erased_revision",
    metadata,
    Column("revision_id", ForeignKey("revision.id"), primary_key=True),
    Column("leaf", ForeignKey("ledger_leaf.number"), nullable=False),
    comment="Revisions whose text, chunks and names were erased, and the leaf of the erasure that did it.",
)

run = Table(
    "run",
    metadata,
    Column("number", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("workflow", String(48), nullable=False),
    Column("version", Integer, nullable=False),
    Column("spec_sha256", String(64), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("trigger", String(16), nullable=False),
    Column("principal", String(64), nullable=False, index=True),
    Column("parent", String(160), nullable=False, server_default=text("''"), index=True),
    Column("dedup", String(64), unique=True),
    Column("due_at", String(32)),
    _when(),
    comment="Runs of workflows. Input, whose it is and what it was pinned to are the payload of its leaf. `parent` is "
    "the key of the step that started it, or the run that it was forked from, or empty. `dedup` is a hash: what is "
    "started twice under one is started once.",
)
Index("ix_run_workflow", run.c.workflow, run.c.number)
Index("ix_run_spec_sha256", run.c.spec_sha256, run.c.number)

run_state = Table(
    "run_state",
    metadata,
    Column("run_id", ForeignKey("run.id"), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("queue", String(48), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("wake_at", String(32)),
    Column("finished_at", String(32)),
    comment="Where a run stands: who may write (`epoch`), and which turn is the next. Whether it is finished follows "
    "from its journal.",
)
Index("ix_run_state_status", run_state.c.status, run_state.c.wake_at)

run_event = Table(
    "run_event",
    metadata,
    Column("leaf", ForeignKey("ledger_leaf.number"), primary_key=True),
    Column("run_id", ForeignKey("run.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("step", String(48), nullable=False),
    Column("item", Integer),
    Column("attempt", Integer, nullable=False),
    Column("data", Text, nullable=False),
    Column("actor", String(64), nullable=False, index=True),
    _when(),
    comment="The journal of runs: each step's end, each try that failed, what is waited for. Outputs are payloads of "
    "the leaves; `data` names nobody.",
)
Index("ix_run_event_run_id", run_event.c.run_id, run_event.c.leaf)

delivery = Table(
    "delivery",
    metadata,
    Column("key", String(160), primary_key=True),
    Column("begun", ForeignKey("ledger_leaf.number"), nullable=False, unique=True),
    Column("done", ForeignKey("ledger_leaf.number"), unique=True),
    Column("sink", String(16), nullable=False),
    Column("once", Boolean, nullable=False),
    Column("sha256", String(64), nullable=False),
    _when(),
    comment="What runs put into files, web hooks and mails, by the key of the step: the entries that say it was begun "
    "and done. `once`: the sink takes the same key once; else what was begun and not done may have arrived. `sha256` "
    "is over what was delivered, empty once that was erased.",
)

breaker = Table(
    "breaker",
    metadata,
    Column("target", Text, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("since", Float, nullable=False),
    Column("until", Float, nullable=False),
    Column("probes", Integer, nullable=False),
    comment="Circuit breakers, by what they guard: closed, open or half-open. `failures` in a row since the moment "
    "`since`; nothing is let through before `until`, and after it one probe at a time. Moments are Unix seconds.",
)

allowance = Table(
    "allowance",
    metadata,
    Column("target", Text, primary_key=True),
    Column("free_at", Float, nullable=False),
    comment="Rate limits, by what they guard: the moment (Unix seconds) at which the bucket is full again.",
)
