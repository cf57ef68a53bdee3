"""The kinds of steps of a workspace: the only place that names what they reach outside with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from api.assembly import Workspace
from kernel.errors import InvalidInput, NotFound
from kernel.ports import Generator
from kernel.providers.egress import Egress, Hosts, Secret
from kernel.providers.smtp import SmtpSender
from kernel.records import IngestReport, SourceInfo
from kernel.settings import Settings
from kernel.storage.breakers import BreakerRule, Breakers
from kernel.storage.deliveries import Deliveries
from kernel.storage.foreign_sql import ForeignSql
from pipeline.answering import Answering
from pipeline.indexing import Progress
from pipeline.workflows.agents.guard import PolicyGuard
from pipeline.workflows.agents.ports import Parts as AgentParts
from pipeline.workflows.agents.prompts import RunPrompts
from pipeline.workflows.agents.reach import CorpusReach
from pipeline.workflows.agents.requests import EgressRequests
from pipeline.workflows.asking import Asks, Notifier
from pipeline.workflows.breakers import GuardedGenerator, Guards, RateRule
from pipeline.workflows.costs import Price, Prices
from pipeline.workflows.expressions import evaluate
from pipeline.workflows.notices import WebhookNotifier
from pipeline.workflows.sinks.files import Folder
from pipeline.workflows.sinks.mail import Recipients
from pipeline.workflows.spec import seconds_of
from pipeline.workflows.steps.agent import AgentStep
from pipeline.workflows.steps.ask_user import Question
from pipeline.workflows.steps.base import Kind
from pipeline.workflows.steps.deliver import DeliverKind, MailRoute
from pipeline.workflows.steps.http import HttpKind
from pipeline.workflows.steps.kinds import KindParts, kinds
from pipeline.workflows.steps.nested import StartChild
from pipeline.workflows.steps.review import Review
from pipeline.workflows.steps.sql import SqlKind
from pipeline.workflows.steps.transform import CompareKind, TransformKind
from retrieval.documents import DocumentReader


def every_kind(workspace: Workspace, asks: Asks, start_child: StartChild) -> Mapping[str, Kind]:
    """All kinds by name: those over documents, those that decide, ask people, act outside, and agents."""
    guards = guards_of(workspace)

    @cache
    def generator() -> Generator:
        return GuardedGenerator(workspace.generator, guards)

    @cache
    def answering() -> Answering:
        return workspace.answering_by(generator())

    made: tuple[Kind, ...] = (
        Review(asks),
        Question(asks),
        *outside_kinds(workspace, guards),
        AgentStep(agent_parts(workspace, asks, guards)),
    )
    parts = KindParts(
        runs=workspace.runs,
        catalog=workspace.catalog,
        snapshots=workspace.snapshots,
        releases=workspace.releases,
        library=workspace.prompts,
        runner=workspace.prompt_runner_by(generator),
        answering=answering,
        embedder=lambda: workspace.embedder,
        evidence=lambda: workspace.pinned_evidence,
        checks=lambda: workspace.checks,
        entities=lambda: workspace.entities,
        checker=lambda: workspace.checker,
        read_again=read_again(workspace),
        sources=lambda: [source.name for source in _sources(workspace)],
        start_child=start_child,
    )
    return {**kinds(parts), **{kind.name: kind for kind in made}}


def guards_of(workspace: Workspace) -> Guards:
    """Circuit breakers and rate limits, shared by all workers through the store."""
    settings = workspace.settings
    rule = BreakerRule(
        settings.workflow_breaker_failures,
        settings.workflow_breaker_window_seconds,
        settings.workflow_breaker_cool_down_seconds,
    )
    rates = {target: rate_of(text) for target, text in settings.workflow_rates.items()}
    return Guards(Breakers(workspace.database), rule, rates)


def rate_of(text: str) -> RateRule:
    """A rate such as `60/1m`, or `5/s`."""
    calls, _, span = text.partition("/")
    return RateRule(int(calls), seconds_of(span if span[0].isdigit() else f"1{span}"))


def http_kind(workspace: Workspace, guards: Guards) -> HttpKind:
    """Requests, within the allow-list of the settings."""
    settings = workspace.settings
    return HttpKind(Egress(Hosts(settings.workflow_http_allow)), secrets_of(settings), guards)


def outside_kinds(workspace: Workspace, guards: Guards) -> Sequence[Kind]:
    """Kinds that reach outside, only to what the settings name, and those that shape what came back."""
    settings = workspace.settings
    egress = Egress(Hosts(settings.workflow_http_allow))
    secrets = secrets_of(settings)
    databases = ForeignSql({name: url.get_secret_value() for name, url in settings.workflow_sql.items()})
    store, folder = Deliveries(workspace.database), Folder(settings.delivery_folder)
    return (
        http_kind(workspace, guards),
        DeliverKind(store, folder, egress, secrets, mail_route(settings), guards),
        SqlKind(databases, guards),
        TransformKind(),
        CompareKind(),
    )


def secrets_of(settings: Settings) -> Mapping[str, Secret]:
    """Secrets by the name that steps use."""
    return {
        name: Secret(held.value.get_secret_value(), Hosts(held.hosts, f"workflow_secrets.{name}.hosts"))
        for name, held in settings.workflow_secrets.items()
    }


def prices_of(settings: Settings) -> Prices:
    """What models cost."""
    return Prices({name: Price(one.prompt, one.completion) for name, one in settings.workflow_prices.items()})


def notifier_of(workspace: Workspace, guards: Guards) -> Notifier | None:
    """What tells people that something waits for them; None where only the inbox does. Raises InvalidInput where it has
    no secret to sign with.
    """
    settings = workspace.settings
    if settings.workflow_notify_url is None:
        return None
    secret = secrets_of(settings).get(settings.workflow_notify_secret or "")
    if secret is None:
        raise InvalidInput("workflow_notify_url needs workflow_notify_secret, the name of one of workflow_secrets")
    egress = Egress(Hosts(settings.workflow_http_allow))
    return WebhookNotifier(settings.workflow_notify_url, secret.value, egress, guards)


def mail_route(settings: Settings) -> MailRoute | None:
    """How mail goes out; None where no server is set."""
    if settings.workflow_smtp_url is None or not settings.workflow_mail_from:
        return None
    server = SmtpSender(settings.workflow_smtp_url.get_secret_value())
    return MailRoute(server, settings.workflow_mail_from, Recipients(settings.workflow_mail_allow))


def agent_parts(workspace: Workspace, asks: Asks, guards: Guards) -> AgentParts:
    """What agents are made of."""
    reach = CorpusReach(
        workspace.snapshots,
        lambda: workspace.searcher,
        lambda: DocumentReader(workspace.library, workspace.corpus),
        lambda: workspace.entities,
        workspace.policies,
    )
    return AgentParts(
        models=_guarded_models(workspace, guards),
        prompts=RunPrompts(workspace.prompts),
        reach=reach,
        people=asks,
        evaluate=evaluate,
        requests=EgressRequests(http_kind(workspace, guards)),
        guard=PolicyGuard(workspace.policies, workspace.checker),
        price=prices_of(workspace.settings).cost,
    )


def _guarded_models(workspace: Workspace, guards: Guards) -> Any:
    @contextmanager
    def named(name: str | None) -> Iterator[Generator]:
        with workspace.model_named(name) as model:
            yield GuardedGenerator(model, guards)

    return named


def read_again(workspace: Workspace) -> Callable[[str, Progress], IngestReport]:
    """Reads a source again from where it lies."""

    def read(name: str, progress: Progress) -> IngestReport:
        source = next((one for one in _sources(workspace) if one.name == name), None)
        if source is None:
            raise NotFound(f"no source {name}; see: vouch sources list")
        with workspace.parser_pool() as parser:
            return workspace.indexer.ingest(parser, paths_of(source.location), name, progress)[0]

    return read


def paths_of(location: str) -> list[Path]:
    """The files or folders that a source was read from. Raises InvalidInput where one of them is gone."""
    paths = [Path(location)] if Path(location).exists() else [Path(piece) for piece in location.split(", ")]
    gone = [path for path in paths if not path.exists()]
    if gone or not location:
        raise InvalidInput(f"{gone[0] if gone else 'the source'} is not there any more: nothing was read again")
    return paths


def _sources(workspace: Workspace) -> Sequence[SourceInfo]:
    return workspace.catalog.sources(workspace.snapshots.live().snapshot)
