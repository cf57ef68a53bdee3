"""Signed tree heads: C2SP tlog-checkpoint in C2SP signed-note form, with Ed25519 (RFC 8032).

A checkpoint is the text `origin`, size and base64 root, a line each; a signed note adds a blank line and signatures.
A verifier key is `NAME+ID+BASE64`, where ID is the first four bytes of SHA-256(NAME, newline, 0x01, public key).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kernel.errors import IntegrityFailure, InvalidInput

ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_SIGNATURE = re.compile(r"^— (\S+) (\S+)$")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: whose tree it is, how many leaves it has, and the root over them; and lines signed with it."""

    origin: str
    size: int
    root: bytes
    more: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The bytes that are signed, as text."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.more)
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks signatures of one key. `str` gives its text form, which may be published."""

    name: str
    public: bytes

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def holds(self, text: str, signature: bytes) -> bool:
        """Whether `signature` is this key's over `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True

    def note(self, checkpoint: Checkpoint, signature: bytes) -> str:
        """The signed note of a checkpoint."""
        return f"{checkpoint.text}\n— {self.name} {base64.b64encode(self.id + signature).decode()}\n"

    def open(self, note: str) -> Checkpoint:
        """The checkpoint of a note. Raises IntegrityFailure where this key did not sign it, or it says no tree head."""
        text, gap, tail = note.partition("\n\n")
        text += "\n"
        found = [_SIGNATURE.fullmatch(line) for line in tail.removesuffix("\n").split("\n")]
        signatures = [one.groups() for one in found if one is not None]
        mine = any(name == self.name and self._signed(text, value) for name, value in signatures)
        if not gap or len(signatures) != len(found) or not mine:
            raise IntegrityFailure(f"the checkpoint is not signed by {self.name}")
        return parse_checkpoint(text)

    def _signed(self, text: str, value: str) -> bool:
        data = _unpacked(value)
        return data[:4] == self.id and self.holds(text, data[4:])

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """The key of a text form. Raises InvalidInput where it is none."""
        name, _, rest = text.strip().partition("+")
        identity, _, packed = rest.partition("+")
        data = _unpacked(packed)
        if not re.fullmatch(r"[^\s+]+", name) or data[:1] != ED25519 or len(data) != 33:
            raise InvalidInput("a ledger's public key looks like NAME+8 hex digits+base64")
        key = cls(name, data[1:])
        if key.id.hex() != identity:
            raise InvalidInput("the public key was not copied whole: its id does not fit")
        return key


class Signer:
    """The private key of a workspace's ledger, in a file that only its owner may read. Made when it is first used."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = f"{name}-{secrets.token_hex(4)}"
        self._opened: tuple[Ed25519PrivateKey, Verifier] | None = None

    @property
    def path(self) -> Path:
        """Where the key lies."""
        return self._path

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return self._open()[1]

    def sign(self, text: str) -> bytes:
        """The signature of `text`, 64 bytes."""
        return self._open()[0].sign(text.encode())

    def derived(self, purpose: str) -> bytes:
        """32 secret bytes for a purpose: the same for the same key file, and telling nothing of it (HKDF, RFC 5869)."""
        seed = self._open()[0].private_bytes_raw()
        return HKDF(hashes.SHA256(), 32, salt=None, info=f"vouch derived secret: {purpose}".encode()).derive(seed)

    def _open(self) -> tuple[Ed25519PrivateKey, Verifier]:
        if self._opened is None:
            if not self._path.exists():
                self._make()
            name, identity, seed = _parse_secret(self._path)
            key = Ed25519PrivateKey.from_private_bytes(seed)
            verifier = Verifier(name, key.public_key().public_bytes_raw())
            if verifier.id.hex() != identity:
                raise InvalidInput(f"{self._path} was changed: its id does not fit its key")
            self._opened = key, verifier
        return self._opened

    def _make(self) -> None:
        """Write a new key whole under another name first, so that two starting processes end up with one key."""
        key = Ed25519PrivateKey.generate()
        verifier = Verifier(self._name, key.public_key().public_bytes_raw())
        packed = base64.b64encode(ED25519 + key.private_bytes_raw()).decode()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"{_PRIVATE}{self._name}+{verifier.id.hex()}+{packed}\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, self._path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()


def parse_checkpoint(text: str) -> Checkpoint:
    """The tree head that a text says. Raises IntegrityFailure where it says none."""
    found = re.fullmatch(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n((?:[^\n]+\n)*)", text)
    if found is None:
        raise IntegrityFailure("this is no checkpoint: it has no origin, size and root")
    more = tuple(found.group(4).split("\n")[:-1])
    return Checkpoint(found.group(1), int(found.group(2)), base64.b64decode(found.group(3)), more)


def _parse_secret(path: Path) -> tuple[str, str, bytes]:
    """Name, id and seed of the key in a file."""
    text = path.read_text(errors="replace").strip()
    name, _, rest = text.removeprefix(_PRIVATE).partition("+")
    identity, _, packed = rest.partition("+")
    data = _unpacked(packed)
    if not text.startswith(_PRIVATE) or data[:1] != ED25519 or len(data) != 33:
        raise InvalidInput(f"{path} holds no signing key")
    return name, identity, data[1:]


def _unpacked(text: str) -> bytes:
    """The bytes of base64 in its one canonical form; none for any other text."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return data if base64.b64encode(data).decode() == text else b""
