"""How `vouch reviews` shows things to people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from api.cli.answer_text import marked
from api.cli.output import safe, show_fields, table

Json = dict[str, Any]
LISTED = ("id", "state", "about", "assignee", "deadline", "of")
LONGEST_ABOUT = 48


def listed(item: Json) -> list[Any]:
    """A row of the listing: of an answer's review why it is held, of a run's task what it is about."""
    about = " ".join(str(item.get("about") or item.get("reason") or item.get("sort")).split())
    about = about if len(about) <= LONGEST_ABOUT else f"{about[: LONGEST_ABOUT - 1]}…"
    of = item.get("answer_id") or f"{item['run_id']} {item['step']}"
    return [item["id"], item["state"], about, item["assignee"], item["deadline"], of]


def show_answer(out: Console, found: Json) -> None:
    """The review of an answer."""
    nested = ("answer", "edit", "events", "text_of")
    show_fields(out, {name: value for name, value in found.items() if name not in nested})
    answer = found["answer"]
    out.print()
    out.print(Text(safe(answer["question"]), style="bold"))
    out.print(Text(marked((found["edit"] or answer)["sentences"])))
    for citation in (found["edit"] or answer)["citations"]:
        out.print(Text(safe(f"[{citation['id']}] {citation['title']}: “{citation['quote']}”"), style="dim"))
    for verdict in answer.get("policy", {}).get("verdicts", ()):
        _verdict(out, verdict)
    _events(out, found["events"])


def show_task(out: Console, found: Json) -> None:
    """What a run asks."""
    plain = ("id", "sort", "state", "workflow", "step", "run_id", "stakes", "assignee", "deadline", "payload_sha256")
    show_fields(out, {name: found[name] for name in plain} | {"labels": ", ".join(found["labels"])})
    out.print()
    out.print(Text(safe(found["about"]), style="bold"))
    for title, values in (("shown", found["shown"]), ("draft", found["values"])):
        for name, value in values.items():
            out.print(Text(f"{title} {safe(name)}:", style="bold"))
            out.print(Text(_shown(value)))
    for name, lines in found["differences"].items():
        out.print(Text(f"differs: {safe(name)}", style="bold"))
        for line in lines:
            out.print(Text(safe(line)))
    for one in found["evidence"]:
        out.print(Text(safe(f"evidence {one['answer_id']}: {one['status']}, {one['answer']}")))
        for citation in one["citations"]:
            out.print(Text(safe(f"[{citation['id']}] {citation['title']}: “{citation['quote']}”"), style="dim"))
    for verdict in found["verdicts"]:
        _verdict(out, verdict)
    _effects(out, found["effects"])
    if found["sort"] == "review" and found["state"] == "open" and found["may_decide"]:
        out.print(safe(f"to let exactly this happen: vouch reviews approve {found['id']} --seen {_short(found)}"))
    if found["state"] == "open" and found["why_not"]:
        out.print(safe(f"not for you to decide: {found['why_not']}"))
    _events(out, found["events"])


def show_preview(out: Console, found: Json) -> None:
    """What would happen."""
    _effects(out, found["effects"])
    out.print(safe(f"to let exactly this happen, approve it with the same values and --seen {_short(found)}"))


def show_figures(out: Console, found: Json) -> None:
    """Counts, and how long decisions took."""
    show_fields(out, found["states"])
    for label, count in found["labels"].items():
        out.print(safe(f"marked {label}: {count}"))
    if found["steps"]:
        columns = ("workflow", "step", "decided", "approved", "rejected", "answered", "queue_minutes", "active_minutes")
        rows = [[_figure(one[name]) for name in columns] for one in found["steps"]]
        out.print(table([name.replace("_", " ") for name in columns], rows))


def _figure(value: Any) -> Any:
    return f"{value['median']:g} ({value['p90']:g})" if isinstance(value, dict) else value


def _effects(out: Console, effects: Sequence[Json]) -> None:
    for one in effects:
        out.print(Text(safe(f"will happen: {one['step']} {one['sha256'][:12]}"), style="bold"))
        out.print(Text(_shown(one["with"])))


def _verdict(out: Console, verdict: Json) -> None:
    out.print(Text(safe(f"policy: {verdict['verdict']} by {verdict['rule']} {verdict['detail']}".rstrip())))


def _events(out: Console, events: Sequence[Json]) -> None:
    out.print()
    for event in events:
        said = event.get("comment") or event.get("reason") or event.get("assignee") or event.get("label") or ""
        said = said or event.get("role") or ""
        out.print(Text(safe(f"{event['created_at']} {event['kind']} by {event['actor']} {said}".rstrip())))


def _shown(value: Any) -> str:
    """A value as people read it: an answer by its id, as its evidence is shown; else a member a line, texts as they
    are.
    """
    if _is_answer(value):
        return f"the answer {safe(value['id'])}, see its evidence"
    if isinstance(value, list) and value and all(map(_is_answer, value)):
        return "\n".join(map(_shown, value))
    if isinstance(value, dict) and value:
        return "\n".join(f"{safe(name)}: {_member(one)}" for name, one in value.items())
    return safe(value) if isinstance(value, str) else safe(json.dumps(value, ensure_ascii=False, indent=2))


def _is_answer(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("id", "")).startswith("ans_") and "citations" in value


def _member(value: Any) -> str:
    """A value after its name: a text of several lines begins on the next one, and is moved in."""
    if isinstance(value, str):
        text = safe(value)
        return "\n" + "\n".join(f"  {line}" for line in text.splitlines()) if "\n" in text else text
    return safe(json.dumps(value, ensure_ascii=False))


def _short(found: Json) -> str:
    return str(found["payload_sha256"])[:16]
