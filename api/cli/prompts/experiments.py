"""`vouch prompts experiment`: comparing versions on real questions, and letting a new one out carefully."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command, group, number_cursor, page_of
from api.cli.options import Cursor, Limit
from api.cli.output import number, safe, table
from api.cli.policies import read_text
from api.cli.prompts.group import commands
from kernel.errors import Forbidden, InvalidInput
from kernel.records import Principal, Role
from pipeline.prompts.anatomy import load_yaml
from pipeline.prompts.declaration import CANARY, read_declaration

experiments = group("Experiments and canaries on versions of a prompt.")
commands.add_typer(experiments, name="experiment")

ExperimentId = Annotated[str, typer.Argument(metavar="ID", help="Id of the experiment, exp_….")]
COLUMNS = ("id", "prompt", "kind", "state", "reason", "created_at")
FIGURES = ("answers", "units", "answered", "abstained", "failed", "confidence", "supported", "feedback", "tokens")
SURELY = 10_000
"""Evidence is a product: beyond this it is said no more closely."""
DIGITS = {"answers": 0, "units": 0, "tokens": 0}
"""After the point, of a figure that is no share (those have three)."""


class Unit(StrEnum):
    """Who is drawn once and for all."""

    USER = "user"
    SESSION = "session"


@command(experiments, "list")
def list_experiments(
    call: Call,
    prompt: Annotated[str | None, typer.Option(metavar="NAME", help="Those of this prompt.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> None:
    """List experiments and canaries, newest first."""
    before = number_cursor(cursor)
    found = [one for one in call.workspace.experiments.items(prompt) if before is None or one["leaf"] < before]
    items, rest = page_of(found, limit, "leaf")
    call.show_list(items, rest, COLUMNS)


@command(experiments, "start")
def start(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The prompt.")],
    arm: Annotated[
        list[str] | None,
        typer.Option(metavar="[ARM=]VERSION[:SHARE]", help="An arm; the first is what others are compared with."),
    ] = None,
    canary: Annotated[
        int | None, typer.Option(metavar="VERSION", help="Let a version out to a few, beside production.")
    ] = None,
    share: Annotated[float | None, typer.Option(help="The canary's share of the callers (0.2).")] = None,
    unit: Annotated[Unit | None, typer.Option(help="Who is drawn once and for all (user).")] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="METRIC[:cap=X|:within=X]", help="What decides (answered).")
    ] = None,
    guard: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC:at_most=X,after=N",
            help="What ends it at once: at_most, at_least (with after), or worse_by (than the first arm).",
        ),
    ] = None,
    max_samples: Annotated[int | None, typer.Option(help="Answers in all, after which it ends.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="A whole declaration (YAML).")] = None,
    comment: Annotated[str, typer.Option(help="What it is for; recorded.")] = "",
    key: KeyOption = None,
) -> None:
    """Draw callers to several approved versions from now on.

    Callers who name a label or a version take no part. Who is drawn where never changes. A winner, a broken guard or
    enough answers end it.
    """
    declared: dict[str, Any] = _from_file(file) if file else {}
    if canary is not None:
        declared |= {"kind": CANARY, "arms": [{"version": canary} | ({"share": share} if share else {})]}
    elif arm:
        declared["arms"] = [_arm(one) for one in arm]
    given = {"unit": unit and unit.value, "max_samples": max_samples, "metric": metric and _scaled(metric, "name")}
    declared |= {one: value for one, value in given.items() if value is not None}
    declared |= {"guards": [_scaled(one, "metric") for one in guard]} if guard else {}
    if "arms" not in declared:
        raise InvalidInput("name at least one --arm, or a --canary")
    made = call.workspace.experiments.start(name, read_declaration(declared), _admin(call, key), comment)
    call.show(made, lambda out: _show(out, made))


@command(experiments, "status")
def status(call: Call, experiment_id: ExperimentId) -> None:
    """Show the arms in figures, what decides, and the guards. Looking often makes no winner likelier."""
    found = call.workspace.experiments.status(experiment_id)
    call.show(found, lambda out: _show(out, found))


@command(experiments, "stop")
def stop(
    call: Call,
    experiment_id: ExperimentId,
    reason: Annotated[str, typer.Option(help="Why; recorded.")] = "",
    key: KeyOption = None,
) -> None:
    """End an experiment: everybody gets production again.

    That counts from the next question on.
    """
    found = call.workspace.experiments.stop(experiment_id, _admin(call, key), reason)
    call.show(found, lambda out: _show(out, found))


@command(experiments, "promote")
def promote(
    call: Call,
    experiment_id: ExperimentId,
    arm: Annotated[str | None, typer.Option(help="The arm; default: the winner's, or the canary.")] = None,
    comment: Annotated[str, typer.Option(help="Why; recorded.")] = "",
    key: KeyOption = None,
) -> None:
    """End an experiment and put production on an arm's version.

    It is one step, and the version must be approved.
    """
    found = call.workspace.experiments.promote(experiment_id, _admin(call, key), arm, comment)
    call.show(found, lambda out: _show(out, found))


def _admin(call: Call, key: str | None) -> Principal:
    """Who acts. Raises Forbidden for a key that is no admin's."""
    actor = actor_of(call, key)
    if actor.role != Role.ADMIN:
        raise Forbidden(f"this needs a key of role admin; yours has role {actor.role.value}")
    return actor


