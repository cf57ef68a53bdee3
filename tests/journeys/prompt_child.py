"""A process of its own over a home: `prompt_child.py HOME` serves it until its standard input ends.

It prints the address, and the secrets of an app's key and an editor's.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__)
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1]), str(HERE.parents[1] / "api")]

from fast_parts import fast_workspace  # noqa: E402 - the path comes first
from http_site import served  # noqa: E402

from api.app import create_app  # noqa: E402
from kernel.records import Role  # noqa: E402

if __name__ == "__main__":
    with fast_workspace(Path(sys.argv[1])) as made:
        app, editor = (made.keys.create(role, None)[1] for role in (Role.APP, Role.EDITOR))
        with served(create_app(made)) as url:
            print(url, app, editor, flush=True)
            sys.stdin.read()
