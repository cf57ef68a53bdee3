"""Inputs of prompts on the command line: `--input NAME=VALUE`, and files of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from api.assembly import Workspace
from kernel.errors import InvalidInput
from pipeline.prompts.anatomy import LARGEST, load_yaml
from pipeline.prompts.rendering import compile_prompt
from pipeline.prompts.runs import given_inputs

InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=VALUE", help="An input that the prompt declares; may be given again."),
]
InputsOption = Annotated[
    Path | None, typer.Option("--inputs", metavar="FILE", help="Inputs as JSON or YAML; - reads standard input.")
]
LARGEST_FILE = 16 * LARGEST


def inputs_of(
    workspace: Workspace, prompt: str | None, given: Sequence[str] | None, file: Path | None
) -> dict[str, Any]:
    """The inputs that the options give; a single one goes before the file's. Raises InvalidInput, NotFound."""
    if not given and file is None:
        return {}
    found = read_inputs(file) if file is not None else {}
    declared = compile_prompt(workspace.prompts.find(prompt)).inputs if given else {}
    return found | given_inputs(given or (), declared)


def read_inputs(file: Path) -> dict[str, Any]:
    """The inputs in a file. Raises InvalidInput where it cannot be read or holds none."""
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(LARGEST_FILE + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(LARGEST_FILE + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 text") from error
    if len(data) > LARGEST_FILE:
        raise InvalidInput(f"{file} is larger than {LARGEST_FILE >> 20} MiB")
    try:
        found = json.loads(text)
    except ValueError:
        found = load_yaml(text, str(file), 0)
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise InvalidInput(f"{file} does not hold inputs: write them as `name: value`, or as a JSON object")
    return found
