"""A workspace whose model does what the prompt's role says, so that a version of a prompt can be planted as bad."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from fast_parts import FastWorkspace, InlineParser

from kernel.errors import GenerationFailed
from kernel.ports import GenerationRequest
from kernel.records import LOCAL_OWNER, Generation, ModelInfo, Principal, Question, Role
from kernel.settings import Settings
from pipeline.prompts.library import shipped_prompts

MODEL = "toy/obedient"
WRITER, CHECKER = Principal("key_writer", Role.EDITOR), Principal("key_checker", Role.REVIEWER)
ASKER = Principal("key_asker", Role.APP)
QUESTION = "Who keeps register 1?"
CASES = "\n\n# tests\n```yaml\n- name: plain\n  question: Who keeps it?\n  expect: [{answers: true}]\n```\n"


class Obedient:
    """Answers with the first passage's first sentence; breaks, is silent or cites nothing where the rules say so."""

    info = ModelInfo("toy", "obedient")

    def generate(self, request: GenerationRequest) -> Generation:
        rules = request.messages[0].content
        if "BREAK" in rules:
            raise GenerationFailed("the model broke")
        if "SILENT" in rules:
            return Generation("", "nothing to say", 10, 1)
        if not request.evidence.passages:
            return Generation("Hi!", None, 10, 2)
        passage = request.evidence.passages[0]
        text = passage.text[passage.sentences[-1].start : passage.sentences[-1].end].strip()
        return Generation(f"{text} [c1]", None, 100, 20, 0.001)


class ExperimentWorkspace(FastWorkspace):
    """A workspace that answers with that model."""

    @cached_property
    def generator(self) -> Obedient:  # type: ignore[override]
        return Obedient()


def opened(home: Path, **flags: Any) -> ExperimentWorkspace:
    """A workspace with a document."""
    made = ExperimentWorkspace(Settings.load(home=home / "home", chunk_tokens=48, **flags))
    folder = home / "folder"
    folder.mkdir(exist_ok=True)
    for n in (1,):
        (folder / f"{n}.md").write_text(f"# Register {n}\n\nThe Alpha Team keeps register {n} in Lisbon.\n")
    made.indexer.ingest(InlineParser(), [folder], "folder")
    return made


def version_of(made: FastWorkspace, rules: str, *, approved: bool = True) -> int:
    """A further version of the default prompt, with a word more in its role."""
    text = shipped_prompts()["grounded-answer"].template.replace("version: 1\n", "")
    text = text.replace("# role\n", f"# role\n{rules} ", 1).rstrip() + CASES
    return released(made, text, approved=approved)


def released(made: FastWorkspace, text: str, *, approved: bool = True) -> int:
    """A text as the next version of the prompt that it names, tested and approved."""
    saved = made.prompts.save(text, WRITER.id, "another wording")
    if approved:
        made.prompts.tested(saved.name, saved.version, LOCAL_OWNER, {"model": MODEL, "passed": True}, {})
        made.prompts.submit(saved.name, saved.version, WRITER)
        made.prompts.approve(saved.name, saved.version, CHECKER)
    return saved.version


def ask(made: FastWorkspace, session: str, who: Principal = ASKER, prompt: str | None = None) -> dict[str, Any]:
    return made.answering.ask(Question(QUESTION, who, session=session, prompt=prompt))
