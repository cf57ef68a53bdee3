"""What an agent knows: it follows from its notes alone, in order, so that it goes on after a kill as if none had been.

The loop writes a note before it does the next thing and takes it up here in the same way, whether it was just written
or is read again years later.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.workflows.agents.declared import MAIN, PERSON

Json = dict[str, Any]
BEGUN, THINKING, DECIDED, RESULT, WAITS, ANSWERED, FAILED, ENDED = (
    "begun",
    "thinking",
    "decided",
    "result",
    "waits",
    "answered",
    "failed",
    "ended",
)
"""Kinds of notes."""
GATES = ("permission", "confidence", "policy", "begin")
"""Why a decision waits for a person who may let it pass, or not."""
ASKED = ("question", "hand_off", "escalate")
"""What an agent asks a person of itself: the answer is what comes of its decision."""


@dataclass(slots=True)
class Spent:
    """What was used so far. `lost` are tokens set aside for replies that never came: they count as used."""

    steps: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    lost: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    priced: bool = True

    @property
    def tokens(self) -> int:
        """All tokens that count."""
        return self.prompt_tokens + self.completion_tokens + self.lost

    def cost_of(self, tokens: int) -> float:
        """What so many tokens cost at the rate of those before."""
        known = self.prompt_tokens + self.completion_tokens
        return tokens * self.cost / known if known else 0.0


@dataclass(slots=True)
class Entry:
    """One thing that was done: by which agent, what, and what came of it (None: nothing yet)."""

    turn: int
    agent: str
    did: Json
    outcome: Any = None
    ok: bool | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is waited for: why, and its reference."""

    why: str
    ref: str


