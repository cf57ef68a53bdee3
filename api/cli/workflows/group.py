"""The group that the modules of this package add their commands to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.call import Call, group
from api.cli.text_files import read_text
from api.flows import Flows
from kernel.records import WorkflowVersion
from pipeline.workflows.library import split_reference

commands = group("Workflows: steps that run by themselves; versions, pilots, triggers.")

Reference = Annotated[str, typer.Argument(metavar="NAME[@LABEL|@VERSION]", help="A workflow, or one version of it.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the workflow.")]
Comment = Annotated[str, typer.Option(help="What you have to say of it.")]
Reason = Annotated[str, typer.Option(help="Why.")]


def flows_of(call: Call) -> Flows:
    """The workflows of the workspace, for what needs no embedding model."""
    return Flows(call.workspace)


def version_of(flows: Flows, reference: str) -> WorkflowVersion:
    """The version that a reference names: by number or label, or the newest of a name alone. Raises NotFound."""
    name, label = split_reference(reference)
    return flows.library.find(reference) if label else flows.library.versions(name)[0]


def whole_or_version(flows: Flows, reference: str) -> tuple[str, int]:
    """Name and number of a reference; number 0 for a name alone, which is the workflow as a whole. Raises NotFound."""
    name, label = split_reference(reference)
    found = version_of(flows, reference)
    return name, found.version if label else 0


def text_or_version(flows: Flows, name: str) -> WorkflowVersion:
    """The version that a reference names, or the text of a file (a path with a slash or a dot, or -) as one."""
    if name != "-" and "/" not in name and not name.endswith((".yaml", ".yml")):
        return version_of(flows, name)
    return flows.library.draft(read_text(Path(name)))[0]
