"""Public identifiers and content hashes.

Identifiers of documents and chunks are derived from what they name, so that ingesting the same files in any
order, or from scratch, gives the same identifiers. Identifiers of events (answers, jobs, keys) are random.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def sha256(data: bytes | str) -> str:
    """Hex SHA-256 of `data` (text is taken as UTF-8)."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Mapping[str, object] | Sequence[object]) -> bytes:
    """The one byte form of a JSON value that hashes are taken over: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def derived_id(prefix: str, *parts: str) -> str:
    """`prefix_` and 26 base-32 characters (130 bits) of a hash over the parts; the same parts give the same id."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return f"{prefix}_{base64.b32encode(digest)[:26].decode().lower()}"


def random_id(prefix: str) -> str:
    """`prefix_`, 10 characters that sort by time (milliseconds), then 80 random bits: unique without a registry."""
    stamp = base64.b32hexencode((time.time_ns() // 1_000_000).to_bytes(6, "big")).decode()[:10].lower()
    return f"{prefix}_{stamp}{secrets.token_hex(10)}"


def once_id(prefix: str, *parts: str) -> str:
    """An id of the form that random ids have, derived from `parts`: for an event that must happen once for them."""
    return f"{prefix}_{sha256(chr(31).join(parts))[:30]}"


def secret_key() -> str:
    """A new API key: 256 random bits behind a prefix that secret scanners can recognise."""
    return f"vouch_{secrets.token_urlsafe(32)}"
