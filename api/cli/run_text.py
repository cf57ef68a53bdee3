"""How runs of workflows are printed for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from api.cli.output import cell, counted, safe, shortened, show_fields, table

LONGEST_OUTPUT = 100
SHOWN = ("answer", "text", "label", "to", "result")
"""Members of an output that say it best, in this order."""
SIGNS = {"done": "✓", "failed": "✗", "skipped": "–", "waiting": "…", "pending": " ", "undone": "↶"}


def show_run(out: Console, run: Mapping[str, Any]) -> None:
    """A run: what it is, each step in a line, and what it came to."""
    out.print(safe(f"{run['title']}  ({run['workflow']}@{run['version']}, {run['mode']})"), style="bold")
    out.print(safe(f"{run['id']}  {run['status']}{_ended(run)}"), soft_wrap=True)
    goes_on = run["status"] == "queued"
    rows = [
        [f"{SIGNS.get(step['status'], '?')} {step['id']}", step["kind"], _took(step), _told(step, goes_on)]
        for step in run["steps"]
    ]
    out.print(table(["step", "kind", "ms", "what came of it"], rows))
    if run["why"] and run["why"]["message"]:
        where = f"step {run['why']['step']}: " if run["why"]["step"] else ""
        out.print(safe(f"{where}{run['why']['message']}"), style="red", soft_wrap=True)
    for step in run["steps"]:
        if step["status"] == "waiting" and not goes_on:
            out.print(safe(_waiting(step)), soft_wrap=True)
    if goes_on:
        out.print(safe(f"goes on with the next worker; or here: vouch runs watch {run['id']}"), soft_wrap=True)
    if run["output"]:
        out.print()
        show_output(out, run["output"])


def show_output(out: Console, output: Mapping[str, Any]) -> None:
    """What a run gives: texts as they are, the rest as fields."""
    texts = {name: value for name, value in output.items() if isinstance(value, str) and "\n" in value}
    plain = {name: value for name, value in output.items() if name not in texts}
    if plain:
        show_fields(out, plain)
    for name, text in texts.items():
        out.print(safe(f"\n{name.replace('_', ' ')}:"), style="bold")
        out.print(safe(text.rstrip()), soft_wrap=True)


def event_line(event: Mapping[str, Any]) -> str:
    """A row of the journal in a line."""
    place = f"[{event['item']}]" if event["item"] is not None else ""
    data = event["data"]
    if event["kind"] == "finished":
        return f"the run is {data['status']} ({data['seconds']:g} s)"
    told = {
        "done": _done(data),
        "failed": f"failed ({data.get('slug')}){', tried again' if data.get('again_at') else ''}",
        "skipped": f"skipped ({data.get('why')})",
        "waits": f"waits for a {data.get('for')}: {data.get('ref')}",
        "note": f"notes {data.get('sort')}",
        "undone": "taken back",
        "undo_failed": "could not be taken back",
    }.get(event["kind"], event["kind"])
    step = f"{event['step']}{place}: " if event["step"] else ""
    return f"{step}{told}"


def _done(data: Mapping[str, Any]) -> str:
    if "items" in data:
        return f"done, {data['items'] - data.get('failed', 0)} of {counted(data['items'], 'item')}"
    return f"done in {data.get('ms', 0):g} ms"


def _ended(run: Mapping[str, Any]) -> str:
    if run["finished_at"]:
        return f" at {run['finished_at'][:19]}Z"
    return f", looked at again at {run['wake_at'][:19]}Z" if run["wake_at"] else ""


def _took(step: Mapping[str, Any]) -> str:
    """How long its tries took; of a loop, those of all its items."""
    items = [one["ms"] or 0 for one in step.get("items", {}).get("states", ())]
    return f"{sum(items, step['ms']):.1f}" if step["ms"] is not None else ""


def _told(step: Mapping[str, Any], goes_on: bool = False) -> str:
    if step["status"] == "skipped":
        return {"when": "its condition does not hold", "branch": "nothing led to it"}.get(
            step["skipped"], "what it needs was not done"
        )
    if step["error"] and step["status"] != "done":
        return shortened(f"{step['error']['slug']}: {step['error']['message']}", LONGEST_OUTPUT)
    if step["status"] == "waiting":
        return "is looked at again" if goes_on else f"waits for a {step.get('waits', {}).get('for')}"
    if step.get("items"):
        done, of = step["items"]["done"], step["items"]["of"]
        return f"{done} so far" if of is None else f"{done} of {of}"
    bad = [one["name"] for one in step["checks"] if not one["holds"]]
    output = step["output"]
    if isinstance(output, Mapping):
        output = next((output[name] for name in SHOWN if output.get(name)), output)
    shown = shortened(cell(output), LONGEST_OUTPUT) if step["status"] == "done" else ""
    return f"{shown} (flagged: {', '.join(bad)})" if bad else shown


def _waiting(step: Mapping[str, Any]) -> str:
    waits = step.get("waits") or {}
    if waits.get("for") == "person":
        return f"{step['id']} waits for a person, other than who started the run: vouch reviews show {waits['ref']}"
    if waits.get("for") == "run":
        return f"{step['id']} waits for the run {waits['ref']}"
    return f"{step['id']} waits until {waits.get('until')}"
