"""An answer's lineage as PROV-O (W3C), built on request with rdflib from the relational record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from rdflib import PROV, RDF, RDFS, XSD, BNode, Graph, Literal, Namespace, URIRef

VOUCH = Namespace("urn:vouch:")
TERMS = Namespace("urn:vouch:terms:")
Lineage = Mapping[str, Any]


def lineage_graph(*lineages: Lineage) -> Graph:
    """From sources through revisions and chunks to each answer, as PROV entities, activities, agents and plans.

    What several answers share, such as a document, a person or a prompt, is one node.
    """
    graph = Graph(bind_namespaces="core")
    graph.bind("prov", PROV)
    graph.bind("vouch", TERMS)
    for lineage in lineages:
        _add(graph, lineage)
    return graph


def _add(graph: Graph, lineage: Lineage) -> None:
    answer = _node("answer", lineage["answer"]["id"])
    run = _node("run", lineage["answer"]["id"])
    _entity(graph, answer, "Answer", lineage["answer"]["question"])
    _moment(graph, answer, PROV.generatedAtTime, lineage["answer"]["created_at"])
    graph.add((answer, TERMS.status, Literal(lineage["answer"]["status"])))
    graph.add((answer, TERMS.leafSha256, Literal(lineage["answer"]["leaf_sha256"])))
    graph.add((answer, PROV.wasGeneratedBy, run))
    graph.add((run, RDF.type, PROV.Activity))
    _moment(graph, run, PROV.endedAtTime, lineage["answer"]["created_at"])
    _agents(graph, run, lineage)
    _prompt(graph, run, lineage)
    _plans(graph, run, lineage)
    for event in lineage.get("reviews", ()):
        _review(graph, answer, run, event)
    for item in lineage["context"]:
        _passage(graph, answer, run, item)


def serialise(lineages: Iterable[Lineage], form: str) -> str:
    """The lineage of answers in `turtle` or `json-ld`."""
    graph = lineage_graph(*lineages)
    if form == "json-ld":
        return graph.serialize(format="json-ld", context={"prov": str(PROV), "vouch": str(TERMS)}, sort_keys=True)
    return graph.serialize(format="turtle")


def to_dot(lineage: Lineage) -> str:
    """The lineage as a Graphviz graph, source at the left and answer at the right."""
    lines = ["digraph lineage {", "  rankdir=LR;", "  node [shape=box, fontsize=10];"]
    answer = f"answer\n{lineage['answer']['id']}"
    prompt = f"prompt {lineage['prompt']['name']} v{lineage['prompt']['version']}"
    model = f"model {lineage['model']['provider']} {lineage['model']['name']}"
    edges = [(prompt, answer), (model, answer)]
    for item in lineage["context"]:
        chunk = f"chunk {item['start']}-{item['end']}\n{item['chunk_id']}" + ("" if item["cited"] else "\n(not cited)")
        chunk = chunk if item["chunk_id"] is not None else f"erased\n{item['document_id']}:{item['revision']}"
        revision = f"{item['title']}\nrevision {item['revision']}"
        document = f"document\n{item['document_id']}"
        edges += [(f"source\n{item['source']}", document), (document, revision), (revision, chunk), (chunk, answer)]
    lines += [f"  {json.dumps(start)} -> {json.dumps(end)};" for start, end in dict.fromkeys(edges)]
    return "\n".join([*lines, "}"]) + "\n"


def _agents(graph: Graph, run: URIRef, lineage: Lineage) -> None:
    model = _node("model", lineage["model"]["provider"], lineage["model"]["name"])
    graph.add((model, RDF.type, PROV.Agent))
    graph.add((model, RDF.type, PROV.SoftwareAgent))
    graph.add((model, RDFS.label, Literal(lineage["model"]["name"])))
    graph.add((run, PROV.wasAssociatedWith, model))
    if not lineage["principal"]["id"]:  # erased
        return
    person = _node("principal", lineage["principal"]["id"])
    graph.add((person, RDF.type, PROV.Agent))
    if lineage["principal"].get("role"):
        graph.add((person, TERMS.role, Literal(lineage["principal"]["role"])))
    graph.add((run, PROV.wasAssociatedWith, person))
    graph.add((model, PROV.actedOnBehalfOf, person))


def _prompt(graph: Graph, run: URIRef, lineage: Lineage) -> None:
    prompt = _node("prompt", lineage["prompt"]["name"], str(lineage["prompt"]["version"]))
    _entity(graph, prompt, "Prompt", f"{lineage['prompt']['name']} version {lineage['prompt']['version']}")
    graph.add((prompt, TERMS.sha256, Literal(lineage["prompt"]["sha256"])))
    graph.add((run, PROV.used, prompt))
    snapshot = _node("snapshot", str(lineage["snapshot"]))
    _entity(graph, snapshot, "Snapshot", f"snapshot {lineage['snapshot']}")
    graph.add((run, PROV.used, snapshot))


def _plans(graph: Graph, run: URIRef, lineage: Lineage) -> None:
    """The prompt that the model followed, and the policy in force, as plans of its associations with the run."""
    model = _node("model", lineage["model"]["provider"], lineage["model"]["name"])
    plans = [_node("prompt", lineage["prompt"]["name"], str(lineage["prompt"]["version"]))]
    policy = lineage.get("policy") or {}
    if policy.get("sha256"):
        plan = _node("policy", policy["sha256"])
        _entity(graph, plan, "Policy", f"policy version {policy.get('version', '')}".rstrip())
        graph.add((plan, TERMS.sha256, Literal(policy["sha256"])))
        plans.append(plan)
    for number, plan in enumerate(plans):  # an association has one plan at most
        association = _association(graph, run, model, f"plan{number}{lineage['answer']['id']}")
        graph.add((association, PROV.hadPlan, plan))
        graph.add((plan, RDF.type, PROV.Plan))
    if lineage["principal"]["id"]:
        _association(graph, run, _node("principal", lineage["principal"]["id"]), f"asker{lineage['answer']['id']}")


def _association(graph: Graph, run: URIRef, agent: URIRef, name: str) -> BNode:
    """An agent's part in a run, as a node; each agent has one, since readers take those that have none for others."""
    association = BNode(value=name)
    graph.add((run, PROV.qualifiedAssociation, association))
    graph.add((association, RDF.type, PROV.Association))
    graph.add((association, PROV.agent, agent))
    return association


