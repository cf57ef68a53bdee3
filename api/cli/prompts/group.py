"""The group that the modules of this package add their commands to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.call import Call, group
from api.cli.text_files import read_text
from kernel.records import PromptVersion
from pipeline.prompts.library import split_reference
from pipeline.prompts.views import unsaved

commands = group("Prompts: versions, labels, tests, releases, experiments.")

Reference = Annotated[str, typer.Argument(metavar="NAME[@LABEL|@VERSION]", help="A prompt, or one version of it.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the prompt.")]


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


def text_or_version(call: Call, name: str) -> PromptVersion:
    """The version that a reference names, or the text of a file (a path with a slash or a dot, or -) as one."""
    if name != "-" and "/" not in name and not name.endswith((".md", ".markdown")):
        return version_of(call, name)
    return unsaved(read_text(Path(name)))
