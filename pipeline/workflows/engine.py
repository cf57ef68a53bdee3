"""The engine: who does the next turn of which run, when, and what happens when that worker dies.

DBOS stands behind it, for what it is good at: durable queues with limits over all workers, priority, delays, ids that
keep a second one out, and giving back what a dead worker had. This module alone imports it. A turn is a row in a queue
and no more: whoever takes it calls `advance(run, turn)`, which reads the run's journal, does what is next and returns
as soon as the run is done or must wait. So a run that waits has no thread and no row here. All that is here can be made
again from the journals, and nothing here is shown to anybody.

A turn is made at least once. Where two workers hold the same run for a moment, the journal's epoch decides which may
write; the engine need not.

DBOS's own runtime stays out: it polls every queue in a thread, holds a process back that wants to end, and allows one
workspace a process. Instead one thread here is woken by a bell, and turns run in threads that end with the process
(`makers`). For that they use five methods of DBOS's inside (take, end, put back, wake what was delayed, migrate), which
the pinned version fixes and the contract tests watch.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from dbos import DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions
from dbos._error import DBOSWorkflowIDInUseError

from kernel.storage.engine_database import EngineDatabase
from kernel.storage.rows import now
from pipeline.workflows.bell import Bell
from pipeline.workflows.engine_log import quiet
from pipeline.workflows.makers import DONE, TIMETABLE, VERSION, Makers
from pipeline.workflows.tickets import Advance, Fire, Ticket, Timetable
from pipeline.workflows.turns import Take, Turns

NAME = "vouch"
ADVANCE, FIRE = "advance", "fire"
WAITING = ["ENQUEUED", "DELAYED"]
UNDER_WAY = "PENDING"
LOST = ("ERROR", "CANCELLED")
"""How a turn ends that did not come to its end: submitted again, it is made again."""
FIRE_TRIES, FIRE_SECONDS = 10, 30.0
KEPT = timedelta(days=1)
"""How long a turn that ended is remembered, so that submitting it again does nothing."""
MOST_AT_ONCE = 500
WATCH_SECONDS, CLOCK_SECONDS = 0.25, 1.0

_log = logging.getLogger("vouch.engine")


class Engine:
    """Durable turns. Every process may submit them; `launch` makes this one a worker, which makes them, too.

    `worker` names this process among the workers, never twice. `threads` is how many turns it makes at once.
    All methods raise Unavailable where the database is away.
    """

    def __init__(self, database: EngineDatabase, *, worker: str, threads: int = 4) -> None:
        self.worker = worker
        self._database = database
        self._threads = threads
        self._made: DBOSClient | None = None
        self._making = threading.Lock()
        self._bell = Bell()
        self._turns = Turns(self._bell, threads)
        self._closing = threading.Event()
        self._makers = Makers(worker, self._talk, self._turns, self._closing)
        self._helpers: list[threading.Thread] = []
        self._advance: Advance | None = None
        self._limits: dict[str, int] = {}
        self._lines: dict[str, Take] = {}

    @property
    def closing(self) -> bool:
        """Whether turns under way should end soon: `advance` may raise `LetGo` before its next step."""
        return self._closing.is_set()

    # --- what every process may do

    def submit(self, ticket: Ticket, *, again: bool = False) -> None:
        """Have a turn made, durably. Does nothing where that turn waits, is under way or came to its end; one that
        failed or was cancelled is made again. `again`: also one that came to its end, for a sweep that finds a run
        which should go on and does not, whatever the reason.
        """
        ended = (*LOST, DONE) if again else LOST
        self._enqueue(ADVANCE, ticket.id, ticket.queue, ticket.priority, ticket.delay_seconds, ended)

    def cancel(self, run_id: str) -> None:
        """Drop the turns of a run that wait. One under way is for the journal to fence off."""
        with self._talk() as client:
            if waiting := self._ids(client, run_id, WAITING):
                client.cancel_workflows(waiting)

    def forget(self, run_id: str) -> None:
        """Leave nothing that names the run. A turn under way can write no outcome here any more."""
        with self._talk() as client:
            while found := self._ids(client, run_id):
                client.delete_workflows(found)

    def known(self, names: Collection[str]) -> set[str]:
        """Those of these turns (`RUN:TURN`) that wait or are under way; of runs, those that have such a turn."""
        with self._talk() as client:
            found = client.list_workflows(
                name=ADVANCE, app_version=VERSION, status=[*WAITING, UNDER_WAY], load_input=False, load_output=False
            )
        turns = {one.workflow_id for one in found}
        return (turns | {one.rpartition(":")[0] for one in turns}) & set(names)

    def timetables(self, wanted: Sequence[Timetable]) -> None:
        """From now on exactly these are kept, by every worker; one that is as it was goes on as it was. Raises
        InvalidInput for what is no cron expression or time zone, and then changes nothing.
        """
        for one in wanted:
            one.check()
        with self._talk():
            self._database.keep_timetables([(one.name, one.cron, one.timezone) for one in wanted], now())

    def holders(self) -> set[str]:
        """The workers that have turns under way, the dead among them."""
        with self._talk() as client:
            found = client.list_workflows(status=UNDER_WAY, load_input=False, load_output=False)
        return {one.executor_id for one in found if one.executor_id is not None}

    def hand_over(self, dead: Collection[str]) -> int:
        """Put the turns under way of these workers back into their queues; how many there were. One that another worker
        took meanwhile stays with that one, so it does no harm when several do this at once.
        """
        if not dead:
            return 0
        with self._talk() as client:
            found = client.list_workflows(status=UNDER_WAY, executor_id=[*dead], load_input=False, load_output=False)
            put_back = client._sys_db.reenqueue_for_recovery
            done = sum(put_back(one.workflow_id, [*dead], TIMETABLE) for one in found)
            if done:
                self._ring()
        return done

    def tidy(self) -> None:
        """Delete turns that ended long ago."""
        before = (datetime.now(UTC) - KEPT).isoformat()
        with self._talk() as client:
            while found := client.list_workflows(
                completed_before=before, limit=MOST_AT_ONCE, load_input=False, load_output=False
            ):
                client.delete_workflows([one.workflow_id for one in found])

    # --- what a worker does

    def launch(self, advance: Advance, fire: Fire, queues: Mapping[str, int]) -> None:
        """Become a worker: make turns, and fire what the timetables say. `queues` gives the most turns of a queue at
        once over all workers.
        """
        self._advance = advance
        self.open_queues(queues)
        with self._talk() as client:
            timetable = client.register_queue(TIMETABLE)
        fires = self._makers.take(timetable, partial(self._firing, fire))
        self._help("vouch-turns", lambda: self._turns.serve(lambda: [*self._lines.values()], self._makers.contended))
        self._help("vouch-bell", self._listen)
        self._help("vouch-clock", lambda: self._clock(fires))

    def open_queues(self, queues: Mapping[str, int]) -> None:
        """Take turns from these queues, too, from now on, and with these limits. Does nothing where this process is no
        worker.
        """
        if self._advance is None:
            return
        for name, most in queues.items():
            if self._limits.get(name) != most:
                with self._talk() as client:
                    queue = client.register_queue(name, global_concurrency=most)
                self._lines[name] = self._makers.take(queue, partial(_turn, self._advance))
                self._limits[name] = most
                self._bell.ring()

    def close(self, seconds: float = 5.0) -> None:
        """Take no more turns; wait, at most `seconds`, for those under way, and leave what remains to other workers."""
        self._closing.set()
        self._bell.end()
        for helper in self._helpers:
            helper.join(seconds)
        if self._helpers:
            self._turns.settle(seconds)
            self.hand_over([self.worker])
        if self._made is not None:
            self._made.destroy()

    # --- inside

    @contextmanager
    def _talk(self) -> Iterator[DBOSClient]:
        """What talks to the queues, over a schema that is there."""
        with self._database.reached():
            with self._making:
                if self._made is None:
                    self._made = self._make()
            yield self._made

    def _make(self) -> DBOSClient:
        quiet()
        self._database.prepare()
        made = DBOSClient(
            system_database_engine=self._database.engine,
            dbos_system_schema=self._database.schema,
            serializer=DBOSPortableJSONSerializer(),
            application_name=NAME,
            retry_connection_errors=False,
        )
        made._sys_db.run_migrations()
        return made

    def _enqueue(
        self,
        kind: str,
        name: str,
        queue: str,
        priority: int = 5,
        delay: float = 0.0,
        replaced: Collection[str] = LOST,
    ) -> None:
        options: EnqueueOptions = {
            "workflow_name": kind,
            "queue_name": queue,
            "workflow_id": name,
            "workflow_id_reuse_policy": "reject",
            "app_version": VERSION,
            "priority": priority,
        }
        if delay > 0:
            options["delay_seconds"] = delay
        with self._talk() as client:
            try:
                client.enqueue(options)
            except DBOSWorkflowIDInUseError as found:
                if found.workflow_status not in replaced:
                    return
                client.delete_workflow(name)
                client.enqueue({**options, "workflow_id_reuse_policy": "return-existing"})
            self._ring()

    @staticmethod
    def _ids(client: DBOSClient, run_id: str, status: list[str] | None = None) -> list[str]:
        found = client.list_workflows(
            workflow_id_prefix=f"{run_id}:", status=status, load_input=False, load_output=False
        )
        return [one.workflow_id for one in found]

    def _ring(self) -> None:
        self._bell.ring()
        self._database.ring()

    def _help(self, name: str, work: Callable[[], None]) -> None:
        helper = threading.Thread(target=work, name=name, daemon=True)
        self._helpers.append(helper)
        helper.start()

    def _listen(self) -> None:
        """Ring where others wrote something."""
        while not self.closing:
            try:
                with closing(self._database.watch()) as watch:
                    while not self.closing:
                        if watch.wait(WATCH_SECONDS):
                            self._bell.ring()
            except Exception as error:  # noqa: BLE001  the edge of a worker
                _log.warning("the engine's database cannot be watched (%s); trying again", type(error).__name__)
                self._closing.wait(1.0)

    def _clock(self, fires: Take) -> None:
        """Let delays end, and fire what is due."""
        while not self._closing.wait(CLOCK_SECONDS):
            try:
                with self._talk() as client:
                    client._sys_db.transition_delayed_workflows()
                self.fire_due()
                self._turns.take(fires)
            except Exception as error:  # noqa: BLE001  the edge of a worker
                _log.warning("the timetables cannot be kept (%s); trying again", type(error).__name__)

    def fire_due(self) -> None:
        """Have fired what fell due since each timetable was looked at: of what was missed long ago, while no worker was
        up, the last time only. Its id keeps a second worker that does the same out.
        """
        moment = datetime.now(UTC)
        with self._talk():
            for name, cron, zone, looked_at in self._database.timetables():
                for due in Timetable(name, cron, zone).due(datetime.fromisoformat(looked_at), moment):
                    self._enqueue(FIRE, f"{FIRE}:{name}:{due.isoformat()}", TIMETABLE)
                    self._database.looked(name, due.astimezone(UTC).isoformat(timespec="microseconds"))

    def _firing(self, fire: Fire, name: str) -> None:
        """Fire; where that fails, again later, for nobody else knows that it was due."""
        _, timetable, due = name.split(":", 2)
        moment, _, tries = due.partition("~")
        try:
            fire(timetable, datetime.fromisoformat(moment))
        except Exception:
            again = int(tries or 1) + 1
            if again <= FIRE_TRIES:
                self._enqueue(FIRE, f"{FIRE}:{timetable}:{moment}~{again}", TIMETABLE, delay=FIRE_SECONDS)
            raise


def _turn(advance: Advance, name: str) -> None:
    run_id, _, turn = name.rpartition(":")
    advance(run_id, int(turn))