def _review(graph: Graph, answer: URIRef, run: URIRef, event: Mapping[str, Any]) -> None:
    """A step of a review: an activity that a person took part in, and that the answer was influenced by."""
    step = _node("review", event["review_id"], str(event["index"]))
    person = _node("principal", event["actor"])
    graph.add((step, RDF.type, PROV.Activity))
    graph.add((step, RDFS.label, Literal(f"review: {event['kind']}")))
    _moment(graph, step, PROV.endedAtTime, event["created_at"])
    graph.add((person, RDF.type, PROV.Agent))
    graph.add((step, PROV.wasAssociatedWith, person))
    graph.add((step, PROV.wasInformedBy, run))
    graph.add((answer, PROV.wasInfluencedBy, step))


def _passage(graph: Graph, answer: URIRef, run: URIRef, item: Mapping[str, Any]) -> None:
    """A passage with the document that it is of; of an erased one what is left: the revision and its hashes."""
    source, document = _node("source", item["source"]), _node("document", item["document_id"])
    revision = _node("document", item["document_id"], str(item["revision"]))
    _entity(graph, source, "Source", item["source"])
    _entity(graph, document, "Document", item["title"])
    _entity(graph, revision, "Revision", f"{item['title']}, revision {item['revision']}")
    _moment(graph, revision, PROV.generatedAtTime, item["created_at"])
    graph.add((revision, TERMS.contentSha256, Literal(item["content_sha256"])))
    graph.add((revision, TERMS.textSha256, Literal(item["text_sha256"])))
    graph.add((document, PROV.wasDerivedFrom, source))
    graph.add((revision, PROV.specializationOf, document))
    if item["chunk_id"] is None:
        graph.add((run, PROV.used, revision))
    else:
        _chunk(graph, answer, run, revision, item)


def _chunk(graph: Graph, answer: URIRef, run: URIRef, revision: URIRef, item: Mapping[str, Any]) -> None:
    chunk = _node("chunk", item["chunk_id"])
    _entity(graph, chunk, "Chunk", f"characters {item['start']} to {item['end']}")
    graph.add((chunk, PROV.wasDerivedFrom, revision))
    graph.add((chunk, TERMS.start, Literal(item["start"], datatype=XSD.integer)))
    graph.add((chunk, TERMS.end, Literal(item["end"], datatype=XSD.integer)))
    graph.add((run, PROV.used, chunk))
    for name in item["entities"]:
        named = _node("entity", name)
        _entity(graph, named, "NamedThing", name)
        graph.add((chunk, TERMS.names, named))
    for quoted in item["quotes"]:
        graph.add((answer, PROV.wasQuotedFrom, chunk))
        derivation = BNode(value=f"{quoted['id']}{item['chunk_id']}{str(answer).rpartition(':')[2]}")
        graph.add((answer, PROV.qualifiedDerivation, derivation))
        graph.add((derivation, RDF.type, PROV.Quotation))
        graph.add((derivation, PROV.entity, chunk))
        graph.add((derivation, TERMS.start, Literal(quoted["start"], datatype=XSD.integer)))
        graph.add((derivation, TERMS.end, Literal(quoted["end"], datatype=XSD.integer)))
        graph.add((derivation, TERMS.quoteSha256, Literal(quoted["quote_sha256"])))


def _entity(graph: Graph, node: URIRef, kind: str, label: str) -> None:
    graph.add((node, RDF.type, PROV.Entity))
    graph.add((node, RDF.type, TERMS[kind]))
    graph.add((node, RDFS.label, Literal(label)))


def _moment(graph: Graph, node: URIRef, predicate: URIRef, moment: str) -> None:
    graph.add((node, predicate, Literal(moment, datatype=XSD.dateTime)))


def _node(kind: str, *names: str) -> URIRef:
    return VOUCH[":".join((kind, *(quote(name, safe="") for name in names)))]
