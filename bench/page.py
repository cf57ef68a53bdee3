"""The benchmark page: every kept result as tables, with charts, in docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import charts
from bench.data import SETS
from bench.homes import HOME
from bench.peers.driver import FLOOR, OURS, PEERS, Name

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
CHARTS = PAGE.with_suffix("")
RESULTS = HOME / "results.json"
TITLES = {
    "documents": "Questions about real documents (extractive, no model)",
    "2wiki": "2WikiMultihopQA, 6,119 passages",
    "hotpotqa": "HotpotQA, 12,542 passages",
    "musique": "MuSiQue, 10,036 passages",
    "scifact": "SciFact, 5,183 abstracts",
    "ingest": "Ingest beside the encoder alone",
    "serve": "Serving 12,542 passages, one client",
}
SYSTEMS = (OURS, *PEERS, FLOOR)

INTRO = """# Benchmarks

Written by `make bench` and `make bench-retrieval` from development data that is not part of the project; one
configuration for all. Machine: {cores} cores ({machine}), Python {python}; shared, so compare ratios within a run.
The ranker was trained on the even-numbered questions of the four sets (`retrieval/ranker.json` has the record); the
held-out half are the odd-numbered ones. The odd-numbered half was looked at while features and constants were chosen,
and abstention thresholds were set on the questions about documents below: none of these figures is from data that
nobody had seen. [How to run it again](how-to/benchmark.md)."""

CHECKS = {
    "claims": (
        "Sentences checked against quotes",
        """`python -m bench.claims claims`: SciFact's claims with odd places in the file, and claims made from plain
sentences of texts that the model was not trained on (`bench/made_claims.py` says how items are made). *Not found* items
are claims beside the most alike sentence of a cited abstract that says nothing of them, and of an unrelated abstract.
No language model. ECE and Brier are of the probability that a claim is supported. Lexicon and features were chosen by
looking at even claims; the odd ones' totals were seen several times.""",
    ),
    "confidence": (
        "Confidence of answers",
        """`python -m bench.claims confidence`: answers of the extractive pipeline to questions with odd numbers,
without abstentions, of the kinds that `bench/asked.py` describes: single facts (of MuSiQue and 2WikiMultihopQA), plain
questions made from a passage, questions about real documents, SciFact's claims, multi-hop questions; and questions to
which the documents say nothing: asked of a corpus about other things, near misses (one word of a plain question
exchanged), and questions whose documents were held back. Kinds weigh the same in every row, the last three together as
one, so that no set's share of right answers rules. *Fitted without*: the same features, with weights fitted on even
questions of all other kinds or corpora. *Before*: the version before. AUC: how likely a right answer is surer than a
wrong one. ECE over ten bins. The features were chosen by looking at even questions; the odd ones' totals were seen
several times.""",
    ),
    "thresholds": (
        "Thresholds on confidence",
        """`python -m bench.claims thresholds`: what of the same answers a policy keeps that withholds those below a
confidence (`abstain_below`); shares of all, of the right and of the wrong ones.""",
    ),
}

METHOD = """## Retrieval side by side

All systems in one run, each in a process of its own: the same model (all-MiniLM-L6-v2, fp32), the same shuffled
corpora, the same questions, ten passages wanted. To a peer a passage is its title and text as one string, never split.
Ours is given title and text apart and splits what is longer than its chunks; two chunks of one document among its ten
count once. Peers are set up as their own documentation has them; each one's script in `bench/peers` says what was
chosen.

- Recall@k: share of a question's supporting passages among the first k, mean over questions, in percent: of all
  questions of a set, and *held out*, of the odd-numbered ones alone, which our ranker was not trained on. The charts
  show the latter.
- Time: one question after another, in process, no server in between; each system encodes the question itself. Beside
  each peer, in blocks of {block} questions in turn, ours and the floor (onnxruntime encodes the question, then exact
  search of the vectors, nothing else) are timed on the same questions. *x floor* is a system's median over the floor's
  beside it.
- Index: passages a second, everything included, with each system's own encoder on the same {sample} passages. For the
  whole corpora passage vectors were {vectors}.
- Ablations leave the trained weights as they are: with the graph off, a ranker trained without it might do better.
- Memory is what is resident after the timed questions; size what a system saves of its index (LangChain's BM25 cannot
  be saved; ours includes the database with all text)."""


UNTITLED = """`python -m bench.untitled`: Recall@5 (unless a row says otherwise) where documents have no titles, and
where neither documents nor questions have capitals. *Second stage, no graph* keeps the trained weights."""

SCALE = """`python -m bench.scale`: synthetic passages in a real store, asked over HTTP by one client; then a hundredth
is added. Written is what the index's files grew by and all of its new files."""

