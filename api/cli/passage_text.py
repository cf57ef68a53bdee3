"""Retrieved passages as a person reads them, with the reasons why each came up."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from api.cli.output import safe, shortened, table
from kernel.records import Passage, PathStep
from pipeline.answering import Retrieved, helpers_json

TEXT_LENGTH = 400


def show_passages(out: Console, found: Retrieved, *, explain: bool) -> None:
    """Print passages, best first; with `explain`, also signals, graph path and timings."""
    if not found.passages:
        out.print(f"no passage in snapshot {found.snapshot}")
    for number, passage in enumerate(found.passages, 1):
        _show_passage(out, number, passage, explain)
    for helper, what in helpers_json(found).items():
        if explain or what["state"] != "used":
            style = "" if what["state"] == "used" else "yellow"
            out.print(Text(safe(f"{helper} {what['model']}: {what['state']}"), style=style), soft_wrap=True)
        for part in what.get("parts", ()) if explain else ():
            out.print(Text(safe(f"   searched for as well: {part}")), soft_wrap=True)
    if explain:
        if found.entities:
            out.print(safe(f"the question names: {', '.join(found.entities)}"), soft_wrap=True)
        spent = ", ".join(f"{name} {value:.1f}" for name, value in found.timings_ms.items())
        out.print(f"snapshot {found.snapshot}; milliseconds: {spent}", soft_wrap=True)


def path_text(path: Sequence[PathStep]) -> str:
    """A graph path in words: `fastapi -> named with [chunk] -> pydantic -> named in [chunk]`."""
    return " -> ".join(_step(step) for step in path)


def _show_passage(out: Console, number: int, passage: Passage, explain: bool) -> None:
    place = " > ".join((passage.title, *(heading for heading in passage.heading if heading != passage.title)))
    page = f", page {passage.page}" if passage.page is not None else ""
    out.print(Text.assemble((f"{number}. ", "bold cyan"), (safe(place), "bold"), f"  {passage.score:.4f}"))
    where = f"{passage.uri}{page}, characters {passage.start}–{passage.end}, {passage.chunk_id}"
    out.print(Text(f"   {safe(where)}", style="dim"), soft_wrap=True)
    out.print(Padding(Text(safe(shortened(passage.text, TEXT_LENGTH))), (0, 0, 0, 3), expand=False))
    for notice in passage.notices:
        by = f" by {notice.by}" if notice.by else ""
        out.print(
            Text(safe(f"   Warning: {notice.kind}{by}: “{shortened(notice.quote, TEXT_LENGTH)}”"), style="yellow")
        )
    if passage.duplicate_of is not None:
        out.print(f"   nearly the same as {passage.duplicate_of}", soft_wrap=True)
    if explain:
        _show_reasons(out, passage)
    out.print()


def _show_reasons(out: Console, passage: Passage) -> None:
    if passage.path:
        out.print(Text(safe(f"   path: {path_text(passage.path)}")), soft_wrap=True)
    pairs = [(name, f"{value:.4g}") for name, value in passage.signals.items() if value]
    third = -(-len(pairs) // 3)
    columns = [pairs[start : start + third] for start in range(0, len(pairs), third)] if third else []
    rows = [
        [cell for column in columns for cell in (column[row] if row < len(column) else ("", ""))]
        for row in range(third)
    ]
    if rows:
        out.print(Padding(table(["signal", "value"] * len(columns), rows), (0, 0, 0, 3), expand=False))


def _step(step: PathStep) -> str:
    if step.entity is not None:
        return step.entity
    return f"{step.relation} [{step.chunk_id}]" if step.chunk_id else str(step.relation)
