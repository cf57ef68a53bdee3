"""The library as people look at it: listings, one prompt with all that concerns it, differences, its history.

Everything here reads. Who may write, run or review sees every version (`items`, `show`, …); who only asks sees what is
live of each prompt, as a card without its text (`cards`, `card`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from kernel.errors import InvalidInput
from kernel.records import Evidence, PromptVersion
from pipeline.histories import about_json, history_of, reference_json
from pipeline.prompts.anatomy import section_texts
from pipeline.prompts.gates import Gates, missing_now
from pipeline.prompts.library import PromptLibrary, no_prompt
from pipeline.prompts.rendering import compile_prompt, render, rendered_sections
from pipeline.prompts.state import DRAFT, LIVE, PRODUCTION, LibraryState, PromptState
from pipeline.prompts.views import Json, anatomy_json, anatomy_of, card_json, section_diff

STATES = ("draft", "in_review", "approved", "live", "retired")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which prompts of a listing: all that is named must fit. A folder stands for what is below it too."""

    kind: str | None = None
    tag: str | None = None
    folder: str | None = None
    owner: str | None = None
    state: str | None = None
    overdue: bool = False

    def fits(self, item: Json) -> bool:
        """Whether an item of the listing is wanted."""
        folder = item["folder"] or ""
        return all(
            (
                self.kind in (None, item["kind"]),
                self.tag is None or self.tag in item["tags"],
                self.folder is None or f"{folder}/".startswith(f"{self.folder.rstrip('/')}/"),
                self.owner in (None, item["owner"]),
                self.state is None or self.state in item["states"],
                not self.overdue or item["overdue"],
            )
        )