@dataclass(slots=True)
class Memory:
    """The state of a step with agents."""

    begun: Json | None = None
    agent: str = MAIN
    spent: Spent = field(default_factory=Spent)
    entries: list[Entry] = field(default_factory=list)
    pending: Entry | None = None
    """A decision of which nothing came yet."""
    allowed: bool = False
    """A person allowed the pending call."""
    waiting: Waiting | None = None
    fired: set[str] = field(default_factory=set)
    """Rules that put the case before a person already."""
    faulty: tuple[str, tuple[str, ...]] | None = None
    """The last reply and its faults, where it could not be used."""
    malformed: int = 0
    failures: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    seen: dict[str, str] = field(default_factory=dict)
    """Passages whose text was shown, in order, each with its document."""
    taken_over: Json | None = None
    """The result that a person gave in place of the agents'."""
    ended: Json | None = None
    reserved: int = 0
    turns: int = 0
    waits: int = 0
    last: tuple[str, Json] | None = None
    reported: Spent = field(default_factory=Spent)
    """What was used up to the last wait but one, and up to the last: what a wait reports lies between."""
    before: Spent = field(default_factory=Spent)

    @staticmethod
    def of(notes: Iterable[Mapping[str, Any]]) -> Memory:
        """What follows from notes, each `{"kind", "data"}`."""
        found = Memory()
        for one in notes:
            found.take(str(one["kind"]), dict(one["data"]))
        return found

    def take(self, kind: str, data: Json) -> None:
        """Take up one note."""
        self.spent.seconds = max(self.spent.seconds, float(data.get("seconds", 0.0)))
        getattr(self, f"_{kind}")(data)
        self.last = kind, data

    # --- One kind of note each ------------------------------------------------------------------------------------

    def _begun(self, data: Json) -> None:
        self.begun = data

    def _thinking(self, data: Json) -> None:
        self._lose()
        self.turns += 1
        self.spent.steps += 1
        self.reserved = int(data["reserved"])

    def _decided(self, data: Json) -> None:
        self.reserved = 0
        prompt, completion = data["tokens"]
        self.spent.prompt_tokens += int(prompt)
        self.spent.completion_tokens += int(completion)
        self.spent.cost += data["cost"] or 0.0
        self.spent.priced = self.spent.priced and data["cost"] is not None
        decision = data["decision"]
        if decision is None:
            self.faulty = str(data["reply"]), tuple(data["faults"])
            self.malformed += 1
            return
        self.faulty, self.malformed = None, 0
        self.pending = Entry(self.turns, self.agent, decision)
        self.entries.append(self.pending)
        self.allowed = False
        if "tool" in decision:
            self.calls[decision["tool"]] += 1
        if "hand_off" in decision and decision["hand_off"] in (self.begun or {}).get("agents", ()):
            self.agent = decision["hand_off"]
            self._resolve(True, f"{self.agent} goes on.")

    def _result(self, data: Json) -> None:
        self.failures = 0 if data["ok"] else self.failures + 1
        for chunk, document in data.get("seen", ()):
            self.seen.setdefault(chunk, document)
        self._resolve(bool(data["ok"]), data["output"])

    def _waits(self, data: Json) -> None:
        self.waiting = Waiting(data["why"], data["ref"])
        self.waits += 1
        self.reported, self.before = self._copy(), self.reported

    def _answered(self, data: Json) -> None:
        waited, self.waiting = self.waiting, None
        if data.get("ends"):
            self.taken_over = {"result": data["result"]}
        why, granted = waited.why if waited else "", bool(data["granted"])
        if why == "begin":
            self.fired.add(why)
        elif why in GATES:
            self.allowed = granted
            if not granted:
                self._resolve(False, data["said"])
        elif why in ASKED:
            self._resolve(True, data["said"])
        else:
            self.fired.add(why)
            self.failures = 0
            looked = Entry(self.turns, PERSON, {"looked at": why}, data["said"], True)
            self.entries.insert(len(self.entries) - (self.pending is not None), looked)

    def _failed(self, _data: Json) -> None:
        self.faulty, self.malformed = None, 0

    def _ended(self, data: Json) -> None:
        if self.pending is not None:
            self._resolve(True, None)
        self.ended = data

    # --- Parts of these -------------------------------------------------------------------------------------------

    def _resolve(self, ok: bool, outcome: Any) -> None:
        if self.pending is not None:
            self.pending.ok, self.pending.outcome = ok, outcome
            self.pending, self.allowed = None, False

    def _lose(self) -> None:
        """Tokens that were set aside for a reply of which nothing is known are gone."""
        self.spent.cost += self.spent.cost_of(self.reserved)
        self.spent.lost += self.reserved
        self.reserved = 0

    def _copy(self) -> Spent:
        return Spent(**{name: getattr(self.spent, name) for name in Spent.__slots__})

    # --- What is asked of it --------------------------------------------------------------------------------------

    @property
    def tokens(self) -> int:
        """Tokens that count as used, those set aside now among them."""
        return self.spent.tokens + self.reserved

    @property
    def numbers(self) -> dict[str, str]:
        """The passages that were seen as the model knows them: `c1`, `c2`, …"""
        return {chunk: f"c{place}" for place, chunk in enumerate(self.seen, 1)}

    def lost_seconds(self, now: datetime) -> float:
        """Seconds that were used when the process died: nobody noted them, so they are counted from when what was
        under way began, up to what it was given at most.
        """
        kind, data = self.last or ("", {})
        if kind not in (THINKING, DECIDED) or "at" not in data:
            return 0.0
        passed = (now - datetime.fromisoformat(data["at"])).total_seconds()
        return min(max(passed, 0.0), float(data.get("limit", 0.0)))

    def turn_of(self, tool: str, arguments: Any) -> int | None:
        """In which turn the agent at work last made exactly this call, and it went well."""
        for entry in reversed(self.entries):
            same = entry.did.get("tool") == tool and entry.did.get("arguments") == arguments
            if same and entry.ok and entry.agent == self.agent:
                return entry.turn
        return None

    def texts(self) -> Iterable[str]:
        """All that agents decided and got back, as text."""
        for entry in self.entries:
            if entry.agent != PERSON:
                yield json.dumps(entry.did, ensure_ascii=False)
                yield entry.outcome if isinstance(entry.outcome, str) else json.dumps(entry.outcome, ensure_ascii=False)
