"""Agents in runs of workflows: the real journal, the real tasks, the real interpreter, and processes that die."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from agent_parts import Steady, ToyReach, finish, tool
from fast_parts import FastWorkspace, fast_workspace, scratch
from task_parts import ONE, Office
from workflow_parts import Bench, Echo, Killed

from kernel.records import Principal, Role
from kernel.storage.runs import NewRun
from kernel.storage.tasks import Tasks
from pipeline.workflows.agents.ports import HttpRequest, Parts
from pipeline.workflows.agents.prompts import RunPrompts
from pipeline.workflows.asking import Asks
from pipeline.workflows.contracts import check_workflow
from pipeline.workflows.expressions import evaluate
from pipeline.workflows.lines import InvalidWorkflow
from pipeline.workflows.reading import read_workflow
from pipeline.workflows.spec import Workflow
from pipeline.workflows.steps.agent import AgentStep
from pipeline.workflows.steps.base import Call

STARTER = Principal("key_ana", Role.EDITOR)
SPEC = """\
name: investigate
stakes: low
inputs: {type: object, properties: {ticket: {type: string}}, required: [ticket]}
steps:
  - id: look
    kind: agent
    with:
      goal: Find out how long backups are kept.
      context: {ticket: "{{ input.ticket }}"}
      success:
        schema: {type: object, properties: {answer: {type: string}}, required: [answer]}
        that: '"30" in result.answer'
        citations: 1
      tools:
        search: {}
        http:
          - name: close_ticket
            use: closes a ticket.
            method: POST
            url: https://desk.example/tickets/{id}
            arguments: {type: object, properties: {id: {type: string}}, required: [id]}
      handoffs: []
      may_ask: true
      budget: {steps: 30, tokens: 400000, seconds: 600}
    checks:
      - {name: few steps, that: output.steps < 30}
  - id: tell
    kind: echo
    needs: [look]
    with: {value: "{{ steps.look.output.result.answer }} from {{ steps.look.output.citations | length }}"}
"""
SCRIPT = [
    tool("search", query="backups"),
    {"ask": "Which backups?"},
    "no json",
    tool("close_ticket", id="7"),
    finish("30 days [c1]"),
]


@pytest.fixture(scope="module")
def made() -> Iterator[FastWorkspace]:
    with scratch() as folder, fast_workspace(folder / "home") as workspace:
        yield workspace


class Place:
    """A bench with the kind `agent`, whose model goes by how far the run's journal is."""

    def __init__(self, made: FastWorkspace) -> None:
        self.bench, self.office = Bench(made.database), Office(made)
        self.reach, self.sent = ToyReach(), list[HttpRequest]()
        self.model = Steady(self._turn, SCRIPT)
        self.run_id = ""
        asks = Asks(Tasks(made.database))
        parts = Parts(self._models, RunPrompts(made.prompts), self.reach, asks, evaluate, self._send)
        self.kind = self.bench.kinds["agent"] = AgentStep(parts)  # type: ignore[assignment]

    @contextmanager
    def _models(self, _name: str | None) -> Iterator[Any]:
        yield self.model

    def _send(self, _call: Call, request: HttpRequest) -> Mapping[str, Any]:
        self.sent.append(request)
        return {"status": 200, "body": {"ok": True}}

    def _turn(self) -> int:
        return self.notes().count("decided")

    def notes(self) -> list[str]:
        events = self.bench.runs.events(self.run_id)
        return [event.data["sort"] for event in events if event.kind == "note"]

    def start(self, made: FastWorkspace) -> None:
        workflow = read_workflow(SPEC)
        check_workflow(workflow, self.bench.kinds)
        digest = "7" * 64
        self.bench.specs[digest] = workflow
        (name,) = self.kind.prompts(workflow.steps[0])
        version = made.prompts.find(name)
        pins = {"snapshot": 0, "model": "scripted/toy-1", "prompts": {name: [version.version, version.sha256]}}
        said = {"input": {"ticket": "T7"}, "principal": {"role": "editor", "groups": []}, "pins": pins}
        wanted = NewRun("investigate", 1, digest, "live", "hand", STARTER.id, said)
        self.run_id = self.bench.runs.start(wanted)[0].id

    def finished(self) -> dict[str, Any]:
        """Do turns; whoever is asked answers at once."""
        for _ in range(400):
            run = self.bench.runs.get(self.run_id)
            if run.finished_at is not None:
                failed = [event.words for event in self.bench.runs.events(self.run_id) if event.kind == "failed"]
                return {"status": run.status, **({"why": failed} if failed else {})}
            with suppress(Killed):
                self.bench.runner.advance(self.run_id, run.turn)
            if self.bench.runs.get(self.run_id).status != "waiting":
                continue
            for task in self.office.tasks.items(run_id=self.run_id, state="open", limit=9):
                if task.sort == "question":
                    self.office.desk.answer(task.id, {"answer": "Those of the mail."}, STARTER)
                else:
                    self.office.desk.approve(task.id, ONE, self.office.seen(task.id))
        raise AssertionError("the run does not come to an end")


