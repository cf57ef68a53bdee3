"""`make bench`: measure what the data beside the checkout allows, and write docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench import documents, multihop, speed
from bench.data import DOCUMENTS, SETS, available
from bench.homes import HOME, open_set

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
RESULTS = HOME / "results.json"
PARTS = ("documents", *SETS, "ingest", "serve")


def main(wanted: Sequence[str]) -> int:
    """Run the named parts (all by default), keep their results beside the older ones, and write the page."""
    strange = [name for name in wanted if name not in PARTS]
    if strange:
        print(f"no benchmark {strange[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for part in wanted or PARTS:
        needed = DOCUMENTS.is_dir() if part == "documents" else available(part if part in SETS else "hotpotqa")
        if not needed:
            print(f"{part}: left out, its data does not lie beside this checkout", file=sys.stderr)
            continue
        print(f"{part} …", file=sys.stderr)
        results[part] = _run(part)
        print(json.dumps(results[part], indent=1))
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1))
    PAGE.write_text(page(results))
    print(f"wrote {PAGE.name}", file=sys.stderr)
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


def page(results: dict[str, object]) -> str:
    """The page of all results."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` from development data that is not part of the project; one configuration for all.",
        f"Machine: {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}; shared,",
        "so compare ratios within a run. The ranker was trained on the even-numbered questions of the four sets",
        "(`retrieval/ranker.json` has the record); the held-out half are the odd-numbered ones.",
        "The odd-numbered half was looked at while features and constants were chosen, and abstention thresholds were",
        "set on the questions about documents below: none of these figures is from data that nobody had seen.",
        "",
    ]
    for part in PARTS:
        if part in results:
            lines += [f"## {_TITLES.get(part, part)}", "", *_table(results[part]), ""]
    return "\n".join(lines)


_TITLES = {
    "documents": "Questions about real documents (extractive, no model)",
    "2wiki": "2WikiMultihopQA, 6,119 passages",
    "hotpotqa": "HotpotQA, 12,542 passages",
    "musique": "MuSiQue, 10,036 passages",
    "scifact": "SciFact, 5,183 abstracts",
    "ingest": "Ingest beside the encoder alone",
    "serve": "Serving 12,542 passages, one client",
}


def _table(result: object) -> list[str]:
    if isinstance(result, dict):
        return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in result.items())]
    assert isinstance(result, list)
    names = list(result[0])
    rows = [f"| {' | '.join(str(row[name]) for name in names)} |" for row in result]
    return [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}", *rows]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
