"""Every kind of step that there is, by name: the one list of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kernel.ports import Embedder, OutputChecker
from kernel.storage.catalog import Catalog
from kernel.storage.runs import Runs
from kernel.storage.snapshots import Snapshots
from pipeline.answering import Answering
from pipeline.grounding import Checks
from pipeline.oversight.release import Releases
from pipeline.prompts.library import PromptLibrary
from pipeline.prompts.pinned import PinnedEvidence
from pipeline.prompts.runs import PromptRunner
from pipeline.workflows.checks import former_values
from pipeline.workflows.steps.asking import Ask, Retrieve
from pipeline.workflows.steps.base import Kind
from pipeline.workflows.steps.classifying import Classify
from pipeline.workflows.steps.deciding import Branch, CheckStep
from pipeline.workflows.steps.extracting import Extract, ExtractParts
from pipeline.workflows.steps.looking import Documents, Graph
from pipeline.workflows.steps.nested import StartChild, SubWorkflow
from pipeline.workflows.steps.prompting import PromptStep
from pipeline.workflows.steps.reindexing import Evaluate, Ingest, ReadAgain
from retrieval.entities import EntityBrowser


@dataclass(frozen=True, slots=True)
class KindParts:
    """What steps are done with. What is a callable is only made where a step needs it: it may load a model."""

    runs: Runs
    catalog: Catalog
    snapshots: Snapshots
    releases: Releases
    library: PromptLibrary
    runner: PromptRunner
    answering: Callable[[], Answering]
    embedder: Callable[[], Embedder]
    evidence: Callable[[], PinnedEvidence]
    checks: Callable[[], Checks]
    entities: Callable[[], EntityBrowser]
    checker: Callable[[], OutputChecker | None]
    read_again: ReadAgain
    sources: Callable[[], Sequence[str]]
    start_child: StartChild


def kinds(parts: KindParts) -> Mapping[str, Kind]:
    """Every kind by its name."""

    def former(run_id: str, step: str, check: str, wanted: int) -> Sequence[float]:
        return former_values(parts.runs, parts.runs.get(run_id), step, check, wanted)

    fields = ExtractParts(
        parts.answering, parts.releases, parts.catalog, parts.snapshots, parts.library, parts.evidence, parts.checks
    )
    every: tuple[Kind, ...] = (
        Retrieve(parts.answering),
        Ask(parts.answering, parts.releases, parts.library),
        PromptStep(parts.runner, parts.library),
        Classify(parts.embedder, parts.runner),
        Extract(fields),
        Graph(parts.entities, parts.snapshots),
        Documents(parts.catalog, parts.snapshots),
        Ingest(parts.read_again, parts.sources),
        Evaluate(parts.answering),
        SubWorkflow(parts.start_child, parts.runs),
        Branch(),
        CheckStep(former, parts.checker),
    )
    return {kind.name: kind for kind in every}