AUDIT = """`make bench-audit`: the record and its proofs, on a store on this machine's disk; synthetic documents, and
the tests' toy model but for replays. Each tampering is one change behind the program's back, and one whole `verify`."""

PROMPTS = """`make bench-prompts`: what the library of prompts adds to an answer, with 520 prompts and a journal of
2,000 moves, and how fast it is searched (real vectors, each query new)."""

WORKFLOWS = """`make bench-workflows`: runs of 20 steps that do next to nothing, each recorded durably as an entry of
the ledger, on this machine's disk; one worker with four threads, beside what else the machine does."""


def write(results: Mapping[str, Any]) -> str:
    """Write the page and its charts; returns the page's name."""
    PAGE.write_text(page(results), encoding="utf-8")
    for name, chart in drawings(results.get("retrieval", {})).items():
        CHARTS.mkdir(exist_ok=True)
        (CHARTS / name).write_text(chart, encoding="utf-8")
    return PAGE.name


def page(results: Mapping[str, Any]) -> str:
    """The page of all results."""
    intro = INTRO.format(cores=os.cpu_count(), machine=platform.machine(), python=platform.python_version())
    kept = results.get("retrieval", {})
    lines = [intro, ""]
    if kept.get("sets"):
        lines += [*_method(kept), "", *_figures(kept), *_index_lines(kept)]
    for part in TITLES:
        ours_alone = part in results and not (kept.get("sets", {}).get(part) and kept.get("ablations", {}).get(part))
        section = [*side_by_side(kept, part), *_ablations(kept, part)]
        section += [*table(results[part]), ""] if ours_alone else []
        lines += [f"## {TITLES[part]}", "", *section] if section else []
    if "untitled" in results:
        lines += ["## Titles removed, capitals removed", "", UNTITLED, "", *table(results["untitled"]), ""]
    if "audit" in results:
        lines += ["## Audit", "", AUDIT, "", *_audit(results["audit"])]
    if "prompts" in results:
        lines += ["## Prompts", "", PROMPTS, "", *_audit(results["prompts"])]
    if "workflows" in results:
        lines += ["## Workflows", "", WORKFLOWS, "", *_audit(results["workflows"])]
    for part, (title, about) in CHECKS.items():
        lines += [f"## {title}", "", about, "", *table(results[part]), ""] if part in results else []
    if "scale" in results:
        lines += ["## Scale and growth", "", SCALE, "", *_scale(results["scale"]), ""]
    return "\n".join(lines)


def table(result: Any) -> list[str]:
    """A result as a table: named figures, named rows of them, or rows that all have the same names."""
    if isinstance(result, Mapping) and result and all(isinstance(row, Mapping) for row in result.values()):
        result = [{"": name, **row} for name, row in result.items()]
    if isinstance(result, Mapping):
        return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in result.items())]
    names = list(result[0])
    return _rows(names, [[str(row[name]) for name in names] for row in result])


def _audit(parts: Mapping[str, Any]) -> list[str]:
    """Each part a table; rows of one part that have other names, one more."""
    lines: list[str] = []
    for rows in parts.values():
        shapes: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
        for row in rows:
            shapes.setdefault(tuple(row), []).append(row)
        for found in shapes.values():
            lines += [*table(found), ""]
    return lines


def _scale(sizes: Mapping[str, Any]) -> list[str]:
    """Sizes side by side, a figure a row."""
    chosen = [sizes[size] for size in sorted(sizes, key=int)]
    names = [name for name in chosen[0] if name != "chunks"]
    heads = ["", *(f"{int(size['chunks']):,} passages" for size in chosen)]
    return _rows(heads, [[name, *(str(size.get(name, "")) for size in chosen)] for name in names])


def side_by_side(kept: Mapping[str, Any], name: str) -> list[str]:
    """The table of all systems on one set; nothing where the set was not measured."""
    found = kept.get("sets", {}).get(name, {})
    heads = ["system", "R@2", "R@5", "R@10", "nDCG@10", "R@2 held out", "R@5 held out"]
    heads += ["p50 ms", "p95 ms", "p99 ms", "x floor", "memory MB", "size MB"]
    rows = [_system_row(system, found[system.key], found) for system in SYSTEMS if system.key in found]
    if not rows:
        return []
    counts = [system["questions"] for system in found.values()]
    asked = f"{max(counts)} questions." if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} questions."
    return [asked, "", *_rows(heads, rows), ""]


def side_by_side_text(kept: Mapping[str, Any]) -> str:
    """All tables of all sets, for the terminal."""
    lines = []
    for name in kept.get("sets", {}):
        lines += [TITLES[name], "", *side_by_side(kept, name), *_ablations(kept, name)]
    return "\n".join([*lines, *_index_lines(kept)])


