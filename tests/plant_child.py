"""A worker process of the plant."""

from __future__ import annotations

from engine_child import stay
from plant_parts import Plant, PlantSite

from pipeline.workflows.engine import Engine
from pipeline.workflows.presence import Presence
from pipeline.workflows.watchdog import Pace, Watchdog


def main(flags: str) -> None:
    site = PlantSite.of(flags)
    database, presence = site.database(), Presence(site.folder / site.place)
    engine = Engine(database, worker=presence.id, threads=site.threads)
    plant = Plant(site, engine)
    engine.launch(plant.runner.advance, plant.fire, dict(site.queues))
    pace = Pace(tick=0.1, beat=0.2, silent=site.silent, sweep=0.5)
    watchdog = Watchdog(engine, database, presence, plant.sweeper, pace)
    watchdog.start()
    stay(presence.id)
    engine.close()
    watchdog.close()
    presence.close()
    plant.close()
    database.close()
