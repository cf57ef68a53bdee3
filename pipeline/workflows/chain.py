"""One id opens the whole chain: a run, its spec, prompts, answers, documents, people, deliveries and other runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kernel.errors import NotFound
from kernel.records import Principal
from kernel.storage.runs import Run, Runs
from pipeline.workflows.run_views import Json, refs_of, run_json, run_whole
from pipeline.workflows.spec import Workflow

DEEPEST = 8
Opened = Callable[[str], Mapping[str, Any]]
"""What is shown of one thing by its id. Raises NotFound."""


class Chains:
    """Follows what a run made. `openers` show one thing of each sort (answers, prompt runs, tasks) by its id."""

    def __init__(self, runs: Runs, openers: Mapping[str, Opened]) -> None:
        self._runs = runs
        self._openers = openers

    def of(self, run: Run, sees: Callable[[Run], bool], depth: int = 0) -> Json:
        """A run and all that it made, and what its steps started, as far as somebody `sees` those runs."""
        refs = refs_of(self._runs.events(run.id))
        made = {sort: [self._open(sort, one) for one in ids] for sort, ids in refs.items() if sort != "runs"}
        children = [one for one in self._runs.children(run.id) if sees(one)] if depth < DEEPEST else []
        pins = run.said.get("pins", {})
        return {
            "run": run_json(run),
            "spec": {"workflow": run.workflow, "version": run.version, "sha256": run.spec_sha256},
            "pins": {name: pins.get(name) for name in ("policy", "snapshot", "model", "prompts", "workflows")},
            "made": made,
            "runs": [self.of(one, sees, depth + 1) for one in children],
            "ledger": {"index": run.number},
        }

    def _open(self, sort: str, one: str) -> Json:
        opener = self._openers.get(sort)
        if opener is None:
            return {"id": one}
        try:
            return {"id": one, **opener(one)}
        except NotFound:
            return {"id": one, "erased": True}


def answer_link(body: Mapping[str, Any]) -> Json:
    """What a chain shows of an answer: its question, how it came out, its prompt and model, and the documents cited."""
    documents: dict[tuple[str, int], Json] = {}
    for citation in body.get("citations", ()):
        key = (citation["document_id"], citation["revision"])
        documents.setdefault(key, {name: citation[name] for name in ("document_id", "revision", "title", "uri")})
    shown = {name: body.get(name) for name in ("question", "status", "prompt", "model", "ledger")}
    return shown | {"documents": list(documents.values())}


class RunReader:
    """Runs as who may see them sees them: whole, and with all that they led to."""

    def __init__(
        self, runs: Runs, find: Callable[[str, Principal], Run], spec: Callable[[str], Workflow], chains: Chains
    ) -> None:
        self._runs = runs
        self._find = find
        self._spec = spec
        self._chains = chains

    def whole(self, run_id: str, principal: Principal) -> Json:
        """A run with every step. Raises NotFound."""
        run = self._find(run_id, principal)
        return run_whole(run, self._spec(run.spec_sha256), self._runs.events(run.id))

    def chain(self, run_id: str, principal: Principal) -> Json:
        """A run and all that it led to. Raises NotFound."""
        run = self._find(run_id, principal)
        return self._chains.of(run, lambda one: one.principal == run.principal or self._may(one, principal))

    def _may(self, run: Run, principal: Principal) -> bool:
        try:
            return self._find(run.id, principal).id == run.id
        except NotFound:
            return False
