"""Answers from any server that speaks OpenAI's chat completions: whole ones, by a deadline, or none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import httpx

from kernel.errors import GenerationFailed
from kernel.ports import GenerationRequest
from kernel.providers.model_server import ModelServer
from kernel.providers.openai_stream import read_reply
from kernel.records import Generation, ModelInfo

SEED = 7


class OpenAIGenerator:
    """Asks a model server at `base_url` (up to `/v1`) and returns an answer only when it is whole.

    Deadline, tries and an injected `client` are those of ModelServer. Safe to share between threads.
    Raises InvalidInput where the URL or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        deadline_seconds: float = 60.0,
        retries: int = 3,
        client: httpx.Client | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._server = ModelServer(
            base_url,
            "/chat/completions",
            error=GenerationFailed,
            api_key=api_key,
            deadline_seconds=deadline_seconds,
            retries=retries,
            client=client,
            clock=clock,
            sleep=sleep,
        )
        self._model = model
        self._parameters = {"temperature": temperature, "max_tokens": max_tokens, "seed": SEED}

    def __repr__(self) -> str:
        return f"OpenAIGenerator({self._server.shown!r}, {self._model!r})"

    @property
    def info(self) -> ModelInfo:
        """The model as configured, and all that is sent to steer it."""
        return self._info({})

    def _info(self, options: Mapping[str, Any]) -> ModelInfo:
        steering = {**self._parameters, **{name: options[name] for name in self._parameters if name in options}}
        return ModelInfo("openai", options.get("model", self._model), {**steering, "base_url": self._server.shown})

    def close(self) -> None:
        """Closes its connections. An injected client stays open: it belongs to whoever made it."""
        self._server.close()

    def generate(self, request: GenerationRequest) -> Generation:
        """The whole answer. Raises GenerationFailed, with what happened, where none came by the deadline.

        Two options steer how it is asked, and are no part of what is recorded: `json_schema` is a schema that the reply
        is to fit, for servers that know how, and `deadline_seconds` may shorten the deadline.
        """
        schema, seconds = request.options.get("json_schema"), request.options.get("deadline_seconds")
        body = self._body(request)
        reply = self._server.post(
            body if schema is None else self._body(request, {"name": "reply", "schema": schema}),
            "text/event-stream, application/json",
            read_reply,
            plain=None if schema is None else body,
            seconds=seconds,
        )
        return replace(reply, model=self._info(request.options)) if request.options else reply

    def _body(self, request: GenerationRequest, schema: Mapping[str, Any] | None = None) -> bytes:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        asked = self._info(request.options)
        steering = {name: asked.parameters[name] for name in self._parameters}
        form = {} if schema is None else {"response_format": {"type": "json_schema", "json_schema": schema}}
        return json.dumps({"model": asked.name, "messages": messages, **steering, **stream, **form}).encode()
