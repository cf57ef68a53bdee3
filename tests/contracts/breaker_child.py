"""Calls a target that is down, or up, in a process of its own, and prints for each call whether it was let through.

`breaker_child.py URL KEY_FILE WORKSPACE up|down COUNT`
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from kernel.errors import Unavailable  # noqa: E402 - the path comes first
from kernel.storage.breakers import BreakerRule, Breakers  # noqa: E402
from kernel.storage.database import Database  # noqa: E402
from pipeline.workflows.breakers import Guards, NotNow  # noqa: E402

RULE = BreakerRule(failures=4, window=60.0, cool_down=1.0)
TARGET = "http:down.example.org"


def reach(state: str) -> None:
    if state == "down":
        raise Unavailable("it is down")


def main(url: str, key_file: str, workspace: str, state: str, count: int) -> None:
    guards = Guards(Breakers(Database(url, Path(key_file), workspace)), RULE)
    for _ in range(count):
        try:
            with guards.guarded(TARGET):
                reach(state)
            print("reached", flush=True)
        except NotNow:
            print("held", flush=True)
        except Unavailable:
            print("failed", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
