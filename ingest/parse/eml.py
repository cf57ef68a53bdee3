"""E-mail (RFC 5322, MIME): the headers people ask about, the text body, and the names of attachments."""

from __future__ import annotations

from collections.abc import Iterator
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

from ingest.parse.canonical import Builder, clean, one_line
from ingest.parse.decode import decode
from ingest.parse.html_page import parse_text
from kernel.errors import ParseFailure
from kernel.records import Link, ParsedDocument

MEDIA_TYPE = "message/rfc822"
_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_FACTS = frozenset({"From", "To", "Date", "Subject"})
_HEADER_CHARS = 10_000
_MAX_PARTS = 1_000


def parse(data: bytes, name: str) -> ParsedDocument:  # noqa: ARG001 - the plan every format follows
    """The document in `data`. Raises ParseFailure if it is no message or nests too deeply."""
    if not data:
        raise ParseFailure("is empty")
    try:
        message = BytesParser(policy=compat32).parsebytes(data)
        parts = list(_leaves(message))
    except RecursionError as error:
        raise ParseFailure("is nested too deeply to be read as e-mail") from error
    except (MessageError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise ParseFailure("is damaged: it cannot be read as e-mail") from error
    if not any(message.get(name) for name in _SHOWN):
        raise ParseFailure("is damaged: it has none of the headers of an e-mail")
    builder = Builder()
    subject = _header(message, "Subject") or "e-mail"
    for key in _SHOWN:
        if value := _header(message, key):
            start = builder.add(f"{key}: {value}")
            if key in _FACTS:
                builder.fact(subject, key.lower(), value, start, builder.position)
            builder.add("\n")
    _write_body(builder, parts)
    _write_attachments(builder, parts)
    return builder.finish(MEDIA_TYPE, _header(message, "Subject"))


def _leaves(message: Message) -> Iterator[Message]:
    """The parts that hold content, in order; an attached message counts as an attachment, not as its
    parts."""
    pending = [message]
    seen = 0
    while pending and seen < _MAX_PARTS:
        part = pending.pop()
        seen += 1
        payload = part.get_payload()
        if isinstance(payload, list) and part.get_content_maintype() == "multipart":
            pending.extend(inner for inner in reversed(payload) if isinstance(inner, Message))
        else:
            yield part


def _write_body(builder: Builder, parts: list[Message]) -> None:
    bodies = [part for part in parts if not _filename(part)]
    plain = [part for part in bodies if part.get_content_type() == "text/plain"]
    for part in plain:
        builder.add("\n" + _text(part).strip("\n") + "\n")
    for part in bodies if not plain else ():
        if part.get_content_type() == "text/html" and (source := _text(part)).strip():
            _write_page(builder, parse_text(source))


def _write_page(builder: Builder, page: ParsedDocument) -> None:
    builder.add("\n")
    start = builder.add(page.text)
    builder.add("\n")
    for heading in page.headings:
        builder.heading(start + heading.start, heading.level, heading.title)
    for link in page.links:
        builder.link(*_shifted(link, start))
    for fact in page.facts:
        builder.fact(fact.subject, fact.predicate, fact.object, start + fact.start, start + fact.end)


def _shifted(link: Link, by: int) -> tuple[int, int, str]:
    return link.start + by, link.end + by, link.target


def _write_attachments(builder: Builder, parts: list[Message]) -> None:
    names = [name for part in parts if (name := _filename(part))]
    for number, name in enumerate(names):
        builder.add(("\n" if number == 0 else "") + f"Attachment: {name}\n")
    if names:
        builder.metadata["attachments"] = names


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes) or not payload:
        return ""
    charset = part.get_content_charset()
    try:
        return clean(payload.decode(charset)) if charset else decode(payload)
    except (LookupError, ValueError):
        return decode(payload)


def _filename(part: Message) -> str:
    """The attachment's name; \"unnamed\" for an attachment without one, empty for a body."""
    name = part.get_filename()
    if name:
        return _decoded(name)
    if part.get_content_maintype() == "text" and part.get_content_disposition() != "attachment":
        return ""
    return f"unnamed ({part.get_content_type()})"


def _header(message: Message, name: str) -> str:
    return _decoded(str(message.get(name, "")))


def _decoded(value: str) -> str:
    """A header without RFC 2047 encoding, on one line."""
    value = value[:_HEADER_CHARS].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        pieces = decode_header(value)
    except (MessageError, ValueError):
        return one_line(value)
    return one_line("".join(_piece(text, charset) for text, charset in pieces), _HEADER_CHARS)


def _piece(text: str | bytes, charset: str | None) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode(charset or "raw-unicode-escape", "replace")
    except (LookupError, ValueError):
        return text.decode("latin-1")
