"""RFC 3339, a time as people and programs read it."""

from datetime import UTC, datetime


def format_time(seconds: float) -> str:
    """Seconds since the epoch as text, UTC, whole seconds: `2026-01-31T12:00:00Z` (RFC 3339 §5.6)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def format_optional_time(seconds: float | None) -> str | None:
    """`format_time`, or None for what has no time."""
    return None if seconds is None else format_time(seconds)
