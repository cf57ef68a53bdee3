"""What the libraries of prompts and of workflows share: versions of which some came with the program, and a journal.

What is in force is read from the journal before each use (one look at its last row), so that a label that was moved
counts in every process from then on. What follows from the rows is kept between looks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, Self, TypeVar

from kernel.errors import IntegrityFailure, NotFound
from kernel.ids import sha256
from kernel.storage.versioned import Event, Happening, V, Versioned


class State(Protocol):
    """What is in force after the entry `last` of the ledger."""

    @property
    def last(self) -> int: ...

    def after(self, events: Iterable[Event]) -> Self: ...


S = TypeVar("S", bound=State)


class VersionedLibrary(Generic[V, S]):
    """Versions by name and number, and the state that follows from the journal. Safe between threads.

    `shipped` gives those that came with the program, by name; `text` the text of a version.
    """

    def __init__(
        self,
        store: Versioned[V],
        begin: S,
        what: str,
        shipped: Callable[[], Mapping[str, V]],
        text: Callable[[V], str],
    ) -> None:
        self._store = store
        self._state = begin
        self._what = what
        self._shipped = shipped
        self._text = text
        self._kept_versions: dict[tuple[str, int], V] = {}
        self._shipped_numbers: dict[str, int] = {}

    def state(self) -> S:
        """What is in force now."""
        known = self._state
        if self._store.last_event() != known.last:
            known = known.after(self._store.events(known.last))
            self._state = known
        return known

    def folded(self, read: Callable[[int], Sequence[Event]]) -> S:
        """The state after the rows that `read` gives from an entry on: what a writing transaction sees."""
        known = self._state
        return known.after(read(known.last))

    def names(self) -> list[str]:
        """Everything there is, by name."""
        return sorted({*self._shipped(), *(name for name, _, _ in self._store.heads())})

    def newest(self) -> list[V]:
        """The newest version of everything, by name."""
        found = {name: self._numbered(one, ()) for name, one in self._shipped().items()}
        for one in reversed(self._store.all()):
            if one.version >= getattr(found.get(one.name), "version", 0):
                found[one.name] = one
        return [found[name] for name in sorted(found)]

    def heads(self) -> dict[str, dict[int, str]]:
        """The hashes of all versions by name and number, without their texts."""
        found: dict[str, dict[int, str]] = {}
        for name, number, digest in self._store.heads():
            found.setdefault(name, {})[number] = digest
        for name, shipped in self._shipped().items():
            mine = found.setdefault(name, {})
            if shipped.sha256 not in mine.values():
                mine[shipped.version if shipped.version not in mine else max(mine) + 1] = shipped.sha256
        return found

    def texts(self, digests: Collection[str]) -> dict[str, str]:
        """The texts of versions by hash."""
        found = {one.sha256: self._text(one) for one in self._shipped().values() if one.sha256 in digests}
        return found | self._store.texts([digest for digest in digests if digest not in found])

    def versions(self, name: str) -> list[V]:
        """Every version of a name, newest first. Raises NotFound where there is none."""
        stored = self._store.versions(name)
        shipped = self._shipped().get(name)
        if shipped is not None and all(one.sha256 != shipped.sha256 for one in stored):
            stored = sorted([*stored, self._numbered(shipped, stored)], key=lambda one: -one.version)
        if not stored:
            raise NotFound(f"no {self._what} {name}; see: vouch {self._what}s list")
        return stored

    def events(self, name: str) -> list[Event]:
        """The journal of a name, oldest first."""
        return [one for one in self._store.events() if one.name == name]

    def words(self, leaf: int) -> Mapping[str, Any]:
        """What was said with a row of the journal."""
        return self._store.words(leaf)

    def newest_number(self, name: str) -> int:
        """The number of the newest version; 0 where there is none."""
        try:
            return self.versions(name)[0].version
        except NotFound:
            return 0

    def _write(self, actor: str, decide: Callable[[S], Sequence[Happening]], keep: Sequence[V] = ()) -> list[Event]:
        """Append to the journal what `decide` makes of the newest state."""
        return self._store.write(actor, lambda read: decide(self.folded(read)), keep)

    def _shipped_number(self, name: str) -> int:
        """The number of the text that came with the program. No later version ever takes it."""
        if name not in self._shipped_numbers:
            shipped = self._shipped()[name]
            self._shipped_numbers[name] = next(
                one.version for one in self.versions(name) if one.sha256 == shipped.sha256
            )
        return self._shipped_numbers[name]

    def _version(self, name: str, number: int) -> V:
        """One version; what was read once is kept, since versions never change."""
        if (name, number) not in self._kept_versions:
            found = next((one for one in self.versions(name) if one.version == number), None)
            if found is None:
                raise NotFound(f"{self._what} {name} has no version {number}")
            if sha256(self._text(found)) != found.sha256:
                raise IntegrityFailure(f"the text of {self._what} {name}@{number} is not the one that was stored")
            self._kept_versions[(name, number)] = found
        return self._kept_versions[(name, number)]

    def _with_shipped(self, name: str, version: V, *, moves_first: bool) -> tuple[V, ...]:
        """What must be stored before a label moves: the version, and (for the label that a text which came with the
        program has at first) that text, whose place it takes.
        """
        if not moves_first or name not in self._shipped():
            return (version,)
        shipped = self._version(name, self._shipped_number(name))
        return tuple({one.sha256: one for one in (shipped, version)}.values())

    @staticmethod
    def _numbered(shipped: V, stored: Sequence[V]) -> V:
        """A text that came with the program, under the number that it gets when it is first used."""
        taken = {one.version for one in stored}
        return shipped if shipped.version not in taken else replace(shipped, version=max(taken) + 1)  # type: ignore[type-var]
