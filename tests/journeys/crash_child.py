"""A process to be killed: `crash_child.py ingest HOME FOLDER` or `crash_child.py record HOME NAME`.

It prints a line for each thing that it was told is durable, at once: the number of the snapshot that an ingest
published, or the id, index and leaf hash of a recorded answer.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

HERE = Path(__file__)
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1])]

from fast_parts import InlineParser, fast_workspace  # noqa: E402 - the path comes first
from stored_samples import PROMPT, answer_body  # noqa: E402

from kernel.records import Principal, Role  # noqa: E402


def ingest(home: Path, folder: Path) -> None:
    """Bring the workspace up to date with the folder, once."""
    with fast_workspace(home) as made:
        print("begin", flush=True)
        (report,) = made.indexer.ingest(InlineParser(), [folder], "folder")
        print(f"published {report.snapshot}", flush=True)


def record(home: Path, name: str) -> None:
    """Record answers until killed."""
    principal = Principal(name, Role.APP)
    with fast_workspace(home) as made:
        print("begin", flush=True)
        for number in itertools.count():
            body = answer_body(f"ans_{name}_{number}", snapshot=0)
            run = {"principal": {"id": name}, "reply": "Alpha. [c1]" * 50}
            index, leaf = made.answers.record(body, run, principal=principal, prompt=PROMPT, evidence=[])
            print(f"recorded {body['id']} {index} {leaf}", flush=True)


if __name__ == "__main__":
    command, home, rest = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if command == "ingest":
        ingest(home, Path(rest))
    else:
        record(home, rest)
