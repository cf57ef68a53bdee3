"""The library: which version of a prompt a caller gets, and every way to save, review, label and take back one."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from kernel.errors import Conflict, Forbidden, IntegrityFailure, InvalidInput, NotFound
from kernel.ids import sha256
from kernel.records import Choice, Principal, PromptVersion, Role
from kernel.storage.prompts import RULES, TESTED, Prompts
from kernel.storage.versioned import (
    COMMENTED,
    LABELLED,
    RETIRED,
    UNLABELLED,
    Happening,
)
from pipeline.histories import PROGRAM
from pipeline.prompts.anatomy import LARGEST, read_prompt
from pipeline.prompts.cases import read_cases
from pipeline.prompts.gates import Gates, check_guarded, check_rules
from pipeline.prompts.rendering import Compiled, compile_prompt
from pipeline.prompts.shares import arm_of
from pipeline.prompts.state import LIVE, PRODUCTION, STOPPED, ExperimentState, LibraryState, PromptState, ending
from pipeline.standing import ask_review, give_approval, send_back
from pipeline.versioned_library import VersionedLibrary

DEFAULT = "grounded-answer"
RESERVED = frozenset({"check", "export", "favourites", "import", "overdue", "playground", "promote", "search"})
"""Names that no prompt may have: they are addresses of the library itself."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,46}")
_LABEL = re.compile(r"[a-z][a-z0-9._-]{0,46}")


