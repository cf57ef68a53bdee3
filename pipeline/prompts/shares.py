"""Which arm of an experiment somebody is in: the same one each time, in every process, without keeping a list."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pipeline.prompts.state import ExperimentState


def arm_of(experiment: ExperimentState, session: str | None, principal: str) -> tuple[str, int]:
    """Name and version of the arm that a session or user is in: by the hash of the experiment and of who asks, spread
    evenly over the shares. With `unit: session`, a question without a session goes by its user.
    """
    place = point(experiment.id, who_of(experiment.spec, session, principal))
    arms: list[Mapping[str, Any]] = list(experiment.spec["arms"])
    for arm in arms:
        place -= arm["share"]
        if place < 0:
            return str(arm["name"]), int(arm["version"])
    return str(arms[-1]["name"]), int(arms[-1]["version"])


def point(experiment: str, unit: str) -> float:
    """A number in [0, 1) that follows from an experiment and who is in it."""
    digest = hashlib.sha256(f"{experiment}\0{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def who_of(spec: Mapping[str, Any], session: str | None, principal: str) -> str:
    """Who is drawn: what all answers of one user, or of one session, have in common."""
    return session if spec.get("unit") == "session" and session else principal
