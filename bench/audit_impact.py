"""What a reviewer waits for: the impact of a document over 100,000 answers, the lineage of one, and replays.

`python -m bench.audit_impact` measures and prints; `make bench-audit` calls the functions, which return rows. The
documents are small and made from a seed, and so are most answers: rows written straight to the tables, each with eight
passages, the popular documents in far more of them than the others. Some hundred are really asked, of the real model.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, select, text

from api.assembly import Workspace
from bench.homes import HOME
from kernel.records import LOCAL_OWNER, Question
from kernel.settings import Settings
from kernel.storage.impact import Of, Scope
from kernel.storage.schema import (
    answer,
    answer_evidence,
    chunk,
    document,
    ledger_leaf,
    ledger_payload,
    prompt_version,
    revision,
)

SEED = 20261120
ANSWERS = 100_000
DOCUMENTS = 500
ASKED = 100
PASSAGES = 8
STEP = 5000
REPEATS = 50
TEAMS = ("Alpha", "Beta", "Gamma", "Delta", "Orion", "Lyra", "Cygnus", "Draco")
PLACES = ("Lisbon", "Porto", "Faro", "Braga", "Evora")

Row = dict[str, Any]


@contextmanager
def site(answers: int = ANSWERS, asked: int = ASKED) -> Iterator[Workspace]:
    """A workspace with documents, `asked` real answers, and so many rows of made-up ones that there are `answers`."""
    HOME.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="audit-impact-", dir=HOME))
    try:
        with Workspace(Settings.load(home=home)) as workspace:
            folder = home / "pages"
            write_pages(folder)
            with workspace.parser_pool() as parser:
                workspace.indexer.ingest(parser, [folder], "pages")
            for number in range(asked):
                team = TEAMS[number % len(TEAMS)]
                workspace.answering.ask(Question(f"Who keeps register {number} of the {team} team, and where?"))
            fill(workspace, answers - asked)
            yield workspace
    finally:
        shutil.rmtree(home, ignore_errors=True)


def write_pages(folder: Path, pages: int = DOCUMENTS) -> None:
    """Small pages about registers, teams and places."""
    folder.mkdir(parents=True, exist_ok=True)
    picks = random.Random(SEED)
    for number in range(pages):
        team, place = picks.choice(TEAMS), picks.choice(PLACES)
        page = f"# Register {number}\n\nThe {team} team keeps register {number} in {place}. It is read every week.\n"
        (folder / f"register-{number}.md").write_text(page, encoding="utf-8")


def fill(workspace: Workspace, count: int) -> None:
    """Rows of `count` made-up answers after those that are there. They are records of nothing: `verify` says so."""
    rng = np.random.default_rng(SEED)
    with workspace.database.read() as connection:
        chunks = connection.execute(select(chunk.c.id, chunk.c.revision_id).order_by(chunk.c.id)).all()
        number = connection.execute(select(func.max(ledger_leaf.c.number))).scalar_one() + 1
        prompt = connection.execute(select(prompt_version.c.sha256)).scalars().first()
    weights = 1 / np.arange(1, len(chunks) + 1)
    order = rng.permutation(len(chunks))
    for begin in range(0, count, STEP):
        size = min(STEP, count - begin)
        picks = [rng.choice(order, PASSAGES, replace=False, p=weights / weights.sum()) for _ in range(size)]
        _write(workspace, range(number + begin, number + begin + size), picks, chunks, str(prompt))
    if workspace.database.is_sqlite:
        with workspace.database.write() as connection:
            connection.execute(text("ANALYZE"))


def _write(workspace: Workspace, numbers: range, picks: Sequence[Any], chunks: Sequence[Any], prompt: str) -> None:
    moment = "2026-11-20T00:00:00.000000+00:00"
    facts = {"status": "answered", "snapshot": 1, "prompt_sha256": prompt, "policy_sha256": "", "confidence": 1.0}
    facts |= {"model": "extractive/made-up", "created_at": moment, "reask_of": ""}
    leaf = {"kind": "answer", "leaf": "{}", "sha256": "0" * 64, "signature": b"", "created_at": moment}
    with workspace.database.write() as connection:
        connection.execute(ledger_leaf.insert(), [leaf | {"number": n, "subject": f"ans_made_{n}"} for n in numbers])
        payloads = [
            {"number": n, "salt": b"", "payload": json.dumps({"body": {"question": f"made-up question {n}"}})}
            for n in numbers
        ]
        connection.execute(ledger_payload.insert(), payloads)
        rows = [facts | {"number": n, "id": f"ans_made_{n}", "principal": f"key_{n % 500}"} for n in numbers]
        connection.execute(answer.insert(), rows)
        evidence = [
            {
                "answer_number": n,
                "position": position,
                "chunk_id": chunks[place][0],
                "revision_id": chunks[place][1],
                "cited": position < 2,
            }
            for n, picked in zip(numbers, picks, strict=True)
            for position, place in enumerate(picked.tolist())
        ]
        connection.execute(answer_evidence.insert(), evidence)


def impact_rows(workspace: Workspace, repeats: int = REPEATS) -> list[Row]:
    """Counts and first page of what depends on a document: the most used one, and one of the middle."""
    count = func.count(func.distinct(answer_evidence.c.answer_number)).label("answers")
    used = (
        select(document.c.public_id, count)
        .join(revision, revision.c.document_id == document.c.id)
        .join(answer_evidence, answer_evidence.c.revision_id == revision.c.id)
        .group_by(document.c.public_id)
        .order_by(count.desc(), document.c.public_id)
    )
    with workspace.database.read() as connection:
        found = connection.execute(used).all()
        total = connection.execute(select(func.count()).select_from(answer)).scalar_one()
    rows = []
    for which, (public_id, answers) in (("most used", found[0]), ("middle", found[len(found) // 2])):
        scope = Scope(Of.DOCUMENT, public_id)
        report = workspace.impact.report(scope)
        assert report["answers"]["count"] == answers
        rows.append(
            {
                "what": f"impact of the {which} document",
                "answers": total,
                "affected": answers,
                **times(lambda one=scope: workspace.impact.report(one), repeats),  # type: ignore[misc]
                "aim_ms": 50,
            }
        )
    return rows


def lineage_rows(workspace: Workspace, repeats: int = REPEATS) -> list[Row]:
    """The lineage of one answer, as JSON, over answers that were really asked."""
    ids = real_answers(workspace)[:repeats]
    places = iter(range(10**9))

    def one() -> None:
        workspace.lineage.lineage(ids[next(places) % len(ids)], LOCAL_OWNER)

    return [{"what": "lineage of one answer", **times(one, repeats), "aim_ms": 5}]


def replay_rows(workspace: Workspace, ids: Sequence[str]) -> list[Row]:
    """How many of these answers come out byte for byte as recorded, and how long one takes."""
    same, seconds = 0, []
    for answer_id in ids:
        begin = time.perf_counter()
        same += workspace.replayer.replay(answer_id, LOCAL_OWNER, ask_again=False)["identical"]
        seconds.append(time.perf_counter() - begin)
    return [{"what": "replay of one answer", "replayed": len(ids), "identical": same, **_figures(seconds)}]


def real_answers(workspace: Workspace) -> list[str]:
    """Ids of the answers that were really asked, oldest first."""
    query = select(answer.c.id).where(answer.c.id.not_like("ans_made_%")).order_by(answer.c.number)
    with workspace.database.read() as connection:
        return list(connection.execute(query).scalars())


def times(act: Callable[[], object], repeats: int) -> Row:
    """Milliseconds of an act, after one that is not counted."""
    act()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - begin)
    return _figures(seconds)


def _figures(seconds: Sequence[float]) -> Row:
    p50, p95 = (round(float(np.percentile(seconds, p)) * 1000, 2) for p in (50, 95))
    return {"p50_ms": p50, "p95_ms": p95}


def main() -> int:
    """Measure, and print a line a row."""
    with site() as workspace:
        rows = [*impact_rows(workspace), *lineage_rows(workspace), *replay_rows(workspace, real_answers(workspace))]
        for row in rows:
            print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
