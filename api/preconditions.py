"""Conditional requests (RFC 9110, section 13): a change says which version it was made from, or it is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.requests import Request

from kernel.errors import InvalidInput, PreconditionFailed, PreconditionRequired

_TAG = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e]*"\s*')


def changed_from(request: Request, current: Callable[[], tuple[int, str] | None]) -> int:
    """The number of the version that a change was made from, which its request names by `If-Match`; 0 where
    `If-None-Match: *` says that it makes a new thing. `current` gives number and tag of the newest version.

    Raises PreconditionRequired without either, PreconditionFailed where the newest version is another.
    """
    match, none = request.headers.getlist("if-match"), request.headers.getlist("if-none-match")
    if match and none:
        raise InvalidInput("Send If-Match or If-None-Match, not both.")
    if not match and not none:
        raise PreconditionRequired(
            "Send If-Match with the ETag of the version that you changed, or If-None-Match: * to make a new one."
        )
    found = current()
    if none:
        if [one.strip() for one in none] != ["*"]:
            raise InvalidInput("If-None-Match takes * here: the thing must not be there yet.")
        if found is not None:
            raise PreconditionFailed(f"It is there already, with the ETag {found[1]}: send If-Match to change it.")
        return 0
    wanted = tags_of(match)
    if found is None:
        raise PreconditionFailed("It is not there yet: send If-None-Match: * to make it.")
    if wanted != ["*"] and found[1] not in wanted:
        raise PreconditionFailed(
            f"The newest version has the ETag {found[1]}: somebody saved meanwhile. Read it again, change that."
        )
    return found[0]


def unchanged(request: Request, tag: str) -> bool:
    """Whether the caller has what `tag` names already: `If-None-Match` compares weakly."""
    lines = request.headers.getlist("if-none-match")
    if not lines:
        return False
    wanted = tags_of(lines)
    return wanted == ["*"] or tag in (one.removeprefix("W/") for one in wanted)


def tags_of(lines: list[str]) -> list[str]:
    """The entity tags of header lines; `["*"]` for any. Raises InvalidInput for what is none."""
    if [line.strip() for line in lines] == ["*"]:
        return ["*"]
    parts = [part for line in lines for part in line.split(",") if part.strip()]
    if not parts or not all(_TAG.fullmatch(part) for part in parts):
        raise InvalidInput('An entity tag stands in quotes: "…", as the ETag of a response shows it.')
    return [part.strip() for part in parts]
