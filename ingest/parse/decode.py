"""Bytes to characters: byte order marks, UTF-8, then a detected legacy encoding, always the same way."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from ingest.parse.canonical import clean
from kernel.errors import ParseFailure

# UTF-32 before UTF-16: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_HIGH = bytes(range(128, 256))
_SAMPLE = 100_000
_FEW = 12  # high bytes; with fewer, statistical detection guesses wildly and Windows-1252 is the likelier truth
_STRAY, _BINARY_SHARE = 8, 20  # a few control characters, and one in so many bytes, may be in a text
_CHARSET = re.compile(
    rb"<(?:meta[^>]{0,200}charset|\?xml[^>]{0,100}encoding)\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w.:-]{1,40})", re.I
)


def decode(data: bytes, declared: str | None = None) -> str:
    """`data` as cleaned text. `declared` is tried after UTF-8. Raises ParseFailure for empty or binary
    data."""
    return clean(decode_raw(data, declared))


def decode_raw(data: bytes, declared: str | None = None) -> str:
    """As `decode`, with every character left as it is: for formats whose own syntax depends on them."""
    if not data:
        raise ParseFailure("is empty")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if len(data) - len(data.translate(None, _CONTROL)) > _STRAY + len(data) // _BINARY_SHARE:
        raise ParseFailure("is not text: it holds binary data (save UTF-16 text as UTF-8)")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _legacy(data, declared)


def declared_charset(data: bytes) -> str | None:
    """The encoding that an HTML or XML prolog names, if any."""
    found = _CHARSET.search(data[:4096])
    return found[1].decode("ascii", "replace") if found else None


def _legacy(data: bytes, declared: str | None) -> str:
    for encoding in (declared, _detected(data)):
        try:
            if encoding:
                return data.decode(encoding)
        except (LookupError, UnicodeError, ValueError):
            continue
    return data.decode("cp1252", "replace")


def _detected(data: bytes) -> str | None:
    if len(data) - len(data.translate(None, _HIGH)) < _FEW:
        return "cp1252"
    best = from_bytes(data[:_SAMPLE]).best()
    return best.encoding if best else None
