"""The kind `deliver`: into a file, to a web hook, or as mail; each key is delivered once where the sink allows it.

A file appears exactly once, whenever the process died. A web hook and a mail server may have taken what nobody could
record any more: those are sent again, with the same `Idempotency-Key` or Message-ID, by which a receiver drops the
second. What is recorded as done is never sent again.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from kernel.errors import InvalidInput
from kernel.ids import derived_id, sha256
from kernel.providers.egress import Egress, Secret, WebRequest, place_of, web_url
from kernel.providers.smtp import SmtpSender
from kernel.storage.deliveries import Deliveries, Delivery
from pipeline.workflows.breakers import Guards
from pipeline.workflows.signatures import HEADER, signature_of
from pipeline.workflows.sinks.files import Folder, parts_of
from pipeline.workflows.sinks.mail import Attachment, Recipients, check_address, message, message_id
from pipeline.workflows.spec import Step, Strict
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed
from pipeline.workflows.steps.http import SHOWN, json_bytes, refusal

LARGEST = 32 << 20
"""Bytes of one delivery."""
ACCEPTED = range(200, 300)
_MEMBERS = {
    "file": ({"path"}, {"existing"}),
    "webhook": ({"url", "secret"}, set()),
    "mail": ({"recipients", "subject", "text"}, {"attach"}),
}
"""Of each sink, the members that it needs and may have besides `text` or `json`."""


class DeliverWith(Strict):
    """What a step of kind `deliver` says. Which members there are depends on `to`."""

    to: Literal["file", "webhook", "mail"]
    text: str | None = None
    json_: Annotated[Any, Field(alias="json")] = None
    path: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    existing: Literal["version", "replace"] = "version"
    """What happens where the path is taken: the file gets a number, or replaces what is there."""
    url: Annotated[str, Field(min_length=1, max_length=4000)] | None = None
    secret: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The name of the secret of the settings that the body is signed with."""
    recipients: Annotated[list[str], Field(min_length=1, max_length=50)] | None = None
    subject: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    attach: Annotated[list[Attachment], Field(max_length=20)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _of_its_sink(self) -> Self:
        needed, optional = _MEMBERS[self.to]
        given = self.model_fields_set - {"to"}
        missing, strange = needed - given, given - needed - optional - {"text", "json_"}
        if missing or strange:
            what = f"needs {sorted(missing)[0]}" if missing else f"has no {sorted(strange)[0]}"
            raise ValueError(f"a delivery to: {self.to} {what}")
        if len(given & {"text", "json_"}) != 1 or (self.to == "mail" and "json_" in given):
            raise ValueError(f"a delivery to: {self.to} has either text or json, a mail has text")
        return self


@dataclass(frozen=True, slots=True)
class MailRoute:
    """How mail goes out: through which server, from which address, to whom at all."""

    server: SmtpSender
    sender: str
    recipients: Recipients

    def __post_init__(self) -> None:
        check_address(self.sender)


class DeliverKind(Plain):
    """Delivers. `mail` is None where no mail server is set."""

    name: ClassVar[str] = "deliver"
    With: ClassVar[type[Strict]] = DeliverWith

    def __init__(
        self,
        store: Deliveries,
        folder: Folder,
        egress: Egress,
        secrets: Mapping[str, Secret],
        mail: MailRoute | None,
        guards: Guards,
    ) -> None:
        self._store = store
        self._folder = folder
        self._egress = egress
        self._secrets = secrets
        self._mail = mail
        self._guards = guards

    def effect(self, _given: Mapping[str, Any]) -> bool:
        """Always: that is what it is for."""
        return True

    def output(self, step: Step) -> Mapping[str, Any]:
        """Where it went, when, the hash of what was delivered, and what the sink said."""
        text, number = {"type": "string"}, {"type": "integer"}
        members: dict[str, dict[str, Any]] = {
            "file": {"path": text, "version": number, "bytes": number},
            "webhook": {"host": text, "status": number},
            "mail": {"message_id": text, "accepted": number, "refused": {"type": "array", "items": text}},
        }
        more = members.get(str(step.with_.get("to")), {})
        properties = {"to": text, "key": text, "at": text, "sha256": text} | more
        return {"type": "object", "properties": properties, "required": sorted(properties)}

    def run(self, given: DeliverWith, call: Call) -> Done:
        """Deliver, or say what was delivered before."""
        data = self._data(given, call)
        if len(data) > LARGEST:
            raise InvalidInput(f"a delivery has at most {LARGEST} bytes, this one {len(data)}")
        deliver = {"file": self._to_file, "webhook": self._to_hook, "mail": self._to_mail}[given.to]
        known = self._store.find(call.key)
        if known is None or known.done is None:
            known = deliver(given, call, data)
        elif given.to == "file":
            self._folder.drop(str(given.path), f"{derived_id('dlv', call.key)}.")
        if known.sha256 not in (sha256(data), ""):
            raise StepFailed(f"{call.key} was delivered before, with other content", slug="conflict")
        return Done({"to": given.to, "key": call.key, "at": known.at, "sha256": sha256(data)} | dict(known.receipt))

    def _data(self, given: DeliverWith, call: Call) -> bytes:
        """What the delivery is: the same for every try at it."""
        if given.to == "webhook":
            about = {"id": call.key, "workflow": call.workflow, "run": call.run_id, "step": call.step.id}
            return json_bytes(about | {"data": given.json_ if "json_" in given.model_fields_set else given.text})
        if given.to == "mail":
            return json_bytes([given.recipients, given.subject, given.text, [one.model_dump() for one in given.attach]])
        if given.text is not None:
            return given.text.encode(errors="replace")
        json_bytes(given.json_)
        return (json.dumps(given.json_, indent=2, ensure_ascii=False) + "\n").encode(errors="replace")

    def _to_file(self, given: DeliverWith, call: Call, data: bytes) -> Delivery:
        path = str(given.path)
        parts_of(path)
        prefix = derived_id("dlv", call.key)
        token = ""
        if self._store.find(call.key) is None:
            token = f"{prefix}.{secrets.token_hex(8)}"
            self._folder.draft(path, token, data)
        where = {"path": path, "existing": given.existing}
        known = self._store.begin(call.key, "file", once=True, sha256=sha256(data), where=where, token=token)
        if known.done is None:
            known = self._store.finish(call.key, self._placed(given, known) | {"bytes": len(data)})
        self._folder.drop(path, f"{prefix}.")
        return known

    def _placed(self, given: DeliverWith, begun: Delivery) -> dict[str, Any]:
        path = str(given.path)
        if not begun.token or begun.where.get("path") != path:
            raise StepFailed(f"{begun.key} was begun before, for another path", slug="conflict")
        if given.existing == "replace":
            self._folder.replace(path, begun.token)
            return {"path": path, "version": 1}
        found = self._folder.add(path, begun.token)
        if found is None:
            ended = self._store.find(begun.key)
            if ended is None or ended.done is None:
                raise StepFailed(f"what was to be put at {path} was removed before it could be", slug="conflict")
            return dict(ended.receipt)
        return {"path": found[0], "version": found[1]}

    def _to_hook(self, given: DeliverWith, call: Call, data: bytes) -> Delivery:
        url = web_url(str(given.url))
        secret = self._secrets.get(str(given.secret))
        if secret is None:
            raise InvalidInput(f"workflow_secrets has no secret {given.secret}")
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": call.key,
            HEADER: signature_of(secret.value, data, int(time.time())),
        }
        request = WebRequest("POST", url, headers, {}, data, 1 << 16, max(0.001, call.left()))
        self._egress.check(request)
        self._store.begin(call.key, "webhook", once=False, sha256=sha256(data), where={"url": given.url})
        with self._guards.guarded(f"http:{place_of(url)}") as passage:
            reply = self._egress.send(request)
            if reply.status >= 500:
                passage.failed()
        if reply.status not in ACCEPTED:
            raise refusal(reply, place_of(url), " ".join(reply.body.decode(errors="replace").split())[:SHOWN])
        return self._store.finish(call.key, {"host": place_of(url), "status": reply.status})

    def _to_mail(self, given: DeliverWith, call: Call, data: bytes) -> Delivery:
        if self._mail is None:
            raise InvalidInput("mail needs the settings workflow_smtp_url and workflow_mail_from")
        route, to = self._mail, list(dict.fromkeys(given.recipients or ()))
        route.recipients.check(to)
        parts = (call.key, route.sender, to, str(given.subject), str(given.text), given.attach)
        message(*parts, "2026-01-01T00:00:00+00:00")
        begun = self._store.begin(call.key, "mail", once=False, sha256=sha256(data), where={"recipients": to})
        with self._guards.guarded(f"mail:{route.server.host}"):
            refused = route.server.send(route.sender, to, message(*parts, begun.at), call.left())
        receipt = {"message_id": message_id(call.key, route.sender), "accepted": len(to) - len(refused)}
        return self._store.finish(call.key, receipt | {"refused": refused})