def outputs(place: Place) -> dict[str, Any]:
    events = place.bench.runs.events(place.run_id)
    return {event.step: (event.words or {})["output"] for event in events if event.kind == "done"}


def test_an_agent_in_a_run(made: FastWorkspace) -> None:
    place = Place(made)
    place.start(made)
    assert place.finished() == {"status": "done"}
    found = outputs(place)
    assert found["tell"] == "30 days [c1] from 1"
    assert found["look"]["steps"] == 5
    assert len(place.sent) == 1
    events = place.bench.runs.events(place.run_id)
    waits = [event for event in events if event.kind == "waits"]
    assert len(waits) == 2
    told = sum((event.data.get("used") or {}).get("prompt_tokens", 0) for event in events if event.step == "look")
    assert told == found["look"]["used"]["prompt_tokens"]


@pytest.mark.parametrize("seed", range(8))
def test_processes_that_die_lose_nothing_and_do_nothing_twice(made: FastWorkspace, seed: int) -> None:
    place, chance = Place(made), random.Random(seed)
    place.start(made)
    place.bench.runs.dies = lambda: chance.random() < 0.06
    assert place.finished() == {"status": "done"}
    place.bench.runs.dies = lambda: False
    notes = place.notes()
    assert notes.count("result") == 2
    assert notes.count("waits") == notes.count("answered") == 2
    assert len({(request.url, request.key) for request in place.sent}) == 1
    assert len({call[:-1] for call in place.reach.asked}) == 1
    assert outputs(place)["tell"] == "30 days [c1] from 1"
    tasks = place.office.tasks.items(run_id=place.run_id, limit=9)
    assert len(tasks) == 2, "no question is put twice"


def test_the_contract_of_an_agent_s_output_holds_for_those_who_read_it() -> None:
    kinds = {"agent": AgentStep(None), "echo": Echo()}  # type: ignore[arg-type]
    check_workflow(read_workflow(SPEC), kinds)
    with pytest.raises(InvalidWorkflow, match=r"anwser"):
        check_workflow(read_workflow(SPEC.replace("result.answer }}", "result.anwser }}")), kinds)
    with pytest.raises(InvalidWorkflow, match=r"holds no templates: budget"):
        check_workflow(read_workflow(SPEC.replace("steps: 30,", "steps: '{{ input.ticket }}',")), kinds)


def test_stakes_ask_for_a_review_before_an_agent_that_may_change_something() -> None:
    kinds = {"agent": AgentStep(None), "echo": Echo()}  # type: ignore[arg-type]
    with pytest.raises(InvalidWorkflow, match="review"):
        check_workflow(read_workflow(SPEC.replace("stakes: low", "stakes: high")), kinds)
    assert isinstance(read_workflow(SPEC), Workflow)
