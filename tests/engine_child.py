"""A worker process of the engine's tests: its turns take some time, and write when they begin and end."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import datetime

from engine_parts import Site, note

from pipeline.workflows.engine import Engine
from pipeline.workflows.presence import Presence
from pipeline.workflows.watchdog import Pace, Watchdog


def main(flags: str) -> None:
    site = Site.of(flags)
    database, presence = site.database(), Presence(site.folder / site.place)
    engine = Engine(database, worker=presence.id, threads=site.threads)

    def advance(run_id: str, turn: int) -> None:
        name = f"{run_id}:{turn}"
        note(site.log, "begin", turn=name, worker=presence.id)
        time.sleep(site.seconds)
        note(site.log, "end", turn=name, worker=presence.id)

    def fire(name: str, moment: datetime) -> None:
        note(site.log, "fire", name=name, moment=moment.isoformat(), worker=presence.id)

    engine.launch(advance, fire, dict(site.queues))
    pace = Pace(tick=0.1, beat=0.2, silent=site.silent, sweep=1.0)
    watchdog = Watchdog(engine, database, presence, lambda: None, pace)
    watchdog.start()
    stay(presence.id)
    engine.close()
    watchdog.close()
    presence.close()
    database.close()


def stay(worker: str) -> None:
    """Say that this worker is up, and work until it is told to end, or whoever started it is gone."""
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    print(os.getpid(), worker, flush=True)
    while not ending.wait(0.05):
        if os.getppid() == 1:
            os._exit(1)
