"""Every setting of Vouch, in one frozen object that is read once.

Order of precedence: arguments (flags), environment `VOUCH_*`, `vouch.toml` in the home folder, defaults.
An unknown key anywhere is an error, so that a misspelt setting never passes silently.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from kernel.errors import InvalidInput

PREFIX = "VOUCH_"


class HeldSecret(BaseModel):
    """A secret that steps of workflows use by its name. `hosts`: where it may be sent in a header."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: SecretStr
    hosts: tuple[str, ...] = ()


class ModelPrice(BaseModel):
    """What a million tokens of a model cost, in any one currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[float, Field(ge=0)] = 0.0
    completion: Annotated[float, Field(ge=0)] = 0.0


class Settings(BaseSettings):
    """See `docs/reference/settings.md`, which is checked against this class."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    home: Annotated[Path, Field(description="Folder of everything that Vouch stores.")] = Path(".vouch")
    workspace: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Name of the workspace; workspaces share nothing.")
    ] = "default"
    database_url: Annotated[
        SecretStr | None,
        Field(description="postgresql://… to store in PostgreSQL; by default SQLite files in the home folder."),
    ] = None
    ledger_key: Annotated[
        Path | None, Field(description="File of the key that signs the ledger; default: in the workspace's folder.")
    ] = None
    checkpoint_file: Annotated[
        Path | None,
        Field(
            description="File, best on another machine's disk, that `vouch serve` appends signed heads to each minute."
        ),
    ] = None
    models: Annotated[Path | None, Field(description="Folder of the exported model; default: models in home.")] = None
    threads: Annotated[int, Field(ge=0, le=256, description="Threads of the embedding model; 0: one a core.")] = 0

    chunk_tokens: Annotated[int, Field(ge=32, le=240, description="Aimed size of a chunk, in tokens.")] = 220
    parse_seconds: Annotated[float, Field(gt=0, le=3600, description="Time that parsing one file may take.")] = 90.0
    parse_memory_mb: Annotated[int, Field(ge=256, le=65536, description="Memory that the parser process may use.")] = (
        2048
    )
    parse_input_mb: Annotated[int, Field(ge=1, le=4096, description="Largest file that is parsed.")] = 200

    top_k: Annotated[int, Field(ge=1, le=100, description="Passages that a retrieval returns.")] = 10
    candidates: Annotated[int, Field(ge=10, le=200, description="Candidates taken from each signal.")] = 40
    search: Annotated[
        Literal["auto", "exact"],
        Field(description="auto: approximate vector search where more than 65,536 passages are visible; exact: never."),
    ] = "auto"
    context_tokens: Annotated[int, Field(ge=128, le=100_000, description="Token budget of the context.")] = 1500

    reranker_base_url: Annotated[
        str | None, Field(description="Base URL of a rerank server; none is asked where this is not set.")
    ] = None
    reranker_model: Annotated[str | None, Field(description="Name of the reranker's model.")] = None
    reranker_api_key: Annotated[SecretStr | None, Field(description="Key of the rerank server.")] = None
    reranker_dialect: Annotated[
        Literal["documents", "texts"],
        Field(description="documents: Cohere, Jina, vLLM, llama.cpp; texts: text-embeddings-inference."),
    ] = "documents"
    reranker_passages: Annotated[int, Field(ge=2, le=200, description="Best passages that are sent to it.")] = 30
    reranker_deadline_seconds: Annotated[float, Field(gt=0, le=600, description="Total time it has.")] = 5.0
    decompose: Annotated[
        Literal["off", "model"], Field(description="model: also search for what openai_model makes of a question.")
    ] = "off"
    decompose_deadline_seconds: Annotated[float, Field(gt=0, le=600, description="Total time that may take.")] = 5.0

    judge_base_url: Annotated[
        str | None, Field(description="Base URL of a model server that checks sentences; none is asked without it.")
    ] = None
    judge_model: Annotated[str | None, Field(description="Name of the model that checks sentences.")] = None
    judge_api_key: Annotated[SecretStr | None, Field(description="Key of that server.")] = None
    judge_deadline_seconds: Annotated[float, Field(gt=0, le=600, description="Total time for one sentence.")] = 5.0

    generator: Annotated[
        Literal["extractive", "openai"], Field(description="extractive: no model; openai: any compatible server.")
    ] = "extractive"
    openai_base_url: Annotated[str | None, Field(description="Base URL of the model server, up to /v1.")] = None
    openai_model: Annotated[str | None, Field(description="Name of the model to ask for.")] = None
    openai_api_key: Annotated[SecretStr | None, Field(description="Key of the model server.")] = None
    openai_temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    openai_max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 512
    openai_deadline_seconds: Annotated[float, Field(gt=0, le=3600, description="Total time, retries included.")] = 60.0
    openai_retries: Annotated[int, Field(ge=0, le=10, description="Tries after the first.")] = 3

    host: Annotated[str, Field(description="Address that `vouch serve` binds.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    max_body_mb: Annotated[int, Field(ge=1, le=4096, description="Largest HTTP request body.")] = 64
    max_question_chars: Annotated[int, Field(ge=16, le=100_000)] = 4000

    workflow_threads: Annotated[
        int,
        Field(
            ge=0,
            le=256,
            description="Runs of workflows that vouch serve works on at once; 0: leave them to vouch worker.",
        ),
    ] = 4
    workflow_http_allow: Annotated[
        tuple[str, ...], Field(description="Hosts that steps of workflows may reach over HTTP; by default none.")
    ] = ()
    workflow_secrets: Annotated[
        dict[str, HeldSecret],
        Field(description="Secrets by the name that steps use, with the hosts they may go to."),
    ] = {}
    workflow_sql: Annotated[
        dict[str, SecretStr], Field(description="URLs of databases that sql steps may read, by the name that they use.")
    ] = {}
    workflow_delivery_folder: Annotated[
        Path | None, Field(description="Folder that files are delivered into; default: in the workspace's folder.")
    ] = None
    workflow_smtp_url: Annotated[
        SecretStr | None, Field(description="smtp://… or smtps://… server that mail goes out through.")
    ] = None
    workflow_mail_from: Annotated[str | None, Field(description="Address that mail is sent from.")] = None
    workflow_mail_allow: Annotated[
        tuple[str, ...], Field(description="Addresses, or @domains, that mail may go to; by default none.")
    ] = ()
    workflow_notify_url: Annotated[
        str | None, Field(description="Web hook that is told what waits for whom; the inbox shows it in any case.")
    ] = None
    workflow_notify_secret: Annotated[
        str | None, Field(description="Name of the secret in workflow_secrets that signs what it is told.")
    ] = None
    workflow_rates: Annotated[
        dict[str, Annotated[str, Field(pattern=r"^[1-9]\d{0,6}/([1-9]\d{0,3})?[smhd]$")]],
        Field(description="Most calls of a target in a time over all workers, such as 60/1m."),
    ] = {}
    workflow_prices: Annotated[
        dict[str, ModelPrice], Field(description="What models cost, by provider/name, a million tokens each.")
    ] = {}
    workflow_breaker_failures: Annotated[
        int, Field(ge=1, le=1000, description="Failures in a row after which a target is left alone.")
    ] = 5
    workflow_breaker_window_seconds: Annotated[
        float, Field(gt=0, le=86_400, description="Time within which these failures lie.")
    ] = 60.0
    workflow_breaker_cool_down_seconds: Annotated[
        float, Field(gt=0, le=86_400, description="How long it is left alone before one call tries it again.")
    ] = 30.0

    @field_validator("home", "models", "ledger_key", "checkpoint_file", "workflow_delivery_folder")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None

    @property
    def workspace_folder(self) -> Path:
        """Where this workspace keeps its files."""
        return self.home / "workspaces" / self.workspace

    @property
    def ledger_key_file(self) -> Path:
        """Where the key lies that signs this workspace's ledger. Made when the ledger is."""
        return self.ledger_key or self.workspace_folder / "ledger.key"

    @property
    def delivery_folder(self) -> Path:
        """Where workflows deliver files."""
        return self.workflow_delivery_folder or self.workspace_folder / "deliveries"

    @property
    def model_folder(self) -> Path:
        """Where the exported embedding model lies."""
        return (self.models or self.home / "models") / "all-MiniLM-L6-v2"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the file: nothing else is read."""
        home = init_settings().get("home") or os.environ.get(f"{PREFIX}HOME") or ".vouch"
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(str(home)) / "vouch.toml")

    @classmethod
    def load(cls, **flags: Any) -> Self:
        """Settings from all sources. Raises InvalidInput that names the key at fault."""
        known = {f"{PREFIX}{name}".upper() for name in cls.model_fields}
        strange = sorted(key for key in os.environ if key.startswith(PREFIX) and key not in known)
        if strange:
            raise InvalidInput(
                f"unknown setting {strange[0]} in the environment; `vouch config show` lists the known ones"
            )
        try:
            return cls(**{key: value for key, value in flags.items() if value is not None})
        except SettingsError as error:
            raise InvalidInput(f"{error}: in the environment it is given as JSON") from error
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"vouch.toml in the home folder is not valid TOML: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(f"setting {where}: {first['msg']}") from error
