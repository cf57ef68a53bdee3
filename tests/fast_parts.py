"""A workspace for properties: real store, real index and search, but parsing in this process and a toy model."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property, lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from api.assembly import Workspace
from ingest.parse import parse
from ingest.similar import signature
from ingest.split import split
from kernel.ids import sha256
from kernel.ports import EmbeddingInput, PassageVectors, Vector
from kernel.records import ChunkDraft, FailedDocument, ParsedDocument, StoredChunk, StoredRevision
from kernel.settings import Settings
from pipeline.indexing import embedding_input, extract

DIMENSION = 16
_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w+")


class FastEmbedder:
    """A model and tokenizer that costs nothing: the sum of a pseudo-random vector for each word, made a unit."""

    model = "toy@1"
    dimension = DIMENSION
    window = 256

    def token_starts(self, text: str) -> NDArray[np.int64]:
        """A token is a word or a mark."""
        return np.array([match.start() for match in _TOKEN.finditer(text)], np.int64)

    def embed(self, texts: Sequence[str]) -> Vector:
        return np.stack([_vector(text) for text in texts])

    def embed_passages(self, passages: Sequence[EmbeddingInput]) -> list[PassageVectors]:
        return [
            PassageVectors(
                _vector(f"{one.prefix}\n{one.text}"),
                np.array([_vector(one.text[s.start : s.end]) for s in one.sentences], np.float32).reshape(
                    -1, DIMENSION
                ),
            )
            for one in passages
        ]


@lru_cache(maxsize=4096)
def _word_vector(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(crc32(word.encode())).normal(size=DIMENSION)


def _vector(text: str) -> Vector:
    total = sum((_word_vector(word) for word in sorted(_WORD.findall(text.casefold()))), np.zeros(DIMENSION))
    norm = float(np.linalg.norm(total))
    return (total / norm if norm else np.eye(DIMENSION)[0]).astype(np.float32)


class InlineParser:
    """Parses without a process of its own; for files that a test made."""

    def parse(self, path: Path, name: str | None = None) -> Iterator[ParsedDocument | FailedDocument]:
        yield from parse(path.read_bytes(), name or path.name)


class FastWorkspace(Workspace):
    """A workspace that embeds with the toy model."""

    @cached_property
    def embedder(self) -> FastEmbedder:
        return FastEmbedder()


def scratch_root() -> Path | None:
    """Memory to keep throw-away homes in, where the system has some."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and shutil.disk_usage(shared).free > 1 << 28 else None


@cache
def empty_database() -> bytes:
    """The bytes of a database with its schema and no rows, made once a process."""
    with tempfile.TemporaryDirectory(dir=scratch_root()) as folder:
        with FastWorkspace(Settings.load(home=Path(folder))) as made:
            made.database.migrate()
        return (made.settings.workspace_folder / "vouch.db").read_bytes()


def fast_workspace(home: Path, chunk_tokens: int = 48) -> FastWorkspace:
    """The workspace of that home, made where there is none yet. Close it."""
    settings = Settings.load(home=home, chunk_tokens=chunk_tokens)
    database = settings.workspace_folder / "vouch.db"
    if not database.exists():
        database.parent.mkdir(parents=True)
        database.write_bytes(empty_database())
    return FastWorkspace(settings)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder, in memory where there is some, that goes away with the block."""
    with tempfile.TemporaryDirectory(dir=scratch_root(), prefix="vouch-test-") as folder:
        yield Path(folder)


def stored_revision(path: str, text: str, title: str | None = None, chunk_tokens: int = 48) -> StoredRevision:
    """The revision that indexing would store of a text, with its mentions, relations and vectors."""
    embedder, title = FastEmbedder(), title or path
    document = ParsedDocument(text, "text/plain", title)
    drafts = split(document, embedder, chunk_tokens)
    vectors = embedder.embed_passages([embedding_input(title, draft) for draft in drafts])
    return StoredRevision(
        path=path,
        external_id=None,
        content_sha256=sha256(text),
        media_type="text/plain",
        title=title,
        uri=f"file:///{path}",
        text=text,
        reason=None,
        details={},
        groups=None,
        chunks=tuple(
            _stored_chunk(title, path, draft, document, one) for draft, one in zip(drafts, vectors, strict=True)
        ),
    )


def _stored_chunk(
    title: str, path: str, draft: ChunkDraft, document: ParsedDocument, vectors: PassageVectors
) -> StoredChunk:
    mentions, relations = extract(title, path, draft, document)
    return StoredChunk(
        draft,
        vectors.passage.astype("<f4").tobytes(),
        vectors.sentences.astype("<f2").tobytes(),
        signature(draft.text).astype("<u4").tobytes(),
        tuple(mentions),
        tuple(relations),
    )