@dataclass(frozen=True, slots=True)
class Asker:
    """What the choice of a version may depend on. Where it was made earlier (`chosen`), it stands."""

    principal: Principal
    session: str | None = None
    model: str = ""
    stakes: str | None = None
    chosen: Choice | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The version that a caller gets, and what chose it: a label, and the arm of an experiment where one runs."""

    compiled: Compiled
    experiment: str = ""
    arm: str = ""

    @property
    def version(self) -> PromptVersion:
        """The version, with the label that it was found by."""
        return self.compiled.version


Decision = Callable[[LibraryState], Sequence[Happening]]


class PromptLibrary(VersionedLibrary[PromptVersion, LibraryState]):
    """Prompts of a workspace: those that came with the program, and those that were saved. Safe between threads."""

    def __init__(self, store: Prompts, gates: Callable[[], Gates] = Gates) -> None:
        super().__init__(store, LibraryState(), "prompt", shipped_prompts, lambda one: one.template)
        self._gates = gates

    # --- Reading --------------------------------------------------------------------------------------------------

    def find(self, reference: str | None) -> PromptVersion:
        """The version of `NAME`, `NAME@LABEL` or `NAME@NUMBER`; None: the default prompt. A name alone is the version
        in production, or the newest where there is none. Raises NotFound.
        """
        name, label = split_reference(reference)
        if label.isdecimal():
            return self._version(name, int(label))
        known = self.state().of(name)
        if not label and self._pointed(name, known, PRODUCTION) is None:
            return self.versions(name)[0]
        return self._labelled(name, label or PRODUCTION, known)

    def choose(self, reference: str | None, asker: Asker) -> Chosen:
        """The version that a caller gets for a reference: a name alone goes by the prompt's rules, then by the
        experiment that runs, else to the version in production. Raises NotFound: for who only asks, in the same words
        whether a version is not there or not for them.
        """
        name, label = split_reference(reference)
        if asker.chosen is not None:
            return self._chosen_before(name, asker.chosen)
        known = self.state().of(name)
        if known.retired:
            raise NotFound(f"prompt {name} is retired")
        try:
            return self._choice(name, label, known, asker)
        except (NotFound, Forbidden) as error:
            if asker.principal.role == Role.APP:
                raise no_prompt(reference or DEFAULT) from error
            raise

    def _choice(self, name: str, label: str, known: PromptState, asker: Asker) -> Chosen:
        if label.isdecimal():
            found = self._version(name, int(label))
            if asker.principal.role == Role.APP and self.state_of(found, known) != LIVE:
                raise Forbidden(f"prompt {name} version {label} is not live: ask by name, or by a label")
            return Chosen(compile_prompt(found))
        if not label:
            label = next((str(rule["label"]) for rule in known.rules if _applies(rule["when"], asker)), "")
        if not label and known.running is not None:
            return self._drawn(known.running, asker)
        return Chosen(compile_prompt(self._labelled(name, label or PRODUCTION, known)))

    def _chosen_before(self, name: str, chosen: Choice) -> Chosen:
        """A version that was chosen earlier, whatever became of it since. Raises IntegrityFailure for another text."""
        found = self._version(name, chosen.number)
        if found.sha256 != chosen.sha256:
            raise IntegrityFailure(f"prompt {name}@{chosen.number} is not the text that was chosen")
        return Chosen(compile_prompt(found))

    def state_of(self, version: PromptVersion, known: PromptState | None = None) -> str:
        """draft, in_review, approved, live or retired."""
        known = known or self.state().of(version.name)
        if self._pointed(version.name, known, PRODUCTION) == version.version:
            return LIVE if not known.retired else RETIRED
        return known.state_of(version.version)

    def labels(self, name: str, known: PromptState | None = None) -> dict[str, int]:
        """Every label of a prompt and the number of the version that it is on."""
        known = known or self.state().of(name)
        found = dict(known.labels)
        first = self._pointed(name, known, PRODUCTION)
        return found | ({PRODUCTION: first} if first else {})

    def production(self, name: str, state: LibraryState) -> int | None:
        """The version that is in production in a state; None where there is none."""
        return self._pointed(name, state.of(name), PRODUCTION)

    def pointed(self, name: str, known: PromptState, label: str = PRODUCTION) -> int | None:
        """The number of the version that a label is on in some state of the prompt; None where it is nowhere."""
        return self._pointed(name, known, label)

    @property
    def gates(self) -> Gates:
        """What the policy in force asks of a version before callers get it."""
        return self._gates()

    def kept(self, name: str, version: PromptVersion) -> tuple[PromptVersion, ...]:
        """What must be stored before `production` moves to a version."""
        return self._kept(name, version, PRODUCTION)

    def _drawn(self, running: ExperimentState, asker: Asker) -> Chosen:
        arm, number = arm_of(running, asker.session, asker.principal.id)
        version = self._version(running.name, number)
        return Chosen(compile_prompt(replace(version, label=PRODUCTION)), running.id, arm)

    def _labelled(self, name: str, label: str, known: PromptState) -> PromptVersion:
        number = self._pointed(name, known, label)
        if number is None:
            self.versions(name)
            known_labels = ", ".join(sorted(self.labels(name))) or "none"
            raise NotFound(f"prompt {name} has no label {label}; it has: {known_labels}")
        return replace(self._version(name, number), label=label)

    def _pointed(self, name: str, known: PromptState, label: str) -> int | None:
        """Where a label points. `production` of a prompt that came with the program is on its text until it moves."""
        moved = any(move.label == label for move in known.moves)
        if moved or label != PRODUCTION or name not in shipped_prompts():
            return known.labels.get(label)
        return self._shipped_number(name)

    # --- Changing -------------------------------------------------------------------------------------------------

    def save(self, text: str, author: str, message: str, expected: int | None = None) -> PromptVersion:
        """Store a text as the next version of the prompt that it names; it changes no answer until a label is moved.

        `expected` is the version that the change was made from (0: a new prompt). Raises InvalidInput that names what
        is wrong with the text, PreconditionFailed where somebody else saved meanwhile, Conflict where this text is a
        version already.
        """
        draft = draft_version(text)
        if len(message) > LARGEST // 64:
            raise InvalidInput("the message is too long: say in a sentence what changed")
        return self._store.add(draft.name, draft.template, author, message, expected, self.newest_number(draft.name))

    def submit(self, name: str, number: int, actor: Principal, comment: str = "") -> PromptState:
        """Ask for a version's review. Raises Conflict where it was asked for or given already."""
        version, approvals = self._version(name, number), self._gates().approvals
        return self._change(
            name,
            actor,
            lambda state: [ask_review("prompt", version, state.of(name).standing(number), approvals, comment)],
            (version,),
        )

    def approve(self, name: str, number: int, actor: Principal, comment: str = "") -> PromptState:
        """Approve a version in review. Raises Forbidden for its author and for who submitted it, Conflict where it is
        not in review or was approved by the same person.
        """
        version = self._version(name, number)
        return self._change(
            name,
            actor,
            lambda state: [give_approval("prompt", version, state.of(name).standing(number), actor, comment)],
            (version,),
        )

    def reject(self, name: str, number: int, actor: Principal, reason: str) -> PromptState:
        """Send a version in review back to its author. Raises Conflict where it is not in review."""
        version = self._version(name, number)
        return self._change(
            name,
            actor,
            lambda state: [send_back("prompt", version, state.of(name).standing(number), reason)],
            (version,),
        )

    def comment(self, name: str, number: int, actor: Principal, comment: str) -> PromptState:
        """Say something about a version; 0: about the prompt as a whole."""
        keep = (self._version(name, number),) if number else ()
        return self._change(
            name, actor, lambda _: [Happening(name, number, COMMENTED, "", {}, {"comment": comment})], keep
        )

    def label(self, name: str, number: int, label: str, actor: Principal, comment: str = "") -> PromptState:
        """Put a label on a version, from the next question on. `production`, and labels that rules choose, take only
        versions that passed the gates. Raises InvalidInput, NotFound, Conflict that says what is missing.
        """
        if not _LABEL.fullmatch(label) or label.isdecimal():
            raise InvalidInput(
                "a label is up to 47 lower-case letters, digits, dots and dashes, beginning with a letter"
            )
        version = self._version(name, number)

        def decide(state: LibraryState) -> list[Happening]:
            known = state.of(name)
            if self._pointed(name, known, label) == number:
                raise Conflict(f"label {label} is on version {number} already")
            if label in known.guarded:
                check_guarded(version, known, self._gates())
                _refuse_running(known)
            elif known.retired or known.standing(number).retired:
                raise Conflict(f"version {number} of prompt {name} is retired")
            data = {"sha256": version.sha256, "before": self._pointed(name, known, label) or 0}
            return [Happening(name, number, LABELLED, label, data, {"comment": comment})]

        return self._change(name, actor, decide, self._kept(name, version, label))

    def unlabel(self, name: str, label: str, actor: Principal) -> PromptState:
        """Take a label off. Raises NotFound where it is nowhere, Conflict where rules choose it."""

        def decide(state: LibraryState) -> list[Happening]:
            known = state.of(name)
            if self._pointed(name, known, label) is None:
                raise NotFound(f"prompt {name} has no label {label}")
            if label in known.guarded:
                raise Conflict(f"callers get label {label} without naming it: retire the prompt, or change its rules")
            return [Happening(name, 0, UNLABELLED, label, {"before": known.labels[label]})]

        return self._change(name, actor, decide, ())

    def rollback(self, name: str, actor: Principal, label: str = PRODUCTION, reason: str = "") -> PromptState:
        """Put a label back on the version that it was on before, in one step and without a new approval.

        Raises Conflict where there is none before, or callers would get a version that never passed the gates.
        """
        state = self.state().of(name)
        number = state.before(label)
        if number is None:
            raise Conflict(
                f"label {label} of prompt {name} has no version before this one: there is nothing to go back to"
            )
        version = self._version(name, number)

        def decide(now: LibraryState) -> list[Happening]:
            known = now.of(name)
            if known.moves != state.moves:
                raise Conflict(f"label {label} was moved meanwhile: look again")
            if known.retired or known.standing(number).retired:
                raise Conflict(f"version {number} of prompt {name}, which was before, is retired")
            if label in known.guarded:
                check_guarded(version, known, self._gates())
            data = {"sha256": version.sha256, "before": known.labels.get(label, 0), "rollback": True}
            back = Happening(name, number, LABELLED, label, data, {"comment": reason})
            running = known.running if label == PRODUCTION else None
            return [back] if running is None else [ending(running, STOPPED, "production was rolled back"), back]

        return self._change(name, actor, decide, (version,))

    def retire(self, name: str, number: int, actor: Principal, reason: str = "", *, undo: bool = False) -> PromptState:
        """Take a version out of use for good, or (number 0) the whole prompt; `undo` brings it back.

        Raises Conflict for a version that a label is on.
        """
        keep = (self._version(name, number),) if number else ()
        self.versions(name)

        def decide(state: LibraryState) -> list[Happening]:
            known = state.of(name)
            on = sorted(label for label, at in self.labels(name, known).items() if at == number)
            if number and on and not undo:
                raise Conflict(f"label {on[0]} is on version {number}: move it first")
            _refuse_running(known)
            return [Happening(name, number, RETIRED, "", {"retired": not undo}, {"comment": reason})]

        return self._change(name, actor, decide, keep)

    def set_rules(self, name: str, rules: Sequence[Mapping[str, Any]], actor: Principal) -> PromptState:
        """Declare which label callers get who name none: the first rule that applies, else `production`.

        Raises InvalidInput for a rule that is none, Conflict for a label whose version did not pass the gates.
        """
        checked = check_rules(rules)
        self.versions(name)

        def decide(state: LibraryState) -> list[Happening]:
            known, gates = state.of(name), self._gates()
            for label in sorted({str(rule["label"]) for rule in checked}):
                version = self._labelled(name, label, known)
                check_guarded(version, known, gates)
            return [Happening(name, 0, RULES, "", {"rules": checked})]

        return self._change(name, actor, decide, ())

    def tested(
        self, name: str, number: int, actor: Principal, data: Mapping[str, Any], words: Mapping[str, Any]
    ) -> int:
        """Record a run of a version's cases: `data` has `model`, `passed`, counts; `words` the details. Its entry."""
        events = self._store.write(
            actor.id, lambda _: [Happening(name, number, TESTED, "", data, words)], (self._version(name, number),)
        )
        return events[0].leaf

    def change(self, name: str, actor: str, decide: Decision, keep: Sequence[PromptVersion] = ()) -> PromptState:
        """Append to the journal what `decide` makes of the newest state; the state after it."""
        self._write(actor, decide, keep)
        return self.state().of(name)

    def _change(self, name: str, actor: Principal, decide: Decision, keep: Sequence[PromptVersion]) -> PromptState:
        return self.change(name, actor.id, decide, keep)

    def _kept(self, name: str, version: PromptVersion, label: str) -> tuple[PromptVersion, ...]:
        return self._with_shipped(name, version, moves_first=label == PRODUCTION)


