"""`make bench`: measure what the data beside the checkout allows, and write docs/benchmarks.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from bench import documents, multihop, page, speed
from bench.data import DOCUMENTS, SETS, available
from bench.homes import open_set

PARTS = ("documents", *SETS, "ingest", "serve")


def main(wanted: Sequence[str]) -> int:
    """Run the named parts (all by default), keep their results beside the older ones, and write the page."""
    strange = [name for name in wanted if name not in PARTS]
    if strange:
        print(f"no benchmark {strange[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    results = json.loads(page.RESULTS.read_text()) if page.RESULTS.is_file() else {}
    for part in wanted or PARTS:
        needed = DOCUMENTS.is_dir() if part == "documents" else available(part if part in SETS else "hotpotqa")
        if not needed:
            print(f"{part}: left out, its data does not lie beside this checkout", file=sys.stderr)
            continue
        print(f"{part} …", file=sys.stderr)
        results[part] = _run(part)
        print(json.dumps(results[part], indent=1))
        page.RESULTS.parent.mkdir(parents=True, exist_ok=True)
        page.RESULTS.write_text(json.dumps(results, indent=1))
    print(f"wrote {page.write(results)}", file=sys.stderr)
    return 0


def _run(part: str) -> object:
    if part == "ingest":
        return speed.ingest()
    if part == "serve":
        return speed.serve()
    workspace, report = open_set(part)
    with workspace:
        if part == "documents":
            outcomes = documents.run(workspace)
            return documents.table(outcomes) | {"documents": report.added + report.unchanged}
        return [asdict(scores) for scores in multihop.run(workspace, part)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
