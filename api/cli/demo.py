"""`vouch demo`: real documents, real questions, and answers that can be checked, in a minute."""

from __future__ import annotations

import time

import typer
from rich.console import Console

from api.assembly import Workspace
from api.cli.answer_text import show_answer
from api.cli.call import Call, command
from api.cli.ingest import show_reports
from api.cli.output import console
from api.cli.progress import watch
from api.demo import QUESTIONS, SOURCE, DemoQuestion, documents
from api.views import Json, fault_json, report_json
from kernel.records import IngestReport, Question
from kernel.settings import Settings

commands = typer.Typer(rich_markup_mode=None)

FOLDER = "demo"


@command(commands)
def demo(call: Call) -> None:
    """Index the documentation of the Python packages installed here, answer questions about it, verify the record.

    It keeps to a home of its own (demo in your home, or --home), and exits 1 where anything is not as it should be.
    """
    begin = time.monotonic()
    workspace = call.open(demo_settings(call))
    _ = call.with_model
    out = console(error=call.flags.json)
    report = _index(workspace, out)
    asked = [_ask(workspace, out, number, question) for number, question in enumerate(QUESTIONS, 1)]
    faults = list(workspace.verifier.faults())
    for fault in faults:
        out.print(f"{fault.where}: {fault.what}", style="red", soft_wrap=True)
    wrong = sum(item["shortcoming"] is not None for item in asked)
    ok = not faults and not wrong and not report.failed
    seconds = round(time.monotonic() - begin, 1)
    document = {"ok": ok, "ingest": report_json(report), "questions": asked, "faults": [fault_json(f) for f in faults]}
    call.show(document | {"seconds": seconds}, lambda out: _end(out, ok, wrong, len(faults), seconds))
    if not ok:
        raise typer.Exit(1)


def demo_settings(call: Call) -> Settings:
    """Settings of the demo's own home and workspace, which shares the embedding model of the home beside it."""
    plain = call.settings()
    home = plain.home if call.flags.home is not None else plain.home / FOLDER
    return call.settings(
        home=home, workspace=call.flags.workspace or FOLDER, models=plain.models or plain.home / "models"
    )


def _index(workspace: Workspace, out: Console) -> IngestReport:
    found = documents()
    out.print(f"Reading the metadata of {len(found)} installed packages that Vouch stands on.", style="bold")
    with workspace.parser_pool() as pool, watch() as progress:
        reports = workspace.indexer.ingest(pool, found, SOURCE, progress)
    show_reports(out, reports)
    return reports[0]


def _ask(workspace: Workspace, out: Console, number: int, question: DemoQuestion) -> Json:
    body = workspace.answering.ask(Question(question.text))
    wrong = question.shortcoming(body)
    out.print()
    out.rule(style="dim")
    out.print(f"{number}. {question.text}", style="bold")
    out.print(f"   ({question.about})", style="dim")
    out.print()
    show_answer(out, body)
    if wrong is not None:
        out.print(f"Not as expected: {wrong}", style="red")
    elif question.cites:
        out.print(f"Check it: {question.check()}", style="green", soft_wrap=True)
    return {"question": question.text, "answer": body, "shortcoming": wrong}


def _end(out: Console, ok: bool, wrong: int, faults: int, seconds: float) -> None:
    out.print()
    out.rule(style="dim")
    if not ok:
        out.print(f"{wrong} answers were not as expected, {faults} faults in the record", style="red")
        return
    out.print("Every citation was compared with the stored text; every answer with its hash.")
    out.print(f"Your own documents: vouch ingest FOLDER, then vouch ask QUESTION. ({seconds:.0f} s)")
    out.print("record verified", style="green")
