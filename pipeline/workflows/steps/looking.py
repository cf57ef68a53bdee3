"""Steps that look at what is there: `documents` lists documents, `graph` asks one of three things of the names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from graph.names import name_key
from kernel.errors import NotFound
from kernel.records import DocumentInfo, LiveState
from kernel.storage.catalog import Catalog
from kernel.storage.snapshots import Snapshots
from pipeline.workflows.spec import Step, Strict
from pipeline.workflows.steps.asking import COUNT, MAYBE, TEXT
from pipeline.workflows.steps.base import Call, Done, Plain
from pipeline.workflows.steps.pinned import Snapshot, state_at, whole
from retrieval.entities import EntityBrowser

PAGE = 500
MOST_LOOKED_AT = 50_000
"""Documents that one step looks through."""
_Name = Annotated[str, Field(min_length=1, max_length=500)]


class DocumentsWith(Strict):
    """Which documents. `changed_since` is a snapshot's number or an ISO 8601 moment; `text` puts out at most so many
    characters of each (0: none).
    """

    source: _Name | None = None
    name: _Name = "*"
    changed_since: int | str | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    text: Annotated[int, Field(ge=0, le=200_000)] = 20_000
    snapshot: Snapshot = "pinned"


class Documents(Plain):
    """`documents`: those that the run's principal may see whose path or own id matches a pattern such as
    `contracts/*.md`, by source and path.
    """

    name: ClassVar[str] = "documents"
    With: ClassVar[type[Strict]] = DocumentsWith

    def __init__(self, catalog: Catalog, snapshots: Snapshots) -> None:
        self._catalog = catalog
        self._snapshots = snapshots

    def output(self, _step: Step) -> Mapping[str, Any]:
        """The documents; `cut` says that there is more text, `more` that there are more documents."""
        one = {"id": TEXT, "external_id": MAYBE, "title": TEXT, "path": TEXT, "source": TEXT, "uri": TEXT}
        one |= {"revision": COUNT, "change": MAYBE, "text": MAYBE, "cut": {"type": "boolean"}}
        listed = {"type": "array", "items": whole(one)}
        return whole({"documents": listed, "snapshot": COUNT, "more": {"type": "boolean"}})

    def run(self, given: DocumentsWith, call: Call) -> Done:
        """Raises NotFound for a snapshot that is not there, InvalidInput for a moment that is none."""
        state = state_at(self._snapshots, call, given.snapshot)
        before = None if given.changed_since is None else self._revisions(given, call)
        found = [one for one in self._seen(given, call, state.snapshot) if before is None or _change(one, before)]
        found.sort(key=lambda one: (one.source, one.path, one.id))
        shown = [self._shown(one, given.text, before) for one in found[: given.limit]]
        return Done({"documents": shown, "snapshot": state.snapshot, "more": len(found) > given.limit})

    def _revisions(self, given: DocumentsWith, call: Call) -> dict[str, int]:
        number = self._snapshots.resolve(str(given.changed_since))
        return {one.id: one.revision for one in self._seen(given, call, number)}

    def _seen(self, given: DocumentsWith, call: Call, snapshot: int) -> Iterator[DocumentInfo]:
        after = ""
        for _ in range(MOST_LOOKED_AT // PAGE):
            page = self._catalog.documents(
                snapshot, call.principal, limit=PAGE, after=after, status="ok", source_name=given.source
            )
            yield from (one for one in page if _matches(one, given.name))
            if len(page) < PAGE:
                return
            after = page[-1].id

    def _shown(self, one: DocumentInfo, most: int, before: Mapping[str, int] | None) -> dict[str, Any]:
        names = ("id", "external_id", "title", "path", "source", "uri", "revision")
        text = self._catalog.text(one.id, one.revision)[: most + 1] if most else None
        cut = text is not None and len(text) > most
        change = None if before is None else _change(one, before)
        shown = {name: getattr(one, name) for name in names} | {"change": change, "cut": cut}
        return shown | {"text": text if text is None else text[:most]}


def _matches(one: DocumentInfo, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in (one.path, one.external_id or ""))


def _change(one: DocumentInfo, before: Mapping[str, int]) -> str | None:
    if one.id not in before:
        return "added"
    return "changed" if before[one.id] != one.revision else None


class GraphWith(Strict):
    """What is asked of the graph, and of which entities (their name or id). `to` is the other end of a path."""

    query: Literal["neighbours", "path", "documents"]
    entity: _Name
    to: _Name | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 20
    snapshot: Snapshot = "pinned"

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if (self.query == "path") != (self.to is not None):
            raise ValueError("a path has two ends, `entity` and `to`; other queries have `entity` alone")
        return self


class Graph(Plain):
    """`graph`: entities named together with one, a shortest path between two, or the documents that name one; over what
    the run's principal may see. An entity that is not there has none.
    """

    name: ClassVar[str] = "graph"
    With: ClassVar[type[Strict]] = GraphWith

    def __init__(self, entities: Callable[[], EntityBrowser], snapshots: Snapshots) -> None:
        self._entities = entities
        self._snapshots = snapshots

    def output(self, step: Step) -> Mapping[str, Any]:
        """`entity` is null where nobody names it; `items` are what was found, in order."""
        entity = whole({"id": TEXT, "name": TEXT, "passages": COUNT})
        chunks = {"chunks": {"type": "array", "items": TEXT}}
        items: Mapping[str, Mapping[str, Any]] = {
            "neighbours": whole({"id": TEXT, "name": TEXT, "passages": COUNT, "together": COUNT} | chunks),
            "documents": whole({"document_id": TEXT, "external_id": MAYBE, "title": TEXT, "passages": COUNT} | chunks),
        }
        listed = {"type": "array", "items": items.get(str(step.with_.get("query")), {})}
        return whole({"entity": {"anyOf": [entity, {"type": "null"}]}, "items": listed})

    def run(self, given: GraphWith, call: Call) -> Done:
        """What was asked for; nothing where an end is not there, or no path is short enough."""
        browser, state = self._entities(), state_at(self._snapshots, call, given.snapshot)
        entity = self._found(browser, given.entity, state, call)
        if entity is None:
            return Done({"entity": None, "items": []})
        return Done({"entity": entity, "items": self._items(browser, entity["id"], given, state, call)})

    def _items(
        self, browser: EntityBrowser, entity: str, given: GraphWith, state: LiveState, call: Call
    ) -> list[dict[str, Any]]:
        if given.query == "neighbours":
            return browser.neighbours(entity, state, call.principal, given.limit)
        if given.query == "documents":
            return browser.documents(entity, state, call.principal, given.limit)
        end = self._found(browser, str(given.to), state, call)
        try:
            return browser.path(entity, end["id"], state, call.principal) if end is not None else []
        except NotFound:
            return []

    @staticmethod
    def _found(browser: EntityBrowser, name: str, state: LiveState, call: Call) -> dict[str, Any] | None:
        if name.startswith("ent_"):
            try:
                found = browser.get(name, state, call.principal)
            except NotFound:
                return None
            return {one: found[one] for one in ("id", "name", "passages")}
        key = name_key(name)
        items = browser.items(state, call.principal, prefix=key, limit=1)
        return items[0] if items and items[0]["name"] == key else None
