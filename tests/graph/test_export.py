"""The exported graph says what the documents say, with what supports it, and no more than may be seen."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import networkx as nx
import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace
from rdflib import RDF, RDFS, Graph, Literal

from graph.export import TERMS, to_graphml, to_networkx, to_turtle
from kernel.records import LOCAL_OWNER, Principal, Role

APP = Principal("key_app", Role.APP, frozenset())


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "new.md").write_text("# Directive 19-02\n\nThis directive supersedes BOD 15-01 for all agencies.\n")
    (folder / "secret.md").write_text(
        "---\ngroups: [board]\n---\n# Merger\n\nProject Heron names Kestrel Corporation.\n"
    )
    with fast_workspace(tmp_path / "home") as workspace:
        workspace.indexer.ingest(InlineParser(), [folder])
        yield workspace


def test_turtle_states_each_relation_with_its_chunk_and_span(made: FastWorkspace) -> None:
    seen = made.entities.graph(made.snapshots.live(), LOCAL_OWNER)
    rdf = Graph().parse(data=to_turtle(seen), format="turtle")
    statements = list(rdf.subjects(RDF.predicate, TERMS.supersedes))
    assert len(statements) == 1
    subject, thing = rdf.value(statements[0], RDF.subject), rdf.value(statements[0], RDF.object)
    assert (subject, TERMS.supersedes, thing) in rdf
    assert rdf.value(thing, RDFS.label) == Literal("bod 15 01")
    chunk_id = str(rdf.value(statements[0], TERMS.statedBy)).rpartition(":")[2]
    stated = next(one for one in seen.relations if one.predicate == "supersedes")
    passage = next(p for p in _passages(made) if p.chunk_id == chunk_id)
    assert "supersedes BOD 15-01" in passage.text[stated.start : stated.end]


def test_networkx_and_graphml_hold_the_same_ties(made: FastWorkspace) -> None:
    seen = made.entities.graph(made.snapshots.live(), LOCAL_OWNER)
    graph = to_networkx(seen)
    assert graph.number_of_edges() == len(set(seen.mentions)) + len(
        {(r.subject, r.predicate, r.object, r.chunk_id) for r in seen.relations}
    )
    back = nx.read_graphml(BytesIO(to_graphml(seen).encode()), force_multigraph=True)
    assert {" ".join(node) for node in graph} == set(back)


def test_what_may_not_be_seen_is_not_exported(made: FastWorkspace) -> None:
    live = made.snapshots.live()
    assert "kestrel" in to_turtle(made.entities.graph(live, LOCAL_OWNER))
    assert "kestrel" not in to_turtle(made.entities.graph(live, APP))


def _passages(made: FastWorkspace) -> list:  # type: ignore[type-arg]
    rows = [row.chunk_id for row in made.corpus.index_rows(0)]
    return [passage for passage, _ in made.corpus.passages(rows).values()]
