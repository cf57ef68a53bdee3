"""Replays every answer of a home with the toy model, in a process of its own; prints the hashes of every stage."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fast_parts import fast_workspace

from kernel.records import LOCAL_OWNER


def main(home: str) -> None:
    """A line an answer: its id, whether it is identical, and the hashes that came out."""
    with fast_workspace(Path(home)) as made:
        for _, record in made.answers.items(LOCAL_OWNER, limit=1000):
            report = made.replayer.replay(record.id, LOCAL_OWNER)
            print(json.dumps([record.id, report["identical"], [one["replayed_sha256"] for one in report["stages"]]]))


if __name__ == "__main__":
    main(sys.argv[1])
