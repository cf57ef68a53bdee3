"""Prompts that people marked for themselves: no records, and gone with their owner."""

from __future__ import annotations

from sqlalchemy import delete, select

from kernel.records import Principal
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.rows import insert_new
from kernel.storage.schema import prompt_favourite


class Favourites:
    """Marks by person and name of the prompt."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(self, principal: Principal, name: str, *, on: bool = True) -> None:
        """Mark a prompt, or take the mark off; doing so again changes nothing."""
        mine = (prompt_favourite.c.principal == principal.id) & (prompt_favourite.c.name == name)
        with self._database.write() as connection:
            refuse_erased_person(connection, principal.id)
            if on:
                insert_new(connection, prompt_favourite, [{"principal": principal.id, "name": name}])
            else:
                connection.execute(delete(prompt_favourite).where(mine))

    def of(self, principal: Principal) -> list[str]:
        """The prompts that somebody marked, by name."""
        query = select(prompt_favourite.c.name).where(prompt_favourite.c.principal == principal.id)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(prompt_favourite.c.name)).scalars())
