"""Fixed questions to the graph of lineage, by name and parameters: "all answers last quarter that used X"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graph.names import name_key
from kernel.errors import InvalidInput, NotFound
from kernel.moments import bound_of
from kernel.records import Principal
from kernel.storage.impact import Of, Scope
from kernel.storage.lineage_queries import HOPS, AnswersWanted, LineageQueries
from pipeline.oversight.impact import named
from pipeline.oversight.lineage import LineageReader

Json = dict[str, Any]

PARAMETERS = {
    "answer": "Id of an answer, ans_….",
    "document": "Id of a document, doc_….",
    "revision": "A revision, DOCUMENT:NUMBER.",
    "source": "Name of a source.",
    "entity": "A name that documents use.",
    "prompt": "A prompt, NAME or NAME@VERSION.",
    "policy": "A policy's number or SHA-256.",
    "model": "A model, PROVIDER/NAME.",
    "principal": "Id of a key, key_…, or local.",
    "reviewer": "Id of a reviewer's key, key_…, or local.",
    "snapshot": "Number of a snapshot.",
    "kind": f"A kind of node: {', '.join(HOPS)}.",
    "id": "A node of that kind, by the name that the other parameters take.",
    "since": "ISO 8601 moment from which on (UTC where it names no zone).",
    "until": "ISO 8601 moment before which.",
}
"""What queries take, and how each is written."""
TIME = ("since", "until")


@dataclass(frozen=True, slots=True)
class Query:
    """A fixed query. `lists` is what its items are: answers, or something else by name."""

    name: str
    about: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    lists: str = "answers"


QUERIES = {
    query.name: query
    for query in (
        Query(
            "answers_by_entity_and_prompt",
            "Answers that read of an entity and were made with a prompt.",
            ("entity", "prompt"),
            TIME,
        ),
        Query("answers_by_entity", "Answers whose context named an entity.", ("entity",), TIME),
        Query("answers_by_document", "Answers whose context held a passage of a document.", ("document",), TIME),
        Query("answers_by_revision", "Answers whose context held a passage of a revision.", ("revision",), TIME),
        Query("answers_by_source", "Answers whose context held a passage of a source.", ("source",), TIME),
        Query("answers_by_principal", "Answers to one who asked.", ("principal",), TIME),
        Query("answers_by_prompt", "Answers made with a prompt.", ("prompt",), TIME),
        Query("answers_by_policy", "Answers made under a policy.", ("policy",), TIME),
        Query("answers_by_model", "Answers made by a model.", ("model",), TIME),
        Query("answers_by_snapshot", "Answers asked of a snapshot.", ("snapshot",), TIME),
        Query("answers_approved_by", "Answers that a reviewer let out.", ("reviewer",), TIME),
        Query("stale_answers", "Answers that stood on something withdrawn.", (), ("document", "source", *TIME)),
        Query("reasked_as", "Answers that were asked again for an answer.", ("answer",)),
        Query("approved_by", "Everything that a reviewer approved or edited.", ("reviewer",), (), "approvals"),
        Query("documents_of_answer", "Documents that an answer read.", ("answer",), (), "documents"),
        Query("entities_of_answer", "Names in the passages that an answer read.", ("answer",), (), "nodes"),
        Query("reviews_of_answer", "What was done in reviews of an answer.", ("answer",), (), "events"),
        Query("withdrawn_documents", "Documents that are withdrawn now.", (), (), "documents"),
        Query("neighbours", "One hop from any node of the graph.", ("kind", "id"), (), "nodes"),
    )
}


class QueryDesk:
    """Answers fixed queries, for those who may read every answer."""

    def __init__(self, queries: LineageQueries, lineage: LineageReader) -> None:
        self._queries = queries
        self._lineage = lineage
        self._run: dict[str, Callable[[Mapping[str, str], int, str | None], Json]] = {
            "approved_by": self._approved_by,
            "documents_of_answer": self._documents_of_answer,
            "entities_of_answer": self._entities_of_answer,
            "reviews_of_answer": self._reviews_of_answer,
            "withdrawn_documents": self._withdrawn_documents,
            "neighbours": self._neighbours,
        }

    @staticmethod
    def catalogue() -> list[Json]:
        """Every query with its parameters."""
        return [
            {
                "name": query.name,
                "about": query.about,
                "lists": query.lists,
                "parameters": [
                    {"name": name, "about": PARAMETERS[name], "required": name in query.required}
                    for name in (*query.required, *query.optional)
                ],
            }
            for query in QUERIES.values()
        ]

    def run(self, name: str, given: Mapping[str, str], limit: int, cursor: str | None = None) -> Json:
        """One page: `{"query", "lists", "items", "next_cursor"}`.

        Raises NotFound for an unknown query or thing, InvalidInput for parameters that the query does not take.
        """
        query = _checked(name, given)
        other = self._run.get(name)
        page = other(given, limit, cursor) if other else self._answers(name, given, limit, cursor)
        return {"query": name, "lists": query.lists, **page}

    def export(
        self, name: str, given: Mapping[str, str], limit: int, cursor: str | None, principal: Principal, form: str
    ) -> tuple[str, str | None]:
        """The lineage of a page of answers as one PROV-O graph in `turtle` or `jsonld`, and the cursor of the rest."""
        if _checked(name, given).lists != "answers":
            raise InvalidInput(f"{name} lists no answers: only these have a lineage that can be exported")
        page = self._answers(name, given, limit, cursor)
        text = self._lineage.texts([item["id"] for item in page["items"]], principal, form)
        return text, page["next_cursor"]

    def _answers(self, name: str, given: Mapping[str, str], limit: int, cursor: str | None) -> Json:
        things = {of: given[of.value] for of in Of if of.value in given}
        scopes = tuple(named(Scope(of, thing)) for of, thing in things.items())
        wanted = AnswersWanted(
            scopes,
            principal=given.get("principal"),
            model=given.get("model"),
            policy=given.get("policy"),
            snapshot=_number("snapshot", given["snapshot"]) if "snapshot" in given else None,
            approved_by=given.get("reviewer"),
            reask_of=given.get("answer"),
            stale=name == "stale_answers",
            since=bound_of("since", given.get("since")),
            until=bound_of("until", given.get("until")),
        )
        before = None if cursor is None else _number("cursor", cursor)
        found = [asdict(one) for one in self._queries.answers(wanted, limit + 1, before)]
        return _page(found, limit, lambda last: str(last["index"]))

    def _approved_by(self, given: Mapping[str, str], limit: int, cursor: str | None) -> Json:
        before = None if cursor is None else _number("cursor", cursor)
        found = self._queries.approvals(given["reviewer"], limit + 1, before)
        return _page(found, limit, lambda last: str(last["index"]))

    def _documents_of_answer(self, given: Mapping[str, str], limit: int, cursor: str | None) -> Json:
        found: dict[tuple[str, int], Json] = {}
        for row in self._queries.context_of(self._queries.number(given["answer"])):
            shown = found.setdefault(
                (row["document"], row["number"]),
                {
                    "document_id": row["document"],
                    "external_id": row["external_id"],
                    "revision": row["number"],
                    "title": row["title"],
                    "uri": row["uri"],
                    "source": row["source"],
                    "status": row["status"],
                    "passages": 0,
                    "cited": False,
                },
            )
            shown |= {"passages": shown["passages"] + 1, "cited": shown["cited"] or bool(row["cited"])}
        return _sliced(list(found.values()), limit, cursor)

    def _reviews_of_answer(self, given: Mapping[str, str], limit: int, cursor: str | None) -> Json:
        return _sliced(self._queries.reviews_of(self._queries.number(given["answer"])), limit, cursor)

    def _withdrawn_documents(self, given: Mapping[str, str], limit: int, cursor: str | None) -> Json:
        del given
        found = self._queries.withdrawn(limit + 1, cursor or "")
        return _page(found, limit, lambda last: str(last["document_id"]))

    def _entities_of_answer(self, given: Mapping[str, str], limit: int, cursor: str | None) -> Json:
        return self._hops("answer", given["answer"], limit, cursor, "entity")

    def _neighbours(self, given: Mapping[str, str], limit: int, cursor: str | None) -> Json:
        kind, node = given["kind"], given["id"]
        return self._hops(kind, name_key(node) or node if kind == "entity" else node, limit, cursor, None)

    def _hops(self, kind: str, node: str, limit: int, cursor: str | None, only: str | None) -> Json:
        found = self._queries.neighbours(kind, node, limit + 1, _place(cursor), only)
        items = [asdict(one) | {"place": number} for number, one in found]
        page = _page(items, limit, lambda last: f"{last['place']}:{type(last['key']).__name__[0]}{last['key']}")
        kept = ("relation", "kind", "id", "label")
        return page | {"items": [{name: item[name] for name in kept} for item in page["items"]]}


def _checked(name: str, given: Mapping[str, str]) -> Query:
    query = QUERIES.get(name)
    if query is None:
        raise NotFound(f"no query {name}; `vouch query list` names them")
    missing = [one for one in query.required if not given.get(one)]
    if missing:
        raise InvalidInput(f"{name} needs {missing[0]}: {PARAMETERS[missing[0]]}")
    unknown = sorted(given.keys() - {*query.required, *query.optional})
    if unknown:
        raise InvalidInput(
            f"{name} takes no {unknown[0]}; it takes {', '.join((*query.required, *query.optional)) or 'nothing'}"
        )
    return query


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise InvalidInput(f"{name} must be a number, not {text!r}")
    return int(text)


def _place(cursor: str | None) -> tuple[int, int | str] | None:
    """The relation and key that a cursor of neighbours names: `RELATION:iNUMBER` or `RELATION:sTEXT`."""
    if cursor is None:
        return None
    number, _, key = cursor.partition(":")
    if not number.isdecimal() or len(number) > 2 or key[:1] not in ("i", "s"):
        raise InvalidInput("cursor is not one that this query gave; leave it out to begin at the first page")
    return int(number), _number("cursor", key[1:]) if key[0] == "i" else key[1:]


def _page(items: Sequence[Json], limit: int, cursor_after: Callable[[Json], str]) -> Json:
    shown = list(items[:limit])
    return {"items": shown, "next_cursor": cursor_after(shown[-1]) if len(items) > limit else None}


def _sliced(items: Sequence[Json], limit: int, cursor: str | None) -> Json:
    begin = 0 if cursor is None else _number("cursor", cursor)
    return _page(items[begin : begin + limit + 1], limit, lambda _: str(begin + limit))
