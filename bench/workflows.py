"""`make bench-workflows`: what the interpreter and its record add to a step, many runs at once, and runs that wait.

A workspace of its own under `.vouch/bench`, on this machine's disk, thrown away afterwards. Steps are `check`s of one
rule, which do next to nothing, so that what is measured is what every step costs; nothing asks a language model.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from api.assembly import Workspace
from api.flows import Flows
from api.workflow_worker import WorkflowWorker
from bench import page
from bench.homes import HOME
from kernel.records import LOCAL_OWNER
from kernel.settings import Settings
from kernel.storage.runs import ENDS, WAITING, Run
from pipeline.workflows.starting import Wanted

STEPS, RUNS, AT_ONCE, WAITERS, THREADS = 20, 40, 200, 200, 4
Row = dict[str, Any]


def main(wanted: Sequence[str]) -> int:
    """Run the named parts (all by default), keep their figures, and write the page."""
    strange = [name for name in wanted if name not in PARTS]
    if strange:
        print(f"no part {strange[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    results = json.loads(page.RESULTS.read_text()) if page.RESULTS.is_file() else {}
    kept: dict[str, list[Row]] = results.setdefault("workflows", {})
    for name in wanted or PARTS:
        print(f"{name} …", file=sys.stderr)
        with _site() as flows:
            kept[name] = PARTS[name](flows)
        print(json.dumps(kept[name], indent=1))
    page.RESULTS.parent.mkdir(parents=True, exist_ok=True)
    page.RESULTS.write_text(json.dumps(results, indent=1))
    print(f"wrote {page.write(results)}", file=sys.stderr)
    return 0


def steps(flows: Flows) -> list[Row]:
    """Milliseconds a step beside the step's own work, run by run, without the engine and with it."""
    spent, own = [], []
    for _ in range(RUNS):
        run = _start(flows, "chain")
        begin = time.perf_counter()
        flows.runner.advance(run.id, run.turn)
        spent.append(time.perf_counter() - begin)
        own.append(sum(one.data.get("ms", 0.0) for one in flows.runs.events(run.id, words=False)))
    overhead = [(total * 1000 - mine) / STEPS for total, mine in zip(spent, own, strict=True)]
    with _working(flows):
        turns = [_through(flows) for _ in range(RUNS)]
    return [
        {"of a step": "all but its own work", **_spread(overhead)},
        {"of a step": "its own work", **_spread([mine / STEPS for mine in own])},
        {
            "of a step": "with the engine, from start to end of a run",
            **_spread([turn * 1000 / STEPS for turn in turns]),
        },
    ]


def many(flows: Flows) -> list[Row]:
    """Many runs at once over one worker's threads: seconds, steps a second."""
    with _working(flows):
        begin = time.perf_counter()
        runs = [_start(flows, "chain", submit=True) for _ in range(AT_ONCE)]
        _all_ended(flows, runs)
        seconds = time.perf_counter() - begin
    states = [flows.runs.get(run.id).status for run in runs]
    return [
        {
            "runs": AT_ONCE,
            "steps each": STEPS,
            "threads": THREADS,
            "done": states.count("done"),
            "s": round(seconds, 1),
            "steps/s": round(AT_ONCE * STEPS / seconds),
        }
    ]


def waiting(flows: Flows) -> list[Row]:
    """Runs that wait for a person: what they hold, and how soon a decision is acted on."""
    with _working(flows):
        before, memory = threading.active_count(), _memory()
        runs = [_start(flows, "asks", submit=True) for _ in range(WAITERS)]
        _wait(lambda: all(flows.runs.get(run.id).status == WAITING for run in runs))
        threads, rows = threading.active_count() - before, len(flows.engine.known([run.id for run in runs]))
        grown = _memory() - memory
        spent = []
        for run in runs[:RUNS]:
            begin = time.perf_counter()
            flows.desk.cancel(run.id, LOCAL_OWNER)
            _wait(lambda run=run: flows.runs.get(run.id).status in ENDS)  # type: ignore[misc]
            spent.append((time.perf_counter() - begin) * 1000)
    return [
        {
            "runs that wait": WAITERS,
            "threads more": threads,
            "turns in the engine": rows,
            "MB more": round(grown, 1),
            **{f"woken {name}": value for name, value in _spread(spent).items()},
        }
    ]


PARTS: dict[str, Callable[[Flows], list[Row]]] = {"steps": steps, "many": many, "waiting": waiting}


@contextlib.contextmanager
def _site() -> Iterator[Flows]:
    folder = Path(HOME).parent / "bench" / "workflows"
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(dir=folder))
    try:
        with Workspace(Settings.load(home=home)) as workspace:
            flows = Flows(workspace)
            for text in (_chain(), _asks()):
                saved = flows.library.save(text, "key_bench", "for the benchmark")
                flows.library.pilot(saved.name, saved.version, LOCAL_OWNER)
            yield flows
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _chain() -> str:
    """Steps in a row, each of which reads the one before."""
    lines = ["name: chain", "owner: bench", "stakes: low", "inputs: {type: object}", "steps:"]
    for place in range(STEPS):
        needs = f", needs: [s{place - 1}]" if place else ""
        value = f"'{{{{ steps.s{place - 1}.output.value + 1 }}}}'" if place else "0"
        rule = f'[{{name: counts, that: "output == {place}"}}]'
        lines.append(f"  - {{id: s{place}, kind: check{needs}, with: {{value: {value}, rules: {rule}}}}}")
    return "\n".join(lines) + "\n"


def _asks() -> str:
    return (
        "name: asks\nowner: bench\nstakes: low\ninputs: {type: object}\n"
        "steps:\n  - {id: ask, kind: review, with: {about: is it right}}\n"
    )


def _start(flows: Flows, name: str, *, submit: bool = False) -> Run:
    """A run; without `submit` the engine is not told of it."""
    if submit:
        return flows.desk.start(Wanted(f"{name}@pilot", {}, LOCAL_OWNER))
    new = flows.desk._new(flows.desk._sources.find(f"{name}@pilot", LOCAL_OWNER), Wanted(name, {}, LOCAL_OWNER))
    return flows.runs.start(new)[0]


def _through(flows: Flows) -> float:
    begin = time.perf_counter()
    run = _start(flows, "chain", submit=True)
    _wait(lambda: flows.runs.get(run.id).status in ENDS)
    return time.perf_counter() - begin


def _all_ended(flows: Flows, runs: Sequence[Run]) -> None:
    for run in runs:
        _wait(lambda run=run: flows.runs.get(run.id).status in ENDS)  # type: ignore[misc]


def _wait(until: Callable[[], bool], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError("the runs do not come to an end")
        time.sleep(0.005)


@contextlib.contextmanager
def _working(flows: Flows) -> Iterator[None]:
    worker = WorkflowWorker(flows, THREADS)
    worker.start()
    try:
        yield
    finally:
        worker.stop()
        flows.__dict__.pop("engine", None)


def _memory() -> float:
    """Megabytes that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20 if os.name == "posix" else 0.0


def _spread(values: Sequence[float]) -> Row:
    found = np.percentile(np.array(values), (50, 95))
    return {"p50 ms": round(float(found[0]), 2), "p95 ms": round(float(found[1]), 2)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
