"""What people answer about a workflow, kept in its file: the form of seven questions, and the checklist for agents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.workflows.fields import Stakes, Strict, Words

Cost = Annotated[float, Field(ge=0, le=1e9)]


class Costs(Strict):
    """What a mistake costs, in words of stakes, and what a run may cost in money; None: it does not matter."""

    mistake: Stakes
    run: Cost | None = None


class Form(Strict):
    """Seven questions about a task, whose answers recommend a workflow, an agent, or a workflow with agents in it.

    `tools` are those that the work chooses between, not those that a step always calls.
    """

    steps_known: Literal["yes", "partly", "no"]
    repetitive: Literal["yes", "sometimes", "no"]
    risky: Stakes
    tools: Annotated[list[Words], Field(max_length=40)]
    cost: Costs
    approval: Literal["never", "before-effects", "always"]
    exceptions: Literal["rare", "some", "frequent"]


class Statement(Strict):
    """What somebody says about an item of the checklist, and how they know."""

    ready: bool
    why: Words


class Autonomy(Strict):
    """The items of the checklist for agents that people answer; the others are read from the workflow itself."""

    guardrails: Statement | None = None
    """What keeps the agent from harm beyond its tools and budget: the cases of attack that were tried, say."""
    tests: Statement | None = None
    rollback: Statement | None = None
