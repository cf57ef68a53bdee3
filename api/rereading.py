"""Reading a source again from where it lies: for steps of workflows, which may name a source and never a place."""

from __future__ import annotations

from api.assembly import Workspace
from api.cli.ingest import places_of
from kernel.errors import InvalidInput, NotFound
from kernel.records import IngestReport
from pipeline.indexing import Progress


def read_again(workspace: Workspace, name: str, progress: Progress) -> IngestReport:
    """Bring a source up to date. Raises NotFound for an unknown one, InvalidInput where its place is gone."""
    known = workspace.catalog.sources(workspace.snapshots.live().snapshot)
    source = next((one for one in known if one.name == name), None)
    if source is None:
        raise NotFound(f"no source {name}; `vouch sources list` lists them")
    paths = places_of(source)
    gone = [str(path) for path in paths if not path.exists()]
    if gone or not paths:
        why = f"{gone[0]} is not there any more" if gone else "it has no place of its own to read from"
        raise InvalidInput(f"source {name} was left as it is: {why}")
    with workspace.parser_pool() as parser:
        (report,) = workspace.indexer.ingest(parser, paths, name, progress)
    return report
