"""What a reranker did shows at every door: over HTTP, in the metrics and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_model_server import FakeModelServer, Reply
from http_site import QUESTION, site_at
from typer.testing import CliRunner

from api import schemas
from api.cli import app

Serve = Callable[..., FakeModelServer]


def backwards(reply: Reply) -> None:
    scores = [{"index": i, "relevance_score": i} for i in range(len(reply.request.body["documents"]))]
    reply.body(200, "application/json", json.dumps({"results": scores}).encode())


def away(reply: Reply) -> None:
    reply.body(400, "application/json", b'{"error": "no such model"}')


@pytest.mark.slow
def test_at_every_door(tmp_path: Path, models: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(backwards, backwards, away)
    with site_at(tmp_path, models, reranker_base_url=server.url, reranker_model="cross") as site:
        asked = {"question": QUESTION, "explain": True}
        found = site.app_key.post("/v1/retrieve", json=asked).raise_for_status().json()
        answer = site.app_key.post("/v1/query", json={"question": QUESTION}).raise_for_status().json()
        failed = site.app_key.post("/v1/query", json={"question": QUESTION}).raise_for_status().json()
        counted = site.anonymous.get("/metrics").text
    retrieved = schemas.Retrieval.model_validate(found, strict=True)
    assert retrieved.reranker == schemas.RerankerInfo(model="cross", state="used")
    assert retrieved.results[0].signals is not None
    assert "reranker" in retrieved.results[0].signals
    info = schemas.Answer.model_validate(answer, strict=True).retrieval
    assert (info.reranker, info.decomposer) == (retrieved.reranker, None)
    assert failed["retrieval"]["reranker"]["state"].startswith("failed: the reranker at http://127.0.0.1:")
    assert "no such model" in failed["retrieval"]["reranker"]["state"]
    assert 'vouch_helpers_total{helper="reranker",outcome="used"} 2.0' in counted
    assert 'vouch_helpers_total{helper="reranker",outcome="failed"} 1.0' in counted
    assert 'vouch_stage_seconds_count{stage="rerank"} 3.0' in counted

    monkeypatch.setenv("VOUCH_RERANKER_BASE_URL", server.url)
    monkeypatch.setenv("VOUCH_RERANKER_MODEL", "cross")
    monkeypatch.setenv("VOUCH_MODELS", str(models))
    said = {
        words[0]: CliRunner().invoke(app, ["--home", str(tmp_path), *words]).stdout
        for words in (["retrieve", QUESTION], ["ask", QUESTION])
    }
    assert "reranker cross: failed: the reranker at" in said["retrieve"]
    assert "Warning: the passages were found without the reranker: failed: the reranker at" in said["ask"]
