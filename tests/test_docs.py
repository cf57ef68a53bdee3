"""The documentation against the program: commands, settings, routes, links and make targets that it names exist."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from api.app import create_app
from api.assembly import Workspace
from api.auth import ROLE
from api.cli import app
from api.problems import TITLES
from kernel.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
WRITTEN_BY_BENCH = ROOT / "docs" / "benchmarks.md"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"(?<!\!)\[[^\]\n]+\]\(([^)\s]+)\)")
_ROUTE = re.compile(r"`(GET|POST|DELETE|PUT|PATCH) (/[^`\s?]*)`")
_SETTING_ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
_HERE_DOCUMENT = re.compile(r"<<'(\w+)'\n.*?^\1$", re.MULTILINE | re.DOTALL)
_OPERATORS = {"|", ">", ">>", "<", "&", "&&", ";", "||", "2>"}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands_of(text: str) -> Iterator[list[str]]:
    """The words after `vouch` of each command shown: in shell blocks, and in code within sentences."""
    for language, block in _FENCE.findall(text):
        shown = _HERE_DOCUMENT.sub("", block).replace("\\\n", " ")
        for line in shown.splitlines() if language in ("sh", "console") else ():
            if language == "sh" or line.startswith("$ "):
                yield from called(line.removeprefix("$ "))
    for code in _CODE.findall(_FENCE.sub("", text)):
        if code.startswith("vouch "):
            yield from called(code)


def called(line: str) -> Iterator[list[str]]:
    """Each call of the program in a shell line, also within `$(…)`; a line that is no shell is taken by its words."""
    line = line.replace("$(", " ; ").replace(")", " ; ")
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    call: list[str] | None = None
    for word in [*words, ";"]:
        if word in _OPERATORS:
            if call:
                yield call
            call = None
        elif call is not None:
            call.append(word.rstrip(";"))
        elif word in ("vouch", ".venv/bin/vouch"):
            call = []


@cache
def program() -> Any:
    return typer.main.get_command(app)


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")} | {"--help"}


def shortcoming(words: Sequence[str]) -> str | None:
    """What is wrong with a call as a page shows it (`[--option VALUE]` and `list|show ID` included)."""
    bare = [word.strip("[]….,:") for word in words]
    given = [word.partition("=")[0] for word in bare if word.startswith("--")]
    plain = [word for place, word in enumerate(bare) if not takes_value(bare, place) and not word.startswith("--")]
    if not plain:
        unknown = set(given) - options_of(program())
        return f"no option {sorted(unknown)[0]}" if unknown else None
    command = program().get_command(None, plain[0])
    if command is None:
        return None if plain[0].isupper() else f"no command {plain[0]}"
    found = [command]
    if hasattr(command, "commands") and plain[1:]:
        names = [name for part in plain[1:] for name in part.split("|") if name.islower()]
        missing = [name for name in names[: 1 if "|" not in plain[1] else None] if name not in command.commands]
        if missing:
            return f"no command {plain[0]} {missing[0]}"
        found += [command.commands[name] for name in names if name in command.commands]
    unknown = set(given) - set().union(*(options_of(one) for one in found))
    return f"{plain[0]} has no option {sorted(unknown)[0]}" if unknown else None


def takes_value(words: Sequence[str], place: int) -> bool:
    """Whether the word at `place` is the value of a root option before it."""
    return place > 0 and words[place - 1] in (
        *("--home", "--workspace", "--role", "--format", "--source", "--status"),
        *("--document", "--principal", "--answer", "--reason"),
    )


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the forges make them."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_and_option_shown_exists(page: Path) -> None:
    wrong = {
        " ".join(call): found
        for call in commands_of(page.read_text(encoding="utf-8"))
        if (found := shortcoming(call)) is not None
    }
    assert wrong == {}


def test_the_check_of_commands_can_fail() -> None:
    assert shortcoming(["ask", "a question", "--nonsense"]) == "ask has no option --nonsense"
    assert shortcoming(["snapshots", "list|unroll", "N"]) == "no command snapshots unroll"
    assert shortcoming(["answer"]) == "no command answer"
    assert [*called("KEY=$(vouch keys create --role app) && vouch ask 'a b' | head")] == [
        ["keys", "create", "--role", "app"],
        ["ask", "a b"],
    ]


def test_every_command_is_in_the_reference() -> None:
    shown = {call[0] for call in commands_of((ROOT / "docs/reference/cli.md").read_text(encoding="utf-8"))}
    assert set(program().list_commands(None)) <= shown


def test_enough_commands_are_shown_for_this_to_mean_anything() -> None:
    assert sum(1 for page in PAGES for _ in commands_of(page.read_text(encoding="utf-8"))) >= 60


def test_every_setting_is_documented_with_its_default() -> None:
    rows = _SETTING_ROW.findall((ROOT / "docs/reference/settings.md").read_text(encoding="utf-8"))
    documented = {name: (environment, default) for name, environment, default, _ in rows}
    expected = {}
    for name, field in Settings.model_fields.items():
        default = "not set" if field.default is None else f"`{field.default}`"
        expected[name] = (f"{PREFIX}{name}".upper(), default)
    assert documented == expected
    assert len(rows) == len(documented)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_setting_named_exists(page: Path) -> None:
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | {"VOUCH_NAME"}
    assert set(re.findall(r"\bVOUCH_[A-Z_]+", page.read_text(encoding="utf-8"))) <= known


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_internal_link_resolves(page: Path) -> None:
    for target in _LINK.findall(_CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists() or there == WRITTEN_BY_BENCH, target
        assert not anchor or anchor in anchors(there), target


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The server's own description of itself; no database and no model are needed for it."""
    with Workspace(Settings.load(home=tmp_path_factory.mktemp("home"))) as workspace:
        yield json.loads(json.dumps(create_app(workspace).openapi()))


def test_every_route_is_documented_with_its_role(described: dict[str, Any]) -> None:
    page = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+) (/\S*)` \| (app|editor|reviewer|admin|) ?\| \S", page, re.MULTILINE)
    documented = {(method, path): role for method, path, role in rows}
    actual = {
        (method.upper(), path.replace("{name:path}", "{name}")): operation.get(ROLE, "")
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    }
    assert documented == actual


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_route_named_exists(page: Path, described: dict[str, Any]) -> None:
    actual = {(method.upper(), path) for path, operations in described["paths"].items() for method in operations}
    assert set(_ROUTE.findall(page.read_text(encoding="utf-8"))) <= actual


def test_every_kind_of_problem_is_documented() -> None:
    page = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z`, -]+`) \| (\d{3}) \|", page, re.MULTILINE)
    documented = {slug for slugs, _ in rows for slug in _CODE.findall(slugs)}
    assert documented == set(TITLES) - {"parse-failure"}


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        target for page in PAGES for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nothing_shown_is_of_one_machine_alone(page: Path) -> None:
    assert re.findall(r"(?<![\w.…])/(?:tmp|home|root|work|opt|usr|var)/\S*", page.read_text(encoding="utf-8")) == []


def test_keys_shown_are_not_whole() -> None:
    assert [page for page in PAGES if re.search(r"vouch_[\w-]{43}", page.read_text(encoding="utf-8"))] == []
