"""The group that the modules of this package add their commands to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.call import Call, group
from api.cli.text_files import read_text
from kernel.errors import Forbidden, InvalidInput
from kernel.records import LOCAL_OWNER, Principal, PromptVersion, Role
from pipeline.prompts.anatomy import load_yaml
from pipeline.prompts.library import split_reference
from pipeline.prompts.views import anatomy_of, unsaved

commands = group("Prompts: versions, labels, tests, releases, experiments.")

Reference = Annotated[str, typer.Argument(metavar="NAME[@LABEL|@VERSION]", help="A prompt, or one version of it.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the prompt.")]
KeyOption = Annotated[
    str | None, typer.Option("--key", metavar="SECRET", help="Key of who acts; - reads it from standard input.")
]


def actor_of(call: Call, key: str | None, *roles: Role) -> Principal:
    """Who acts: the owner of the key, or the local owner. Raises Unauthenticated, and Forbidden for a key of another
    role than `roles` (where some are named) and admin.
    """
    if key is None:
        return LOCAL_OWNER
    secret = sys.stdin.readline().strip() if key == "-" else key
    if not secret:
        raise InvalidInput("there is no key on standard input")
    actor = call.workspace.keys.authenticate(secret)
    if roles and actor.role not in (*roles, Role.ADMIN):
        raise Forbidden(f"this needs a key of role {' or '.join((*roles, Role.ADMIN))}; yours has role {actor.role}")
    return actor


def version_of(call: Call, reference: str) -> PromptVersion:
    """The version that a reference names: by number or label, or the newest of a name alone. Raises NotFound."""
    name, label = split_reference(reference)
    library = call.workspace.prompts
    return library.find(reference) if label else library.versions(name)[0]


def whole_or_version(call: Call, reference: str) -> tuple[str, int]:
    """Name and number of a reference; number 0 for a name alone, which is the prompt as a whole. Raises NotFound."""
    name, label = split_reference(reference)
    found = version_of(call, reference)
    return name, found.version if label else 0


def inputs_of(version: PromptVersion, given: list[str] | None, file: Path | None) -> dict[str, Any]:
    """Inputs from a JSON or YAML file, and `NAME=VALUE`s, which go before it. A value is text where the input is, else
    what JSON says it is. Raises InvalidInput.
    """
    found: dict[str, Any] = {}
    if file is not None:
        values = load_yaml(read_text(file), str(file), 0)
        if not isinstance(values, dict):
            raise InvalidInput(f"{file} must hold an object of inputs by name")
        found |= values
    declared = anatomy_of(version).header.inputs
    for one in given or ():
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise InvalidInput(f"--input takes NAME=VALUE, not {one!r}")
        text = name not in declared or declared[name].schema_.get("type") == "string"
        found[name] = value if text else _json(value)
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def text_or_version(call: Call, name: str) -> PromptVersion:
    """The version that a reference names, or the text of a file (a path with a slash or a dot, or -) as one."""
    if name != "-" and "/" not in name and not name.endswith((".md", ".markdown")):
        return version_of(call, name)
    return unsaved(read_text(Path(name)))
