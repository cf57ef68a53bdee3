"""Releases: sets of pinned versions (prompts, policy, model) that go live together and are taken back together.

A set holds for every process from the next question on. Going live asks of each prompt what moving its `production`
label alone would ask, and of the set that another person than its author activates it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError

from kernel.errors import Conflict, Forbidden, InvalidInput
from kernel.records import ModelInfo, Principal, PromptVersion
from kernel.storage.releases import Present, Release, ReleaseMove, ReleaseStore, Switch
from kernel.storage.versioned import LABELLED, UNLABELLED, Happening
from pipeline.oversight.policy_book import PolicyBook
from pipeline.prompts.anatomy import Name, Strict, Words, faults_text
from pipeline.prompts.gates import check_guarded, missing_for_release
from pipeline.prompts.library import PromptLibrary
from pipeline.prompts.state import PRODUCTION, STOPPED, LibraryState, ending

MOST_PROMPTS = 500
LONGEST_MESSAGE = 4096


class ReleasedModel(Strict):
    """The model that a set is meant for; it must be the configured one when the set goes live."""

    provider: Words
    name: Words


class Manifest(Strict):
    """What a set holds: at least one prompt, or a policy."""

    prompts: Annotated[dict[Name, Annotated[int, Field(ge=1)]], Field(max_length=MOST_PROMPTS)] = Field(
        default_factory=dict
    )
    policy: int | None = None
    model: ReleasedModel | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """A move that was made. `left`: what it did not put back, since it was moved by itself meanwhile, in words."""

    move: ReleaseMove
    changed: Mapping[str, tuple[int, int]]
    left: tuple[str, ...] = ()


class ReleaseDesk:
    """Sets of a workspace, and which one is in force. `model` gives the configured one."""

    def __init__(
        self, store: ReleaseStore, library: PromptLibrary, book: PolicyBook, model: Callable[[], ModelInfo]
    ) -> None:
        self._store = store
        self._library = library
        self._book = book
        self._model = model

    # --- Reading --------------------------------------------------------------------------------------------------

    def items(self) -> list[Release]:
        """Every set, newest first."""
        return self._store.items()

    def get(self, number: int) -> Release:
        """One set. Raises NotFound."""
        return self._store.get(number)

    def moves(self) -> list[ReleaseMove]:
        """Every move, oldest first."""
        return self._store.moves()

    def in_force(self) -> int | None:
        """The set that the last move put in force, or None."""
        moves = self._store.moves()
        return moves[-1].release if moves else None

    def missing(self, number: int) -> list[str]:
        """What a set lacks before it can go live, each as a clause that says what to do."""
        manifest = self.get(number).manifest
        found = self._wrong_model(manifest)
        for name, version, known in self._prompts(manifest, self._library.state()):
            if known.retired or known.standing(version.version).retired:
                found.append(f"{name}@{version.version} is retired")
            elif known.running is not None:
                found.append(f"experiment {known.running.id} runs on prompt {name}")
            elif not known.was_live(version.version) and self._library.pointed(name, known) != version.version:
                lacks = missing_for_release(version, known.standing(version.version), self._library.gates)
                found += [f"{name}@{version.version}: {one}" for one in lacks]
        return found

    def differences(self, number: int, since: int | None = None) -> dict[str, Any]:
        """What changes from a set, or (None) from what is in force now, to a set: pairs of before and after."""
        after = self.get(number).manifest
        before = self._present() if since is None else self.get(since).manifest
        names = sorted({*after["prompts"], *(before["prompts"] if since is not None else ())})
        pairs = {name: [before["prompts"].get(name), after["prompts"].get(name)] for name in names}
        found: dict[str, Any] = {"prompts": {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}}
        for part in ("policy", "model"):
            unsaid = since is None and after[part] is None
            found[part] = None if unsaid or before[part] == after[part] else [before[part], after[part]]
        return found

    def containing(self, name: str) -> list[Release]:
        """The sets that hold a version of a prompt, newest first."""
        return [one for one in self.items() if name in one.manifest["prompts"]]

    # --- Changing -------------------------------------------------------------------------------------------------

    def add(self, manifest: Mapping[str, Any], author: Principal, message: str) -> Release:
        """Store a set. Raises InvalidInput for one that is none, NotFound for a version that there is not, Conflict."""
        checked = self._checked(manifest)
        if not message.strip() or len(message) > LONGEST_MESSAGE:
            raise InvalidInput("say in a message what the release is for")
        return self._store.add(checked, author.id, message)

    def activate(self, number: int, actor: Principal, reason: str = "") -> Moved:
        """Put a set in force: `production` of each of its prompts, and the policy, in one transaction.

        Raises Conflict that says what it lacks, Forbidden for its author where approvals are asked for.
        """
        wanted = self.get(number)
        wrong = self._wrong_model(wanted.manifest)
        if wrong:
            raise Conflict(f"release {number} cannot go live: {wrong[0]}")
        shipped = self._book.shipped()
        changed: dict[str, tuple[int, int]] = {}

        def decide(present: Present) -> Switch:
            changed.clear()
            gates = self._library.gates
            if gates.approvals and actor.id == wanted.author:
                raise Forbidden("who put a release together cannot activate it: another person must")
            happenings: list[Happening] = []
            keep: list[PromptVersion] = []
            before: dict[str, int] = {}
            for name, version, known in self._prompts(wanted.manifest, self._library.folded(present.events)):
                was = before[name] = self._library.pointed(name, known) or 0
                if was == version.version:
                    continue
                check_guarded(version, known, gates)
                if known.running is not None:
                    raise Conflict(f"experiment {known.running.id} runs on prompt {name}: stop or promote it first")
                changed[name] = (was, version.version)
                happenings.append(_labelled(version, was, number, reason))
                keep += self._library.kept(name, version)
            policy, now = wanted.manifest["policy"], shipped.number if present.policy is None else present.policy
            move = policy if policy is not None and policy != now else None
            if not changed and move is None and _last(present) == number:
                raise Conflict(f"release {number} is in force already")
            kept = {"release": _last(present), "prompts": before, "policy": now if policy is not None else None}
            given = shipped if move == shipped.number else None
            return Switch(number, kept, happenings, _once(keep), move, given, {"reason": reason})

        return Moved(self._store.move(actor.id, decide), dict(changed))

    def rollback(self, actor: Principal, reason: str = "") -> Moved:
        """Put back what was in force before the set that is in force, in one transaction and without new approvals.

        Going back twice leads further back. A prompt or policy that was moved by itself meanwhile stays where it is,
        and is named; an experiment on what is put back ends. Raises Conflict where no release is in force.
        """
        shipped = self._book.shipped()
        changed: dict[str, tuple[int, int]] = {}
        left: list[str] = []

        def decide(present: Present) -> Switch:
            changed.clear()
            left.clear()
            undone = _standing_moves(present.moves)
            if not undone:
                raise Conflict("no release is in force: there is nothing to go back from")
            top = undone[-1]
            manifest = self.get(top.release or 0).manifest
            state = self._library.folded(present.events)
            happenings = list(self._back(top, manifest, state, changed, left, reason))
            policy = self._policy_back(top, manifest, present, shipped.number, left)
            before = {"release": top.release, "takes_back": top.leaf, "prompts": {n: v[0] for n, v in changed.items()}}
            given = shipped if policy == shipped.number else None
            words = {"reason": reason, "left": list(left)}
            return Switch(top.before["release"], before, happenings, (), policy, given, words)

        return Moved(self._store.move(actor.id, decide), dict(changed), tuple(left))

    def _back(
        self,
        top: ReleaseMove,
        manifest: Mapping[str, Any],
        state: LibraryState,
        changed: dict[str, tuple[int, int]],
        left: list[str],
        reason: str,
    ) -> Sequence[Happening]:
        found: list[Happening] = []
        for name, target in top.before["prompts"].items():
            known = state.of(name)
            now, released = self._library.pointed(name, known) or 0, manifest["prompts"][name]
            if now == target:
                continue
            if now != released:
                left.append(f"production of prompt {name} was moved to version {now} since: it stays there")
            elif target and (known.retired or known.standing(target).retired):
                left.append(f"version {target} of prompt {name}, which was before, is retired: {now} stays")
            else:
                changed[name] = (now, target)
                if known.running is not None:
                    found.append(ending(known.running, STOPPED, "the release was rolled back"))
                data: dict[str, Any] = {"before": now, "rollback": True, "release": top.release}
                kind = LABELLED if target else UNLABELLED
                if target:
                    data["sha256"] = self._library.find(f"{name}@{target}").sha256
                found.append(Happening(name, target, kind, PRODUCTION, data, {"comment": reason}))
        return found

    @staticmethod
    def _policy_back(
        top: ReleaseMove, manifest: Mapping[str, Any], present: Present, shipped: int, left: list[str]
    ) -> int | None:
        target = top.before["policy"]
        now = shipped if present.policy is None else present.policy
        if target is None or target == now:
            return None
        if now != manifest["policy"]:
            left.append(f"the policy was moved to version {now} since: it stays there")
            return None
        return int(target)

    def _checked(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        try:
            found = Manifest.model_validate(dict(manifest))
        except ValidationError as error:
            raise InvalidInput(f"the release: {faults_text(error)}") from error
        if not found.prompts and found.policy is None:
            raise InvalidInput("a release holds at least one prompt, or a policy")
        for name, number in found.prompts.items():
            self._library.find(f"{name}@{number}")
        if found.policy is not None:
            self._book.get(found.policy)
        return found.model_dump()

    def _prompts(self, manifest: Mapping[str, Any], state: LibraryState) -> Sequence[tuple[str, PromptVersion, Any]]:
        return [
            (name, self._library.find(f"{name}@{number}"), state.of(name))
            for name, number in sorted(manifest["prompts"].items())
        ]

    def _wrong_model(self, manifest: Mapping[str, Any]) -> list[str]:
        wanted, info = manifest.get("model"), self._model()
        if wanted is None or (wanted["provider"], wanted["name"]) == (info.provider, info.name):
            return []
        return [
            f"it is for the model {wanted['provider']}/{wanted['name']}, but {info.provider}/{info.name} is configured"
        ]

    def _present(self) -> dict[str, Any]:
        """What is in force now, in the shape of a set."""
        info = self._model()
        labels = {name: self._library.labels(name).get(PRODUCTION) for name in self._library.names()}
        prompts = {name: number for name, number in labels.items() if number}
        model = {"provider": info.provider, "name": info.name}
        policy = self._book.stored.released()
        return {
            "prompts": prompts,
            "policy": self._book.shipped().number if policy is None else policy.number,
            "model": model,
        }


def _labelled(version: PromptVersion, before: int, release: int, reason: str) -> Happening:
    data = {"sha256": version.sha256, "before": before, "release": release}
    return Happening(version.name, version.version, LABELLED, PRODUCTION, data, {"comment": reason})


def _last(present: Present) -> int | None:
    return present.moves[-1].release if present.moves else None


def _standing_moves(moves: Sequence[ReleaseMove]) -> list[ReleaseMove]:
    """The moves that are not taken back, oldest first: the last one is what a rollback takes back."""
    found: list[ReleaseMove] = []
    for move in moves:
        found = found[:-1] if "takes_back" in move.before else [*found, move]
    return found


def _once(versions: Sequence[PromptVersion]) -> tuple[PromptVersion, ...]:
    return tuple({one.sha256: one for one in versions}.values())
