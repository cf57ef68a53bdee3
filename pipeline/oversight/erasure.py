"""An erasure from its order to its certificate: rows, uploaded files, index, the database's own files, backups.

The rows go in one transaction (`kernel.storage.erasure`), together with an entry that says so. All that follows can be
done again at any time, so an erasure that was interrupted is finished by `resume`; the certificate ends it.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.formats import RECORDS
from kernel import merkle
from kernel.errors import Conflict
from kernel.ids import sha256
from kernel.notes import parse_checkpoint
from kernel.records import Fault
from kernel.storage.compaction import compact
from kernel.storage.database import Database
from kernel.storage.erasure import ErasureInfo, ErasureRequest, Erasures, Plan
from kernel.storage.ledger import Ledger
from kernel.storage.occurrences import table_sizes
from kernel.storage.rows import now
from pipeline.oversight.backup_keys import BackupKeys
from pipeline.oversight.verify import Verifier
from retrieval.library import Library

VERIFY_TRIES = 3
STALE_PART_SECONDS = 3600.0
OUT_OF_REACH = (
    "the original files at their sources: remove them there, or the next ingest reports them as erased",
    "what was exported or copied before: audit packs, bundles, answers and lineage that were printed or sent",
    "copies of this machine's disk, and blocks that the file system has freed but not yet written over",
)
OUT_OF_REACH_POSTGRES = (
    "PostgreSQL's write-ahead log, its archive, replicas, base backups and logs: the operator must let them expire "
    "(CHECKPOINT and pg_switch_wal(), then remove archived WAL and base backups from before this moment)"
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What an erasure works on."""

    database: Database
    erasures: Erasures
    ledger: Ledger
    verifier: Callable[[], Verifier]
    library: Callable[[], Library]
    backup_keys: BackupKeys
    folder: Path


