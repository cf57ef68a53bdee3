"""The library of workflows as people look at it: listings, one workflow and all about it, differences, history.

Everything here reads. Who may write, review or release sees every version (`items`, `show`, …); who only runs them sees
what is live of each workflow, as a card with its inputs (`cards`, `card`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from kernel.errors import NotFound
from kernel.records import WorkflowVersion
from pipeline.histories import Json, about_json, history_of, reference_json
from pipeline.oversight.differences import line_diff
from pipeline.workflows.chooser import recommend
from pipeline.workflows.library import WorkflowLibrary, spec_of
from pipeline.workflows.sections import sections_of
from pipeline.workflows.spec import Workflow
from pipeline.workflows.state import DRAFT, LIVE, RETIRED_STATE, STATES, LibraryState, WorkflowState


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which workflows of a listing: all that is named must fit. Every word of `words` must begin a word of the name,
    title, description, tags, owner or kinds of steps.
    """

    words: str = ""
    tag: str | None = None
    owner: str | None = None
    state: str | None = None
    overdue: bool = False

    def fits(self, item: Json) -> bool:
        """Whether an item of the listing is wanted."""
        return all(
            (
                self.tag is None or self.tag in item["tags"],
                self.owner in (None, item["owner"]),
                self.state is None or self.state in item["states"],
                not self.overdue or item["overdue"],
                not self.words or _mentions(item, self.words),
            )
        )


class WorkflowDesk:
    """Views of a library as JSON values, the same at every door. Safe between threads."""

    def __init__(self, library: WorkflowLibrary) -> None:
        self._library = library

    def items(self, wanted: Wanted | None = None) -> list[Json]:
        """Every workflow that is wanted by the newest version of each, by name."""
        wanted, state, today = wanted or Wanted(), self._library.state(), _today()
        found = (self._item(one, state, today) for one in self._library.newest())
        return [item for item in found if wanted.fits(item)]

    def overdue(self) -> list[Json]:
        """Workflows whose `review_by` is past: of the live version, or of the newest where there is none."""
        return self.items(Wanted(overdue=True))

    def item(self, name: str) -> Json:
        """A workflow as listings show it. Raises NotFound."""
        return self._item(self._library.versions(name)[0], self._library.state(), _today())

    def show(self, name: str) -> Json:
        """A workflow: its newest version with text and outline, and what is in force. Raises NotFound."""
        newest = self._library.versions(name)[0]
        state = self._library.state()
        return self._item(newest, state, _today()) | {
            "text": newest.text,
            "outline": outline_json(spec_of(newest)),
            "standing": self._standing(newest, state.of(name)),
        }

    def versions(self, name: str) -> list[Json]:
        """Every version of a workflow, newest first, with where each stands. Raises NotFound."""
        known = self._library.state().of(name)
        return [self._version_item(one, known) for one in self._library.versions(name)]

    def version_item(self, name: str, number: int) -> Json:
        """One version and where it stands. Raises NotFound."""
        return self._version_item(self._library.find(f"{name}@{number}"), self._library.state().of(name))

    def text(self, name: str, number: int) -> Json:
        """One version as it is for good: nothing of this ever changes. Raises NotFound."""
        version = self._library.find(f"{name}@{number}")
        return about_json(version) | {"text": version.text, "outline": outline_json(spec_of(version))}

    def checked(self, text: str) -> Json:
        """What a text is, if it can be saved, and what it might do better. Raises InvalidInput that names line and
        field of what is wrong.
        """
        found, warnings = self._library.draft(text)
        told = [{"line": one.line, "field": one.field, "message": one.message} for one in warnings]
        return reference_json(found) | {"outline": outline_json(spec_of(found)), "warnings": told}

    def cards(self, wanted: Wanted | None = None) -> list[Json]:
        """What is live, by name, as somebody sees it who runs it."""
        wanted, state = wanted or Wanted(), self._library.state()
        found = ((one, self._item(one, state, _today())) for one in self._library.live())
        seen: Json = {"states": {LIVE: []}}  # where drafts stand is not for them
        return [card_json(one) for one, item in found if wanted.fits(item | seen)]

    def card(self, name: str) -> Json:
        """The live version of a workflow, as somebody sees it who runs it. Raises NotFound, the same for a workflow
        that is not live as for one that is not there.
        """
        known = self._library.state().of(name)
        number = None if known.retired else self._library.labels(name, known).get(LIVE)
        if number is None:
            raise NotFound(f"no workflow {name}")
        return card_json(self._library.find(f"{name}@{number}"))

    def difference(self, one: WorkflowVersion, other: WorkflowVersion) -> Json:
        """How a version became another: by members of the file, and within `steps` by step; only those that differ."""
        old, new = sections_of(one.text), sections_of(other.text)
        sections = [
            {
                "section": name,
                "change": "added" if name not in old else "removed" if name not in new else "changed",
                "lines": line_diff(old.get(name, ""), new.get(name, "")),
            }
            for name in dict.fromkeys((*old, *new))
            if old.get(name) != new.get(name)
        ]
        return {"from": reference_json(one), "to": reference_json(other), "same": not sections, "sections": sections}

    def history(self, name: str) -> list[Json]:
        """Everything that happened to a workflow, newest first. Raises NotFound."""
        return history_of(self._library.versions(name), self._library.events(name))

    def with_words(self, rows: Sequence[Json]) -> list[Json]:
        """Rows of a history with what was said; nothing where it was erased."""
        return [row if row["entry"] is None else row | {"comment": self._comment(row["entry"])} for row in rows]

    def _comment(self, entry: int) -> str:
        return str(self._library.words(entry).get("comment", ""))

    def _item(self, version: WorkflowVersion, state: LibraryState, today: date) -> Json:
        known, spec = state.of(version.name), spec_of(version)
        labels = self._library.labels(version.name, known)
        due = self._due(version, known, labels)
        return about_json(version) | {
            "state": self._library.state_of(version, known),
            "states": self._states(version, known, labels),
            "labels": labels,
            "title": spec.title,
            "description": spec.description,
            "owner": spec.owner,
            "tags": list(spec.tags),
            "stakes": spec.stakes,
            "kinds": sorted({step.kind for step in spec.steps}),
            "paused": known.paused,
            "review_by": due.isoformat() if due else None,
            "overdue": due is not None and due < today and not known.retired,
        }

    def _due(self, newest: WorkflowVersion, known: WorkflowState, labels: Mapping[str, int]) -> date | None:
        live = labels.get(LIVE)
        shown = newest if live is None or known.retired else self._library.find(f"{newest.name}@{live}")
        return spec_of(shown).review_by

    def _states(self, newest: WorkflowVersion, known: WorkflowState, labels: Mapping[str, int]) -> dict[str, list[int]]:
        """Versions by state: the newest, and all that are no drafts any more. A retired workflow has one state."""
        if known.retired:
            return {RETIRED_STATE: [newest.version]}
        found: dict[str, list[int]] = {}
        for number in sorted({newest.version, *known.standings, *labels.values()} - {0}):
            one = LIVE if labels.get(LIVE) == number else known.state_of(number)
            if one != DRAFT or number == newest.version:
                found.setdefault(one, []).append(number)
        return {name: found[name] for name in STATES if name in found}

    def _version_item(self, version: WorkflowVersion, known: WorkflowState) -> Json:
        labels = self._library.labels(version.name, known)
        return about_json(version) | {
            "state": self._library.state_of(version, known),
            "labels": sorted(label for label, number in labels.items() if number == version.version),
            "standing": self._standing(version, known),
        }

    def _standing(self, version: WorkflowVersion, known: WorkflowState) -> Json:
        standing, (green, needed) = known.standing(version.version), self._library.green_runs(version)
        return {
            "submitter": standing.submitter if standing.submitted else None,
            "approvers": list(standing.approvers),
            "approvals_needed": standing.needed if standing.submitted else self._library.gates.approvals,
            "green_runs": green,
            "green_runs_needed": needed,
            "missing": self._library.missing(version, known),
        }


