"""Where a version of a prompt or workflow stands: asked for, approved by whom, retired; and where labels were.

Values follow from rows of a journal and are never changed in place. What asks, approves and sends back is here too, so
that four eyes mean the same in every library.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from kernel.errors import Conflict, Forbidden, InvalidInput
from kernel.records import Principal
from kernel.storage.versioned import APPROVED, REJECTED, RETIRED, SUBMITTED, Event, Happening, Version

S = TypeVar("S", bound="Standing")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one version stands: who submitted and approved it (keys, or empty where erased).

    `needed` approvals of distinct people were asked for when it was submitted.
    """

    submitted: bool = False
    submitter: str = ""
    needed: int = 1
    approvers: tuple[str, ...] = ()
    retired: bool = False
    since: str = ""

    @property
    def approved(self) -> bool:
        """Whether as many people as were asked for have approved it."""
        return self.submitted and len(self.approvers) >= self.needed


@dataclass(frozen=True, slots=True)
class Move:
    """A label that was put on a version, from another (`before`); version 0: on none."""

    leaf: int
    label: str
    version: int
    before: int
    rollback: bool
    created_at: str


def standing_after(before: S, event: Event) -> S:
    """A standing after a row of the journal that is about its version."""
    actor = event.actor or f"erased {event.leaf}"
    if event.kind == SUBMITTED:
        needed, since = event.data["approvals"], event.created_at
        return replace(before, submitted=True, submitter=actor, needed=needed, approvers=(), since=since)
    if event.kind == APPROVED:
        approvers = before.approvers if actor in before.approvers else (*before.approvers, actor)
        return replace(before, approvers=approvers)
    if event.kind == REJECTED:
        return replace(before, submitted=False, approvers=())
    if event.kind == RETIRED:
        return replace(before, retired=bool(event.data.get("retired", True)))
    return before


def version_before(moves: Iterable[Move], label: str) -> int | None:
    """The version that a label was on before it came to where it is; None where there is none. Going back twice leads
    further back, not forth again.
    """
    trail: list[int] = []
    for move in moves:
        if move.label == label:
            trail = trail or [move.before]
            trail = trail[:-1] if move.rollback else [*trail, move.version]
    return (trail[-2] or None) if len(trail) > 1 else None


def ask_review(what: str, version: Version, standing: Standing, approvals: int, comment: str) -> Happening:
    """The row that asks for a version's review. Raises Conflict where it was asked for or given already."""
    called = f"version {version.version} of {what} {version.name}"
    if standing.submitted:
        raise Conflict(f"{called} is {'approved' if standing.approved else 'in review'} already")
    if standing.retired:
        raise Conflict(f"{called} is retired")
    return Happening(version.name, version.version, SUBMITTED, "", {"approvals": approvals}, {"comment": comment})


def give_approval(what: str, version: Version, standing: Standing, actor: Principal, comment: str) -> Happening:
    """The row that approves a version in review. Raises Forbidden for its author and for who submitted it, Conflict
    where it is not in review or was approved by the same person.
    """
    if not standing.submitted or standing.retired:
        raise Conflict(f"version {version.version} of {what} {version.name} is not in review: submit it first")
    if actor.id in (version.author, standing.submitter):
        raise Forbidden("who wrote or submitted a version cannot approve it: another person must")
    if actor.id in standing.approvers:
        raise Conflict("you approved this version already: another person must, too")
    return Happening(version.name, version.version, APPROVED, "", {"sha256": version.sha256}, {"comment": comment})


def send_back(what: str, version: Version, standing: Standing, reason: str) -> Happening:
    """The row that rejects a version. Raises Conflict where it is not in review, InvalidInput without a reason."""
    if not reason.strip():
        raise InvalidInput("say why: a rejection needs a reason")
    if not standing.submitted:
        raise Conflict(f"version {version.version} of {what} {version.name} is not in review")
    return Happening(version.name, version.version, REJECTED, "", {}, {"comment": reason})