def _from_file(path: Path) -> dict[str, Any]:
    value = load_yaml(read_text(path), str(path), 0)
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} holds no declaration")
    return value


def _arm(text: str) -> dict[str, Any]:
    name, equals, rest = text.rpartition("=")
    version, colon, share = rest.partition(":")
    try:
        found: dict[str, Any] = {"version": int(version)} | ({"share": float(share)} if colon else {})
    except ValueError as error:
        raise InvalidInput(f"--arm takes [ARM=]VERSION[:SHARE], not {text!r}") from error
    return found | ({"name": name} if equals else {})


def _scaled(text: str, name: str) -> dict[str, Any]:
    """A metric or guard: METRIC:member=number,…"""
    metric, _, members = text.partition(":")
    found: dict[str, Any] = {name: metric}
    for member in members.split(",") if members else ():
        key, _, value = member.partition("=")
        try:
            found[key] = int(value) if key == "after" else float(value)
        except ValueError as error:
            raise InvalidInput(f"{text!r}: {member!r} is not MEMBER=NUMBER") from error
    return found


def _show(out: Console, found: Mapping[str, Any]) -> None:
    ended = f", {found['reason']}" if found["reason"] else ""
    out.print(safe(f"{found['kind']} {found['id']} on {found['prompt']}: {found['state']}{ended}"), soft_wrap=True)
    out.print(table(("arm", "version", "share", *FIGURES, "p50 ms", "p95 ms"), [*_rows(found)]))
    for one in found["comparisons"]:
        out.print(safe(_compared(one, found["declared"]["alpha"])), soft_wrap=True)
    for one in found["guards"]:
        out.print(safe(f"guard on {one['arm']} {one['state']}: {one['told']}"), soft_wrap=True)
    if not found["drawn_as_declared"]:
        out.print("Warning: users or sessions are not spread over the arms as declared: trust no figure", style="red")
    if found["winner"]:
        out.print(safe(f"winner: {found['winner']}"), style="green")


def _rows(found: Mapping[str, Any]) -> Sequence[Sequence[object]]:
    rows = []
    for arm in found["arms"]:
        figures = found["figures"][arm["name"]]
        shown = [number(figures[one], DIGITS.get(one, 3)) for one in FIGURES]
        latency = [number(figures["latency_ms"][one], 0) for one in ("p50", "p95")]
        rows.append([arm["name"], arm["version"], number(arm["share"], 2), *shown, *latency])
    return rows


def _compared(one: Mapping[str, Any], alpha: float) -> str:
    if one["difference"] is None:
        return f"{one['arm']} against {one['against']} by {one['metric']}: nothing to compare yet"
    evidence = f"{one['evidence']:.1f}" if one["evidence"] < SURELY else f"over {SURELY}"
    sure = f"{100 * (1 - alpha):g} %"
    return (
        f"{one['arm']} against {one['against']} by {one['metric']} ({one['better']} is better): "
        f"{one['difference']:+.3f}, "
        f"between {one['low']:+.3f} and {one['high']:+.3f} ({sure}, at any look); "
        f"evidence {evidence} of {one['needed']:.0f}"
    )
