"""`make bench-audit`: what the record costs, how fast it is checked, and how much tampering is found.

Works in homes of its own under `.vouch/bench/audit`, thrown away afterwards, with the toy model of the tests: nothing
measured here depends on what vectors say, but for replays, which use the real one.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import page
from bench.homes import HOME
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.settings import Settings

TESTS = Path(__file__).resolve().parents[1] / "tests"
ASKER = Principal("key_asker", Role.APP)
SEED = 20261120
RECORDED = 300
LEAVES = 100_000
TAMPERINGS = 1000
REPLAYED = 1000
Row = dict[str, Any]


def main(wanted: Sequence[str]) -> int:
    """Run the named parts (all by default), keep their figures, and write the page."""
    strange = [name for name in wanted if name not in PARTS]
    if strange:
        print(f"no part {strange[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    sys.path.insert(0, str(TESTS))
    results = json.loads(page.RESULTS.read_text()) if page.RESULTS.is_file() else {}
    kept: dict[str, list[Row]] = results.setdefault("audit", {})
    for name in wanted or PARTS:
        print(f"{name} …", file=sys.stderr)
        try:
            kept[name] = PARTS[name]()
        except ModuleNotFoundError as error:
            print(f"{name}: left out, there is no {error.name}", file=sys.stderr)
            continue
        print(json.dumps(kept[name], indent=1))
        page.RESULTS.parent.mkdir(parents=True, exist_ok=True)
        page.RESULTS.write_text(json.dumps(results, indent=1))
    print(f"wrote {page.write(results)}", file=sys.stderr)
    return 0


def tampering() -> list[Row]:
    """A thousand changes at random, each checked by a whole `verify`: how many are found, and how many by name."""
    site = importlib.import_module("tamper_site")
    with _folder() as folder, _fast(folder / "home") as made:
        site.fill(made, folder, answers=20)
        saboteur, chance = site.Saboteur(made), random.Random(SEED)
        held = {table: rows for table in site.records() if (rows := saboteur.rows(table))}
        columns = [column for column in site.said_columns() if column.table in held]
        count = {"changed": [0, 0, 0], "deleted": [0, 0, 0]}
        for _ in range(TAMPERINGS):
            column = chance.choice(columns)
            row = chance.choice(held[column.table])
            gone = chance.random() < 0.25
            names = site.named(made, column.table, row)
            change = saboteur.without(column.table, row) if gone else saboteur.flipped(column.table, row, column)
            with change:
                faults = [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()]
            tally = count["deleted" if gone else "changed"]
            tally[0] += 1
            tally[1] += bool(faults)
            tally[2] += any(name in fault for name in names for fault in faults)
        saboteur.close()
        tables = f"{len(held)} tables, {len(columns)} columns"
        return [
            {"tampering": f"a row {what}, {tables}", "times": n, "found": _share(found, n), "named": _share(named, n)}
            for what, (n, found, named) in count.items()
        ]


def append() -> list[Row]:
    """Milliseconds to record an answer on this disk, with the ledger and without it, in turn in one run.

    Without it the record is stored as the same rows, but not hashed, not signed, in no tree and in no head file.
    """
    answers = importlib.import_module("kernel.storage.answers")
    times: dict[str, list[float]] = {"with": [], "without": []}
    with contextlib.ExitStack() as stack:
        doors = {}
        for name in times:
            made = stack.enter_context(_fast(stack.enter_context(_folder()) / "home"))
            _ask(made, 1)
            doors[name] = made
        whole = answers.append
        for number in range(2 * RECORDED):
            name = ("with", "without")[number % 2]
            answers.append = whole if name == "with" else _plain_append
            try:
                spent = _record_one(doors[name])
            finally:
                answers.append = whole
            if number >= 20:
                times[name].append(spent)
    p50, p95 = ({name: float(np.percentile(values, p)) for name, values in times.items()} for p in (50, 95))
    rows = [{"recording an answer": f"{name} the ledger", **_spread(values)} for name, values in times.items()]
    added = {"p50 ms": round(p50["with"] - p50["without"], 2), "p95 ms": round(p95["with"] - p95["without"], 2)}
    return [*rows, {"recording an answer": "what the ledger adds", **added}]


def lineage() -> list[Row]:
    """Milliseconds of the lineage, and of the proof, of one answer."""
    with _folder() as folder, _fast(folder / "home") as made:
        _ask(made, RECORDED)
        ids = [record.id for record in made.answers.records()]
        acts: dict[str, Callable[[str], object]] = {
            "lineage as JSON": lambda one: made.lineage.lineage(one, LOCAL_OWNER),
            "inclusion proof": lambda one: made.prover.proof(one, LOCAL_OWNER),
        }
        return [
            {"of one answer": name, **_spread([_timed(partial(act, one)) for one in ids])} for name, act in acts.items()
        ]


def offline() -> list[Row]:
    """Seconds to check 100,000 entries of a real ledger: from an audit pack, offline; and in place, signatures too."""
    ledger = importlib.import_module("kernel.storage.ledger")
    pack = importlib.import_module("pipeline.oversight.pack")
    with _folder() as folder, _fast(folder / "home") as made:
        with made.database.write() as connection:
            for number in range(LEAVES - 1):
                ledger.append(made.database, connection, "bench.entry", f"entry {number}", {"n": number})
        path = folder / "pack.zip"
        rows = []
        for what, act in (
            ("write the pack", lambda: made.packer.write(path, pack.Scope())),
            ("check the pack offline", lambda: _whole(pack.check_pack(path, made.ledger.key))),
            ("vouch verify in place, every signature", lambda: _none(made.verifier.faults())),
        ):
            rows.append({f"{made.ledger.size():,} entries": what, "s": round(_timed(act) / 1000, 2)})
        return rows


def ingest() -> list[Row]:
    """What sealing revisions costs: share of the time of storing them that goes into their digests."""
    rows = importlib.import_module("kernel.storage.rows")
    catalog = importlib.import_module("kernel.storage.catalog")
    parts = importlib.import_module("fast_parts")
    spent = [0.0]

    def timed(*arguments: Any) -> str:
        begin = time.perf_counter()
        found = rows.revision_digest(*arguments)
        spent[0] += time.perf_counter() - begin
        return str(found)

    text = "Alpha Team keeps the register in Lisbon. It was opened in 1998 by Beta Group. Gamma Team reads it.\n\n" * 30
    revisions = [parts.stored_revision(f"{n}.md", f"Page {n}. {text}") for n in range(100)]
    with _folder() as folder, _fast(folder / "home") as made:
        source = made.catalog.source_id("pages", "/")
        whole = catalog.revision_digest
        catalog.revision_digest = timed
        try:
            total = _timed(lambda: made.catalog.stage(source, "rcp", revisions))
        finally:
            catalog.revision_digest = whole
        with made.database.read() as connection:
            read_back = _timed(lambda: rows.revision_digests(connection, list(range(1, len(revisions) + 1))))
    return [
        {"sealing 100 revisions": "storing them, digests included", "ms": round(total, 1)},
        {"sealing 100 revisions": "their digests, made of what is stored", "ms": round(spent[0] * 1000, 1)},
        {"sealing 100 revisions": "the same digests read back (verify; was part of ingest)", "ms": round(read_back, 1)},
    ]


def impact() -> list[Row]:
    """What depends on one document, over 100,000 answers."""
    module = importlib.import_module("bench.audit_impact")
    with module.site() as workspace:
        return [*module.impact_rows(workspace), *module.lineage_rows(workspace)]


def replay() -> list[Row]:
    """A thousand answers of the real model replayed, after a re-index, in a process with another hash seed."""
    module = importlib.import_module("bench.audit_impact")
    with module.site(REPLAYED, REPLAYED) as workspace:
        workspace.shelf.drop()
        seed = {"PYTHONHASHSEED": "4242"}
        home = str(workspace.settings.home)
        models = {"VOUCH_MODELS": str(workspace.settings.model_folder.parent)}
        command = [sys.executable, "-m", "bench.audit", "--replay-child", home]
        done = subprocess.run(command, env=os.environ | seed | models, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]


def replay_child(home: str) -> int:
    """Replay every answer of a home; a line a row."""
    assembly = importlib.import_module("api.assembly")
    module = importlib.import_module("bench.audit_impact")
    with assembly.Workspace(Settings.load(home=Path(home))) as workspace:
        for row in module.replay_rows(workspace, module.real_answers(workspace)):
            print(json.dumps(row))
    return 0


def claims() -> list[Row]:
    """Verification of claims beside simple baselines."""
    found = importlib.import_module("bench.claims").claims()
    return [{"claims": name, **row} for name, row in found.items()]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "tampering": tampering,
    "append": append,
    "lineage": lineage,
    "offline": offline,
    "ingest": ingest,
    "impact": impact,
    "replay": replay,
    "claims": claims,
}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder on the disk that workspaces lie on: what is made durable costs what it costs there."""
    base = HOME / "audit"
    base.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=base)).absolute()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fast(home: Path) -> Any:
    return importlib.import_module("fast_parts").fast_workspace(home)


