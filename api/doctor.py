"""Examining an installation: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from api.assembly import Workspace
from api.views import Json
from kernel.errors import IntegrityFailure, VouchError
from kernel.settings import Settings
from pipeline.workflows.desk import WorkflowDesk

PACKAGES = ("vouch-rag", "fastapi", "faiss-cpu", "numpy", "onnxruntime", "sqlalchemy", "tokenizers", "torch")
SHOWN = 5
"""Names of prompts or workflows that a finding shows."""
SCARCE_BYTES, TOO_LITTLE_BYTES = 2 << 30, 100 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `state` is ok, warn or fail; `advice` says what to do, where anything is."""

    state: str
    what: str
    found: str
    advice: str = ""

    def json(self) -> Json:
        """The finding as JSON values."""
        return asdict(self)


def examine(settings: Settings, opened: Callable[[Settings], Workspace]) -> list[Finding]:
    """Look at everything, in order; what fails keeps nothing else from being looked at."""
    home = _home(settings)
    findings = [*_programs(), home, _disk(settings), _model(settings)]
    if home.state == "fail":
        return [*findings, Finding("fail", "database", "not looked at, since the home cannot be written")]
    return [*findings, *_store(settings, opened)]


def _programs() -> Iterator[Finding]:
    yield Finding("ok", "python", platform.python_version())
    for name in PACKAGES:
        try:
            yield Finding("ok", name, version(name))
        except PackageNotFoundError:
            yield Finding("fail", name, "is not installed", "install Vouch anew, with all that it depends on")


def _home(settings: Settings) -> Finding:
    nearest = _nearest(settings.home)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return Finding("fail", "home", f"{settings.home} cannot be written", "choose another with --home or VOUCH_HOME")
    return Finding(
        "ok", "home", str(settings.home) if settings.home.exists() else f"{settings.home} (made when needed)"
    )


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_nearest(settings.home)).free
    found = f"{free / (1 << 30):.1f} GB free"
    if free < TOO_LITTLE_BYTES:
        return Finding("fail", "disk", found, "make room: publishing needs space for one more copy of the index")
    return Finding(
        "warn" if free < SCARCE_BYTES else "ok", "disk", found, "make room soon" if free < SCARCE_BYTES else ""
    )


def _model(settings: Settings) -> Finding:
    folder = settings.model_folder
    if not (folder / "manifest.json").is_file():
        return Finding(
            "warn", "model", f"not in {folder} yet", "nothing to do: the first ingest makes it, in about 15 s"
        )
    try:
        model = Workspace(settings).embedder.model
    except (IntegrityFailure, OSError, ValueError, KeyError) as error:
        return Finding("fail", "model", str(error), f"delete {folder}; the next ingest makes it anew")
    return Finding("ok", "model", f"{model}, every file as it was exported")


def _store(settings: Settings, opened: Callable[[Settings], Workspace]) -> Iterator[Finding]:
    try:
        workspace = opened(settings)
        about = workspace.database.about()
        live = workspace.snapshots.live().snapshot
        documents = sum(source.documents for source in workspace.catalog.sources(live))
        unfinished = len(workspace.erasures.unfinished())
        overdue = {
            "prompts": [item["name"] for item in workspace.prompt_desk.overdue()],
            "workflows": [item["name"] for item in WorkflowDesk(workspace.workflows).overdue()],
        }
    except VouchError as error:
        yield Finding("fail", "database", str(error), "check database_url, and that the server is up")
        return
    yield Finding("ok", "database", f"{about['kind']} {about['version']}, reachable, schema {about['schema']}")
    if unfinished:
        yield Finding("warn", "erasures", f"{unfinished} not finished", "vouch erasures resume")
    for what, names in overdue.items():
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            found = f"{len(names)} past their review_by date: {', '.join(names[:SHOWN])}{more}"
            yield Finding("warn", what, found, "look at them again, and save versions with a later date")
    advice = "" if documents else "give it documents: vouch ingest PATH"
    yield Finding("ok" if documents else "warn", "documents", f"{documents} in snapshot {live}", advice)


def _nearest(path: Path) -> Path:
    """The path, or of the folders above it the nearest that exists."""
    return next(one for one in (path, *path.parents) if one.exists())