def outline_json(spec: Workflow) -> Json:
    """What a spec says, but for what its steps do exactly."""
    advised = recommend(spec.form) if spec.form is not None else None
    return {
        "title": spec.title,
        "description": spec.description,
        "owner": spec.owner,
        "stakes": spec.stakes,
        "tags": list(spec.tags),
        "review_by": spec.review_by.isoformat() if spec.review_by else None,
        "deadline_seconds": spec.deadline,
        "pilot_runs": spec.pilot_runs,
        "groups": list(spec.run_as.groups),
        "queue": spec.queue.name,
        "recommended": {"pattern": advised.pattern, "reasons": list(advised.reasons)} if advised else None,
        "inputs": spec.inputs,
        "example": spec.example,
        "steps": [
            {"id": step.id, "kind": step.kind, "title": step.title, "needs": list(step.needs)} for step in spec.steps
        ],
    }


def card_json(live: WorkflowVersion) -> Json:
    """What somebody sees of a live workflow who runs it: what it is for, and what it takes."""
    spec = spec_of(live)
    return reference_json(live) | {
        "title": spec.title,
        "description": spec.description,
        "owner": spec.owner,
        "tags": list(spec.tags),
        "stakes": spec.stakes,
        "inputs": spec.inputs,
        "example": spec.example,
    }


def _mentions(item: Json, words: str) -> bool:
    told: list[Any] = [item["name"], item["title"], item["description"], item["owner"], *item["tags"], *item["kinds"]]
    known = " ".join(str(one) for one in told if one).casefold().replace("-", " ").split()
    wanted = words.casefold().replace("-", " ").split()
    return all(any(one.startswith(word) for one in known) for word in wanted)


def _today() -> date:
    return datetime.now(UTC).date()
