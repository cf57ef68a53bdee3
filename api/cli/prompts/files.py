"""Prompts as files: a draft to begin with, checking, saving, and the whole library out and in."""

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
from api.cli.prompts.group import Name, commands, version_of
from api.cli.text_files import read_text, write_text
from kernel.errors import InvalidInput, NotFound
from kernel.records import Role
from pipeline.prompts.exchange import Incoming, brought_in, draft_of, exported, new_draft
from pipeline.prompts.views import checked

File = Annotated[Path, typer.Argument(metavar="FILE", help="A prompt's file; - is standard input.")]
Message = Annotated[str, typer.Option(help="What the version changes, and why.")]


@command(commands, "new")
def new(
    call: Call,
    name: Name,
    kind: Annotated[str, typer.Option(help="What it is for: task, classification, summary, extraction, …")] = "task",
    grounded: Annotated[bool, typer.Option("--grounded", help="It answers questions from passages.")] = False,
    source: Annotated[
        str | None, typer.Option("--from", metavar="NAME[@LABEL|@VERSION]", help="Begin with a copy of a prompt.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: NAME.md; - prints it.")] = None,
) -> None:
    """Write a file to change and save.

    It is a new prompt with all sections, or the newest version of one that is there.
    """
    path = output or Path(f"{name}.md")
    if str(path) != "-" and path.exists():
        raise InvalidInput(f"{path} is there already: choose another --output")
    try:
        version = version_of(call, source or name)
    except NotFound:
        if source is not None:
            raise
        version = None
    text = draft_of(version.template, name) if version else new_draft(name, kind, grounded=grounded)
    checked(text)
    of = version.version if version and version.name == name else 0
    if str(path) == "-" and not call.flags.json:
        write_text(path, text)
        return
    if str(path) != "-":
        write_text(path, text)
    saving = f"vouch prompts save {path} --from {of} --message …"

    def words(out: Console) -> None:
        out.print(Text(safe(f"wrote {path}; change it, then: {saving}")), soft_wrap=True)

    call.show({"name": name, "path": str(path), "from": of, "text": text}, words)


@command(commands, "check")
def check(call: Call, file: File) -> None:
    """Check a prompt's file without saving it.

    Exit 2 says what is wrong and where.
    """
    found = checked(read_text(file))
    cases = counted(len(found["anatomy"]["cases"]), "test case")
    call.show(found, lambda out: out.print(safe(f"{found['name']} is a valid prompt with {cases}"), soft_wrap=True))


@command(commands, "save")
def save(
    call: Call,
    file: File,
    message: Message = "",
    of: Annotated[
        int | None,
        typer.Option("--from", min=0, metavar="VERSION", help="The version that you changed; 0: it is a new prompt."),
    ] = None,
    key: KeyOption = None,
) -> None:
    """Store a file as the next version of its prompt. It changes no answer until a label is put on it.

    With --from, exit 1 where somebody saved another version meanwhile.
    """
    actor = actor_of(call, key, Role.EDITOR)
    made = call.workspace.prompts.save(read_text(file), actor.id, message, of)
    found = call.workspace.prompt_desk.version_item(made.name, made.version)
    words = f"saved {made.name}@{made.version}, a draft; ask for its review: vouch prompts submit {made.name}"
    call.show(found, lambda out: out.print(words))


@command(commands, "export")
def export(
    call: Call,
    folder: Annotated[Path, typer.Argument(metavar="DIR|FILE.json", help="A folder for files; - prints JSON.")],
    every: Annotated[
        bool, typer.Option("--all-versions", "--all", help="Every version, not the newest alone.")
    ] = False,
) -> None:
    """Write all prompts as plain files, or as one JSON document.

    Files are called `NAME.md`, with --all-versions `NAME@VERSION.md`.
    """
    found = exported(call.workspace.prompts, every=every)
    if str(folder) == "-" or folder.suffix == ".json":
        write_text(folder, json.dumps(found, ensure_ascii=False, indent=2) + "\n")
        if str(folder) == "-":
            return
    else:
        for item in found["items"]:
            version = f"@{item['version']}" if every else ""
            write_text(folder / f"{item['name']}{version}.md", item["text"])
    items = [{member: value for member, value in item.items() if member != "text"} for item in found["items"]]
    words = f"wrote {counted(len(items), 'version' if every else 'prompt')} to {folder}"
    call.show({"path": str(folder), "items": items}, lambda out: out.print(safe(words), soft_wrap=True))


@command(commands, "import")
def bring_in(
    call: Call,
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR|FILE...", help="Folders, prompts' files, or an exported JSON document.")
    ],
    message: Message = "",
    key: KeyOption = None,
) -> None:
    """Save every text that is not a version yet, as drafts.

    The same again changes nothing. Exit 1 where one fails.
    """
    actor = actor_of(call, key, Role.EDITOR)
    texts = [text for path in paths for text in _texts(path, message)]
    report = brought_in(call.workspace.prompts, texts, actor.id)

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
    """The prompts of a path, the older versions of one before the newer. Raises InvalidInput."""
    if path.is_dir():
        files = sorted((one for one in path.rglob("*.md") if one.is_file()), key=_order)
        found = [Incoming(read_text(one), str(one.relative_to(path)), message) for one in files]
        return [one for one in found if one.text.startswith(("---\n", "---\r\n"))]
    if path.suffix == ".json":
        return _listed(read_text(path), path.name, message)
    return [Incoming(read_text(path), path.name, message)]


def _order(path: Path) -> tuple[str, int]:
    name, _, version = path.stem.partition("@")
    return str(path.with_name(name)), int(version) if version.isdecimal() else 0


def _listed(text: str, place: str, message: str) -> list[Incoming]:
    try:
        document: Any = json.loads(text)
        items = document["items"]
        return [
            Incoming(
                str(one["text"]), f"{one.get('name', place)}@{one.get('version', number)}", message or one["message"]
            )
            for number, one in enumerate(items, 1)
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f'{place} is not an exported library: {{"items": [{{"text": …}}]}}') from error
