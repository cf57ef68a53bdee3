"""A file that is encrypted as it is written: AES-256-GCM in chunks (the STREAM construction, Hoang et al., 2015).

The file begins with a line of magic and a line of JSON, the header, which every chunk authenticates. A chunk is four
bytes of length and its ciphertext; its nonce is its number and a mark on the last one, so that chunks can be neither
reordered, left out nor cut off. The key is used for one file alone.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kernel.errors import IntegrityFailure

MAGIC = b"vouch-backup 1\n"
CHUNK = 1 << 20
LONGEST_HEADER = 1 << 16


def write_sealed(file: BinaryIO, key: bytes, header: dict[str, Any], lines: Iterable[str]) -> str:
    """Write lines of text, compressed and encrypted; the SHA-256 of the whole file, in hex."""
    head = MAGIC + json.dumps(header, sort_keys=True).encode() + b"\n"
    digest, cipher = hashlib.sha256(head), AESGCM(key)
    file.write(head)
    bound = hashlib.sha256(head).digest()
    waiting: bytes | None = None
    number = 0
    for piece in _compressed(lines):
        if waiting is not None:
            _put(file, digest, cipher, bound, number, waiting, last=False)
            number += 1
        waiting = piece
    _put(file, digest, cipher, bound, number, waiting or b"", last=True)
    return digest.hexdigest()


def _compressed(lines: Iterable[str]) -> Iterator[bytes]:
    packer, buffer = zlib.compressobj(6), bytearray()
    for line in lines:
        buffer += packer.compress(line.encode() + b"\n")
        while len(buffer) >= CHUNK:
            yield bytes(buffer[:CHUNK])
            del buffer[:CHUNK]
    buffer += packer.flush()
    while buffer:
        yield bytes(buffer[:CHUNK])
        del buffer[:CHUNK]


def _put(file: BinaryIO, digest: Any, cipher: AESGCM, bound: bytes, number: int, piece: bytes, *, last: bool) -> None:
    sealed = cipher.encrypt(_nonce(number, last=last), piece, bound)
    data = struct.pack(">I", len(sealed)) + sealed
    digest.update(data)
    file.write(data)


def _nonce(number: int, *, last: bool) -> bytes:
    return struct.pack(">QI", number, int(last))


def read_header(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """The header of a sealed file, and what its chunks authenticate. Raises IntegrityFailure where it is none."""
    magic, line = file.readline(len(MAGIC) + 1), file.readline(LONGEST_HEADER)
    try:
        header = json.loads(line) if magic == MAGIC and line.endswith(b"\n") else None
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise IntegrityFailure("this is no backup that Vouch made")
    return header, hashlib.sha256(magic + line).digest()


def read_lines(file: BinaryIO, key: bytes, bound: bytes) -> Iterator[str]:
    """The lines of a sealed file, after its header. Raises IntegrityFailure where the key or any byte is wrong."""
    unpacker, rest = zlib.decompressobj(), b""
    try:
        for piece in _opened(file, AESGCM(key), bound):
            rest += unpacker.decompress(piece)
            *whole, rest = rest.split(b"\n")
            yield from (line.decode() for line in whole)
    except (zlib.error, UnicodeDecodeError) as error:
        raise IntegrityFailure("the backup is damaged: it cannot be unpacked") from error
    if rest or not unpacker.eof:
        raise IntegrityFailure("the backup ends early")


def _opened(file: BinaryIO, cipher: AESGCM, bound: bytes) -> Iterator[bytes]:
    number, sealed = 0, _chunk(file)
    while True:
        following = _chunk(file)
        try:
            yield cipher.decrypt(_nonce(number, last=following is None), sealed or b"", bound)
        except InvalidTag as error:
            raise IntegrityFailure(
                f"the backup cannot be opened at chunk {number}: the key is another's, or the file was changed or cut"
            ) from error
        if following is None:
            return
        number, sealed = number + 1, following


def _chunk(file: BinaryIO) -> bytes | None:
    head = file.read(4)
    if not head:
        return None
    size = struct.unpack(">I", head)[0] if len(head) == 4 else 0
    if not 16 <= size <= CHUNK + 16:
        raise IntegrityFailure("the backup is damaged: a chunk has an impossible length")
    return file.read(size)
