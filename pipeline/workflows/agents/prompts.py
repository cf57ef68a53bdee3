"""The prompts of agents: the versions that their run was started with."""

from __future__ import annotations

from kernel.errors import IntegrityFailure
from kernel.records import PromptVersion
from pipeline.prompts.library import PromptLibrary
from pipeline.workflows.steps.base import Call
from pipeline.workflows.steps.pinned import chosen


class RunPrompts:
    """Reads versions from the library by what a run pinned."""

    def __init__(self, library: PromptLibrary) -> None:
        self._library = library

    def chosen(self, reference: str, call: Call) -> PromptVersion:
        """The version that a reference means in this run. Raises StepFailed where the run chose none, NotFound."""
        choice = chosen(call, reference)
        return self.pinned(reference.partition("@")[0], choice.number, choice.sha256)

    def pinned(self, name: str, version: int, sha256: str) -> PromptVersion:
        """Exactly that version. Raises NotFound, and IntegrityFailure where its text is another one now."""
        found = self._library.find(f"{name}@{version}")
        if found.sha256 != sha256:
            raise IntegrityFailure(f"prompt {name}@{version} is not the text that was chosen")
        return found
