"""Prompts, runs of them and releases in a workspace, for the tests that change each of their records."""

from __future__ import annotations

from fast_parts import FastWorkspace
from prompt_parts import ADMIN, APP, EDITOR, prompt_text, release

from kernel.ports import GenerationRequest
from kernel.records import Generation, ModelInfo, Principal, Role
from kernel.storage.prompt_runs import PromptRuns
from pipeline.prompts.runs import PromptRunner, RunRequest

OTHER = Principal("key_boss", Role.ADMIN, None)
CASES = "- name: one\n  inputs: {text: long}\n  expect:\n    - contains: short"


class _Model:
    """Says the same to everything."""

    info = ModelInfo("toy", "toy-1")

    def generate(self, request: GenerationRequest) -> Generation:
        del request
        return Generation("Short.")


def fill_prompts(made: FastWorkspace) -> None:
    """A prompt with versions, labels, runs by two people, and releases that went live and back."""
    for words in ("Cut: {{text}}", "Shorten: {{text}}"):
        release(made, prompt_text("shorten", task=words, tests=CASES))
    made.prompts.comment("shorten", 0, EDITOR, "a remark")
    made.prompts.reject("shorten", 2, ADMIN, "not yet")
    runner = PromptRunner(made.prompts, _Model, made.policies, PromptRuns(made.database))
    for who in (APP, EDITOR, APP):
        runner.run(RunRequest("shorten", {"text": "long words"}, who))
    desk = made.release_desk
    first = desk.add({"prompts": {"shorten": 1}, "policy": None}, ADMIN, "the first")
    second = desk.add({"prompts": {"shorten": 2}, "policy": 2}, ADMIN, "the second")
    for one in (first, second):
        desk.activate(one.number, OTHER, "go")
    desk.rollback(OTHER, "back")
