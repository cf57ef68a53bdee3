"""Telling people through a web hook that something waits for them. The inbox shows it in any case: nothing depends on
this, so it is tried once, within a few seconds, and a failure is only logged.
"""

from __future__ import annotations

import logging
import time

from kernel.errors import VouchError
from kernel.providers.egress import Egress, WebRequest, place_of, web_url
from pipeline.workflows.breakers import Guards
from pipeline.workflows.signatures import HEADER, signature_of
from pipeline.workflows.steps.base import StepFailed
from pipeline.workflows.steps.http import json_bytes

SECONDS = 5.0
_log = logging.getLogger(__name__)


class WebhookNotifier:
    """Posts `{"to", "subject", "text"}` to one address, signed as deliveries are. `to` is a key's id or `role:NAME`."""

    def __init__(self, url: str, secret: str, egress: Egress, guards: Guards) -> None:
        self._url = web_url(url)
        self._secret = secret
        self._egress = egress
        self._guards = guards

    def tell(self, to: str, subject: str, text: str) -> None:
        """Post it. Never raises."""
        body = json_bytes({"to": to, "subject": subject, "text": text})
        signed = signature_of(self._secret, body, int(time.time()))
        headers = {"Content-Type": "application/json", HEADER: signed}
        try:
            request = WebRequest("POST", self._url, headers, {}, body, 1 << 16, SECONDS)
            self._egress.check(request)
            with self._guards.guarded(f"http:{place_of(self._url)}") as passage:
                reply = self._egress.send(request)
                if reply.status >= 500:
                    passage.failed()
            if reply.status >= 300:
                _log.warning("the notice to %s was refused by %s: %s", to, place_of(self._url), reply.status)
        except (VouchError, StepFailed) as error:
            _log.warning("the notice to %s was not posted: %s", to, error)
