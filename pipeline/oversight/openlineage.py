"""Ingests and answers as OpenLineage run events (spec 2-0-2), one JSON object a line."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from kernel.storage.answers import AnswerRecord, Answers
from kernel.storage.audit import AuditRecords, Row

PRODUCER = "urn:vouch:rag"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACET = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet"
DATASET_FACET = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/DatasetFacet"
_RUNS = uuid.UUID("5d9b7c1e-0d0d-5b55-9a53-5f0f6a1f1d6e")
Json = dict[str, Any]


class OpenLineage:
    """Writes events. The run of the same thing has the same id in every export."""

    def __init__(self, answers: Answers, records: AuditRecords, workspace: str) -> None:
        self._answers = answers
        self._records = records
        self._namespace = f"vouch/{workspace}"

    def lines(self, since: str | None, until: str | None, source: str | None) -> Iterator[str]:
        """The events as lines: every move of the live snapshot, then every answer, of the period (and source)."""
        for row in self._records.publications():
            within = (since is None or row["created_at"] >= since) and (until is None or row["created_at"] < until)
            if within and (event := self._published(row, source)):
                yield f"{json.dumps(event, ensure_ascii=False, sort_keys=True)}\n"
        for record in self._answers.records(self._records.answer_numbers(since, until, source)):
            yield f"{json.dumps(self._answered(record), ensure_ascii=False, sort_keys=True)}\n"

    def _published(self, row: Row, source: str | None) -> Json | None:
        born = list(self._records.born(row["snapshot"])) if row["action"] == "publish" else []
        if source is not None and all(one["source"] != source for one in born):
            return None
        inputs = [
            self._dataset(f"document/{one['public_id']}/{one['number']}", {"content_sha256": one["content_sha256"]})
            for one in born
        ]
        facts = {"action": row["action"], "snapshot": row["snapshot"], "reason": row["reason"]}
        outputs = [self._dataset(f"snapshot/{row['snapshot']}", {"documents": row["documents"]})]
        return self._event("snapshot", f"move/{row['id']}", row["created_at"], facts, inputs, outputs)

    def _answered(self, record: AnswerRecord) -> Json:
        body = record.body
        context = {(item["document_id"], item["revision"]) for item in record.run.get("context", ())}
        inputs = [self._dataset(f"document/{name}/{number}", {}) for name, number in sorted(context)]
        inputs.append(self._dataset(f"snapshot/{body['retrieval']['snapshot']}", {}))
        facts = {
            "status": body["status"],
            "confidence": body["confidence"],
            "prompt_sha256": body["prompt"]["sha256"],
            "model": f"{body['model'].get('provider', '')}/{body['model'].get('name', '')}",
            "ledger_index": record.number,
            "leaf_sha256": record.leaf_sha256,
        }
        outputs = [self._dataset(f"answer/{record.id}", {"leaf_sha256": record.leaf_sha256})]
        return self._event("answer", record.id, body["created_at"], facts, inputs, outputs)

    def _event(self, job: str, name: str, moment: str, facts: Json, inputs: list[Json], outputs: list[Json]) -> Json:
        facet = {"_producer": PRODUCER, "_schemaURL": FACET, "version": version("vouch-rag"), **facts}
        return {
            "eventType": "COMPLETE",
            "eventTime": moment,
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
            "run": {"runId": str(uuid.uuid5(_RUNS, f"{self._namespace}/{name}")), "facets": {"vouch": facet}},
            "job": {"namespace": self._namespace, "name": job, "facets": {}},
            "inputs": inputs,
            "outputs": outputs,
        }

    def _dataset(self, name: str, facts: Json) -> Json:
        facet = {"_producer": PRODUCER, "_schemaURL": DATASET_FACET, **facts}
        return {"namespace": self._namespace, "name": name, "facets": {"vouch": facet} if facts else {}}
