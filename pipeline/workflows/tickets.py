"""What is asked of the engine: turns of runs, and timetables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from kernel.errors import InvalidInput

RECENT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One turn of a run. `priority` 1 goes first, 9 last; among equals the older one."""

    run_id: str
    turn: int
    queue: str = "default"
    priority: int = 5
    delay_seconds: float = 0.0

    @property
    def id(self) -> str:
        """Names the turn: a ticket of the same id is the same turn."""
        return f"{self.run_id}:{self.turn}"


@dataclass(frozen=True, slots=True)
class Timetable:
    """When something is due: `cron` of five fields, or six with seconds first, in a time zone (`Europe/Berlin`)."""

    name: str
    cron: str
    timezone: str

    def check(self) -> None:
        """Raises InvalidInput for what is no cron expression, or one that never comes, or no time zone."""
        try:
            croniter(self.cron, datetime.now(UTC), second_at_beginning=True).get_next()
        except CroniterError as error:
            raise InvalidInput(f"{self.cron!r} is no schedule such as 0 9 * * 1, for {self.name}") from error
        try:
            ZoneInfo(self.timezone)
        except (ValueError, OSError, LookupError) as error:
            raise InvalidInput(f"{self.timezone!r} is no time zone such as Europe/Berlin, for {self.name}") from error

    def due(self, after: datetime, until: datetime) -> list[datetime]:
        """When it was due after the one moment, until the other: the last time, and before it the times of the last
        minute, oldest first; in its time zone.
        """
        times = croniter(self.cron, until.astimezone(ZoneInfo(self.timezone)), second_at_beginning=True)
        found: list[datetime] = []
        with suppress(CroniterError):  # there is no earlier time
            while (time := times.get_prev(datetime)) > after and (not found or until - time < RECENT):
                found.append(time)
        return found[::-1]


Advance = Callable[[str, int], None]
Fire = Callable[[str, datetime], None]


class LetGo(Exception):
    """Raised by `advance` where the engine closes (`Engine.closing`): the turn is not over, the next worker makes it
    again."""
