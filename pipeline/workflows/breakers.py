"""What stands between a step and a target outside: a circuit breaker, and a rate limit where one is set.

A target is named by its sort and name: `model:openai/some-model`, `http:api.example.org`, `sql:warehouse`,
`mail:smtp.example.org`. What is known of a breaker is read anew after a short while, so that a call of a target that
works costs no statement; all that changes is written, and so shared with every worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

from kernel.errors import Unavailable, UnusableReply
from kernel.ports import GenerationRequest, Generator
from kernel.records import Generation, ModelInfo
from kernel.storage.breakers import BreakerRow, BreakerRule, Breakers, State

FRESH_SECONDS = 0.5
"""How long a process goes by what it last read of a breaker."""
PATIENCE_SECONDS = 10.0
"""How long a call waits for its turn under a rate limit before it is put off."""
SOON_SECONDS = 1.0
"""When to ask again while another's probe is under way."""
MOST_KNOWN = 1000


class NotNow(Unavailable):
    """A breaker is open, or a rate limit reached. `after` is in how many seconds it is worth trying again."""

    def __init__(self, message: str, after: float) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True, slots=True)
class RateRule:
    """At most `calls` in any `seconds`, all workers together; the first `calls` may come at once."""

    calls: int
    seconds: float


@dataclass(slots=True)
class Passage:
    """One call that was let through. What it says of its target follows from how the block ends, unless it says so."""

    probe: bool
    outcome: bool | None = None

    def reached(self) -> None:
        """The target is there and replied, whatever it said."""
        self.outcome = True

    def failed(self) -> None:
        """The target is away, or cannot serve anybody."""
        self.outcome = False


class Guards:
    """Lets calls through to their targets. `rates` are by target; `*` in it stands for anything."""

    def __init__(
        self,
        store: Breakers,
        rule: BreakerRule | None = None,
        rates: Mapping[str, RateRule] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.store = store
        self._rule = rule or BreakerRule()
        self._rates = dict(rates or {})
        self._clock = clock
        self._sleep = sleep
        self._known: dict[str, tuple[float, BreakerRow]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def guarded(self, target: str, patience: float = PATIENCE_SECONDS) -> Iterator[Passage]:
        """A call of a target. Where the block raises Unavailable, that counts as a failure of it; where it ends, or
        the target gave an unusable reply, the target was reached; another error says nothing of it.

        Raises NotNow where the breaker is open, or the rate limit would make it wait longer than `patience` seconds.
        """
        passage = Passage(probe=self._enter(target))
        try:
            self._take(target, patience)
            yield passage
        except BaseException as error:
            if passage.outcome is None and isinstance(error, Unavailable) and not isinstance(error, NotNow):
                passage.outcome = isinstance(error, UnusableReply)
            self._leave(target, passage)
            raise
        if passage.outcome is None:
            passage.outcome = True
        self._leave(target, passage)

    def _enter(self, target: str) -> bool:
        """Whether this call is a probe. Raises NotNow where none may be made."""
        row = self._row(target)
        if row.state is State.CLOSED:
            return False
        now = self._clock()
        if row.until <= now and self.store.probe(target, self._rule, now):
            self._forget(target)
            return True
        row = self._row(target, anew=True)
        if row.state is State.CLOSED:
            return False
        after = max(SOON_SECONDS, row.until - now) if row.state is State.OPEN else SOON_SECONDS
        raise NotNow(
            f"{target} failed {row.failures} times in a row and is left alone for {after:.0f} s more", after=after
        )

    def _leave(self, target: str, passage: Passage) -> None:
        now = self._clock()
        if passage.outcome is None:
            if passage.probe:
                self.store.give_up_probe(target, now)
                self._forget(target)
        elif not passage.outcome:
            self._keep(target, self.store.failed(target, self._rule, now, probe=passage.probe))
        elif passage.probe or self._row(target).failures:
            self._keep(target, self.store.succeeded(target, probe=passage.probe))

    def _take(self, target: str, patience: float) -> None:
        rate = next((rate for pattern, rate in self._rates.items() if fnmatchcase(target, pattern)), None)
        if rate is None:
            return
        wait = self.store.take(target, rate.seconds / rate.calls, rate.calls, self._clock(), patience)
        if wait > patience:
            raise NotNow(f"{target} is called at most {rate.calls} times in {rate.seconds:g} s", after=wait)
        if wait:
            self._sleep(wait)

    def _row(self, target: str, *, anew: bool = False) -> BreakerRow:
        now = self._clock()
        known = self._known.get(target)
        if known is not None and not anew and 0 <= now - known[0] < FRESH_SECONDS:
            return known[1]
        return self._keep(target, self.store.get(target))

    def _keep(self, target: str, row: BreakerRow) -> BreakerRow:
        with self._lock:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[target] = (self._clock(), row)
        return row

    def _forget(self, target: str) -> None:
        with self._lock:
            self._known.pop(target, None)


class GuardedGenerator:
    """A generator behind the guards: of the model that a request names, or of the configured one."""

    def __init__(self, inner: Generator, guards: Guards) -> None:
        self._inner = inner
        self._guards = guards

    @property
    def info(self) -> ModelInfo:
        """Which model answers."""
        return self._inner.info

    def generate(self, request: GenerationRequest) -> Generation:
        """As the generator itself; raises NotNow, which is Unavailable, where its model is to be left alone."""
        info = self._inner.info
        with self._guards.guarded(f"model:{info.provider}/{request.options.get('model') or info.name}"):
            return self._inner.generate(request)
