"""What a release does with the versions that it holds of one library: prompts, or workflows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from kernel.errors import Conflict
from kernel.records import PromptVersion, WorkflowVersion
from kernel.storage.releases import Change
from kernel.storage.versioned import LABELLED, UNLABELLED, Event, Happening, V
from pipeline.prompts.gates import check_guarded, missing_for_release
from pipeline.prompts.library import PromptLibrary
from pipeline.prompts.state import PRODUCTION, STOPPED, ending
from pipeline.workflows.library import WorkflowLibrary, moved_live
from pipeline.workflows.state import LIVE

Read = Callable[[int], Sequence[Event]]
"""Reads the journal of a library from after an entry on, as the writing transaction sees it."""


@dataclass(frozen=True, slots=True)
class Step(Generic[V]):
    """What a move changes in a library: rows and versions to write, and the numbers before and after by name. `before`
    has every name of the set; `left` says what stays where somebody put it meanwhile.
    """

    change: Change[V]
    changed: Mapping[str, tuple[int, int]]
    before: Mapping[str, int] = field(default_factory=dict)
    left: tuple[str, ...] = ()


class Part(ABC, Generic[V]):
    """`key` is the member of a set, `what` one of its things, `place` where a released version is."""

    key: str
    what: str
    place: str
    label: str
    _library: Any

    def check(self, wanted: Mapping[str, int]) -> None:
        """Raises NotFound for a version that there is not."""
        for name, number in wanted.items():
            self._find(name, number)

    def missing(self, wanted: Mapping[str, int]) -> list[str]:
        """What the versions lack before they can go live, each as a clause that says what to do."""
        state, found = self._library.state(), list[str]()
        for name, number in sorted(wanted.items()):
            version, known = self._find(name, number), state.of(name)
            if known.retired or known.standing(number).retired:
                found.append(f"{name}@{number} is retired")
                continue
            held = self._held(name, known)
            if held:
                found.append(held)
            elif not known.was_live(number) and self._library.pointed(name, known) != number:
                found += [f"{name}@{number}: {one}" for one in self._lacks(version, known)]
        return found

    def forward(self, wanted: Mapping[str, int], read: Read, release: int, reason: str) -> Step[V]:
        """Put the versions of a set live. Raises Conflict that says what one lacks."""
        state, before = self._library.folded(read), dict[str, int]()
        changed: dict[str, tuple[int, int]] = {}
        happenings: list[Happening] = []
        keep: dict[str, V] = {}
        for name, number in sorted(wanted.items()):
            version, known = self._find(name, number), state.of(name)
            was = before[name] = self._library.pointed(name, known) or 0
            if was == number:
                continue
            self._refuse(version, known)
            held = self._held(name, known)
            if held:
                raise Conflict(f"{held}: stop or promote it first")
            changed[name] = (was, number)
            happenings += self._moved(version, known, was, release, reason)
            keep |= {one.sha256: one for one in self._library.kept(name, version)}
        return Step(Change(happenings, tuple(keep.values())), changed, before)

    def back(
        self, was: Mapping[str, int], released: Mapping[str, int], read: Read, release: Any, reason: str
    ) -> Step[V]:
        """Put back what was live before a set was; what was moved by itself since stays where it is."""
        state, changed = self._library.folded(read), dict[str, tuple[int, int]]()
        found: list[Happening] = []
        left: list[str] = []
        for name, target in was.items():
            known = state.of(name)
            now = self._library.pointed(name, known) or 0
            if now == target:
                continue
            if now != released[name]:
                left.append(f"{self.place} {self.what} {name} was moved to version {now} since: it stays there")
            elif target and (known.retired or known.standing(target).retired):
                left.append(f"version {target} of {self.what} {name}, which was before, is retired: {now} stays")
            else:
                changed[name] = (now, target)
                found += [*self._ended(known), self._returned(name, target, now, release, reason)]
        return Step(Change(found), changed, {}, tuple(left))

    def present(self) -> dict[str, int]:
        """The number that is live now of every name."""
        labels = {name: self._library.labels(name).get(self.label) for name in self._library.names()}
        return {name: number for name, number in labels.items() if number}

    def _find(self, name: str, number: int) -> V:
        found: V = self._library.find(f"{name}@{number}")
        return found

    def _returned(self, name: str, target: int, now: int, release: int | None, reason: str) -> Happening:
        data: dict[str, Any] = {"before": now, "rollback": True, "release": release}
        data |= {"sha256": self._find(name, target).sha256} if target else {}
        return Happening(name, target, LABELLED if target else UNLABELLED, self.label, data, {"comment": reason})

    def _held(self, name: str, known: Any) -> str:  # noqa: ARG002
        """What keeps a name where it is, or nothing."""
        return ""

    def _ended(self, known: Any) -> list[Happening]:  # noqa: ARG002
        """Rows that going back writes besides."""
        return []

    @abstractmethod
    def _lacks(self, version: V, known: Any) -> list[str]: ...

    @abstractmethod
    def _refuse(self, version: V, known: Any) -> None: ...

    @abstractmethod
    def _moved(self, version: V, known: Any, was: int, release: int, reason: str) -> list[Happening]: ...


class PromptPart(Part[PromptVersion]):
    """`production` of prompts."""

    key, what, place, label = "prompts", "prompt", "production of", PRODUCTION

    def __init__(self, library: PromptLibrary) -> None:
        self._library: PromptLibrary = library

    def _held(self, name: str, known: Any) -> str:
        return f"experiment {known.running.id} runs on prompt {name}" if known.running is not None else ""

    def _ended(self, known: Any) -> list[Happening]:
        return [ending(known.running, STOPPED, "the release was rolled back")] if known.running is not None else []

    def _lacks(self, version: PromptVersion, known: Any) -> list[str]:
        return missing_for_release(version, known.standing(version.version), self._library.gates)

    def _refuse(self, version: PromptVersion, known: Any) -> None:
        check_guarded(version, known, self._library.gates)

    def _moved(self, version: PromptVersion, known: Any, was: int, release: int, reason: str) -> list[Happening]:  # noqa: ARG002
        data = {"sha256": version.sha256, "before": was, "release": release}
        return [Happening(version.name, version.version, LABELLED, PRODUCTION, data, {"comment": reason})]


class WorkflowPart(Part[WorkflowVersion]):
    """What is live of workflows."""

    key, what, place, label = "workflows", "workflow", "live of", LIVE

    def __init__(self, library: WorkflowLibrary) -> None:
        self._library: WorkflowLibrary = library

    def _lacks(self, version: WorkflowVersion, known: Any) -> list[str]:
        return self._library.missing(version, known)

    def _refuse(self, version: WorkflowVersion, known: Any) -> None:
        self._library.check_live(version, known)

    def _moved(self, version: WorkflowVersion, known: Any, was: int, release: int, reason: str) -> list[Happening]:
        return moved_live(version, known, was, reason, release)
