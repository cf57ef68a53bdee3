"""The entity graph as others read it: networkx, GraphML, and RDF in Turtle, each tie with what supports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import networkx as nx
from rdflib import RDF, RDFS, XSD, Graph, Literal, Namespace, URIRef

VOUCH = Namespace("urn:vouch:")
TERMS = Namespace("urn:vouch:terms:")


@dataclass(frozen=True, slots=True)
class Stated:
    """A typed relation between two entities, stated at `[start, end)` of a chunk's text."""

    subject: str
    predicate: str
    object: str
    chunk_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class EntityGraph:
    """What a principal sees of the graph: `(chunk id, entity name)` of every mention, and the typed relations."""

    mentions: Sequence[tuple[str, str]]
    relations: Sequence[Stated]


def to_networkx(graph: EntityGraph) -> nx.MultiDiGraph[Any]:
    """Nodes `("chunk", id)` and `("entity", name)`; edges keyed `names`, or by the predicate with its chunk."""
    made: nx.MultiDiGraph[Any] = nx.MultiDiGraph()
    made.add_edges_from((("chunk", chunk), ("entity", name), "names") for chunk, name in graph.mentions)
    for one in graph.relations:
        where = {"chunk_id": one.chunk_id, "start": one.start, "end": one.end}
        made.add_edge(("entity", one.subject), ("entity", one.object), key=f"{one.predicate} {one.chunk_id}", **where)
    return made


def to_graphml(graph: EntityGraph) -> str:
    """GraphML, with nodes named `chunk ID` and `entity NAME`."""
    plain = nx.relabel_nodes(to_networkx(graph), " ".join)
    return "\n".join(nx.generate_graphml(plain)) + "\n"


def to_turtle(graph: EntityGraph) -> str:
    """RDF in Turtle: entities with their labels, the chunks that name them, and each relation with what states it.

    A relation is a direct triple and an `rdf:Statement` that names its chunk and span, so that it can be checked.
    """
    rdf = Graph(bind_namespaces="core")
    rdf.bind("vouch", TERMS)
    for chunk, name in graph.mentions:
        rdf.add((_node("chunk", chunk), TERMS.names, _entity(rdf, name)))
    for one in graph.relations:
        triple = (
            _entity(rdf, one.subject),
            TERMS[quote(one.predicate.replace(" ", "_"), safe="")],
            _entity(rdf, one.object),
        )
        rdf.add(triple)
        statement = _node("statement", one.chunk_id, str(one.start), one.subject, one.predicate, one.object)
        rdf.add((statement, RDF.type, RDF.Statement))
        for predicate, value in zip((RDF.subject, RDF.predicate, RDF.object), triple, strict=True):
            rdf.add((statement, predicate, value))
        rdf.add((statement, TERMS.statedBy, _node("chunk", one.chunk_id)))
        rdf.add((statement, TERMS.start, Literal(one.start, datatype=XSD.integer)))
        rdf.add((statement, TERMS.end, Literal(one.end, datatype=XSD.integer)))
    return rdf.serialize(format="turtle")


def _entity(rdf: Graph, name: str) -> URIRef:
    node = _node("entity", name)
    rdf.add((node, RDF.type, TERMS.NamedThing))
    rdf.add((node, RDFS.label, Literal(name)))
    return node


def _node(kind: str, *names: str) -> URIRef:
    return VOUCH[":".join((kind, *(quote(name, safe="") for name in names)))]
