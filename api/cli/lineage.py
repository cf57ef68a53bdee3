"""`vouch lineage`: what an answer stood on."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from api.cli.call import Call, command
from api.cli.output import write_json
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER

commands = typer.Typer(rich_markup_mode=None)


class Form(StrEnum):
    """How lineage is written."""

    JSON = "json"
    TURTLE = "turtle"
    JSONLD = "jsonld"
    DOT = "dot"


@command(commands)
def lineage(
    call: Call,
    answer_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the answer, ans_….")],
    form: Annotated[Form, typer.Option("--format", help="turtle and jsonld are W3C PROV-O.")] = Form.JSON,
) -> None:
    """Write the lineage of an answer: sources, documents, passages, entities, prompt, model, answer."""
    if call.flags.json and form in (Form.TURTLE, Form.DOT):
        raise InvalidInput(f"{form.value} is not JSON; leave out --json")
    reader = call.workspace.lineage
    if form == Form.JSON:
        write_json(reader.lineage(answer_id, LOCAL_OWNER))
    else:
        sys.stdout.write(reader.text(answer_id, LOCAL_OWNER, form.value).rstrip("\n") + "\n")
