"""What became of a document for a question, as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from api.cli.output import safe, shortened, table

TEXT_LENGTH = 240
INDENT = (0, 0, 0, 3)


def show_why_not(out: Console, fate: Mapping[str, Any]) -> None:
    """Print the JSON object `why_not` of a retrieval."""
    title = safe(f"Why not “{fate['title']}”?")
    out.print(Text.assemble((title, "bold"), (f"  {fate['verdict']}", "bold cyan"), f"  {fate['document_id']}"))
    for reason in fate["reasons"]:
        out.print(Padding(Text(safe(f"- {reason}")), INDENT, expand=False))
    if fate["passage"] is not None:
        _show_passage(out, fate["passage"])
    if fate["behind"] is not None:
        _show_behind(out, fate["behind"])
    out.print()


def _show_passage(out: Console, passage: Mapping[str, Any]) -> None:
    page = f", page {passage['page']}" if passage["page"] is not None else ""
    where = f"{passage['uri']}{page}, characters {passage['start']}–{passage['end']}, {passage['chunk_id']}"
    out.print(Text(safe(f"   its best passage: {where}"), style="dim"), soft_wrap=True)
    out.print(Padding(Text(safe(shortened(passage["text"], TEXT_LENGTH))), INDENT, expand=False))
    rows = [
        (one["name"], _number(one["score"]), one["rank"], _number(one["needed"]), "yes" if one["taken"] else "no")
        for one in passage["signals"]
    ]
    out.print(Padding(table(("signal", "score", "rank of all", "score needed", "found"), rows), INDENT, expand=False))
    for label, names in _held(passage).items():
        if names:
            out.print(Text(safe(f"   {label}: {', '.join(names)}")), soft_wrap=True)


def _held(passage: Mapping[str, Any]) -> dict[str, list[str]]:
    words, entities = passage["words"], passage["entities"]
    return {
        "holds the words": [word["word"] for word in words["held"]],
        "lacks the words": [word["word"] for word in words["lacked"]],
        "words that no passage holds": words["unknown"],
        "names": entities["held"],
        "does not name": entities["lacked"],
    }


def _show_behind(out: Console, behind: Mapping[str, Any]) -> None:
    about = f"   behind result {behind['rank']}, {behind['title']} ({behind['chunk_id']}), by:"
    out.print(Text(safe(about)), soft_wrap=True)
    rows = [
        (one["name"], _number(one["value"]), _number(one["other"]), _number(one["cost"]), one["meaning"])
        for one in behind["features"]
    ]
    if rows:
        shown = table(("signal", "its value", "of the other", "costs", "what it says"), rows)
        out.print(Padding(shown, INDENT, expand=False))


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
