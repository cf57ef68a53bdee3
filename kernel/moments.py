"""Moments as people write them, in the one form that records have."""

from __future__ import annotations

from datetime import UTC, datetime

from kernel.errors import InvalidInput


def moment_of(name: str, text: str) -> str:
    """An ISO 8601 moment, in UTC where it names no zone, as records write it. Raises InvalidInput that names `name`."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{name} must be an ISO 8601 moment such as 2026-01-31, not {text!r}") from error


def bound_of(name: str, text: str | None) -> str | None:
    """As `moment_of`, for an end of a period that may be left open."""
    return None if text is None else moment_of(name, text)
