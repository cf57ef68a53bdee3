"""`vouch ask` and `vouch retrieve`: answers, or the passages alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from api.assembly import Workspace
from api.cli.answer_text import show_answer
from api.cli.call import Call, command
from api.cli.inputs import InputOption, InputsOption, inputs_of
from api.cli.naming import document_named
from api.cli.options import AsOf, StakesOption, TopK
from api.cli.output import write_json
from api.cli.passage_text import show_passages
from api.cli.progress import watch
from api.cli.why_not_text import show_why_not
from api.views import Json, passage_json, retrieved_json, why_not_json
from kernel.errors import InvalidInput, VouchError
from kernel.records import Question
from pipeline.answering import helpers_json

commands = typer.Typer(rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a batch, with the id that its result carries."""

    id: Any
    text: str


@command(commands)
def ask(
    call: Call,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question, in quotes.")],
    as_of: AsOf = None,
    prompt: Annotated[str | None, typer.Option(metavar="NAME[@LABEL]", help="Prompt to answer with.")] = None,
    top_k: TopK = None,
    stakes: StakesOption = None,
    session: Annotated[str | None, typer.Option(help="A name that ties questions together, for experiments.")] = None,
    given: InputOption = None,
    inputs: InputsOption = None,
) -> None:
    """Answer a question from the documents, with citations, and record the answer.

    An answer of status "abstained" is an answer too: the documents do not say. One of status "pending_review" waits for
    a person other than the asker: see vouch reviews.
    """
    workspace = call.with_model
    number = workspace.snapshots.resolve(as_of) if as_of is not None else None
    asked = Question(
        readable(question),
        top_k=top_k,
        as_of=number,
        prompt=prompt,
        session=session,
        stakes=stakes and stakes.value,
        inputs=inputs_of(workspace, prompt, given, inputs),
    )
    body = workspace.releases.made(workspace.answering.ask(asked), asked.principal)
    call.show(body, lambda out: show_answer(out, body))
    if body["status"] == "failed":
        raise typer.Exit(3)


@command(commands)
def retrieve(
    call: Call,
    question: Annotated[str | None, typer.Argument(metavar="[QUESTION]", help="The question, in quotes.")] = None,
    questions: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help='A batch: lines of {"id", "question"}.')
    ] = None,
    top_k: TopK = None,
    as_of: AsOf = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show why each passage came up.")] = False,
    why_not: Annotated[
        str | None,
        typer.Option(metavar="DOCUMENT", help="Also show what kept a document out: its id, path or title."),
    ] = None,
) -> None:
    """Find passages, without an answer.

    With --questions, every line {"id", "question"} of the file gives one line {"id", "results"} in the same order.
    """
    if (question is None) == (questions is None):
        raise InvalidInput("give either a QUESTION or --questions FILE.jsonl")
    if questions is not None and why_not is not None:
        raise InvalidInput("--why-not is for one QUESTION; leave out --questions")
    batch = read_questions(questions) if questions is not None else []
    workspace = call.with_model
    number = workspace.snapshots.resolve(as_of) if as_of is not None else None
    if question is None:
        _retrieve_batch(workspace, batch, top_k, call.snapshot(as_of), explain)
        return
    _retrieve_one(call, Question(readable(question), top_k=top_k, as_of=number), explain, why_not)


def _retrieve_one(call: Call, asked: Question, explain: bool, why_not: str | None) -> None:
    workspace, document = call.workspace, None
    if why_not is not None:
        snapshot = workspace.snapshots.live().snapshot if asked.as_of is None else asked.as_of
        asked = replace(asked, as_of=snapshot)  # both look at one snapshot, whatever is published meanwhile
        document = document_named(workspace.catalog, readable(why_not), snapshot)
    found = workspace.answering.retrieve(asked, explain=explain)
    fate = workspace.answering.why_not(asked, document) if document is not None else None

    def words(out: Console) -> None:
        show_passages(out, found, explain=explain)
        if fate is not None:
            show_why_not(out, why_not_json(fate))

    call.show(retrieved_json(found, explain, fate), words)


def _retrieve_batch(
    workspace: Workspace, batch: Sequence[Asked], top_k: int | None, snapshot: int, explain: bool
) -> None:
    """Print a line a question, all from one snapshot; for one that cannot be asked its error, and exit 1 at the end."""
    failed = False
    with watch("questions") as progress:
        for done, asked in enumerate(batch):
            progress("retrieving", done, len(batch))
            line = _batch_line(workspace, asked, top_k, snapshot, explain)
            failed |= "error" in line
            write_json(line, line=True)
    if failed:
        raise typer.Exit(1)


def _batch_line(workspace: Workspace, asked: Asked, top_k: int | None, snapshot: int, explain: bool) -> Json:
    try:
        found = workspace.answering.retrieve(Question(asked.text, top_k=top_k, as_of=snapshot), explain=explain)
    except InvalidInput as error:
        return {"id": asked.id, "results": [], "error": {"type": error.slug, "detail": str(error)}}
    results = [passage_json(passage, explain) for passage in found.passages]
    return {"id": asked.id, "results": results} | helpers_json(found)


def read_questions(path: Path) -> list[Asked]:
    """The questions of a batch file. Raises InvalidInput that names the line at fault, before any work is done."""
    try:
        with path.open(encoding="utf-8") as file:
            return [_asked(number, line) for number, line in _lines(file)]
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text") from error


def _lines(file: Iterator[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(file, 1) if line.strip())


def _asked(number: int, line: str) -> Asked:
    try:
        value = json.loads(line)
        return Asked(value["id"], readable(value["question"]))
    except (ValueError, TypeError, KeyError, VouchError) as error:
        raise InvalidInput(f'line {number} of the questions is not {{"id": …, "question": "…"}}') from error


def readable(text: str) -> str:
    """The text, if it can be stored. Raises InvalidInput where it is not valid Unicode."""
    if not isinstance(text, str) or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidInput("the question is not valid Unicode text")
    return text
