"""The house's own rules, checked: layers, one place for settings, docs and commands that match the code."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kernel.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
ROOMS = ("kernel", "ingest", "graph", "retrieval", "pipeline", "api")
SERVER_CHILD = """
import sys
import api.app, api.routes.questions, api.cli, pipeline.answering, retrieval.search
print(sorted({name.split(".")[0] for name in sys.modules} & {"torch", "sentence_transformers", "transformers", "onnx"}))
"""


def sources() -> list[Path]:
    """Every module of the rooms."""
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    return subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_rooms_import_down_only() -> None:
    """import-linter's contracts, as pyproject.toml states them."""
    done = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def reads_the_environment(path: Path) -> bool:
    """Whether a module reads `os.environ` or `os.getenv`; setting a variable for a library is another matter."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    set_only = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
    }
    attributes = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and id(node) not in set_only
    }
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return bool(attributes & {"os.environ", "os.getenv", "os.environb"} or imported & {"environ", "getenv"})


def test_settings_alone_read_the_environment() -> None:
    """But for the sandbox: it makes the environment of the process that it starts, and the child clears its own."""
    found = {path.relative_to(ROOT).as_posix() for path in sources() if reads_the_environment(path)}
    assert "kernel/settings.py" in found
    assert {name for name in found if not name.startswith("ingest/sandbox")} <= {"kernel/settings.py"}


def test_serving_loads_no_training_library() -> None:
    done = run(sys.executable, "-c", SERVER_CHILD)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_no_module_uses_what_is_banned() -> None:
    """Nothing that runs what data says: no pickle, eval, unsafe YAML or shell."""
    banned = re.compile(
        r"^\s*(?:import|from) (?:pickle|marshal|shelve|dill)\b|(?<![.\w])(?:eval|exec)\("
        r"|\byaml\.(?:load|unsafe_load)\(|shell=True|allow_pickle=True",
        re.MULTILINE,
    )
    assert [path.name for path in sources() if banned.search(path.read_text(encoding="utf-8"))] == []


def packaged() -> dict[str, list[str]]:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = data["tool"]["setuptools"]
    return found


def test_every_file_that_the_program_reads_is_packaged() -> None:
    """Migrations, prompts, weights: what is not Python must match the package data, what is needs a package."""
    patterns = packaged()["package-data"]["*"]  # type: ignore[call-overload]
    others = [
        path
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert [path.name for path in others if not any(path.match(pattern) for pattern in patterns)] == []
    versions = ROOT / "kernel" / "storage" / "migrations" / "versions"
    assert list(versions.glob("0001_*.py"))
    assert (ROOT / "pipeline" / "prompts" / "shipped" / "grounded-answer.md") in others
    assert (ROOT / "retrieval" / "ranker.json") in others


def test_everything_that_is_needed_is_pinned() -> None:
    """Set-up installs what the lock files name and nothing more: what is missing there, a fresh checkout lacks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(line) for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]]
    locks = "\n".join(
        (ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "requirements-extra.lock")
    )
    pinned = {canonicalize_name(name): pin for name, pin in re.findall(r"^([\w.-]+)==(\S+)$", locks, re.MULTILINE)}
    lacking = [
        need.name for need in wanted if not need.specifier.contains(pinned.get(canonicalize_name(need.name), "0"))
    ]
    assert lacking == []


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert version(project["name"]) == project["version"]
    assert project["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    """By its name, as a whole word, with the name of its environment variable following from PREFIX."""
    text = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert re.search(rf"(?<![\w-]){name}(?![\w-])", text), f"docs/reference/settings.md does not mention {name}"


def test_no_setting_is_documented_that_there_is_not() -> None:
    text = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    named = set(re.findall(rf"\b{PREFIX}([A-Z_]+)\b", text))
    assert {name.lower() for name in named - {"NAME"}} <= set(Settings.model_fields)


def test_the_readmes_commands_exist() -> None:
    """`make X` has a target X, and `vouch X` is a command."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    made = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.MULTILINE))
    assert made
    assert made <= targets
    commands = set(re.findall(r"(?:^|`|/)vouch ([a-z]+)", readme, re.MULTILINE))
    known = run(str(Path(sys.executable).with_name("vouch")), "--help").stdout
    assert known
    assert {command for command in commands if not re.search(rf"\b{command}\b", known)} == set()
