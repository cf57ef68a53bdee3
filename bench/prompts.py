"""`make bench-prompts`: what the library adds to an answer, and how fast it is searched.

A workspace of its own under `.vouch/bench/prompts`, thrown away afterwards: its prompts and labels are made here, its
journal is as long as a busy year's, its vectors are those of the real model. Nothing of it asks a language model.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from api.assembly import Workspace
from bench import page
from bench.homes import HOME
from kernel.ids import sha256
from kernel.records import LOCAL_OWNER, Evidence, Passage, Principal, PromptVersion, Question, Role
from kernel.settings import Settings
from kernel.storage.prompts import append_events, keep_prompt
from kernel.storage.versioned import LABELLED, Happening
from pipeline.prompts.library import Asker
from pipeline.prompts.rendering import compile_prompt, render

ASKER = Principal("key_asker", Role.APP)
PROMPTS, EVENTS, TIMES, WARM = 520, 2_000, 2_000, 50
Row = dict[str, Any]
_TASKS = (
    "Summarise",
    "Classify",
    "Extract the dates of",
    "Draft a reply to",
    "Review",
    "Translate",
    "Compare",
    "Check",
)
_MATTERS = (
    "support tickets",
    "supplier contracts",
    "incident reports",
    "job postings",
    "meeting notes",
    "invoices",
    "research papers",
    "customer interviews",
    "security questionnaires",
    "release notes",
    "insurance claims",
    "grant proposals",
    "lease agreements",
)
_AUDIENCES = ("the board", "new staff", "auditors", "customers", "engineers")
_QUERIES = (
    "a letter to an unhappy customer",
    "contract",
    "explain an outage to people who are not engineers",
    "dates in agreements for renting",
    "hiring",
    "audit of suppliers",
    "short overview of academic writing",
    "tickets for the board",
)


def main(wanted: Sequence[str]) -> int:
    """Run the named parts (all by default), keep their figures, and write the page."""
    strange = [name for name in wanted if name not in PARTS]
    if strange:
        print(f"no part {strange[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    results = json.loads(page.RESULTS.read_text()) if page.RESULTS.is_file() else {}
    kept: dict[str, list[Row]] = results.setdefault("prompts", {})
    with _site() as workspace:
        for name in wanted or PARTS:
            print(f"{name} …", file=sys.stderr)
            kept[name] = PARTS[name](workspace)
            print(json.dumps(kept[name], indent=1))
    page.RESULTS.parent.mkdir(parents=True, exist_ok=True)
    page.RESULTS.write_text(json.dumps(results, indent=1))
    print(f"wrote {page.write(results)}", file=sys.stderr)
    return 0


def answer(workspace: Workspace) -> list[Row]:
    """Milliseconds that an answer spends on finding out which prompt and policy are in force, and on rendering."""
    question = Question("How long are backups kept?", ASKER)
    answering, library = workspace.answering, workspace.prompts
    chosen = library.choose(None, Asker(ASKER))
    evidence = _evidence()
    steps: dict[str, Callable[[], object]] = {
        "the version in force: journal, labels, rules": lambda: library.choose(None, Asker(ASKER)),
        "prompt and policy of one moment": lambda: answering._in_force(question),
        "inputs checked": lambda: chosen.compiled.checked({}),
        "rendering, 10 passages of 160 words": lambda: render(compile_prompt(chosen.version), question.text, evidence),
    }
    times = {name: _times(act) for name, act in steps.items()}
    rows: list[Row] = [{"of an answer": name, **_spread(values)} for name, values in times.items()]
    policy = _times(workspace.policies.in_force)
    own = np.array(list(times.values())[1:]).sum(axis=0)
    rows.append({"of an answer": "all of it: one moment, inputs, rendering", **_spread(own)})
    rows.append({"of an answer": "of which the policy, that was there before", **_spread(policy)})
    return rows


def search(workspace: Workspace) -> list[Row]:
    """Milliseconds of a search over 520 prompts, with the query's own vector; and of the first one ever."""
    finder = workspace.prompt_finder
    workspace.embedder.embed(["warm"])
    begin = time.perf_counter()
    finder.search("anything", LOCAL_OWNER)
    first = round(time.perf_counter() - begin, 2)
    asked = [f"{query} {number}" for number in range(25) for query in _QUERIES]  # each new to the embedder's own memory
    spent = [_timed(partial(finder.search, query, LOCAL_OWNER)) for query in asked]
    vector = [_timed(partial(workspace.embedder.embed, [f"{query}?"])) for query in asked]
    with Workspace(workspace.settings) as other:
        other.embedder.embed(["warm"])
        again = _timed(lambda: other.prompt_finder.search("anything", LOCAL_OWNER))
    count = len(workspace.prompts.names())
    return [
        {f"search of {count} prompts": "a search", **_spread(spent)},
        {f"search of {count} prompts": "of which the vector of the query", **_spread(vector)},
        {f"search of {count} prompts": "the first in a process, vectors kept", "p50 ms": round(again, 1)},
        {f"search of {count} prompts": "the first ever, which makes the vectors", "s": first},
    ]


