"""Workflows as files: a draft to begin with, checking, saving, and the whole library out and in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command
from api.cli.output import counted, safe
from api.cli.text_files import read_text, write_text
from api.cli.workflows.group import Name, commands, flows_of, version_of
from kernel.errors import InvalidInput, NotFound
from kernel.records import Role
from pipeline.prompts.exchange import Incoming
from pipeline.workflows.drafts import new_draft
from pipeline.workflows.exchange import brought_in, draft_of, exported

File = Annotated[Path, typer.Argument(metavar="FILE", help="A workflow's file; - is standard input.")]
Message = Annotated[str, typer.Option("--message", "-m", help="What the version changes, and why.")]


@command(commands, "new")
def new(
    call: Call,
    name: Name,
    source: Annotated[
        str | None, typer.Option("--from", metavar="NAME[@LABEL|@VERSION]", help="Begin with a copy of a workflow.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: NAME.yaml; - prints it.")] = None,
) -> None:
    """Write a file to change and save.

    It is a new workflow that finds, answers and delivers, or the newest version of one that is there.
    """
    path, flows = output or Path(f"{name}.yaml"), flows_of(call)
    if str(path) != "-" and path.exists():
        raise InvalidInput(f"{path} is there already: choose another --output")
    try:
        version = version_of(flows, source or name)
    except NotFound:
        if source is not None:
            raise
        version = None
    text = draft_of(version.text, name) if version else new_draft(name)
    of = version.version if version and version.name == name else 0
    if str(path) != "-" or not call.flags.json:
        write_text(path, text)
    if str(path) == "-" and not call.flags.json:
        return
    saving = f"vouch workflows save {path} --from {of} --message …"

    def words(out: Console) -> None:
        out.print(Text(safe(f"wrote {path}; change it, then: {saving}")), soft_wrap=True)

    call.show({"name": name, "path": str(path), "from": of, "text": text}, words)


@command(commands, "check")
def check(call: Call, file: File) -> None:
    """Check a workflow's file without saving it.

    Exit 2 names line and field of what is wrong. What might be better is told, too.
    """
    found = flows_of(call).library_desk.checked(read_text(file))

    def words(out: Console) -> None:
        steps = counted(len(found["outline"]["steps"]), "step")
        out.print(safe(f"{found['name']} is a valid workflow of {steps}"), soft_wrap=True)
        for one in found["warnings"]:
            out.print(
                Text(safe(f"line {one['line']}, {one['field']}: {one['message']}"), style="yellow"), soft_wrap=True
            )

    call.show(found, words)


@command(commands, "save")
def save(
    call: Call,
    file: File,
    message: Message = "",
    of: Annotated[
        int | None,
        typer.Option("--from", min=0, metavar="VERSION", help="The version that you changed; 0: it is a new workflow."),
    ] = None,
    key: KeyOption = None,
) -> None:
    """Store a file as the next version of its workflow.

    It is a draft: nothing runs it yet.

    With --from, exit 1 where somebody saved another version meanwhile.
    """
    flows, actor = flows_of(call), actor_of(call, key, Role.EDITOR)
    made = flows.library.save(read_text(file), actor.id, message, of)
    found = flows.library_desk.version_item(made.name, made.version)
    words = f"saved {made.name}@{made.version}, a draft; try it: vouch workflows pilot {made.name}"
    call.show(found, lambda out: out.print(words))


@command(commands, "promote")
def promote(
    call: Call,
    source: Annotated[str, typer.Argument(metavar="ANSWER_ID|RUN_ID", help="A past answer, or run of a prompt.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the new workflow.")],
    message: Message = "",
    key: KeyOption = None,
) -> None:
    """Save a draft that does again what was asked or run once.

    The question, or the inputs, become the example of its input.
    """
    flows, actor = flows_of(call), actor_of(call, key, Role.EDITOR)
    made = flows.workflow_promoter.promote(source, name, actor, message)
    found = flows.library_desk.version_item(made.name, made.version) | {"text": made.text}
    call.show(found, lambda out: out.print(safe(f"saved as draft {name}@{made.version}"), soft_wrap=True))


@command(commands, "export")
def export(
    call: Call,
    folder: Annotated[Path, typer.Argument(metavar="DIR|FILE.json", help="A folder for files; - prints JSON.")],
    every: Annotated[bool, typer.Option("--all-versions", help="Every version, not the newest alone.")] = False,
) -> None:
    """Write all workflows as plain files, or as one JSON document.

    Files are called `NAME.yaml`, with --all-versions `NAME@VERSION.yaml`.
    """
    found = exported(flows_of(call).library, every=every)
    if str(folder) == "-" or folder.suffix == ".json":
        write_text(folder, json.dumps(found, ensure_ascii=False, indent=2) + "\n")
        if str(folder) == "-":
            return
    else:
        for item in found["items"]:
            version = f"@{item['version']}" if every else ""
            write_text(folder / f"{item['name']}{version}.yaml", item["text"])
    items = [{member: value for member, value in item.items() if member != "text"} for item in found["items"]]
    words = f"wrote {counted(len(items), 'version' if every else 'workflow')} to {folder}"
    call.show({"path": str(folder), "items": items}, lambda out: out.print(safe(words), soft_wrap=True))


@command(commands, "import")
def bring_in(
    call: Call,
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR|FILE...", help="Folders, workflows' files, or an exported document.")
    ],
    message: Message = "",
    key: KeyOption = None,
) -> None:
    """Save every text that is not a version yet, as drafts.

    The same again changes nothing. Exit 1 where one fails.
    """
    flows, actor = flows_of(call), actor_of(call, key, Role.EDITOR)
    texts = [text for path in paths for text in _texts(path, message)]
    report = brought_in(flows.library, texts, actor.id)

    def words(out: Console) -> None:
        for one in report["added"]:
            out.print(Text(safe(f"added {one['name']}@{one['version']} from {one['place']}")), soft_wrap=True)
        for one in report["failed"]:
            out.print(Text(safe(f"failed {one['place']}: {one['reason']}"), style="red"), soft_wrap=True)
        out.print(", ".join(f"{len(found)} {kind}" for kind, found in report.items()))

    call.show(report, words)
    if report["failed"]:
        raise typer.Exit(1)


def _texts(path: Path, message: str) -> list[Incoming]:
    """The workflows of a path, the older versions of one before the newer. Raises InvalidInput."""
    if path.is_dir():
        files = sorted((one for one in path.rglob("*.yaml") if one.is_file()), key=_order)
        return [Incoming(read_text(one), str(one.relative_to(path)), message) for one in files]
    if path.suffix == ".json":
        return _listed(read_text(path), path.name, message)
    return [Incoming(read_text(path), path.name, message)]


def _order(path: Path) -> tuple[str, int]:
    name, _, version = path.stem.partition("@")
    return str(path.with_name(name)), int(version) if version.isdecimal() else 0


def _listed(text: str, place: str, message: str) -> list[Incoming]:
    try:
        items: Any = json.loads(text)["items"]
        return [
            Incoming(str(one["text"]), f"{one['name']}@{one['version']}", message or str(one["message"]))
            for one in items
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f'{place} is not an exported library: {{"items": [{{"text": …}}]}}') from error
