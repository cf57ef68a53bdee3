"""`vouch keys`: who may use the server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from api.cli.call import Call, command, group, page_of
from api.cli.options import Cursor, Limit
from api.views import key_json
from kernel.errors import InvalidInput
from kernel.records import Role

commands = group("API keys of the server.")


@command(commands, "list")
def list_keys(call: Call, limit: Limit = 100, cursor: Cursor = None) -> None:
    """List keys, oldest first; a key's secret is stored nowhere."""
    items = [key_json(key) for key in call.workspace.keys.items()]
    if cursor is not None:
        known = [item["id"] for item in items]
        if cursor not in known:
            raise InvalidInput(f"{cursor!r} is not a cursor of this list; use the `next_cursor` of the page before")
        items = items[known.index(cursor) + 1 :]
    shown, rest = page_of(items, limit, "id")
    call.show_list(shown, rest, ("id", "name", "role", "groups", "created_at", "expires_at", "revoked_at"))


@command(commands, "create")
def create(
    call: Call,
    role: Annotated[
        Role,
        typer.Option(help="app asks; editor also writes prompts; reviewer also reads every answer; admin may do all."),
    ],
    groups: Annotated[
        str | None,
        typer.Option(
            help='Groups, separated by commas, whose documents the key may see besides public ones; "*": all.'
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="A name to know it by.")] = "",
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="ISO 8601 time when it ends.")] = None,
) -> None:
    """Make a key, and print its secret this once.

    Without --groups, a key of role admin sees every document, any other the public ones.
    """
    key, secret = call.workspace.keys.create(role, groups_of(groups, role), name, moment_of(expires))

    def words(out: Console) -> None:
        out.print(secret, soft_wrap=True)
        call.note(f"{key.id}, role {key.role.value}. Keep the key above: it cannot be shown again.")

    call.show(key_json(key, secret), words)


@command(commands, "revoke")
def revoke(call: Call, key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, key_….")]) -> None:
    """End a key at once."""
    found = key_json(call.workspace.keys.revoke(key_id))
    call.show(found, lambda out: out.print(f"{key_id} was ended"))


def groups_of(groups: str | None, role: Role) -> tuple[str, ...] | None:
    """The groups that a key gets; None is every document."""
    if groups == "*" or (groups is None and role == Role.ADMIN):
        return None
    return tuple(name.strip() for name in (groups or "").split(",") if name.strip())


def moment_of(text: str | None) -> datetime | None:
    """A moment in time (UTC where it names no zone). Raises InvalidInput for what is none, or is past."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"--expires must be an ISO 8601 time such as 2030-01-31T12:00, not {text!r}") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        raise InvalidInput(f"--expires {text} is in the past")
    return moment