PARTS: dict[str, Callable[[Workspace], list[Row]]] = {"answer": answer, "search": search}


@contextlib.contextmanager
def _site() -> Iterator[Workspace]:
    """A workspace with many prompts, and a journal of many moves of labels."""
    base = HOME / "prompts"
    base.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=base)).absolute()
    try:
        with Workspace(Settings.load(home=folder)) as workspace:
            _fill(workspace)
            yield workspace
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(workspace: Workspace) -> None:
    shipped = importlib.import_module("pipeline.prompts.library").shipped_prompt()
    versions = [_prompt(number) for number in range(PROMPTS)]
    with workspace.database.write() as connection:
        for version in (shipped, *versions):
            keep_prompt(workspace.database, connection, version)
        moves = [
            Happening(one.name, one.version, LABELLED, "staging", {"sha256": one.sha256, "before": 0})
            for one in (versions[number % PROMPTS] for number in range(EVENTS))
        ]
        append_events(workspace.database, connection, LOCAL_OWNER.id, moves)


def _prompt(number: int) -> PromptVersion:
    task, matter = _TASKS[number % len(_TASKS)], _MATTERS[number % len(_MATTERS)]
    audience, name = _AUDIENCES[number % len(_AUDIENCES)], f"prompt-{number}"
    sections = {
        "role": f"You work with {matter} for {audience}.",
        "context": "{{text}}",
        "constraints": "- Use only what the text says.\n- Name what is missing.",
        "process": f"1. Read the {matter}.\n2. {task} them.\n3. Check the result against the text.",
        "output format": f"At most {100 + number} words for {audience}.",
        "quality criteria": "Names, numbers and dates exactly as they are written.",
        "edge cases": "- If the text is empty, say so.\n- If it is of another kind, say which.",
        "task": f"{task} these {matter} for {audience}.",
    }
    front = f"name: {name}\ndescription: {task} {matter} for {audience}\ntags: [{matter.replace(' ', '-')}]\n"
    body = "\n\n".join(f"# {heading}\n{text}" for heading, text in sections.items())
    text = f"---\n{front}inputs:\n  text: {{schema: {{type: string}}}}\n---\n{body}\n"
    return PromptVersion(name, 1, sha256(text), "", text)


def _evidence() -> Evidence:
    words = "The northern depot keeps its backups for ninety days and its logs for thirty, as the board decided. " * 9
    passages = [
        Passage(
            chunk_id=f"chk_{number}",
            document_id=f"doc_{number}",
            external_id=None,
            revision=1,
            source="pages",
            title=f"Page {number}",
            uri="",
            heading=("Keeping",),
            text=words,
            start=0,
            end=len(words),
            page=None,
            score=1.0,
        )
        for number in range(10)
    ]
    return Evidence(1, tuple(passages))


def _times(act: Callable[[], object]) -> list[float]:
    return [_timed(act) for _ in range(TIMES + WARM)][WARM:]


def _timed(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1000


def _spread(values: Sequence[float] | np.ndarray[Any, Any]) -> Row:
    return {f"p{p} ms": round(float(np.percentile(values, p)), 3) for p in (50, 95)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
