"""Drafts: made of an answer, of suggestions, and tried beside what is live."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command
from api.cli.inputs import InputOption, InputsOption, read_inputs
from api.cli.options import AsOf, TopK
from api.cli.output import changes, counted, safe
from api.cli.prompts.group import Reference, commands
from api.views import Json
from kernel.errors import InvalidInput
from pipeline.prompts.anatomy import LARGEST, read_prompt
from pipeline.prompts.playground import Trial
from pipeline.prompts.runs import given_inputs

_STYLES = {"+ ": "green", "- ": "red"}


@command(commands, "promote")
def promote(
    call: Call,
    answer_id: Annotated[str, typer.Argument(metavar="ANSWER_ID", help="A past answer.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the new prompt.")],
    message: Annotated[str, typer.Option("--message", "-m", help="What it is for.")] = "",
    key: KeyOption = None,
) -> None:
    """Save a new prompt, as a draft, from a past answer.

    The question that was asked is its first test case.
    """
    made = call.with_model.promoter.promote(answer_id, name, actor_of(call, key), message)
    body = {"name": name, "version": made.version.version, "sha256": made.version.sha256, "pinned": made.pinned}
    pinned = "its passages" if made.pinned == "passages" else "the snapshot of its passages, which not all may see"
    told = f"saved as draft {name}@{made.version.version}; its case pins {pinned}"
    call.show(body | {"text": made.text}, lambda out: out.print(safe(told), soft_wrap=True))


@command(commands, "improve")
def improve(
    call: Call,
    reference: Reference,
    rules: Annotated[bool, typer.Option("--rules", help="Ask no model, even where one is configured.")] = False,
    key: KeyOption = None,
) -> None:
    """Suggest how a prompt can be better, and save that as a draft.

    What rules find and cannot put right is only said. Where nothing changes, no draft is saved.
    """
    body = call.workspace.improver.improve(reference, actor_of(call, key), rules_only=rules)

    def words(out: Console) -> None:
        for one in body["findings"]:
            mark = "fixed " if one["fixed"] else ""
            out.print(safe(f"{one['section']}: {one['message']} [{mark}{one['code']}]"), soft_wrap=True, markup=False)
        for note in body["notes"]:
            out.print(safe(f"- {note}"), soft_wrap=True, markup=False)
        _show_sections(out, body["prompt_diff"])
        out.print(safe(_what_came_of_it(body)), soft_wrap=True, markup=False)
        if body["tests"]:
            for side in ("before", "after"):
                out.print(safe(f"tests {side}: {_counts(body['tests'], side)}"), soft_wrap=True, markup=False)

    call.show(body, words)


@command(commands, "try")
def try_draft(
    call: Call,
    draft: Annotated[str, typer.Argument(metavar="FILE|NAME@VERSION", help="A draft's file, or a stored version.")],
    against: Annotated[
        str | None,
        typer.Option(metavar="NAME[@LABEL]", help="What to compare with; default: what callers get of the prompt."),
    ] = None,
    question: Annotated[str | None, typer.Option(help="For prompts that answer from documents.")] = None,
    given: InputOption = None,
    inputs: InputsOption = None,
    top_k: TopK = None,
    as_of: AsOf = None,
    key: KeyOption = None,
) -> None:
    """Try a draft beside the live version; nothing is recorded.

    Both get the same question and passages, or the same inputs.
    """
    text = _text_of(Path(draft))
    workspace = call.with_model
    template = text if text is not None else workspace.prompts.find(draft).template
    values = read_inputs(inputs) if inputs is not None else {}
    values |= given_inputs(given or (), read_prompt(template).header.inputs)
    number = workspace.snapshots.resolve(as_of) if as_of is not None else None
    reference = draft if text is None else None
    trial = Trial(actor_of(call, key), text, reference, against, question, values, top_k, number)
    body = workspace.playground.compare(trial)

    def words(out: Console) -> None:
        for side in ("against", "draft"):
            _show_side(out, side, body[side])
        out.print("both say the same" if body["same"] else "they differ:", style="bold")
        _show_lines(out, body["diff"])

    call.show(body, words)


def _counts(both: Json, side: str) -> str:
    """How the cases of one side went; why they were not run, where a model server was away."""
    tests = both[side]
    if tests is None:
        return f"not run: {both['error'] or 'there are no cases'}"
    return f"{counted(tests['cases'], 'case')}, {tests['failed']} failed, {tests['skipped']} skipped"


def _what_came_of_it(body: Json) -> str:
    """The draft that was saved; or that there is none, and whether that is for want of anything to improve."""
    if body["draft"]:
        return f"saved as draft {body['name']}@{body['draft']['version']}"
    if body["findings"] or body["notes"]:
        return "no draft was saved: what is said above needs somebody to decide and write"
    who = "the rules" if body["by"] == "rules" else "the rules and the model"
    return f"nothing to improve in {body['name']}@{body['version']}: {who} found no fault; no draft was saved"


def _text_of(path: Path) -> str | None:
    """The text of a draft's file; None where there is no such file, so that it names a stored version."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text") from error
    except OSError:
        if path.suffix or len(path.parts) > 1:
            raise InvalidInput(f"{path} cannot be read, and is no stored version") from None
        return None


def _show_side(out: Console, side: str, body: Json) -> None:
    prompt: dict[str, Any] = body["prompt"]
    version = f"{prompt['name']}@{prompt['version']}" if prompt["version"] else f"{prompt['name']} (draft)"
    out.print(safe(f"{side}: {version}"), style="bold", soft_wrap=True)
    text = body.get("answer") or body.get("output") or f"{body['status']}: {body['reason']}"
    out.print(safe(text), soft_wrap=True, markup=False)


def _show_sections(out: Console, sections: Sequence[Json]) -> None:
    for one in sections:
        out.print(safe(f"# {one['section']}"), style="bold", soft_wrap=True)
        _show_lines(out, changes(one["diff"]))


def _show_lines(out: Console, lines: Sequence[str]) -> None:
    for line in lines:
        out.print(safe(line), style=_STYLES.get(line[:2]), soft_wrap=True, markup=False)
