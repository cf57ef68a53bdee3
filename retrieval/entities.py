"""Looking at the graph: entities, what they are tied to, and the shortest path between two of them.

Everything is counted over one view, so a reader sees only what visible chunks name and state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np

from graph.export import EntityGraph, Stated
from graph.names import name_key
from kernel.errors import InvalidInput, NotFound
from kernel.records import LiveState, Passage, Principal
from kernel.storage.corpus import Corpus
from retrieval.library import Library
from retrieval.standing import aliases
from retrieval.view import View

SUPPORTING = 5
"""Supporting chunks that are listed of each tie."""
MOST_LINKS = 400
"""Chunks of one entity that neighbours and paths look through."""


class EntityBrowser:
    """Reads the entity graph as a principal sees it in a snapshot."""

    def __init__(self, library: Library, corpus: Corpus) -> None:
        self._library = library
        self._corpus = corpus

    def items(
        self, state: LiveState, principal: Principal, *, prefix: str = "", limit: int = 50, after: str = ""
    ) -> list[dict[str, Any]]:
        """Entities whose name begins with `prefix`, by name after `after`: `{"id", "name", "passages"}`."""
        view, _ = self._library.view(state, principal)
        named = ((view.index.name(node), node) for node in np.flatnonzero(view.links.degree > 0).tolist())
        chosen = sorted(pair for pair in named if pair[0].startswith(prefix.casefold()) and pair[0] > after)
        return [_entity(view, node) for _, node in chosen[:limit]]

    def get(self, entity_id: str, state: LiveState, principal: Principal) -> dict[str, Any]:
        """One entity with its aliases, typed relations and the chunks that name it. Raises NotFound."""
        view, _ = self._library.view(state, principal)
        node = _node(view, entity_id)
        chunks = _chunks_of(view, node)
        ids = self._ids(view, chunks[: 4 * SUPPORTING])
        relations = [self._relation(view, edge) for edge in _edges(view, node)]
        return _entity(view, node) | {
            "aliases": [_entity(view, other) for other in aliases(view, node)],
            "relations": relations,
            "chunks": [ids[place] for place in chunks[: 4 * SUPPORTING]],
        }

    def neighbours(
        self, entity_id: str, state: LiveState, principal: Principal, limit: int = 50
    ) -> list[dict[str, Any]]:
        """Entities named in the same passages, the rarest ties first, with the chunks that support each."""
        view, _ = self._library.view(state, principal)
        node = _node(view, entity_id)
        together: dict[int, list[int]] = {}
        for place in _chunks_of(view, node)[:MOST_LINKS]:
            for other in _entities_of(view, place):
                if other != node:
                    together.setdefault(other, []).append(place)
        strength = {other: len(places) * float(view.links.weight[other]) for other, places in together.items()}
        best = sorted(together, key=lambda other: (-strength[other], view.index.name(other)))[:limit]
        ids = self._ids(view, [place for other in best for place in together[other][:SUPPORTING]])
        return [
            _entity(view, other)
            | {
                "strength": round(strength[other], 4),
                "together": len(together[other]),
                "chunks": [ids[place] for place in together[other][:SUPPORTING]],
            }
            for other in best
        ]

    def path(self, start: str, end: str, state: LiveState, principal: Principal) -> list[dict[str, Any]]:
        """A shortest path between two entities: entities, with the chunks that tie them in between. Raises NotFound."""
        view, _ = self._library.view(state, principal)
        one, other = _node(view, start), _node(view, end)
        graph = _around(view, (one, other))
        try:
            nodes = nx.shortest_path(graph, ("entity", one), ("entity", other))
        except nx.NetworkXNoPath as error:
            raise NotFound("no path between these entities within two passages of each") from error
        ids = self._ids(view, [number for kind, number in nodes if kind == "chunk"])
        return [
            {"entity": _entity(view, number)}
            if kind == "entity"
            else {"relation": "named together", "chunk_id": ids[number]}
            for kind, number in nodes
        ]

    def documents(
        self, entity_id: str, state: LiveState, principal: Principal, limit: int = 50
    ) -> list[dict[str, Any]]:
        """Documents whose passages name an entity, those first that name it in most, with these passages."""
        view, _ = self._library.view(state, principal)
        rows = view.index.chunk_id[_chunks_of(view, _node(view, entity_id))[:MOST_LINKS]].tolist()
        passages = [passage for _, (passage, _) in sorted(self._corpus.passages(rows).items())]
        held: dict[str, list[Passage]] = {}
        for passage in passages:
            held.setdefault(passage.document_id, []).append(passage)
        best = sorted(held.values(), key=lambda mine: (-len(mine), mine[0].title, mine[0].document_id))[:limit]
        return [
            {
                "document_id": mine[0].document_id,
                "external_id": mine[0].external_id,
                "title": mine[0].title,
                "passages": len(mine),
                "chunks": [one.chunk_id for one in mine[:SUPPORTING]],
            }
            for mine in best
        ]

    def named(self, name: str, state: LiveState, principal: Principal) -> str:
        """The id of the entity that a name or an id means. Raises NotFound."""
        view, _ = self._library.view(state, principal)
        node = view.index.entity(name_key(name))
        if node is None or (view.links.degree[node] == 0 and not len(_edges(view, node))):
            return entity_id(view, _node(view, name)) if name.startswith("ent_") else _nobody(name)
        return entity_id(view, node)

    def graph(self, state: LiveState, principal: Principal) -> EntityGraph:
        """The whole visible graph, for export."""
        view, _ = self._library.view(state, principal)
        index = view.index
        mentions = [
            (index.chunk_name(place), index.name(node))
            for place in np.flatnonzero(view.mask).tolist()
            for node in _entities_of(view, place)
        ]
        relations = [
            Stated(index.name(s), index.name(p), index.name(o), index.chunk_name(place), start, end)
            for place, s, p, o, start, end in view.edges.tolist()
        ]
        return EntityGraph(sorted(mentions), sorted(relations, key=lambda one: (one.chunk_id, one.start, one.subject)))

    def _relation(self, view: View, edge: Sequence[int]) -> dict[str, Any]:
        place, subject, predicate, thing, start, end = edge
        return {
            "subject": _entity(view, subject),
            "predicate": view.index.name(predicate),
            "object": _entity(view, thing),
            "chunk_id": self._ids(view, [place])[place],
            "start": start,
            "end": end,
        }

    def _ids(self, view: View, places: Sequence[int]) -> Mapping[int, str]:
        rows = {place: int(view.index.chunk_id[place]) for place in places}
        found = self._corpus.public_ids(sorted(set(rows.values())))
        return {place: found[row] for place, row in rows.items()}


def entity_id(view: View, node: int) -> str:
    """The public id of an entity: it follows from its name alone."""
    return f"ent_{int(view.index.entity_key[node]):016x}"


def _entity(view: View, node: int) -> dict[str, Any]:
    return {"id": entity_id(view, node), "name": view.index.name(node), "passages": int(view.links.degree[node])}


def _node(view: View, public_id: str) -> int:
    try:
        value = int(public_id.removeprefix("ent_"), 16)
    except ValueError as error:
        raise InvalidInput(f"{public_id!r} is not an entity id; they begin with ent_") from error
    node = view.index.number(value) if 0 <= value < 2**64 else None
    if node is None or (view.links.degree[node] == 0 and not len(_edges(view, node))):
        raise NotFound(f"no entity {public_id}")
    return node


def _nobody(name: str) -> str:
    raise NotFound(f"no entity named {name!r}")


def _edges(view: View, node: int) -> list[list[int]]:
    edges: list[list[int]] = view.edges_of(node)[:MOST_LINKS].tolist()
    return edges


def _chunks_of(view: View, node: int) -> list[int]:
    places: list[int] = view.links.passages_of(np.array([node]))[1].tolist()
    return places


def _entities_of(view: View, place: int) -> list[int]:
    nodes: list[int] = view.links.entities_in(np.array([place]))[1].tolist()
    return nodes


def _around(view: View, ends: Sequence[int]) -> nx.Graph[Any]:
    """The graph within two passages of each end."""
    graph: nx.Graph[Any] = nx.Graph()
    for end in ends:
        reached = {end}
        for _ in range(2):
            places = {place for node in reached for place in _chunks_of(view, node)[:MOST_LINKS]}
            edges = [
                (("chunk", place), ("entity", node)) for place in sorted(places) for node in _entities_of(view, place)
            ]
            graph.add_edges_from(edges)
            reached = {node for _, (_, node) in edges if view.links.degree[node] <= MOST_LINKS}
    return graph
