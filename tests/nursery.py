"""Starts worker processes fast: a process that has loaded all that they need, and forks one for each line it reads.

`MODULE FLAGS` on a line of its input runs `MODULE.main(FLAGS)` in a process of its own, which prints its id when it is
up; the answer is that line, after the number of the process. It ends, and they with it, when its input does.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import traceback

import engine_child  # noqa: F401 - loaded before the forks
import plant_child  # noqa: F401


def serve() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    for line in sys.stdin:
        module, _, flags = line.rstrip("\n").partition(" ")
        if os.fork() == 0:
            _child(module, flags)


def _child(module: str, flags: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    status = 1
    try:
        importlib.import_module(module).main(flags)
        status = 0
    except BaseException:  # noqa: BLE001 - the edge of a process
        traceback.print_exc()
        print(os.getpid(), "", flush=True)
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve()
