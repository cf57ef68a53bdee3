"""Signed bodies: `Vouch-Signature: t=SECONDS,v1=HEX`, where HEX is HMAC-SHA256 of `SECONDS.BODY` under a shared secret.

The moment is signed with the body, so that a request that was overheard is worth nothing once it is old.
"""

from __future__ import annotations

import hmac
import re

HEADER = "Vouch-Signature"
WINDOW_SECONDS = 300
"""How far the moment of a signature may lie from now."""
_FORM = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")


def signature_of(secret: str, body: bytes, at: int) -> str:
    """The value of the header for a body that is sent at `at` (Unix seconds)."""
    digest = hmac.digest(secret.encode(), str(at).encode() + b"." + body, "sha256")
    return f"t={at},v1={digest.hex()}"


def is_signed(secret: str, body: bytes, header: str, now: float, window: float = WINDOW_SECONDS) -> bool:
    """Whether a header is the signature of a body under a secret, made within `window` seconds of now."""
    found = _FORM.fullmatch(header.strip())
    if found is None or abs(now - int(found[1])) > window:
        return False
    return hmac.compare_digest(signature_of(secret, body, int(found[1])), found[0])
