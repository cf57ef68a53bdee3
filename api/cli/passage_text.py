"""Retrieved passages as a person reads them, with the reasons why each came up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from api.cli.output import safe, shortened, table
from kernel.records import Passage, PathStep
from pipeline.answering import Retrieved, helpers_json
from retrieval.reasons import meaning_of

TEXT_LENGTH = 400
MOST_SIGNALS = 8
"""Signals that are printed of a passage: those that add most to its score, or take most from it."""


def show_passages(out: Console, found: Retrieved, *, explain: bool) -> None:
    """Print passages, best first; with `explain`, also signals, graph path and timings."""
    if not found.passages:
        out.print(f"no passage in snapshot {found.snapshot}")
    numbers = {passage.chunk_id: number for number, passage in enumerate(found.passages, 1)}
    for passage in found.passages:
        _show_passage(out, numbers, passage, explain)
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


def path_text(path: Sequence[PathStep], numbers: Mapping[str, int]) -> str:
    """A graph path in words: `fastapi -> named with [chunk, result 1] -> pydantic -> named in [chunk, result 2]`.

    `numbers` are the results by chunk id, for a reader to look the chunk up.
    """
    return " -> ".join(_step(step, numbers) for step in path)


def _show_passage(out: Console, numbers: Mapping[str, int], passage: Passage, explain: bool) -> None:
    number = numbers[passage.chunk_id]
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
        _show_reasons(out, passage, numbers)
    out.print()


def _show_reasons(out: Console, passage: Passage, numbers: Mapping[str, int]) -> None:
    if passage.path:
        out.print(Text(safe(f"   path: {path_text(passage.path, numbers)}")), soft_wrap=True)
    if "reranker" in passage.signals:
        out.print(f"   reranker: {passage.signals['reranker']:.4g}")
    adds = sorted(((name, value) for name, value in passage.contributions.items() if value), key=_weight)
    rows = [
        (name, f"{passage.signals[name]:.4g}", f"{value:+.3g}", meaning_of(name)) for name, value in adds[:MOST_SIGNALS]
    ]
    if rows:
        out.print(Padding(table(("signal", "value", "adds", "what it says"), rows), (0, 0, 0, 3), expand=False))


def _weight(pair: tuple[str, float]) -> tuple[float, str]:
    return -abs(pair[1]), pair[0]


def _step(step: PathStep, numbers: Mapping[str, int]) -> str:
    if step.entity is not None:
        return step.entity
    if step.chunk_id is None:
        return str(step.relation)
    result = f", result {numbers[step.chunk_id]}" if step.chunk_id in numbers else ""
    return f"{step.relation} [{step.chunk_id}{result}]"
