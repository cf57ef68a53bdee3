"""A process to be killed: `erase_child.py HOME WORKSPACE DOCUMENT` erases a document; `… resume` finishes erasures."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__)
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1])]

from fast_parts import FastWorkspace  # noqa: E402 - the path comes first

from kernel.settings import Settings  # noqa: E402
from kernel.storage.erasure import ErasureRequest  # noqa: E402


def main(home: str, workspace: str, document: str) -> None:
    """Erase, and say when it begins and ends."""
    with FastWorkspace(Settings.load(home=Path(home), workspace=workspace, chunk_tokens=48)) as made:
        made.eraser.resume()
        print("begin", flush=True)
        if document != "resume":
            made.eraser.erase(ErasureRequest(documents=(document,)), "a request", "local")
        print("end", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