def draft_version(text: str) -> PromptVersion:
    """A text that can be saved, as version 0 of the prompt that it names. Raises InvalidInput that names its fault."""
    text = text.replace("\r\n", "\n")
    header = read_prompt(text).header
    if header.version is not None:
        raise InvalidInput("leave out `version`: the store numbers versions")
    if header.name in RESERVED:
        raise InvalidInput(f"no prompt can be called {header.name}: choose another name")
    draft = PromptVersion(header.name, 0, sha256(text), "", text)
    read_cases(compile_prompt(draft))
    return draft


def no_prompt(name: str) -> NotFound:
    """The error for a prompt that is not there, or not for who asks."""
    return NotFound(f"no prompt {name}; see: vouch prompts list")


def split_reference(reference: str | None) -> tuple[str, str]:
    """Name and label (or number, or nothing) of a reference. Raises NotFound for a name that can be none."""
    name, _, label = (reference or DEFAULT).partition("@")
    if not _NAME.fullmatch(name):
        raise no_prompt(name)
    return name, label


@cache
def shipped_prompts() -> Mapping[str, PromptVersion]:
    """The prompts that come with this version of the program, by name."""
    found = {}
    for path in sorted((Path(__file__).parent / "shipped").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        header = read_prompt(text).header
        if header.name != path.stem or header.version is None:
            raise InvalidInput(f"{path.name} must be named after its prompt and have a version")
        found[header.name] = PromptVersion(header.name, header.version, sha256(text), "", text, PROGRAM)
    return found


def shipped_prompt(name: str = DEFAULT) -> PromptVersion:
    """A prompt that comes with the program, as callers get it where nothing else was released. Raises NotFound."""
    found = shipped_prompts().get(name)
    if found is None:
        raise no_prompt(name)
    return replace(found, label=PRODUCTION)


def _applies(when: Mapping[str, Any], asker: Asker) -> bool:
    groups = asker.principal.groups
    return all(
        (
            "models" not in when or any(fnmatch.fnmatchcase(asker.model, one) for one in when["models"]),
            "groups" not in when or (groups is not None and not groups.isdisjoint(when["groups"])),
            "roles" not in when or asker.principal.role.value in when["roles"],
            "keys" not in when or asker.principal.id in when["keys"],
            "stakes" not in when or asker.stakes in when["stakes"],
        )
    )


def _refuse_running(known: PromptState) -> None:
    if known.running is not None:
        raise Conflict(f"experiment {known.running.id} runs on this prompt: stop or promote it first")
