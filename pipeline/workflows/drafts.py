"""Texts of workflows to begin with: a new one, or one that does every week what was asked or run once by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from kernel.errors import InvalidInput
from kernel.records import AnswerStatus, Principal, WorkflowVersion
from kernel.storage.prompt_runs import PromptRuns
from pipeline.oversight.release import Releases
from pipeline.workflows.library import WorkflowLibrary
from pipeline.workflows.reading import read_workflow

OWNER = "your-team"
SUPPORTED = {"name": "stands on the documents", "evidence": {"supported": 1.0, "citations": 1}}


def new_draft(name: str, *, title: str = "") -> str:
    """The text of a workflow to begin with: it finds, answers, checks and delivers. It can be saved as it is.

    Raises InvalidInput for a name that can be none.
    """
    head = {"name": name, "title": title or name.replace("-", " ").capitalize()}
    text = _text(head | _asking("What changed?", None), ("What it does, and for whom, belongs into `description`.",))
    try:
        read_workflow(text)
    except InvalidInput as error:
        raise InvalidInput(f"no workflow can be made of this name: {error}") from error
    return text


@dataclass(frozen=True, slots=True)
class WorkflowPromoter:
    """Makes drafts of workflows from what was asked or run once."""

    library: WorkflowLibrary
    releases: Releases
    prompt_runs: PromptRuns

    def promote(self, source: str, name: str, principal: Principal, message: str = "") -> WorkflowVersion:
        """Save a draft, as the first version of a new workflow, from an answer (`ans_…`) or the run of a prompt. The
        question or inputs become the example of its input.

        Raises NotFound for what `principal` may not read, PreconditionFailed where the workflow exists already,
        InvalidInput.
        """
        if source.startswith("ans_"):
            text = from_answer(self.releases.record(source, principal).body, name)
        else:
            text = from_prompt_run(self.prompt_runs.get(source, principal), name)
        return self.library.save(text, principal.id, message or f"From {source}", 0)


def from_answer(body: Mapping[str, Any], name: str) -> str:
    """A workflow that asks the question of an answer again, checks what comes and delivers it."""
    if body["status"] not in (AnswerStatus.ANSWERED, AnswerStatus.PARTIAL, AnswerStatus.ABSTAINED):
        raise InvalidInput(f"{body['id']} is {body['status']}: only an answer or an abstention can become a workflow")
    about = " ".join(body["question"].split())
    head = {"name": name, "title": f"{about[:97]}…" if len(about) > 98 else about}  # a line
    return _text(head | _asking(body["question"], body["prompt"]["name"]), (f"From the answer {body['id']}.",))


def from_prompt_run(stored: Any, name: str) -> str:
    """A workflow that runs a prompt again on other inputs, and delivers what comes."""
    if stored.erased:
        raise InvalidInput(f"the record of {stored.id} was erased")
    inputs, prompt = dict(stored.run["inputs"]), stored.body["prompt"]["name"]
    properties = {member: _schema_of(value) for member, value in inputs.items()}
    steps: list[dict[str, Any]] = [
        {
            "id": "write",
            "kind": "prompt",
            "with": {"name": prompt, "inputs": {member: f"{{{{ input.{member} }}}}" for member in inputs}},
        },
        _delivery(name, "write", "text"),
    ]
    head = {"name": name, "title": f"Runs the prompt {prompt}"}
    return _text(head | _whole(properties, inputs, steps), (f"From the run {stored.id} of prompt {prompt}.",))


def _asking(question: str, prompt: str | None) -> dict[str, Any]:
    asked = {"question": "{{ input.question }}"}
    answer = {"id": "answer", "kind": "ask", "needs": ["find"], "with": asked | ({"prompt": prompt} if prompt else {})}
    steps: list[dict[str, Any]] = [
        {
            "id": "find",
            "kind": "retrieve",
            "with": asked,
            "checks": [{"name": "something was found", "that": "output.results | length > 0"}],
        },
        answer | {"checks": [SUPPORTED]},
        _delivery("answers", "answer", "answer"),
    ]
    return _whole({"question": {"type": "string", "minLength": 1, "maxLength": 4000}}, {"question": question}, steps)


def _whole(properties: Mapping[str, Any], example: Mapping[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    inputs = {"type": "object", "properties": dict(properties), "required": list(properties)}
    return {
        "owner": OWNER,
        "stakes": "low",
        "inputs": inputs | {"additionalProperties": False},
        "example": dict(example),
        "steps": steps,
    }


def _delivery(folder: str, step: str, member: str) -> dict[str, Any]:
    given = {"to": "file", "path": f"{folder}/{{{{ run.id }}}}.md", "text": f"{{{{ steps.{step}.output.{member} }}}}"}
    return {"id": "deliver", "kind": "deliver", "needs": [step], "with": given}


def _schema_of(value: Any) -> dict[str, Any]:
    kinds = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"))
    return next(({"type": name} for kind, name in kinds if isinstance(value, kind)), {})


def _text(members: Mapping[str, Any], remarks: tuple[str, ...]) -> str:
    lines = "".join(f"# {one}\n" for one in remarks)
    return lines + yaml.safe_dump(dict(members), sort_keys=False, allow_unicode=True, width=110)
