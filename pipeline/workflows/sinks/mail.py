"""What a mail looks like: plain text, and files that are text, Markdown, or HTML made of Markdown.

The same delivery makes the same bytes every time, and its Message-ID follows from its key: a receiver that sees it
twice can tell. Whatever is put into a header is one line; whatever is put into HTML is escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Annotated, Literal

from markdown_it import MarkdownIt
from pydantic import Field

from kernel.errors import InvalidInput
from kernel.ids import sha256
from pipeline.workflows.spec import Strict

LONGEST_ADDRESS = 254
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9.-]+")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LINE = re.compile(r"[^\x00-\x1f\x7f\x85\u2028\u2029]*")
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
"""Markup within the text is shown, not obeyed; nothing is loaded from elsewhere; links lead to the web or to mail."""
_PAGE = """<!doctype html>
<html lang="und"><head><meta charset="utf-8"><title>{}</title></head>
<body>
{}</body></html>
"""
_POLICY = SMTP.clone(cte_type="7bit")
"""Nothing that a mail server on the way would have to encode anew."""


class Attachment(Strict):
    """A file of a mail. `html`: `text` is Markdown, and what is sent is a page made of it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_. -]{0,79}$")]
    text: Annotated[str, Field(max_length=8 << 20)]
    as_: Annotated[Literal["text", "markdown", "html"], Field(alias="as")] = "text"


class Recipients:
    """Who mail may go to: addresses, or `@example.org` for all of a domain."""

    def __init__(self, allow: Sequence[str]) -> None:
        self._allow = {entry.strip().lower() for entry in allow}

    def check(self, addresses: Sequence[str]) -> None:
        """Raises InvalidInput for what is no address, or for one that mail may not go to."""
        for address in addresses:
            check_address(address)
            if not {address.lower(), "@" + address.lower().rpartition("@")[2]} & self._allow:
                raise InvalidInput(f"mail may not go to {address}: workflow_mail_allow does not name it")


def check_address(address: str) -> None:
    """Raises InvalidInput where it is not one plain address, such as `name@example.org`."""
    fine = _ADDRESS.fullmatch(address) and _DOMAIN.fullmatch(address.rpartition("@")[2])
    if not fine or len(address) > LONGEST_ADDRESS:
        raise InvalidInput(f"{address!r} is not an address such as name@example.org")


def message(
    key: str, sender: str, to: Sequence[str], subject: str, text: str, attach: Sequence[Attachment], at: str
) -> bytes:
    """The bytes of a mail; `at` (ISO 8601) is its date. Raises InvalidInput where a header would not be one line."""
    if _LINE.fullmatch(subject) is None:
        raise InvalidInput("the subject of a mail is one line without control characters")
    made = EmailMessage(policy=_POLICY)
    made["From"] = _named(sender)
    made["To"] = [_named(address) for address in to]
    made["Subject"] = subject
    made["Date"] = format_datetime(datetime.fromisoformat(at))
    made["Message-ID"] = message_id(key, sender)
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(_clean(text))
    for one in attach:
        body, kind = (_page(one), "html") if one.as_ == "html" else (one.text, _SUBTYPE[one.as_])
        made.add_attachment(_clean(body), subtype=kind, filename=one.name)
    for number, part in enumerate(made.walk()):
        if part.is_multipart():
            part.set_boundary(f"=_{sha256(f'{key}/{number}')[:40]}")
    return made.as_bytes()


def message_id(key: str, sender: str) -> str:
    """The Message-ID of a delivery, the same every time."""
    return f"<{sha256(key)[:40]}@{sender.rpartition('@')[2]}>"


_SUBTYPE = {"text": "plain", "markdown": "markdown"}


def _named(address: str) -> Address:
    return Address(addr_spec=address)


def _clean(text: str) -> str:
    """Text as mail holds it: no lone surrogates, no NUL."""
    return text.replace("\x00", "").encode(errors="replace").decode()


def _page(one: Attachment) -> str:
    return _PAGE.format(html.escape(one.name), _MARKDOWN.render(one.text))
