"""Prompts, people and a scripted model for the tests of the library."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from fake_model_server import DONE, USAGE, FakeModelServer, Reply, finish, token
from fast_parts import FastWorkspace, InlineParser

from kernel.records import Principal, PromptVersion, Role
from kernel.settings import Settings
from pipeline.prompts.anatomy import SECTIONS

EDITOR = Principal("key_editor", Role.EDITOR)
REVIEWER = Principal("key_reviewer", Role.REVIEWER, None)
ADMIN = Principal("key_admin", Role.ADMIN, None)
APP = Principal("key_app", Role.APP)


TASK_CASE = "- name: one\n  inputs: {text: long words}\n  expect:\n    - min_chars: 1"
QUESTION_CASE = (
    "- name: one\n  question: When?\n  context: [{title: T, text: At eleven.}]\n  expect:\n    - answers: true"
)


def prompt_text(
    name: str, *, task: str = "", question: str = "", header: str = "", tests: str = "", **sections: str
) -> str:
    """A prompt's file: a `task` prompt with one text input, or a grounded one where `question` is given."""
    inputs = "" if question else "inputs:\n  text:\n    schema: {type: string}\n"
    known = {one: sections.get(one.replace(" ", "_"), f"About {one} of {name}.") for one in SECTIONS}
    known |= {"context": "{{passages}}"} if question and "context" not in sections else {}
    known |= {"question": question} if question else {"task": task or "Shorten this: {{text}}"}
    body = "\n\n".join(f"# {one}\n{text}" for one, text in known.items())
    tests = tests or (QUESTION_CASE if question else TASK_CASE)
    more = f"\n\n# tests\n```yaml\n{tests}\n```"
    return f"---\nname: {name}\n{header}{inputs}---\n{body}{more}\n"


def saying(*texts: str) -> FakeModelServer:
    """A model server that replies these texts in turn, the last one for ever."""

    def step(text: str) -> Any:
        def reply(to: Reply) -> None:
            to.stream(token(text), finish(), USAGE, DONE)

        return reply

    return FakeModelServer(*map(step, texts))


def workspace_at(folder: Path, url: str | None = None, **flags: Any) -> FastWorkspace:
    """A workspace with the toy embedder on that database (None: a SQLite file of its own)."""
    shared = None if url is None or url.startswith("sqlite") else url
    name = f"t{secrets.token_hex(8)}"
    settings = Settings.load(home=folder / "home", workspace=name, database_url=shared, chunk_tokens=48, **flags)
    return FastWorkspace(settings)


def with_model(server: FakeModelServer) -> dict[str, Any]:
    """The settings that name a model server."""
    return {"generator": "openai", "openai_base_url": server.url, "openai_model": "toy-1", "openai_retries": 0}


def ingest(made: FastWorkspace, folder: Path, **pages: str) -> None:
    """Publish pages as the documents of one source."""
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text)
    made.indexer.ingest(InlineParser(), [folder], "pages")


def release(made: FastWorkspace, text: str, label: str = "production") -> PromptVersion:
    """Save a prompt, have it approved by another person, and label it; its tests are said to have passed."""
    library = made.prompts
    version = library.save(text, EDITOR.id, "a version")
    library.submit(version.name, version.version, EDITOR)
    library.approve(version.name, version.version, REVIEWER)
    info = made.generator.info
    passed = {"model": f"{info.provider}/{info.name}", "passed": True, "cases": 1, "failed": 0, "skipped": 0}
    library.tested(version.name, version.version, EDITOR, passed, {})
    library.label(version.name, version.version, label, ADMIN)
    return version
