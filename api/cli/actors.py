"""Who acts on the command line: the owner of a key, or the local owner."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from api.cli.call import Call
from kernel.errors import Forbidden, InvalidInput
from kernel.records import LOCAL_OWNER, Principal, Role

KeyOption = Annotated[
    str | None, typer.Option("--key", metavar="SECRET", help="Key of who acts; - reads it from standard input.")
]


def actor_of(call: Call, key: str | None, *roles: Role) -> Principal:
    """Who acts: the owner of the key, or the local owner. Raises Unauthenticated, and Forbidden for a key of another
    role than `roles` (where some are named) and admin.
    """
    if key is None:
        return LOCAL_OWNER
    secret = sys.stdin.readline().strip() if key == "-" else key
    if not secret:
        raise InvalidInput("there is no key on standard input")
    actor = call.workspace.keys.authenticate(secret)
    if roles and actor.role not in (*roles, Role.ADMIN):
        raise Forbidden(f"this needs a key of role {' or '.join((*roles, Role.ADMIN))}; yours has role {actor.role}")
    return actor