def _ask(made: Any, count: int) -> None:
    folder = made.settings.home / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(8):
        (folder / f"{n}.md").write_text(f"# Register {n}\n\nAlpha Team keeps register {n} in Lisbon. It is large.\n")
    made.indexer.ingest(importlib.import_module("fast_parts").InlineParser(), [folder], "pages")
    for n in range(count):
        made.answering.ask(Question(f"Where does Alpha Team keep register {n % 8}?", ASKER))


def _record_one(made: Any) -> float:
    pinned = made.answering.pin(Question("Where does Alpha Team keep register 3?", ASKER))
    composed = made.answering.compose(pinned)
    body, run = made.answering.body_of(composed), made.answering.run_of(composed)
    cited = {citation["chunk_id"] for citation in body["citations"]}
    evidence = [(one.chunk_id, one.chunk_id in cited) for one in composed.evidence.passages]
    return _timed(lambda: made.answers.record(body, run, principal=ASKER, prompt=pinned.prompt, evidence=evidence))


def _plain_append(
    database: Any, connection: Any, kind: str, subject: str, facts: Any, payload: str = "{}", at: str | None = None
) -> Any:
    """Store what an entry stores, without what makes it provable."""
    del database
    ledger = importlib.import_module("kernel.storage.ledger")
    schema = importlib.import_module("kernel.storage.schema")
    select, func = (getattr(importlib.import_module("sqlalchemy"), name) for name in ("select", "func"))
    number = connection.execute(select(func.max(schema.ledger_leaf.c.number))).scalar_one() + 1
    leaf = ledger.Leaf(number, kind, subject, json.dumps(dict(facts)), "", b"", at or "")
    values = {"number": number, "kind": kind, "subject": subject, "leaf": leaf.text, "sha256": "", "signature": b""}
    connection.execute(schema.ledger_leaf.insert(), values | {"created_at": leaf.created_at})
    connection.execute(schema.ledger_payload.insert(), {"number": number, "salt": b"", "payload": payload})
    return leaf


def _timed(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1000


def _spread(values: Sequence[float]) -> Row:
    return {f"p{p} ms": round(float(np.percentile(values, p)), 2) for p in (50, 95)}


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _whole(outcome: Any) -> None:
    assert outcome.ok, outcome.fault


def _none(faults: Iterator[Any]) -> None:
    found = list(faults)
    assert not found, found[:3]


if __name__ == "__main__":
    sys.exit(replay_child(sys.argv[2]) if sys.argv[1:2] == ["--replay-child"] else main(sys.argv[1:]))
