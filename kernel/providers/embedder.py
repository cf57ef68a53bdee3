"""all-MiniLM-L6-v2 on ONNX Runtime: passages, their sentences from the same pass, and questions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Encoding
from tokenizers import Tokenizer as HFTokenizer

from kernel.errors import IntegrityFailure, Unavailable
from kernel.ids import file_sha256
from kernel.ports import EmbeddingInput, PassageVectors, Vector
from kernel.records import Span

NAME = "all-MiniLM-L6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH_TOKENS = 4096


def ensure_model(folder: Path) -> None:
    """Export the model into `folder` if it is not there yet (some 10 s, in a process of its own).

    Raises Unavailable with the exporter's last words where that fails.
    """
    if (folder / "manifest.json").is_file():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "kernel.providers.model_export", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        words = run.stderr.strip().splitlines() or ["no output"]
        raise Unavailable(f"the embedding model could not be exported: {words[-1]}")


class OnnxEmbedder:
    """Embeds on the CPU. Checks the model files against their manifest when it is made.

    Raises IntegrityFailure where a file's SHA-256 is not the one that it was exported with.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, expected in manifest["files"].items():
            if file_sha256(folder / name) != expected:
                raise IntegrityFailure(
                    f"{folder / name} is not the file that was exported; delete {folder} to export it anew"
                )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        self._session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self._tokenizer = HFTokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._window = int(manifest["window"])
        self.model = f"{manifest['name']}@{manifest['weights_sha256'][:12]}"
        self.dimension = int(manifest["dimension"])
        self._embed_one = lru_cache(maxsize=1024)(self._embed_question)

    @property
    def window(self) -> int:
        """Tokens that the model reads of one text, its two special ones included."""
        return self._window

    def token_starts(self, text: str) -> NDArray[np.int64]:
        """Offsets in `text` at which a token starts."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return np.fromiter((start for start, _ in offsets), dtype=np.int64, count=len(offsets))

    def embed(self, texts: Sequence[str]) -> Vector:
        """Unit vectors `[len(texts), dimension]`; a single text is remembered, for questions asked again."""
        if len(texts) == 1:
            return self._embed_one(texts[0])[None, :]
        vectors = self.embed_passages([EmbeddingInput("", text, ()) for text in texts])
        return (
            np.stack([vector.passage for vector in vectors]) if vectors else np.zeros((0, self.dimension), np.float32)
        )

    def _embed_question(self, text: str) -> Vector:
        encoding = self._tokenizer.encode(text)
        vector = _unit(self._run([self._fit(encoding)])[0].mean(axis=0))
        vector.setflags(write=False)
        return vector

    def embed_passages(self, passages: Sequence[EmbeddingInput]) -> list[PassageVectors]:
        """Vectors in the order given; passages of like length share a batch, so that little is spent on padding."""
        texts = [f"{passage.prefix}\n{passage.text}" if passage.prefix else passage.text for passage in passages]
        encodings = self._tokenizer.encode_batch(texts)
        lengths = np.array([min(len(encoding.ids), self._window) for encoding in encodings], dtype=np.int64)
        done: list[PassageVectors | None] = [None] * len(passages)
        for batch in _batches(lengths):
            states = self._run([self._fit(encodings[i]) for i in batch])
            for row, i in enumerate(batch):
                done[i] = _pool(states[row, : lengths[i]], encodings[i], passages[i])
        return [vectors for vectors in done if vectors is not None]

    def _fit(self, encoding: Encoding) -> list[int]:
        """Token ids within the window; the closing token stays where the rest is cut."""
        ids: list[int] = encoding.ids
        return ids if len(ids) <= self._window else [*ids[: self._window - 1], ids[-1]]

    def _run(self, ids: list[list[int]]) -> Vector:
        width = max(len(row) for row in ids)
        tokens = np.zeros((len(ids), width), dtype=np.int64)
        mask = np.zeros((len(ids), width), dtype=np.int64)
        for row, values in enumerate(ids):
            tokens[row, : len(values)] = values
            mask[row, : len(values)] = 1
        states: Vector = self._session.run(None, {"input_ids": tokens, "attention_mask": mask})[0]
        return states


def _batches(lengths: NDArray[np.int64]) -> list[list[int]]:
    """Indexes in groups of nearly equal length, each of at most BATCH_TOKENS padded tokens."""
    groups: list[list[int]] = []
    for i in np.argsort(-lengths, kind="stable").tolist():
        if not groups or (len(groups[-1]) + 1) * lengths[groups[-1][0]] > BATCH_TOKENS:
            groups.append([])
        groups[-1].append(i)
    return groups


def _unit(vector: Vector) -> Vector:
    return (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)


def _pool(states: Vector, encoding: Encoding, passage: EmbeddingInput) -> PassageVectors:
    """Mean-pool the passage over all its tokens, and each sentence over its own tokens."""
    whole = _unit(states.mean(axis=0))
    if not passage.sentences:
        return PassageVectors(whole, np.zeros((0, len(whole)), np.float32))
    shift = len(passage.prefix) + 1 if passage.prefix else 0
    starts = np.array([start for start, _ in encoding.offsets[: len(states)]], dtype=np.int64) - shift
    starts[[0, -1]] = -1  # the two special tokens belong to no sentence
    rows = np.stack([_sentence(states, starts, span, whole) for span in passage.sentences])
    return PassageVectors(whole, rows)


def _sentence(states: Vector, starts: NDArray[np.int64], span: Span, whole: Vector) -> Vector:
    mine = (starts >= span.start) & (starts < span.end)
    return _unit(states[mine].mean(axis=0)) if mine.any() else whole
