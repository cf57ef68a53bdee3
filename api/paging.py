"""Cursors of listings: opaque to callers, and bound to the snapshot that the first page was read from."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query

from api.schemas import storable
from api.views import page_json
from kernel.errors import InvalidInput

LARGEST_PAGE = 200

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Items of one page, at most.")]
Cursor = Annotated[
    str | None, Query(max_length=4000, description="`next_cursor` of the page before; leave it out for the first page.")
]


def encode_cursor(kind: str, *place: int | str | None) -> str:
    """A cursor of a listing of `kind`, after `place`."""
    data = json.dumps([kind, *place], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode_cursor(kind: str, cursor: str | None, *first: int | str | None) -> list[Any]:
    """The place that a cursor names, of the same types as `first`, which is the place of the first page.

    Raises InvalidInput for what is no cursor of this listing.
    """
    if cursor is None:
        return list(first)
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise _not_ours() from error
    if not isinstance(values, list) or values[:1] != [kind] or len(values) != len(first) + 1:
        raise _not_ours()
    for value, example in zip(values[1:], first, strict=True):
        expected = str if isinstance(example, str) else int
        if type(value) is not expected or (isinstance(value, int) and not 0 <= value < 2**63):
            raise _not_ours()
        try:
            storable(str(value))
        except ValueError as error:
            raise _not_ours() from error
    return values[1:]


def page(items: Sequence[dict[str, Any]], limit: int, cursor_after: Any) -> dict[str, Any]:
    """A page of `items`, of which one more than `limit` were read; `cursor_after(item)` makes the cursor."""
    shown = items[:limit]
    return page_json(shown, cursor_after(shown[-1]) if len(items) > limit else None)


def _not_ours() -> InvalidInput:
    return InvalidInput("cursor is not one that this listing gave; leave it out to begin at the first page")
