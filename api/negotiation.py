"""Choosing a media type by the `Accept` header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence


def best_type(accept: Sequence[str], offered: Sequence[str]) -> str | None:
    """The offered type that `accept` (its header lines) prefers, the earlier of equals; None where it takes none.

    Without the header anything goes. The most specific range that fits a type decides its quality.
    """
    ranges = [_range(part) for line in accept for part in line.split(",") if part.strip()]
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    return best if _quality(best, ranges) > 0 else None


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = min(max(float(value), 0.0), 1.0)
            except ValueError:
                quality = 0.0
    return name, quality


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        fitting = [quality for range_name, quality in ranges if range_name == name]
        if fitting:
            return max(fitting)
    return 0.0
