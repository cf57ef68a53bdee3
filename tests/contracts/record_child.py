"""Records answers in a process of its own, and prints id and index of each.

`record_child.py URL KEY_FILE WORKSPACE NAME COUNT`
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from stored_samples import PROMPT, answer_body  # noqa: E402 - the path comes first

from kernel.records import Principal, Role  # noqa: E402
from kernel.storage.answers import Answers  # noqa: E402
from kernel.storage.database import Database  # noqa: E402


def main(url: str, key_file: str, workspace: str, name: str, count: int) -> None:
    answers = Answers(Database(url, Path(key_file), workspace))
    principal = Principal(name, Role.APP)
    for n in range(count):
        body = answer_body(f"ans_{name}_{n}")
        index, _ = answers.record(body, {"principal": {"id": name}}, principal=principal, prompt=PROMPT, evidence=[])
        print(body["id"], index, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
