"""Where a workflow's file says what, and faults that name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kernel.errors import InvalidInput

Place = tuple[str | int, ...]
"""The way to a member: names and places in lists."""
SHOWN_FAULTS = 5


@dataclass(frozen=True, eq=False)
class Lines:
    """The line of each member of a file, by the way to it. Any two are equal: they are no part of what a file says."""

    of: Mapping[Place, int] = field(default_factory=dict)
    steps: Sequence[str] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lines)

    def __hash__(self) -> int:
        return 0

    def line(self, place: Place) -> int:
        """The line of a member, or of what it is missing in; 1 where nothing is known."""
        while place and place not in self.of:
            place = place[:-1]
        return self.of.get(place, 1)

    def words(self, place: Place) -> str:
        """The way to a member as people read it; a step goes by its id: `steps.find.with.top_k`."""
        if len(place) > 1 and place[0] == "steps" and isinstance(place[1], int) and place[1] < len(self.steps):
            place = ("steps", self.steps[place[1]] or place[1], *place[2:])
        return ".".join(str(part) for part in place)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, where. `str` of it is what people read."""

    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}{f', {self.field}' if self.field else ''}: {self.message}"


class InvalidWorkflow(InvalidInput):
    """A workflow's file that does not hold; `faults` are all that were found, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda one: one.line))
        shown = "; ".join(str(one) for one in self.faults[:SHOWN_FAULTS])
        more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        super().__init__(f"the workflow is not valid: {shown}{more}")
