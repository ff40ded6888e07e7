"""Whether the heartbeats of workers can be believed."""

from __future__ import annotations


class Beats:
    """Not just after the database was away (or this process stood still): nobody could give one meanwhile, and all
    would seem to be dead. Nor at once: who has just come does not know whether it was away."""

    def __init__(self, dead_after_seconds: float, now: float) -> None:
        self._dead_after_seconds = dead_after_seconds
        self._seen_at = now
        self._believed_from = now + dead_after_seconds / 2  # heartbeats come much more often

    def are_believed(self, now: float) -> bool:
        """Call it each time that the database has answered. `now` is of the monotonic clock."""
        if now - self._seen_at > self._dead_after_seconds:
            self._believed_from = now + self._dead_after_seconds
        self._seen_at = now
        return now >= self._believed_from