def drawings(kept: Mapping[str, Any]) -> dict[str, str]:
    """The charts by file name: recall of each set, and mean recall over mean latency; none without results."""
    sets = {name: kept.get("sets", {}).get(name, {}) for name in SETS}
    sets = {name: found for name, found in sets.items() if OURS.key in found}
    if not sets:
        return {}
    panels = {TITLES[name]: _bars(found) for name, found in sets.items()}
    about = "Share of a question's supporting passages among the first five, in percent; questions not trained on"
    drawn = {"recall.svg": charts.bars("Recall@5 by system and set", about, panels)}
    points = [_point(system, list(sets.values())) for system in SYSTEMS if all(system.key in s for s in sets.values())]
    count = f"Mean of {len(sets)} sets, questions not trained on; farther up and to the left is better"
    drawn["latency.svg"] = charts.scatter("Recall@5 and time of a question", count, points)
    return drawn


def _bars(found: Mapping[str, Any]) -> list[charts.Bar]:
    rows = [(system, found[system.key]["held_recall5"]) for system in SYSTEMS if system.key in found]
    return [charts.Bar(_plain(system), 100 * value, system is OURS) for system, value in rows]


def _point(system: Name, sets: Sequence[Mapping[str, Any]]) -> charts.Point:
    rows = [found[system.key] for found in sets]
    ms = sum(row["p50"] for row in rows) / len(rows)
    return charts.Point(_plain(system), ms, 100 * sum(row["held_recall5"] for row in rows) / len(rows), system is OURS)


def _plain(system: Name) -> str:
    return system.title.replace("*", "")


def _method(kept: Mapping[str, Any]) -> list[str]:
    full = all(
        "full_index_passages_per_second" in row
        for found in kept["sets"].values()
        for key, row in found.items()
        if not key.startswith("ours")
    )
    vectors = (
        "made by each system with its own encoder (`--full-index`)"
        if full
        else "made once by our encoder and handed to every peer through its own interface: the same\n"
        "  model, see the least cosine below (`--full-index` lets each encode everything)"
    )
    settings = kept.get("settings", {})
    lines = [METHOD.format(block=settings.get("block"), sample=settings.get("index_sample"), vectors=vectors)]
    lines += [f"- Left out: {key}, {why}." for key, why in kept.get("left_out", {}).items()]
    return lines


def _figures(kept: Mapping[str, Any]) -> list[str]:
    drawn = drawings(kept)
    alt = {"recall.svg": "Recall@5 by system and set", "latency.svg": "Recall@5 and time of a question"}
    return [line for name in drawn for line in (f"![{alt[name]}]({PAGE.stem}/{name})", "")]


def _index_lines(kept: Mapping[str, Any]) -> list[str]:
    found = kept.get("index", {})
    rows = [
        [system.title, f"{found[system.key]['passages_per_second']:.1f}", f"{found[system.key]['least_cosine']:.6f}"]
        for system in SYSTEMS
        if system.key in found
    ]
    heads = ["system", "index, passages/s", "least cosine to the shared vectors"]
    return [*_rows(heads, rows), ""] if rows else []


def _system_row(system: Name, row: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    floor = row.get(f"{FLOOR.key}_p50_beside") or found.get(FLOOR.key, {}).get("p50")
    return [
        system.title,
        *(f"{100 * row[measure]:.1f}" for measure in ("recall2", "recall5", "recall10")),
        f"{row['ndcg10']:.3f}",
        *(f"{100 * row[measure]:.1f}" for measure in ("held_recall2", "held_recall5")),
        *(f"{row[share]:.1f}" for share in ("p50", "p95", "p99")),
        f"{row['p50'] / floor:.1f}" if floor else "",
        f"{row['rss_mb']:.0f}",
        f"{row['mb']:.0f}" if row.get("mb") is not None else "",
    ]


def _ablations(kept: Mapping[str, Any], name: str) -> list[str]:
    found = kept.get("ablations", {}).get(name, [])
    heads = ["ours, with", "R@2", "R@5", "R@10", "nDCG@10", "R@2 held out", "R@5 held out"]
    measures = ("recall2", "recall5", "recall10")
    rows = [
        [
            row["name"],
            *(f"{100 * row[measure]:.1f}" for measure in measures),
            f"{row['ndcg10']:.3f}",
            *(f"{100 * row[measure]:.1f}" for measure in ("held_recall2", "held_recall5")),
        ]
        for row in found
    ]
    return [*_rows(heads, rows), ""] if rows else []


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *(f"| {' | '.join(row)} |" for row in rows)]
