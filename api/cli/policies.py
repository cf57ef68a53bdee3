"""`vouch policies`: versions of the policy, and which one is in force."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.cli.call import Call, command, group, number_cursor, page_of
from api.cli.options import Cursor, Limit, StakesOption
from api.cli.output import safe
from api.views import policy_json, policy_text_json
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER, PolicyVersion
from pipeline.oversight.policy import LARGEST
from pipeline.oversight.policy_book import tried

commands = group("Versions of the policy that answers are judged by.")

Number = Annotated[int, typer.Argument(metavar="N", help="Number of the version; 0 came with the program.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A policy file (YAML).")]


@command(commands, "list")
def list_policies(call: Call, limit: Limit = 50, cursor: Cursor = None) -> None:
    """List versions, newest first."""
    book = call.workspace.policies
    current = book.in_force().version.sha256
    start = number_cursor(cursor) or 0
    found = [policy_json(one, current) | {"place": n} for n, one in enumerate(book.items()[start:], start + 1)]
    items, rest = page_of(found, limit, "place")
    shown = [{name: value for name, value in one.items() if name != "place"} for one in items]
    call.show_list(shown, rest, ("version", "in_force", "author", "message", "created_at"))


@command(commands, "show")
def show(
    call: Call, number: Annotated[int | None, typer.Argument(metavar="[N]", help="Default: in force.")] = None
) -> None:
    """Write the text of a version, or of the one in force."""
    book = call.workspace.policies
    current = book.in_force().version
    found = current if number is None else book.get(number)

    def words(out: Console) -> None:
        out.print(safe(found.text.rstrip("\n")), soft_wrap=True)

    call.show(policy_text_json(found, current.sha256), words)


@command(commands, "add")
def add(
    call: Call,
    file: File,
    message: Annotated[str, typer.Option(help="What the version changes, and why.")],
) -> None:
    """Check a policy and store it as the next version. It holds once it is released."""
    made = call.workspace.policies.add(read_text(file), LOCAL_OWNER.id, message)
    _tell(call, made, f"stored as version {made.number}; put it in force: vouch policies release {made.number}")


@command(commands, "release")
def release(call: Call, number: Number) -> None:
    """Put a version in force, from the next question on."""
    made = call.workspace.policies.release(number, LOCAL_OWNER.id)
    _tell(call, made, f"version {number} is in force")


@command(commands, "rollback")
def rollback(call: Call) -> None:
    """Put the version back in force that was before the last release."""
    made = call.workspace.policies.rollback(LOCAL_OWNER.id)
    _tell(call, made, f"version {made.number} is in force again")


@command(commands, "check")
def check(
    call: Call,
    file: File,
    question: Annotated[str | None, typer.Option(help="Also try its input rules on a question.")] = None,
    stakes: StakesOption = None,
) -> None:
    """Check a policy file without storing it; exit 2 names the line at fault."""
    found = tried(read_text(file), question, stakes)

    def words(out: Console) -> None:
        counts = ", ".join(f"{count} {stage}" for stage, count in found["rules"].items())
        out.print(safe(f"{found['name']} is a valid policy; rules: {counts}"), soft_wrap=True)
        if question is None:
            return
        asked = found["question"]
        out.print(safe(f"topics: {', '.join(asked['topics']) or '-'}; stakes: {asked['stakes']}"), soft_wrap=True)
        for verdict in asked["verdicts"]:
            out.print(safe(f"{verdict['verdict']:<7} {verdict['rule']} {verdict['detail']}".rstrip()), soft_wrap=True)
        if asked["refused"]:
            out.print(safe(f"refused: {asked['refused']}"), style="yellow", soft_wrap=True)

    call.show(found, words)


def read_text(path: Path) -> str:
    """The text of a file that is small enough to be a policy. Raises InvalidInput."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        return data.decode("utf-8")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text, or larger than {LARGEST // 1024} KiB") from error


def _tell(call: Call, made: PolicyVersion, text: str) -> None:
    current = call.workspace.policies.in_force().version.sha256
    call.show(policy_json(made, current), lambda out: out.print(text))
