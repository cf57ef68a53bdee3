"""The only place that names adapters: it puts a workspace together from settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from typing import Any

from ingest.sandbox import Limits, ParserPool
from kernel.errors import InvalidInput
from kernel.ports import Generator
from kernel.providers.decomposer import ModelDecomposer
from kernel.providers.embedder import OnnxEmbedder, ensure_model
from kernel.providers.judge import ModelJudge
from kernel.providers.openai import OpenAIGenerator
from kernel.providers.output_check import ModelChecker
from kernel.providers.reranker import HttpReranker
from kernel.records import LOCAL_OWNER, Principal, PromptVersion
from kernel.settings import Settings
from kernel.storage.access import Withdrawals
from kernel.storage.answers import Answers
from kernel.storage.audit import AuditRecords
from kernel.storage.catalog import Catalog
from kernel.storage.corpus import Corpus
from kernel.storage.database import Database
from kernel.storage.erasure import Erasures
from kernel.storage.favourites import Favourites
from kernel.storage.feedback import Feedback
from kernel.storage.holds import Holds
from kernel.storage.impact import Impact
from kernel.storage.jobs import Jobs
from kernel.storage.keys import Keys, Requests
from kernel.storage.ledger import Ledger
from kernel.storage.lineage_queries import LineageQueries
from kernel.storage.occurrences import Occurrences
from kernel.storage.pins import Pins
from kernel.storage.policies import Policies
from kernel.storage.prompt_quality import PromptQuality
from kernel.storage.prompt_runs import PromptRuns
from kernel.storage.prompts import Prompts
from kernel.storage.releases import ReleaseStore
from kernel.storage.retention import Retention, RetentionRules
from kernel.storage.reviews import Reviews
from kernel.storage.runs import Runs
from kernel.storage.snapshots import Snapshots
from kernel.storage.stale import Stale
from kernel.storage.trials import Trials
from kernel.storage.triggers import EventSecrets
from kernel.storage.workflows import Workflows
from pipeline.answering import Answering, AnsweringSettings, Oversight
from pipeline.extractive import ExtractiveGenerator
from pipeline.grounding import Checks
from pipeline.indexing import Indexer
from pipeline.oversight.backup import Backups
from pipeline.oversight.backup_keys import BackupKeys
from pipeline.oversight.bundles import Prover
from pipeline.oversight.erasure import Eraser
from pipeline.oversight.erasure import Parts as ErasureParts
from pipeline.oversight.impact import ImpactDesk
from pipeline.oversight.lineage import LineageReader
from pipeline.oversight.openlineage import OpenLineage
from pipeline.oversight.pack import Packer
from pipeline.oversight.policy_book import PolicyBook
from pipeline.oversight.queries import QueryDesk
from pipeline.oversight.release import Releases
from pipeline.oversight.replay import Replayer
from pipeline.oversight.report import Reporter
from pipeline.oversight.reviews import ReviewDesk
from pipeline.oversight.today import Today
from pipeline.oversight.verify import Verifier
from pipeline.prompts.anatomy import read_prompt
from pipeline.prompts.desk import PromptDesk
from pipeline.prompts.experiments import Experiments
from pipeline.prompts.gates import Gates
from pipeline.prompts.improve import Improver
from pipeline.prompts.library import PromptLibrary
from pipeline.prompts.pinned import PinnedEvidence
from pipeline.prompts.playground import Playground
from pipeline.prompts.promote import Promoter
from pipeline.prompts.releases import ReleaseDesk
from pipeline.prompts.results import report_json
from pipeline.prompts.runs import PromptRunner
from pipeline.prompts.search import PromptFinder
from pipeline.prompts.testing import NO_BASELINE, Asked, Parts, PromptTester
from pipeline.prompts.uses import PromptUses, library_dependents, release_dependents
from pipeline.prompts.vector_file import VectorFile
from pipeline.recipe import recipe_of
from pipeline.workflows.gates import Gates as WorkflowGates
from pipeline.workflows.gates import Proofs
from pipeline.workflows.library import WorkflowLibrary
from retrieval.dense import one_thread_each
from retrieval.entities import EntityBrowser
from retrieval.helpers import Helpers
from retrieval.library import Library
from retrieval.ranker import shipped_ranker
from retrieval.search import Searcher
from retrieval.shelf import Shelf

VERDICT_TOKENS = 64
"""Most tokens of a judge's verdict; one that is cut off there is none."""
PARTS_TOKENS = 512
"""Most tokens of a reply that lists sub-questions; one that is cut off there is none."""