class PromptDesk:
    """Views of a library as JSON values, the same at every door. Safe between threads."""

    def __init__(self, library: PromptLibrary, gates: Callable[[], Gates] = Gates) -> None:
        self._library = library
        self._gates = gates

    def items(self, wanted: Wanted | None = None) -> list[Json]:
        """Every prompt that is wanted by the newest version of each, by name."""
        wanted, state, today = wanted or Wanted(), self._library.state(), _today()
        found = (self._item(one, state, today) for one in self._library.newest())
        return [item for item in found if wanted.fits(item)]

    def overdue(self) -> list[Json]:
        """Prompts whose `review_by` is past: of the version in production, or of the newest where there is none."""
        return self.items(Wanted(overdue=True))

    def show(self, name: str) -> Json:
        """A prompt: its newest version with text and anatomy, and what is in force. Raises NotFound."""
        newest = self._library.versions(name)[0]
        state = self._library.state()
        known = state.of(name)
        return self._item(newest, state, _today()) | {
            "message": newest.message,
            "text": newest.template,
            "anatomy": anatomy_json(anatomy_of(newest)),
            "standing": self._standing(newest, known, self._gates()),
            "rules": [dict(rule) for rule in known.rules],
            "experiment": known.running.id if known.running else None,
        }

    def item(self, name: str) -> Json:
        """A prompt as listings show it. Raises NotFound."""
        return self._item(self._library.versions(name)[0], self._library.state(), _today())

    def versions(self, name: str) -> list[Json]:
        """Every version of a prompt, newest first, with where each stands. Raises NotFound."""
        known, gates = self._library.state().of(name), self._gates()
        return [self._version_item(one, known, gates) for one in self._library.versions(name)]

    def version_item(self, name: str, number: int) -> Json:
        """One version and where it stands. Raises NotFound."""
        version = self._library.find(f"{name}@{number}")
        return self._version_item(version, self._library.state().of(name), self._gates())

    def text(self, name: str, number: int) -> Json:
        """One version as it is for good: nothing of this ever changes. Raises NotFound."""
        version = self._library.find(f"{name}@{number}")
        return about_json(version) | {"text": version.template, "anatomy": anatomy_json(anatomy_of(version))}

    def cards(self, wanted: Wanted | None = None) -> list[Json]:
        """What is live, by name, as somebody sees it who only asks."""
        wanted, state = wanted or Wanted(), self._library.state()
        shown = []
        for one in self._library.newest():
            live = self._live(one.name, state.of(one.name))
            if live is None:
                continue
            seen = {"states": {LIVE: [live.version]}}  # where drafts stand is not for them
            if wanted.fits(self._item(live, state, _today()) | seen):
                shown.append(card_json(live))
        return shown

    def card(self, name: str) -> Json:
        """The live version of a prompt, as somebody sees it who only asks. Raises NotFound, the same for a prompt that
        is not live as for one that is not there.
        """
        live = self._live(name, self._library.state().of(name))
        if live is None:
            raise no_prompt(name)
        return card_json(live)

    def difference(self, one: PromptVersion, other: PromptVersion) -> Json:
        """How a version became another, section by section; only sections that differ are named."""
        old, new = dict(section_texts(one.template)), dict(section_texts(other.template))
        sections = [
            {
                "section": name,
                "change": "added" if name not in old else "removed" if name not in new else "changed",
                "lines": section_diff(name, old.get(name, ""), new.get(name, "")),
            }
            for name in dict.fromkeys((*old, *new))
            if old.get(name) != new.get(name)
        ]
        return {"from": reference_json(one), "to": reference_json(other), "same": not sections, "sections": sections}

    def rendered(
        self, version: PromptVersion, question: str, evidence: Evidence, inputs: Mapping[str, Any] | None = None
    ) -> Json:
        """What each section renders to, with data between its tags, and the messages that a model gets.

        Raises InvalidInput for inputs that do not fit.
        """
        compiled = compile_prompt(version)
        if question and not compiled.anatomy.grounded:
            raise InvalidInput(f"prompt {version.name} answers from its inputs alone: it takes no question")
        sections = rendered_sections(compiled, question, evidence, inputs)
        messages = render(compiled, question, evidence, inputs)
        return reference_json(version) | {
            "inputs": compiled.checked(inputs or {}),
            "sections": [{"section": name, "text": text} for name, text in sections.items()],
            "messages": [{"role": one.role, "content": one.content} for one in messages],
        }

    def history(self, name: str) -> list[Json]:
        """Everything that happened to a prompt, newest first: what, when and by whom (empty where that was erased);
        `with_words` adds what they said. Raises NotFound.
        """
        return history_of(self._library.versions(name), self._library.events(name))

    def with_words(self, rows: Sequence[Json]) -> list[Json]:
        """Rows of a history with what was said; nothing where it was erased."""
        return [row if row["entry"] is None else row | {"comment": self._comment(row["entry"])} for row in rows]

    def _comment(self, entry: int) -> str:
        return str(self._library.words(entry).get("comment", ""))

    def rules(self, name: str) -> list[Json]:
        """Which label callers get who name none. Raises NotFound."""
        self._library.versions(name)
        return [dict(rule) for rule in self._library.state().of(name).rules]

    def _live(self, name: str, known: PromptState) -> PromptVersion | None:
        number = self._library.labels(name, known).get(PRODUCTION)
        return None if number is None or known.retired else self._library.find(f"{name}@{number}")

    def _item(self, version: PromptVersion, state: LibraryState, today: date) -> Json:
        known = state.of(version.name)
        labels = self._library.labels(version.name, known)
        header = anatomy_of(version).header
        live = self._live(version.name, known)
        due = (header if live is None else anatomy_of(live).header).review_by
        states = self._states(version, known, labels)
        return about_json(version) | {
            "state": self._library.state_of(version, known),
            "states": states,
            "labels": labels,
            "kind": header.kind,
            "grounded": anatomy_of(version).grounded,
            "description": header.description,
            "owner": header.owner,
            "folder": header.folder,
            "tags": list(header.tags),
            "review_by": due.isoformat() if due else None,
            "overdue": due is not None and due < today and "retired" not in states,
        }

    def _states(self, newest: PromptVersion, known: PromptState, labels: Mapping[str, int]) -> dict[str, list[int]]:
        """Versions by state: the newest, and all that are no drafts any more. A retired prompt has one state."""
        state = self._library.state_of(newest, known)
        if known.retired:
            return {state: [newest.version]}
        found: dict[str, list[int]] = {state: [newest.version]}
        for number in sorted({*known.standings, *labels.values()} - {newest.version, 0}):
            one = LIVE if labels.get(PRODUCTION) == number else known.state_of(number)
            if one != DRAFT:
                found.setdefault(one, []).append(number)
        return {name: sorted(found[name]) for name in STATES if name in found}

    def _version_item(self, version: PromptVersion, known: PromptState, gates: Gates) -> Json:
        labels = self._library.labels(version.name, known)
        return about_json(version) | {
            "state": self._library.state_of(version, known),
            "labels": sorted(label for label, number in labels.items() if number == version.version),
            "standing": self._standing(version, known, gates),
        }

    def _standing(self, version: PromptVersion, known: PromptState, gates: Gates) -> Json:
        standing = known.standing(version.version)
        live = self._library.state_of(version, known) == LIVE
        return {
            "submitter": standing.submitter if standing.submitted else None,
            "approvers": list(standing.approvers),
            "approvals_needed": standing.needed if standing.submitted else gates.approvals,
            "tests": [
                dict(outcome.data) | {"entry": outcome.leaf, "created_at": outcome.created_at}
                for outcome in standing.tests.values()
            ],
            "missing": [] if live else missing_now(version, known, gates),
        }


def _today() -> date:
    return datetime.now(UTC).date()
