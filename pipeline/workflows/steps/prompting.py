"""`prompt`: a prompt of the library that answers from its inputs alone, run and recorded as every run of one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from pipeline.prompts.library import PromptLibrary
from pipeline.prompts.rendering import compile_prompt
from pipeline.prompts.runs import DONE, FAILED, PromptRunner, RunRequest, refuse_grounded
from pipeline.workflows.spec import Stakes, Step, Strict
from pipeline.workflows.steps.asking import COUNT, TEXT
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed, Used
from pipeline.workflows.steps.pinned import chosen, same_model, whole


class PromptWith(Strict):
    """Which prompt, and what is put into it."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    inputs: dict[str, Any] = Field(default_factory=dict)
    stakes: Stakes | None = None


class PromptStep(Plain):
    """`prompt`: needs a model. A reply that the policy refuses or withholds fails the step for good."""

    name: ClassVar[str] = "prompt"
    With: ClassVar[type[Strict]] = PromptWith

    def __init__(self, runner: PromptRunner, library: PromptLibrary) -> None:
        self._runner = runner
        self._library = library

    def prompts(self, step: Step) -> Sequence[str]:
        """The one that it names."""
        named = step.with_.get("name")
        return (named,) if isinstance(named, str) else ()

    def output(self, step: Step) -> Mapping[str, Any]:
        """The reply; `json` has the schema that the prompt declares now, and is null where it declares none. Raises
        NotFound for a prompt that is not there, InvalidInput for one that answers from documents.
        """
        made = whole({"name": TEXT, "version": COUNT, "sha256": TEXT})
        return whole({"id": TEXT, "text": TEXT, "json": self._json(step), "prompt": made, "tries": COUNT})

    def _json(self, step: Step) -> Mapping[str, Any]:
        compiled = compile_prompt(self._library.find(str(step.with_.get("name", ""))))
        refuse_grounded(compiled)
        declared = compiled.anatomy.header.output.json_schema
        return {"type": "null"} if declared is None else declared

    def run(self, given: PromptWith, call: Call) -> Done:
        """Raises StepFailed: where the model failed, trying again may help."""
        return reply(self._runner, call, given.name, given.inputs, given.stakes)


def reply(runner: PromptRunner, call: Call, name: str, inputs: Mapping[str, Any], stakes: Stakes | None = None) -> Done:
    """A prompt's reply to inputs, at the version that the run chose. Raises StepFailed, InvalidInput."""
    same_model(call, runner.model)
    request = RunRequest(
        name,
        inputs,
        call.principal,
        stakes=stakes or call.stakes,
        chosen=chosen(call, name),
        key=call.key,
    )
    body = runner.run(request)
    if body["status"] != DONE:
        raise StepFailed(
            str(body["reason"]), slug=body["status"], retryable=body["status"] == FAILED, output={"id": body["id"]}
        )
    usage, model = body["usage"], body["model"]
    used = Used(
        usage["prompt_tokens"],
        usage["completion_tokens"],
        usage["cost"],
        f"{model['provider']}/{model['name']}",
        {"prompt_runs": [body["id"]]},
    )
    made = {name: body["prompt"][name] for name in ("name", "version", "sha256")}
    return Done(
        {"id": body["id"], "text": body["output"], "json": body["json"], "prompt": made, "tries": body["tries"]}, used
    )
