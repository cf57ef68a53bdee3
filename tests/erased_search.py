"""Looking for text that should be gone: in every file under a folder, raw, packed and in other encodings."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

LARGEST = 1 << 26
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")


def forms(needle: str | bytes) -> list[bytes]:
    """The bytes that a text may be stored as: UTF-8 and UTF-16 of either order, also with its letters folded."""
    if isinstance(needle, bytes):
        return [needle]
    texts = {needle, needle.casefold(), needle.upper()}
    return sorted({text.encode(encoding) for text in texts for encoding in ("utf-8", "utf-16-le", "utf-16-be")})


def streams(data: bytes) -> Iterator[bytes]:
    """The data, and whatever is packed in it: archives, and every zlib or gzip stream that begins anywhere."""
    yield data
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    for match in _ZLIB.finditer(data):
        rest = data[match.start() :]
        try:
            yield zlib.decompressobj(47).decompress(rest, LARGEST)
        except zlib.error:
            continue


def found_in(folder: Path, needles: Sequence[str | bytes]) -> list[str]:
    """`file: needle` for each that is there. Files that go away while they are read are none."""
    wanted = [(needle, form) for needle in needles for form in forms(needle)]
    found: set[str] = set()
    for path in sorted(folder.rglob("*")):
        try:
            data = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue
        for piece in streams(data):
            found |= {f"{path.relative_to(folder)}: {needle!r}" for needle, form in wanted if form in piece}
    return sorted(found)


def check_that_it_finds(folder: Path) -> None:
    """That the search sees what it should, so that its silence means something."""
    text = "the quick marmalade"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", text)
    samples = {
        "raw": text.encode(),
        "le": b"x" + text.encode("utf-16-le"),
        "be": text.encode("utf-16-be"),
        "zlib": b"head" + zlib.compress(text.encode()) + b"tail",
        "gzip": gzip.compress(text.encode()),
        "zip": packed.getvalue(),
    }
    folder.mkdir()
    for name, data in samples.items():
        (folder / name).write_bytes(data)
    assert {one.partition(":")[0] for one in found_in(folder, [text])} == samples.keys()
