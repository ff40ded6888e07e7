"""How much of the processor others had: the neighbours of a virtual machine ("steal" of proc(5))."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


def _times() -> list[int]:
    """Of all processors since the start: user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


@dataclass
class Stolen:
    """Counts from when it was made."""

    _begun: list[int] = field(default_factory=_times)

    def share(self) -> float:
        """0 to 1, of the time of all processors."""
        passed = [now - then for now, then in zip(_times(), self._begun, strict=True)]
        return passed[7] / max(sum(passed), 1)
