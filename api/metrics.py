"""What the server counts, for Prometheus. Labels come from small fixed sets: never from what callers send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
HELPERS = ("reranker", "decomposer")
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "vouch_http_requests",
            "HTTP requests by method, route template and status.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "vouch_http_request_seconds",
            "Time from a request's arrival to the end of its response.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._answers = Counter("vouch_answers", "Answers given, by status.", ("status",), registry=self._registry)
        self._stages = Histogram(
            "vouch_stage_seconds",
            "Time that each stage of an answer or a retrieval took.",
            ("stage",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._helpers = Counter(
            "vouch_helpers",
            "Times that an optional step of retrieval was asked, by its outcome: used or failed.",
            ("helper", "outcome"),
            registry=self._registry,
        )
        self._jobs = Counter("vouch_jobs", "Jobs ended, by kind and state.", ("kind", "state"), registry=self._registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request under its route's template."""
        known = method if method in METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(seconds)

    def answer(self, body: Mapping[str, Any]) -> None:
        """Count an answer and its stages."""
        self._answers.labels(str(body["status"])).inc()
        self.stages(body["timings_ms"])
        self.helpers(body["retrieval"])

    def stages(self, timings_ms: Mapping[str, float]) -> None:
        """Count how long stages took."""
        for stage, milliseconds in timings_ms.items():
            if stage != "total":
                self._stages.labels(stage).observe(milliseconds / 1000)

    def helpers(self, shown: Mapping[str, Any]) -> None:
        """Count what the optional steps did, of those that `shown` names."""
        for helper in HELPERS:
            if helper in shown:
                self._helpers.labels(helper, str(shown[helper]["state"]).partition(":")[0]).inc()

    def job(self, kind: str, state: str) -> None:
        """Count a job that ended."""
        self._jobs.labels(kind, state).inc()

    def text(self) -> bytes:
        """Everything counted, in Prometheus' text format."""
        return generate_latest(self._registry)
