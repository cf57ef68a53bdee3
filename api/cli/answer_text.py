"""An answer as a person reads it: what it says, how sure, where it came from, and what speaks against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from api.cli.output import counted, safe, shortened

QUOTE_LENGTH = 240
_STATUS = {
    "answered": "Answered: every sentence is supported by what it cites.",
    "partial": "Answered in part.",
    "abstained": "Not answered: the documents do not say.",
    "pending_review": "Waits for a reviewer.",
    "failed": "Failed: the model gave no answer.",
    "erased": "Erased: that there was an answer can still be proven.",
}
_STYLES = {
    "answered": "green",
    "partial": "yellow",
    "abstained": "yellow",
    "pending_review": "yellow",
    "failed": "red",
    "erased": "dim",
}


def show_answer(out: Console, body: Mapping[str, Any]) -> None:
    """Print the JSON body of an answer."""
    if body["answer"] and body["status"] == "pending_review":
        out.print(Text("A draft, shown to reviewers; nobody else sees it before it is released:", style="yellow"))
    if body["answer"]:
        out.print(Text(marked(body["sentences"])))
        out.print()
    _show_status(out, body)
    if body["citations"]:
        out.print()
    for citation in body["citations"]:
        _show_citation(out, citation)
    _show_oversight(out, body)
    for warning in warnings_of(body):
        out.print(Text(f"Warning: {safe(warning)}", style="yellow"))
    out.print()
    out.print(
        Text(f"Recorded as {body['id']}; see: vouch answers show ID, vouch lineage ID", style="dim"), soft_wrap=True
    )


def marked(sentences: Sequence[Mapping[str, Any]]) -> str:
    """The answer with the numbers of its citations after each sentence, and a note where they do not support it."""
    pieces = []
    for sentence in sentences:
        marks = "".join(f"[{number}]" for number in sentence["citations"])
        label = sentence["support"]["label"]
        note = "" if label == "supported" else f" ({_support(label)})"
        pieces.append(safe(f"{sentence['text']} {marks}".rstrip() + note))
    return "\n".join(pieces)


def warnings_of(body: Mapping[str, Any]) -> list[str]:
    """What a reader must know about the cited documents: their standing, where they disagree, and
    which helper of the search was away.
    """
    titles = {citation["document_id"]: citation["title"] for citation in body["citations"]}
    found = []
    for notice in body["notices"]:
        title = titles.get(notice["document_id"], notice["document_id"])
        by = f" by {notice['by']}" if notice["by"] else ""
        found.append(f"{title} is {notice['kind']}{by}: “{shortened(notice['quote'], QUOTE_LENGTH)}”")
    for conflict in body["conflicts"]:
        one, other = conflict["citations"]
        found.append(f"[{one}] and [{other}] disagree: {conflict['reason']}")
    for mark in body.get("stale", ()):
        named = ", ".join(titles.get(one, one) for one in mark["document_ids"])
        why = f": {mark['reason']}" if mark.get("reason") else ""
        found.append(f"stale since {mark['since']}, when {named} was withdrawn{why}")
    for helper in ("reranker", "decomposer"):
        state = body["retrieval"].get(helper, {}).get("state", "used")
        if state != "used":
            found.append(f"the passages were found without the {helper}: {state}")
    return found


def place_of(citation: Mapping[str, Any]) -> str:
    """Where a quote stands: file or address, and characters of the canonical text."""
    page = f", page {citation['page']}" if citation["page"] is not None else ""
    uri = citation["uri"]
    where = unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri
    return f"{where}{page}, characters {citation['start']}–{citation['end']} of revision {citation['revision']}"


def _show_status(out: Console, body: Mapping[str, Any]) -> None:
    status = body["status"]
    words = f"{_headline(body)} {body['reason'] or ''}".rstrip()
    out.print(Text(safe(words), style=_STYLES[status]))
    seen = f"Snapshot {body['retrieval']['snapshot']}"
    if status != "erased":
        seen += f", {counted(body['retrieval']['used'], 'passage')} read"
    sure = f", confidence {body['confidence']:.2f}" if body["answer"] else ""
    out.print(
        Text(
            f"{seen}{sure}, {body['timings_ms']['total']:.0f} ms" if "total" in body["timings_ms"] else seen + sure,
            style="dim",
        )
    )


def _headline(body: Mapping[str, Any]) -> str:
    """What the status says in words. What a policy or a person withheld, the documents may well say."""
    withheld = any(one["verdict"] in ("refuse", "abstain") for one in body.get("policy", {}).get("verdicts", ()))
    if body["status"] == "abstained" and (withheld or body.get("review") is not None):
        return "Not answered."
    return _STATUS[body["status"]]


def _show_oversight(out: Console, body: Mapping[str, Any]) -> None:
    """What the policy said of the answer, and how its review stands."""
    for verdict in body.get("policy", {}).get("verdicts", ()):
        detail = f": {verdict['detail']}" if verdict["detail"] else ""
        out.print(Text(safe(f"Policy: {verdict['verdict']} by {verdict['rule']}{detail}"), style="dim"))
    review = body.get("review")
    if review is not None:
        again = "under review again" if body.get("under_review") else f"review {review['state']}"
        out.print(Text(safe(f"{again.capitalize()}: {review['id']}, until {review['deadline']}"), style="yellow"))


def _show_citation(out: Console, citation: Mapping[str, Any]) -> None:
    out.print(Text.assemble((f"[{citation['id']}] ", "bold cyan"), (safe(citation["title"]), "bold")))
    quote = safe(f"“{shortened(citation['quote'], QUOTE_LENGTH)}”")
    out.print(Padding(Text(quote), (0, 0, 0, 5), expand=False))
    out.print(Text(f"     {safe(place_of(citation))}", style="dim"), soft_wrap=True)


def _support(label: str) -> str:
    return "what it cites says otherwise" if label == "contradicted" else "not supported by what it cites"