class Eraser:
    """Carries erasures out, and finishes what was interrupted."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def preview(self, request: ErasureRequest) -> dict[str, Any]:
        """What an erasure would reach; nothing is changed. Raises NotFound, and Conflict where a hold forbids it."""
        plan = self._parts.erasures.plan(request)
        backups = self._parts.backup_keys.items()
        uploads = sum(self._upload(*upload) is not None for upload in plan.uploads)
        return plan.counts() | {"sources": len(plan.sources), "uploads": uploads, "kept": plan.kept, "backups": backups}

    def begin(self, request: ErasureRequest, reason: str, by: str) -> ErasureInfo:
        """Erase every row, at once and for good; `resume` does the rest. Raises as `Erasures.erase` does."""
        return self._parts.erasures.erase(request, reason, by, self._remove_uploads)

    def erase(self, request: ErasureRequest, reason: str, by: str) -> ErasureInfo:
        """Erase, to the certificate. Raises Unavailable where a step must wait: then `resume` takes it up."""
        begun = self.begin(request, reason, by)
        self.resume()
        return self._parts.erasures.get(begun.id)

    def resume(self, *, wait: bool = True) -> list[ErasureInfo]:
        """Finish every erasure that is not finished. Without `wait`, does nothing while another process is at it."""
        if not self._parts.erasures.unfinished():
            return []
        with self._lock(wait=wait) as held:
            if not held:
                return []
            return [self._finish(info) for info in self._parts.erasures.unfinished()]

    def _finish(self, info: ErasureInfo) -> ErasureInfo:
        parts, facts = self._parts, self._parts.ledger.leaf(info.leaf).facts
        destroyed = parts.backup_keys.destroy(info.leaf, info.id)
        index = self._rebuilt(facts.get("revisions", 0))
        self._remove_stale_parts()
        compacted = compact(parts.database)
        about = parts.erasures.why(info.id)
        certificate = {
            "id": info.id,
            "kind": info.kind,
            "state": "done",
            "by": about.get("by"),
            "reason_sha256": sha256(about.get("reason") or ""),
            "begun_at": info.created_at,
            "finished_at": now(),
            "subjects": {name: about.get(name, []) for name in ("documents", "principals", "answers")},
            "counts": {name: value for name, value in facts.items() if not name.endswith("_sha256")},
            "removed": info.certificate.get("removed", {}),
            "kept": info.certificate.get("kept", {}),
            "searched": {"tables": table_sizes(parts.database), "files": self._files()},
            "index": index,
            "database": {"kind": "SQLite" if parts.database.is_sqlite else "PostgreSQL"} | compacted,
            "backups": {"destroyed_keys": destroyed},
            "ledger": self._proven(info),
            "out_of_reach": [*OUT_OF_REACH, *(() if parts.database.is_sqlite else (OUT_OF_REACH_POSTGRES,))],
        }
        return parts.erasures.certify(info.id, certificate)

    def _rebuilt(self, revisions: int) -> dict[str, Any]:
        if not revisions:
            return {"rebuilt": False, "why": "no document was erased; an index holds nothing of answers or people"}
        index = self._parts.library().rebuild()
        return {"rebuilt": True, "passages": len(index), "generation": index.lineage}

    def _proven(self, info: ErasureInfo) -> dict[str, Any]:
        """That the tree before the erasure is the beginning of the tree now, and that everything still verifies."""
        ledger = self._parts.ledger
        before, after = info.leaf, ledger.size()
        roots = [parse_checkpoint(ledger.checkpoint(size).partition("\n\n")[0] + "\n").root for size in (before, after)]
        proof = ledger.consistency(before, after)
        faults = self._faults()
        return {
            "entry": info.leaf,
            "size_before": before,
            "root_before": roots[0].hex(),
            "size_after": after,
            "root_after": roots[1].hex(),
            "consistency_proof": [step.hex() for step in proof],
            "consistent": merkle.consistent(before, after, roots[0], roots[1], proof),
            "verified": not faults,
            "faults": len(faults),
            "first_fault": faults[0].where if faults else None,
        }

    def _faults(self) -> list[Fault]:
        """What verification finds again and again: what is written while it reads can look like a fault once."""
        faults = list(self._parts.verifier().faults())
        for _ in range(VERIFY_TRIES - 1):
            if not faults:
                break
            again = set(self._parts.verifier().faults())
            faults = [fault for fault in faults if fault in again]
        return faults

    def _files(self) -> dict[str, dict[str, int]]:
        """Files of the workspace by kind: how many there are now, and their bytes."""
        found: dict[str, dict[str, int]] = {}
        for path in sorted(self._parts.folder.rglob("*")):
            if path.is_file():
                place = path.relative_to(self._parts.folder).parts
                one = found.setdefault(place[0] if len(place) > 1 else path.name, {"files": 0, "bytes": 0})
                one["files"] += 1
                one["bytes"] += path.stat().st_size
        return found

    def _remove_uploads(self, plan: Plan) -> None:
        for upload in plan.uploads:
            path = self._upload(*upload)
            if path is None:
                continue
            if upload[3] is None or path.suffix.lower() not in RECORDS:
                path.unlink(missing_ok=True)
            else:
                from ingest.blanking import blank_record  # it loads every parser: only where it is needed

                blank_record(path, upload[3])

    def _upload(self, source: str, location: str, path: str, external_id: str | None) -> Path | None:
        """The uploaded file that a document was read from, where it was uploaded and is still there."""
        root = self._parts.folder / "uploads"
        if "/" in source or Path(location).parts[-2:] != (root.name, source):
            return None
        name = path.rpartition("#")[0] if external_id is not None and "#" in path else path
        found = root / source / name
        return found if found.is_file() and "/" not in name else None

    def _remove_stale_parts(self) -> None:
        """Files that an upload which never ended left behind."""
        for path in (self._parts.folder / "uploads").glob("*/.*.part"):
            if time.time() - path.stat().st_mtime > STALE_PART_SECONDS:
                path.unlink(missing_ok=True)

    @contextmanager
    def _lock(self, *, wait: bool) -> Iterator[bool]:
        """Be the one process that finishes erasures; gives False where another one is, and this is not to wait."""
        self._parts.folder.mkdir(parents=True, exist_ok=True)
        with (self._parts.folder / "erasure.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def confirmed(request: ErasureRequest, *, yes: bool) -> None:
    """Raises Conflict unless an erasure was asked for in earnest: it cannot be undone."""
    if not yes:
        named = ", ".join((*request.documents, *request.principals, *request.answers))
        raise Conflict(f"this would erase for good what belongs to {named}; --dry-run counts it, --yes does it")
