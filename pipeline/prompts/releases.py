"""Releases: sets of pinned versions (prompts, workflows, policy, model) that go live and are taken back together.

A set holds for every process from the next question on. Going live asks of each prompt and workflow what moving
its label alone would ask, and of the set that another person than its author activates it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError

from kernel.errors import Conflict, Forbidden, InvalidInput
from kernel.records import ModelInfo, Principal
from kernel.storage.releases import Present, Release, ReleaseMove, ReleaseStore, Switch
from pipeline.oversight.policy_book import PolicyBook
from pipeline.prompts.anatomy import Name, Strict, Words, faults_text
from pipeline.prompts.library import PromptLibrary
from pipeline.release_parts import PromptPart, Step, WorkflowPart
from pipeline.workflows.library import WorkflowLibrary

MOST_PROMPTS = 500
LONGEST_MESSAGE = 4096


class ReleasedModel(Strict):
    """The model that a set is meant for; it must be the configured one when the set goes live."""

    provider: Words
    name: Words


class Manifest(Strict):
    """What a set holds: at least one prompt or workflow, or a policy."""

    prompts: Annotated[dict[Name, Annotated[int, Field(ge=1)]], Field(max_length=MOST_PROMPTS)] = Field(
        default_factory=dict
    )
    workflows: Annotated[dict[Name, Annotated[int, Field(ge=1)]], Field(max_length=MOST_PROMPTS)] = Field(
        default_factory=dict
    )
    policy: int | None = None
    model: ReleasedModel | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """A move that was made: what it changed of prompts and of workflows, numbers before and after by name. `left`: what
    it did not put back, since it was moved by itself meanwhile, in words.
    """

    move: ReleaseMove
    changed: Mapping[str, tuple[int, int]]
    workflows: Mapping[str, tuple[int, int]]
    left: tuple[str, ...] = ()


class ReleaseDesk:
    """Sets of a workspace, and which one is in force. `model` gives the configured one."""

    def __init__(
        self,
        store: ReleaseStore,
        library: PromptLibrary,
        workflows: WorkflowLibrary,
        book: PolicyBook,
        model: Callable[[], ModelInfo],
    ) -> None:
        self._store = store
        self._library = library
        self._prompts = PromptPart(library)
        self._workflows = WorkflowPart(workflows)
        self._workflow_library = workflows
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
        parts = (self._prompts.missing(manifest["prompts"]), self._workflows.missing(manifest["workflows"]))
        return [*self._wrong_model(manifest), *parts[0], *parts[1]]

    def differences(self, number: int, since: int | None = None) -> dict[str, Any]:
        """What changes from a set, or (None) from what is in force now, to a set: pairs of before and after."""
        after = self.get(number).manifest
        before = self._present() if since is None else self.get(since).manifest
        found: dict[str, Any] = {}
        for part in ("prompts", "workflows"):
            names = sorted({*after[part], *(before[part] if since is not None else ())})
            pairs = {name: [before[part].get(name), after[part].get(name)] for name in names}
            found[part] = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        for part in ("policy", "model"):
            unsaid = since is None and after[part] is None
            found[part] = None if unsaid or before[part] == after[part] else [before[part], after[part]]
        return found

    def containing(self, name: str, part: str = "prompts") -> list[Release]:
        """The sets that hold a version of a prompt (or of a workflow), newest first."""
        return [one for one in self.items() if name in one.manifest[part]]

    # --- Changing -------------------------------------------------------------------------------------------------

    def add(self, manifest: Mapping[str, Any], author: Principal, message: str) -> Release:
        """Store a set. Raises InvalidInput for one that is none, NotFound for a version that there is not, Conflict."""
        checked = self._checked(manifest)
        if not message.strip() or len(message) > LONGEST_MESSAGE:
            raise InvalidInput("say in a message what the release is for")
        return self._store.add(checked, author.id, message)

    def activate(self, number: int, actor: Principal, reason: str = "") -> Moved:
        """Put a set in force: `production` of each of its prompts, `live` of its workflows, and the policy, in one
        transaction.

        Raises Conflict that says what it lacks, Forbidden for its author where approvals are asked for.
        """
        wanted = self.get(number)
        wrong = self._wrong_model(wanted.manifest)
        if wrong:
            raise Conflict(f"release {number} cannot go live: {wrong[0]}")
        shipped, steps = self._book.shipped(), list[Step[Any]]()

        def decide(present: Present) -> Switch:
            if actor.id == wanted.author and self._four_eyes(wanted.manifest):
                raise Forbidden("who put a release together cannot activate it: another person must")
            prompts = self._prompts.forward(wanted.manifest["prompts"], present.prompts, number, reason)
            workflows = self._workflows.forward(wanted.manifest["workflows"], present.workflows, number, reason)
            steps[:] = prompts, workflows
            policy, now = wanted.manifest["policy"], shipped.number if present.policy is None else present.policy
            move = policy if policy is not None and policy != now else None
            if not prompts.changed and not workflows.changed and move is None and _last(present) == number:
                raise Conflict(f"release {number} is in force already")
            kept: dict[str, Any] = {"release": _last(present), "policy": now if policy is not None else None}
            kept |= {"prompts": dict(prompts.before)} | _told(workflows.before)
            given = shipped if move == shipped.number else None
            return Switch(number, kept, prompts.change, workflows.change, move, given, {"reason": reason})

        return _moved(self._store.move(actor.id, decide), steps)

    def rollback(self, actor: Principal, reason: str = "") -> Moved:
        """Put back what was in force before the set that is in force, in one transaction and without new approvals.

        Going back twice leads further back. A prompt, workflow or policy that was moved by itself meanwhile stays where
        it is, and is named; an experiment on what is put back ends. Raises Conflict where no release is in force.
        """
        shipped, left = self._book.shipped(), list[str]()
        steps: list[Step[Any]] = []

        def decide(present: Present) -> Switch:
            undone = _standing_moves(present.moves)
            if not undone:
                raise Conflict("no release is in force: there is nothing to go back from")
            top = undone[-1]
            before, manifest = top.before, self.get(top.release or 0).manifest
            prompts = self._prompts.back(before["prompts"], manifest["prompts"], present.prompts, top.release, reason)
            workflows = self._workflows.back(
                before.get("workflows", {}), manifest["workflows"], present.workflows, top.release, reason
            )
            steps[:], left[:] = (prompts, workflows), [*prompts.left, *workflows.left]
            policy = self._policy_back(top, manifest, present, shipped.number, left)
            said: dict[str, Any] = {"release": top.release, "takes_back": top.leaf}
            said |= {"prompts": {n: v[0] for n, v in prompts.changed.items()}}
            said |= _told({n: v[0] for n, v in workflows.changed.items()})
            given = shipped if policy == shipped.number else None
            words = {"reason": reason, "left": list(left)}
            return Switch(before["release"], said, prompts.change, workflows.change, policy, given, words)

        return _moved(self._store.move(actor.id, decide), steps, left)

    def _four_eyes(self, manifest: Mapping[str, Any]) -> bool:
        """Whether another person than its author must put a set in force."""
        workflows = bool(manifest["workflows"]) and self._workflow_library.gates.approvals > 0
        return workflows or self._library.gates.approvals > 0

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
        if not found.prompts and not found.workflows and found.policy is None:
            raise InvalidInput("a release holds at least one prompt or workflow, or a policy")
        self._prompts.check(found.prompts)
        self._workflows.check(found.workflows)
        if found.policy is not None:
            self._book.get(found.policy)
        return found.model_dump()

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
        model = {"provider": info.provider, "name": info.name}
        policy = self._book.stored.released()
        return {
            "prompts": self._prompts.present(),
            "workflows": self._workflows.present(),
            "policy": self._book.shipped().number if policy is None else policy.number,
            "model": model,
        }


def _moved(move: ReleaseMove, steps: Sequence[Step[Any]], left: Sequence[str] = ()) -> Moved:
    prompts, workflows = steps
    return Moved(move, dict(prompts.changed), dict(workflows.changed), tuple(left))


def _told(workflows: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """The member that says what was live of workflows; none where a move is about none."""
    return {"workflows": dict(workflows)} if workflows else {}


def _last(present: Present) -> int | None:
    return present.moves[-1].release if present.moves else None


def _standing_moves(moves: Sequence[ReleaseMove]) -> list[ReleaseMove]:
    """The moves that are not taken back, oldest first: the last one is what a rollback takes back."""
    found: list[ReleaseMove] = []
    for move in moves:
        found = found[:-1] if "takes_back" in move.before else [*found, move]
    return found
