"""`make bench-retrieval`: our retrieval beside its peers in one run: recall, nDCG, latency, index time, memory, size.

    python -m bench.retrieval [--only langchain,haystack] [--sets 2wiki,scifact]
        [--parts index,search,ablations,untitled]

Every system is a process of its own that answers the same messages (`bench/peers/protocol.py`), with the same model,
the same shuffled corpora and the same questions. Beside each peer ours and the floor are measured again, in blocks of a
few questions in turn, so that whatever else the machine does meets all three. Parts may be run one at a time: results
are kept in `.vouch/bench/results.json`, from which the page is written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench import ablations, page, untitled
from bench.data import SETS, available
from bench.homes import open_set
from bench.peers.driver import FLOOR, OURS, PEERS, Name, say
from bench.peers.indexing import index_speed
from bench.peers.searching import BLOCK, Timing, search
from bench.peers.venvs import NotInstalled, python_of

PARTS = ("index", "search", "ablations", "untitled")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured."""

    sets: tuple[str, ...]
    peers: tuple[Name, ...]
    parts: tuple[str, ...]
    sample: int
    timing: Timing


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, keep it beside older results, and write the page."""
    plan = _plan(arguments)
    results = json.loads(page.RESULTS.read_text()) if page.RESULTS.is_file() else {}
    kept = results.setdefault("retrieval", {})
    settings = kept.setdefault("settings", {})
    settings["block"] = BLOCK
    if "index" in plan.parts:
        settings["index_sample"] = plan.sample
    peers, left_out = _installed(plan.peers) if {"index", "search"} & set(plan.parts) else ((), {})
    for failed in _measured(plan, peers, kept):
        left_out |= failed
        tried = {name.key for name in (OURS, FLOOR, *plan.peers)}
        before = {key: why for key, why in kept.get("left_out", {}).items() if key not in tried}
        kept["left_out"] = before | left_out
        page.RESULTS.write_text(json.dumps(results, indent=1))
    if "untitled" in plan.parts:
        _untitled(plan, results)
    print(page.side_by_side_text(kept))
    say(f"wrote {page.write(results)}" + (f"; left out: {', '.join(left_out)}" if left_out else ""))
    return 0


def _measured(plan: Plan, peers: Sequence[Name], kept: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Run the parts one after another; after each system, why it failed, if it did."""
    if "index" in plan.parts:
        yield from index_speed(plan.sample, peers, kept.setdefault("index", {}))
    for name in plan.sets:
        if "search" in plan.parts:
            yield from search(plan.timing, name, peers, kept.setdefault("sets", {}).setdefault(name, {}))
        if "ablations" in plan.parts:
            say(f"{name}: ablations")
            with open_set(name)[0] as workspace:
                kept.setdefault("ablations", {})[name] = ablations.run(workspace, name)
            yield {}


def _untitled(plan: Plan, results: dict[str, Any]) -> None:
    """What the graph adds where titles and capitals are removed, for the sets that are asked for."""
    rows = results.setdefault("untitled", {})
    for part in untitled.parts():
        if part in plan.sets or part not in SETS:
            say(f"{part}: titles removed")
            rows |= untitled.parts()[part]()
            page.RESULTS.write_text(json.dumps(results, indent=1))


def _installed(wanted: Sequence[Name]) -> tuple[tuple[Name, ...], dict[str, str]]:
    """The peers that have an environment, made where it is missing, and why others are left out."""
    missing: dict[str, str] = {}
    for peer in dict.fromkeys(name.peer for name in wanted):
        try:
            python_of(peer)
        except NotInstalled as error:
            say(f"{peer}: left out, it could not be installed: {error}")
            missing[peer] = str(error)
    return (
        tuple(name for name in wanted if name.peer not in missing),
        {name.key: f"could not be installed: {missing[name.peer]}" for name in wanted if name.peer in missing},
    )


def _plan(arguments: Sequence[str] | None) -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench.retrieval", description="Our retrieval beside its peers.")
    parser.add_argument(
        "--only",
        default="",
        help="peers, by comma: langchain, llamaindex, haystack, txtai, or one of "
        f"{', '.join(peer.key for peer in PEERS)}; none: ours alone",
    )
    parser.add_argument("--sets", default="", help=f"sets, by comma: {', '.join(SETS)}")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"by comma: {', '.join(PARTS)}")
    parser.add_argument(
        "--index-sample", type=int, default=1000, help="passages that each system encodes itself, timed"
    )
    parser.add_argument("--asked", type=int, help="questions asked of each set, drawn by chance; all by default")
    parser.add_argument("--timed", type=int, default=200, help="questions of each set whose latency is measured")
    parser.add_argument("--full-index", action="store_true", help="let every peer encode all passages (hours)")
    chosen = parser.parse_args(arguments)
    only, sets, parts = (tuple(filter(None, text.split(","))) for text in (chosen.only, chosen.sets, chosen.parts))
    known = {"none", *(peer.peer for peer in PEERS), *(peer.key for peer in PEERS)}
    for wanted, there in ((only, known), (sets, set(SETS)), (parts, set(PARTS))):
        if strange := sorted(set(wanted) - there):
            parser.error(f"there is no {strange[0]!r}; there are {', '.join(sorted(there))}")
    for name in sets or SETS:
        if not available(name):
            say(f"{name}: left out, its data does not lie beside this checkout")
    return Plan(
        tuple(name for name in sets or SETS if available(name)),
        tuple(peer for peer in PEERS if not only or {peer.peer, peer.key} & set(only)),
        parts,
        chosen.index_sample,
        Timing(chosen.asked, chosen.timed, chosen.full_index),
    )


if __name__ == "__main__":
    sys.exit(main())
