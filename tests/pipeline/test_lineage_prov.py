"""The lineage of a real answer as PROV-O: other programs read it, it holds to its shapes, and every break shows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from handbook import handbook
from prov.model import ProvDocument
from pyshacl import validate
from rdflib import PROV, RDF, Graph, Literal, Namespace, URIRef
from rdflib.compare import isomorphic

from graph.provenance import lineage_graph
from kernel.errors import InvalidInput, NotFound
from kernel.ids import sha256
from kernel.records import LOCAL_OWNER, Principal, Question, Role

TERMS = Namespace("urn:vouch:terms:")
SHAPES = Path(__file__).parent / "lineage_shapes.ttl"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # rdflib's and prov's own use of rdflib
QUESTION = 'How many weeks of parental leave may an employee take, say "the rules"?'


@pytest.fixture(scope="module")
def forms(models: Path) -> Iterator[dict[str, Any]]:
    """The lineage of one answer in every form, and the answer."""
    with handbook(models) as made:
        answer = made.answering.ask(Question(QUESTION))
        assert answer["citations"]
        texts = {form: made.lineage.text(answer["id"], LOCAL_OWNER, form) for form in ("turtle", "jsonld", "dot")}
        with pytest.raises(InvalidInput, match="turtle"):
            made.lineage.text(answer["id"], LOCAL_OWNER, "yaml")
        with pytest.raises(NotFound):
            made.lineage.text(answer["id"], Principal("key_other", Role.APP), "turtle")
        yield texts | {"json": made.lineage.lineage(answer["id"], LOCAL_OWNER), "answer": answer}


def graph_of(forms: dict[str, Any]) -> Graph:
    return Graph().parse(data=forms["turtle"], format="turtle")


def conforms(graph: Graph) -> bool:
    return bool(validate(graph, shacl_graph=Graph().parse(SHAPES, format="turtle"), inference="none")[0])


def test_turtle_and_json_ld_say_the_same(forms: dict[str, Any]) -> None:
    other = Graph().parse(data=forms["jsonld"], format="json-ld")
    assert isomorphic(graph_of(forms), other)
    assert isomorphic(graph_of(forms), lineage_graph(forms["json"]))


def test_json_ld_needs_nothing_from_elsewhere(forms: dict[str, Any]) -> None:
    """Its context is written into it, and reading it opens no connection and looks up no name."""
    tried: list[str] = []
    listening = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
            tried.append(f"{event} {arguments}")

    sys.addaudithook(note)
    Graph().parse(data=forms["jsonld"], format="json-ld")
    listening = False
    assert tried == []
    assert isinstance(json.loads(forms["jsonld"])["@context"], dict)


def test_prov_itself_reads_it(forms: dict[str, Any]) -> None:
    document = ProvDocument.deserialize(content=forms["turtle"], format="rdf", rdf_format="turtle")
    text = document.get_provn()
    for relation in ("wasGeneratedBy(", "used(", "wasDerivedFrom(", "specializationOf(", "wasAssociatedWith("):
        assert relation in text


def test_plans_and_reviews_are_read_and_hold_to_the_shapes(forms: dict[str, Any]) -> None:
    """Prompt and policy are plans of associations of their own; a review's steps are activities of people."""
    step = {"review_id": "rev_1", "index": 7, "actor": "key_r", "created_at": forms["json"]["answer"]["created_at"]}
    more = {"policy": {"sha256": "f" * 64, "version": 2}, "reviews": [step | {"kind": "approved"}]}
    graph = lineage_graph(forms["json"] | more)
    assert conforms(graph)
    assert len(set(graph.objects(None, PROV.hadPlan))) == 2
    text = graph.serialize(format="turtle")
    provn = ProvDocument.deserialize(content=text, format="rdf", rdf_format="turtle").get_provn()
    assert provn.count("wasAssociatedWith(") >= 4
    assert "wasInformedBy(" in provn
    assert "wasInfluencedBy(" in provn


def test_it_holds_to_its_shapes(forms: dict[str, Any]) -> None:
    report = validate(graph_of(forms), shacl_graph=Graph().parse(SHAPES, format="turtle"))
    assert report[0], report[2]


@pytest.mark.parametrize(
    ("kind", "predicate"),
    [
        (TERMS.Answer, PROV.wasGeneratedBy),
        (TERMS.Answer, TERMS.leafSha256),
        (TERMS.Answer, PROV.qualifiedDerivation),
        (PROV.Activity, PROV.used),
        (PROV.Activity, PROV.wasAssociatedWith),
        (PROV.Quotation, TERMS.quoteSha256),
        (PROV.Quotation, PROV.entity),
        (TERMS.Chunk, PROV.wasDerivedFrom),
        (TERMS.Revision, PROV.specializationOf),
        (TERMS.Revision, TERMS.textSha256),
        (TERMS.Document, PROV.wasDerivedFrom),
        (TERMS.Source, RDF.type),
        (TERMS.Prompt, TERMS.sha256),
    ],
)
def test_each_missing_link_is_noticed(forms: dict[str, Any], kind: URIRef, predicate: URIRef) -> None:
    graph = graph_of(forms)
    broken = list(graph.subjects(RDF.type, kind))
    assert broken
    for node in broken:
        graph.remove((node, predicate, None))
    assert not conforms(graph)


def test_a_quote_that_ends_before_it_begins_is_noticed(forms: dict[str, Any]) -> None:
    graph = graph_of(forms)
    node = next(graph.subjects(RDF.type, PROV.Quotation))
    graph.set((node, TERMS.end, Literal(-1)))
    assert not conforms(graph)


def test_the_chain_is_the_answers_own(forms: dict[str, Any]) -> None:
    """Hashes and spans in the lineage are those of the answer that was given."""
    answer, lineage = forms["answer"], forms["json"]
    assert lineage["answer"]["leaf_sha256"] == answer["ledger"]["leaf_sha256"]
    quotes = [quote for item in lineage["context"] for quote in item["quotes"]]
    kept = ("id", "start", "end", "quote", "quote_sha256", "page")
    assert sorted(quotes, key=str) == sorted(({k: c[k] for k in kept} for c in answer["citations"]), key=str)
    assert all(sha256(quote["quote"]) == quote["quote_sha256"] for quote in quotes)
    assert {item["chunk_id"] for item in lineage["context"] if item["cited"]} == {
        citation["chunk_id"] for citation in answer["citations"]
    }
    assert len(lineage["context"]) == answer["retrieval"]["used"]


def test_dot_draws_every_chunk_once(forms: dict[str, Any]) -> None:
    dot = forms["dot"]
    assert dot.startswith("digraph lineage {")
    assert dot.rstrip().endswith("}")
    lines = [line for line in dot.splitlines() if "->" in line]
    assert len(lines) == len(set(lines))
    for item in forms["json"]["context"]:
        assert item["chunk_id"] in dot
