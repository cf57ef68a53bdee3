"""Signed checkpoints: C2SP notes go round, and nothing that is not one passes."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import IntegrityFailure, InvalidInput
from kernel.notes import Checkpoint, Signer, Verifier, parse_checkpoint

ROOT = bytes(range(32))
HEAD = Checkpoint("vouch-test", 7, ROOT)
C2SP_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
"""The key, text and signature that document Go's signed notes, which C2SP took up."""
C2SP_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
C2SP_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "ledger.key", "vouch-test")


def test_a_note_goes_round(signer: Signer) -> None:
    note = signer.verifier.note(HEAD, signer.sign(HEAD.text))
    assert note.splitlines()[:3] == ["vouch-test", "7", base64.b64encode(ROOT).decode()]
    assert signer.verifier.open(note) == HEAD
    assert Verifier.parse(str(signer.verifier)) == signer.verifier


def test_a_note_that_others_signed_too_goes_round(signer: Signer, tmp_path: Path) -> None:
    other = Signer(tmp_path / "other.key", "witness")
    mine = signer.verifier.note(HEAD, signer.sign(HEAD.text))
    line = other.verifier.note(HEAD, other.sign(HEAD.text)).splitlines()[-1]
    note = f"{mine}{line}\n"
    assert signer.verifier.open(note) == other.verifier.open(note) == HEAD


def test_the_published_example_of_signed_notes_holds() -> None:
    key = Verifier.parse(C2SP_KEY)
    assert (key.name, key.id.hex()) == ("PeterNeumann", "c74f20a3")
    data = base64.b64decode(C2SP_SIGNATURE)
    assert data[:4] == key.id
    assert key.holds(C2SP_TEXT, data[4:])
    Ed25519PublicKey.from_public_bytes(key.public).verify(data[4:], C2SP_TEXT.encode())
    with pytest.raises(IntegrityFailure, match="no checkpoint"):
        key.open(f"{C2SP_TEXT}\n— PeterNeumann {C2SP_SIGNATURE}\n")


def test_any_changed_character_is_refused(signer: Signer) -> None:
    note = signer.verifier.note(HEAD, signer.sign(HEAD.text))
    for place in range(len(note) - 1):
        if note[place] == "=":
            continue
        changed = note[:place] + ("A" if note[place] != "A" else "B") + note[place + 1 :]
        with pytest.raises(IntegrityFailure):
            signer.verifier.open(changed)


HOSTILE = (
    "",
    "\n",
    "\n\n",
    "vouch-test\n7\n",
    "vouch-test\n7\nAAAA\n\n— vouch-test é\n",
    "vouch-test\n7\nAAAA\n\n— vouch-test AAAA\n",
    "vouch-test\n7\nAAAA\n\n— vouch-test\n",
    "vouch-test\n-1\n" + base64.b64encode(ROOT).decode() + "\n",
    "vouch-test\n007\n" + base64.b64encode(ROOT).decode() + "\n",
    "vouch-test\n" + "9" * 5000 + "\n" + base64.b64encode(ROOT).decode() + "\n",
    "vouch-test\n٧\n" + base64.b64encode(ROOT).decode() + "\n",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_checkpoint_is_refused(signer: Signer, text: str) -> None:
    with pytest.raises(IntegrityFailure):
        signer.verifier.open(text)
    with pytest.raises(IntegrityFailure):
        parse_checkpoint(text)


@given(st.text(max_size=200))
def test_any_text_is_refused_in_words(text: str) -> None:
    key = Verifier.parse(C2SP_KEY)
    signed = f"{text}\n\n— PeterNeumann {text}\n".encode("utf-8", "replace").decode()
    with pytest.raises(IntegrityFailure):
        key.open(signed)


BAD_KEYS = (
    "",
    "+",
    "name",
    "name+00000000+",
    "name+00000000+é",
    C2SP_KEY[:-4],
    C2SP_KEY.replace("c74f", "c74e"),
    C2SP_KEY.replace("Peter", "Paul"),
    C2SP_KEY.replace("PeterNeumann", "Peter Neumann"),
    C2SP_KEY.replace("+ARpc", "+AhpC"),
)


@pytest.mark.parametrize("text", BAD_KEYS)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Verifier.parse(text)


def test_the_key_file_is_the_owners_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.key"
    first = Signer(path, "vouch-test")
    made = first.verifier
    assert path.stat().st_mode & 0o077 == 0
    assert Signer(path, "vouch-test").verifier == made
    assert [one.name for one in path.parent.iterdir()] == ["ledger.key"]
    for text in ("", "PRIVATE+KEY+", "PRIVATE+KEY+a+b+é", made.name):
        path.write_text(text)
        with pytest.raises(InvalidInput, match="no signing key"):
            _ = Signer(path, "vouch-test").verifier
