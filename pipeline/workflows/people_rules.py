"""Who may see a task and decide on it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from kernel.errors import Conflict, Forbidden, InvalidInput
from kernel.records import LOCAL_OWNER, Principal, Role
from kernel.storage.keys import Keys
from kernel.storage.task_journal import OPEN, QUESTION, REVIEW, Standing, Task
from kernel.storage.tasks import Check


class TaskRules:
    """Role or person must fit; who started the run and who wrote the workflow do not decide on a review."""

    def __init__(
        self,
        keys: Keys,
        authors: Callable[[str], Collection[str]],
        causes: Callable[[str], Collection[str]] = lambda _: (),
    ) -> None:
        self._keys = keys
        self._authors = authors
        self._causes = causes

    def rule(self, actor: Principal) -> Check:
        """Who may decide, asked again as the writing transaction sees the task."""

        def check(found: Task, stands: Standing, _events: Any) -> None:
            self.may(found, stands, actor, (found.sort,), erased=True)

        return check

    def may(
        self, found: Task, stands: Standing, actor: Principal, sorts: Collection[str], *, erased: bool = False
    ) -> None:
        """Raises where somebody may not decide on a task now; `erased`: also where nothing is left of what it shows."""
        self.see(stands, actor)
        if found.sort not in sorts:
            does = "answer it" if found.sort == QUESTION else "approve or reject it"
            raise Conflict(f"{found.id} is a {found.sort}: {does}")
        refusal = self.refusal(found, stands, actor)
        if refusal is not None:
            raise Forbidden(refusal)
        if found.state != OPEN:
            raise Conflict(f"the task is {found.state}: nothing more can be decided")
        if not found.content and not erased:
            raise Conflict("what this was about was erased: reject it, or let it expire")

    def refusal(self, found: Task, stands: Standing, actor: Principal) -> str | None:
        """Why somebody may not decide; None where they may."""
        if found.sort == REVIEW and (actor.id == found.starter or actor.id in self._causes(found.run_id)):
            return "who started a run cannot decide on its reviews: another person must"
        if found.sort == REVIEW and actor.id in self._authors(found.spec):
            return "who wrote a workflow cannot decide on its reviews: another person must"
        if actor.id in stands.people or not actor.role.reaches.isdisjoint(stands.roles):
            return None
        holders = [*sorted(stands.people), *(f"any {role}" for role in sorted(stands.roles))]
        return f"this is for {' or '.join(holders) or 'nobody any more'}"

    @staticmethod
    def see(stands: Standing, actor: Principal) -> None:
        """Raises Forbidden where somebody may not even look."""
        if not (actor.role.oversees or actor.id in stands.people or not actor.role.reaches.isdisjoint(stands.roles)):
            raise Forbidden("this is for other people: reviewers, and those whom it was given to")

    def check_holder(self, found: Task, key_id: str, role: str) -> None:
        """That a person may be given a task: holds its role, and neither started the run nor wrote the workflow."""
        concerned = {found.starter, *self._authors(found.spec), *self._causes(found.run_id)}
        if found.sort == REVIEW and key_id in concerned:
            raise InvalidInput("who started the run or wrote the workflow cannot decide: choose another person")
        if key_id != LOCAL_OWNER.id and not self._holds(key_id, Role(role)):
            raise InvalidInput(f"{key_id} is no key of role {role} that holds; see: vouch keys list")

    def _holds(self, key_id: str, role: Role) -> bool:
        moment = datetime.now(UTC)
        return any(
            key.id == key_id
            and role in key.role.reaches
            and key.revoked_at is None
            and (key.expires_at is None or key.expires_at > moment)
            for key in self._keys.items()
        )


def oversees(actor: Principal) -> None:
    """Raises Forbidden for who does not oversee what others do."""
    if not actor.role.oversees:
        raise Forbidden("this needs a key of role reviewer or admin")