CHECK_TOKENS, CHECK_SECONDS = 16, 15.0
"""Most tokens and seconds of a model's verdict on an answer."""


class Workspace:
    """Everything of one workspace, made when it is first used; close it, or use it as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        one_thread_each()

    @cached_property
    def database(self) -> Database:
        """The system of record, at this program's version of the schema."""
        url = self.settings.database_url
        folder = self.settings.workspace_folder
        database = Database(
            url.get_secret_value() if url else f"sqlite:///{folder / 'vouch.db'}",
            self.settings.ledger_key_file,
            self.settings.workspace,
        )
        database.migrate()
        return database

    @cached_property
    def embedder(self) -> OnnxEmbedder:
        """The local embedding model, exported first where it is not there yet."""
        ensure_model(self.settings.model_folder)
        return OnnxEmbedder(self.settings.model_folder, self.settings.threads)

    @cached_property
    def recipe(self) -> str:
        """How this program makes chunks."""
        return recipe_of(self.embedder.model, self.settings.chunk_tokens)

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.database)

    @cached_property
    def snapshots(self) -> Snapshots:
        return Snapshots(self.database)

    @cached_property
    def corpus(self) -> Corpus:
        return Corpus(self.database)

    @cached_property
    def answers(self) -> Answers:
        return Answers(self.database)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.database)

    @cached_property
    def keys(self) -> Keys:
        return Keys(self.database)

    @cached_property
    def requests(self) -> Requests:
        return Requests(self.database)

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self.database)

    @cached_property
    def shelf(self) -> Shelf:
        return Shelf(self.settings.workspace_folder / "index", self.recipe, self.embedder.dimension)

    @cached_property
    def library(self) -> Library:
        return Library(self.corpus, self.snapshots, self.shelf, exact=self.settings.search == "exact")

    @cached_property
    def searcher(self) -> Searcher:
        return Searcher(
            self.library, self.corpus, self.embedder, shipped_ranker(), self.settings.candidates, self.helpers
        )

    @cached_property
    def helpers(self) -> Helpers:
        """The optional steps of a search; none by default. Raises InvalidInput where their settings are incomplete."""
        settings = self.settings
        decomposer = self._decomposer() if settings.decompose == "model" else None
        return Helpers(self._reranker(), settings.reranker_passages, decomposer)

    def _reranker(self) -> HttpReranker | None:
        settings = self.settings
        if not settings.reranker_base_url:
            return None
        if not settings.reranker_model:
            raise InvalidInput("reranker_base_url needs reranker_model: records name the model that ranked")
        return HttpReranker(
            settings.reranker_base_url,
            settings.reranker_model,
            dialect=settings.reranker_dialect,
            api_key=settings.reranker_api_key.get_secret_value() if settings.reranker_api_key else None,
            deadline_seconds=settings.reranker_deadline_seconds,
        )

    def _decomposer(self) -> ModelDecomposer:
        """Asks the same model server as answers may come from, with less time and few tokens."""
        settings = self.settings
        if not settings.openai_base_url or not settings.openai_model:
            raise InvalidInput("decompose = model needs openai_base_url and openai_model")
        generator = OpenAIGenerator(
            settings.openai_base_url,
            settings.openai_model,
            api_key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else None,
            max_tokens=PARTS_TOKENS,
            deadline_seconds=settings.decompose_deadline_seconds,
            retries=min(1, settings.openai_retries),
        )
        return ModelDecomposer(generator)

    @cached_property
    def indexer(self) -> Indexer:
        return Indexer(
            self.catalog,
            self.snapshots,
            self.library,
            self.embedder,
            self.embedder,
            self.recipe,
            self.settings.chunk_tokens,
        )

    @cached_property
    def generator(self) -> Generator:
        """What writes answers. Raises InvalidInput where the settings of a model server are incomplete."""
        settings = self.settings
        if settings.generator == "extractive":
            return ExtractiveGenerator()
        if not settings.openai_base_url or not settings.openai_model:
            raise InvalidInput("generator = openai needs openai_base_url and openai_model")
        return self._openai(settings.openai_base_url, settings.openai_model)

    def _openai(self, base_url: str, model: str) -> OpenAIGenerator:
        settings, key = self.settings, self.settings.openai_api_key
        return OpenAIGenerator(
            base_url,
            model,
            api_key=key.get_secret_value() if key else None,
            temperature=settings.openai_temperature,
            max_tokens=settings.openai_max_tokens,
            deadline_seconds=settings.openai_deadline_seconds,
            retries=settings.openai_retries,
        )

    @cached_property
    def answering(self) -> Answering:
        return self.answering_by(self.generator)

    def answering_by(self, generator: Generator) -> Answering:
        """Answering with this generator, and all else as configured."""
        return Answering(
            self.snapshots,
            self.searcher,
            generator,
            self.answers,
            self.answering_settings,
            self._oversight,
            self.checks,
        )

    @property
    def answering_settings(self) -> AnsweringSettings:
        """What answers are made with now."""
        settings = self.settings
        return AnsweringSettings(
            settings.top_k, settings.context_tokens, settings.max_question_chars, settings.candidates, settings.search
        )

    @cached_property
    def _oversight(self) -> Oversight:
        return Oversight(self.policies, self.reviews, self.checker, self.prompts, self.experiments.saw)

    @cached_property
    def prompts(self) -> PromptLibrary:
        return PromptLibrary(Prompts(self.database), self._gates)

    @cached_property
    def experiments(self) -> Experiments:
        return Experiments(self.prompts, Trials(self.database), self._gates)

    @cached_property
    def feedback(self) -> Feedback:
        return Feedback(self.database)

    @cached_property
    def prompt_runner(self) -> PromptRunner:
        return self.prompt_runner_by(lambda: self.generator)

    def prompt_runner_by(self, generator: Callable[[], Generator]) -> PromptRunner:
        """Runs prompts with this generator, and all else as configured."""
        runs = PromptRuns(self.database)
        watch = self.experiments.saw
        return PromptRunner(self.prompts, generator, self.policies, runs, self.checker, watch)

    @cached_property
    def prompt_finder(self) -> PromptFinder:
        vectors = VectorFile(self.settings.workspace_folder / "prompt-vectors", lambda: self.embedder)
        return PromptFinder(self.prompts, vectors)

    @cached_property
    def prompt_uses(self) -> PromptUses:
        dependents = [library_dependents(self.prompts), release_dependents(self.release_desk)]
        runs, quality = self.prompt_runner.stored, PromptQuality(self.database)
        return PromptUses(self.prompts, runs, Favourites(self.database), quality, dependents)

    @cached_property
    def promoter(self) -> Promoter:
        return Promoter(self.prompts, self.replayer, self.policies.stored.open_to_all)

    @cached_property
    def improver(self) -> Improver:
        return Improver(self.prompts, self.prompt_runner, lambda: self.generator, self._tests_of)

    def _tests_of(self, version: PromptVersion, actor: Principal) -> dict[str, Any] | None:
        """How the cases of a version come out with the configured model, without recording that."""
        if not read_prompt(version.template).cases:
            return None
        asked = Asked(baseline=NO_BASELINE, record=False)
        report = self.prompt_tester.run(f"{version.name}@{version.version}", actor, asked)
        (run,) = report_json(report)["models"]
        return {name: run[name] for name in ("model", "cases", "failed", "skipped", "passed", "metrics")}

    @cached_property
    def playground(self) -> Playground:
        return Playground(self.prompts, self.answering, self.prompt_runner)

    @cached_property
    def release_desk(self) -> ReleaseDesk:
        store = ReleaseStore(self.database)
        return ReleaseDesk(store, self.prompts, self.workflows, self.policies, lambda: self.generator.info)

    @cached_property
    def prompt_desk(self) -> PromptDesk:
        return PromptDesk(self.prompts, self._gates)

    def _gates(self) -> Gates:
        """What the policy in force asks of prompts before they go live."""
        asked, info = self.policies.in_force().policy.prompts, self.generator.info
        suites = tuple(asked.suites) if asked.tests else ()
        return Gates(asked.approvals, asked.tests, asked.owner, f"{info.provider}/{info.name}", suites)

    @cached_property
    def pinned_evidence(self) -> PinnedEvidence:
        """Makes evidence of passages that are given, not searched for."""
        settings = self.settings
        return PinnedEvidence(
            self.embedder,
            self.snapshots,
            lambda: self.searcher,
            settings.chunk_tokens,
            settings.candidates,
            settings.top_k,
            settings.context_tokens,
        )

    @cached_property
    def prompt_tester(self) -> PromptTester:
        return PromptTester(
            self.prompts, Parts(self.model_named, self.pinned_evidence, self.checks, lambda: self.checker, self._gates)
        )

    @contextmanager
    def model_named(self, name: str | None) -> Iterator[Generator]:
        """What writes replies: `extractive`, or a model of the configured server by its name; None: as configured.

        Raises InvalidInput where no server is configured.
        """
        if name is None:
            yield self.generator
        elif name == "extractive":
            yield ExtractiveGenerator()
        else:
            if not self.settings.openai_base_url:
                raise InvalidInput(f"the model {name} needs a model server: set openai_base_url")
            with closing(self._openai(self.settings.openai_base_url, name)) as made:
                yield made

    @cached_property
    def checker(self) -> ModelChecker | None:
        """Judges answers by rules in words, where a model server is configured: with few tokens and little time."""
        settings = self.settings
        if not settings.openai_base_url or not settings.openai_model:
            return None
        generator = OpenAIGenerator(
            settings.openai_base_url,
            settings.openai_model,
            api_key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else None,
            max_tokens=CHECK_TOKENS,
            deadline_seconds=min(CHECK_SECONDS, settings.openai_deadline_seconds),
            retries=min(1, settings.openai_retries),
        )
        return ModelChecker(generator)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.database)

    @cached_property
    def workflows(self) -> WorkflowLibrary:
        return WorkflowLibrary(Workflows(self.database), self.workflow_gates, Proofs(self.runs.green))

    def workflow_gates(self) -> WorkflowGates:
        """What the policy in force asks of workflows before they go live."""
        asked = self.policies.in_force().policy.workflows
        return WorkflowGates(asked.approvals, asked.pilot_runs, asked.owner)

    @cached_property
    def event_secrets(self) -> EventSecrets:
        return EventSecrets(self.database)

    @cached_property
    def policies(self) -> PolicyBook:
        return PolicyBook(Policies(self.database))

    @cached_property
    def reviews(self) -> Reviews:
        return Reviews(self.database)

    @cached_property
    def releases(self) -> Releases:
        return Releases(self.answers, self.reviews)

    @cached_property
    def review_desk(self) -> ReviewDesk:
        return ReviewDesk(self.reviews, self.answers, self.corpus, self.keys, self.policies)

    @cached_property
    def checks(self) -> Checks:
        """What sentences are checked with. Raises InvalidInput where a judge's settings are incomplete."""
        return Checks(embedder=self.embedder, judge=self.judge)

    @cached_property
    def judge(self) -> ModelJudge | None:
        """The optional check by a language model; None by default. Raises InvalidInput where its name is missing."""
        settings = self.settings
        if not settings.judge_base_url:
            return None
        if not settings.judge_model:
            raise InvalidInput("judge_base_url needs judge_model: records name the model that judged")
        generator = OpenAIGenerator(
            settings.judge_base_url,
            settings.judge_model,
            api_key=settings.judge_api_key.get_secret_value() if settings.judge_api_key else None,
            max_tokens=VERDICT_TOKENS,
            deadline_seconds=settings.judge_deadline_seconds,
            retries=1,
        )
        return ModelJudge(generator)

    @cached_property
    def pins(self) -> Pins:
        return Pins(self.database)

    @cached_property
    def replayer(self) -> Replayer:
        return Replayer(
            self.answers,
            self.snapshots,
            self.pins,
            self._searcher_as,
            ExtractiveGenerator(),
            lambda: self.generator,
            self.answering_settings,
            self._oversight,
            self.releases,
            Checks(embedder=self.embedder),
        )

    def _replay(self, answer_id: str) -> object:
        return self.replayer.replay(answer_id, LOCAL_OWNER, ask_again=False)

    def _searcher_as(self, each: int, search: str, helpers: Helpers) -> Searcher:
        """A searcher with the settings of a record."""
        same = search == self.library.search
        library = self.library if same else Library(self.corpus, self.snapshots, self.shelf, exact=search == "exact")
        return Searcher(library, self.corpus, self.embedder, shipped_ranker(), each, helpers)

    @cached_property
    def today(self) -> Today:
        return Today(self.replayer, self.pins, self.answering)

    @cached_property
    def lineage(self) -> LineageReader:
        return LineageReader(self.answers, self.corpus, self.lineage_queries, self.releases, self.feedback)

    @cached_property
    def lineage_queries(self) -> LineageQueries:
        return LineageQueries(self.database)

    @cached_property
    def queries(self) -> QueryDesk:
        return QueryDesk(self.lineage_queries, self.lineage)

    @cached_property
    def stale(self) -> Stale:
        return Stale(self.database)

    @cached_property
    def impact(self) -> ImpactDesk:
        withdrawals = Withdrawals(self.database)
        return ImpactDesk(
            Impact(self.database),
            withdrawals,
            self.stale,
            self.answers,
            lambda: self.answering,
            self.review_desk.open_withdrawn,
        )

    @cached_property
    def entities(self) -> EntityBrowser:
        return EntityBrowser(self.library, self.corpus)

    @cached_property
    def records(self) -> AuditRecords:
        return AuditRecords(self.database)

    @cached_property
    def prover(self) -> Prover:
        return Prover(self.answers, self.releases, self.ledger, self.records)

    @cached_property
    def reporter(self) -> Reporter:
        return Reporter(self.answers, self.ledger, self.records, self.lineage, self.prover, self._replay)

    @cached_property
    def packer(self) -> Packer:
        return Packer(self.database, self.answers, self.ledger, self.records, self.lineage, self.reporter)

    @cached_property
    def openlineage(self) -> OpenLineage:
        return OpenLineage(self.answers, self.records, self.settings.workspace)

    @cached_property
    def holds(self) -> Holds:
        return Holds(self.database)

    @cached_property
    def occurrences(self) -> Occurrences:
        return Occurrences(self.database)

    @cached_property
    def erasures(self) -> Erasures:
        return Erasures(self.database)

    @cached_property
    def backup_keys(self) -> BackupKeys:
        return BackupKeys(self.settings.workspace_folder / "backup-keys")

    @cached_property
    def backups(self) -> Backups:
        return Backups(self.database, self.ledger, self.backup_keys, self.settings.workspace_folder)

    @cached_property
    def eraser(self) -> Eraser:
        return Eraser(
            ErasureParts(
                self.database,
                self.erasures,
                self.ledger,
                lambda: self.verifier,
                lambda: self.library,
                self.backup_keys,
                self.settings.workspace_folder,
            )
        )

    @cached_property
    def retention(self) -> Retention:
        return Retention(self.database)

    @property
    def retention_rules(self) -> RetentionRules:
        """How long things are kept: what the policy in force says."""
        return RetentionRules(self.policies.in_force().policy.retention.answers_days)

    @cached_property
    def verifier(self) -> Verifier:
        return Verifier(self.database, self.ledger, self.shelf)

    def parser_pool(self) -> ParserPool:
        """A new pool of parser processes; use it as a context manager."""
        settings = self.settings
        limits = Limits(
            memory_bytes=settings.parse_memory_mb << 20,
            cpu_seconds=max(1, int(settings.parse_seconds)),
            wall_seconds=settings.parse_seconds,
            input_bytes=settings.parse_input_mb << 20,
        )
        return ParserPool(limits=limits)

    def warm(self) -> None:
        """Open all that a question needs, so that the first one is as fast as the next."""
        state = self.snapshots.live()
        self.library.reach(state.last_chunk)
        self.embedder.embed(["warm"])

    def close(self) -> None:
        """Give everything back."""
        if "database" in self.__dict__:
            self.database.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
