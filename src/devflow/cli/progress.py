"""A deployment as it goes on: a list of steps that moves, above it the log; plain lines where there is no terminal."""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from devflow.cli.events import Event
from devflow.cli.output import duration, log_line, shown

MARKS: Final = {
    "success": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("-", "yellow"),
    "skipped": ("-", "bright_black"),
    "pending": ("·", "bright_black"),
}
LEAST_STEPS: Final = 5


class Progress(Protocol):
    """Shows events; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, event: Event) -> None: ...

    def steps(self, steps: Iterable[dict[str, Any]]) -> None:
        """All steps of the plan, as soon as they are known."""

    def say(self, text: str) -> None:
        """A word between the lines."""


def progress() -> Progress:
    """The one that fits where the output goes."""
    return LiveProgress() if sys.stdout.isatty() else PlainProgress()


class SilentProgress:
    """For `--json`: shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, event: Event) -> None: ...

    def steps(self, steps: Iterable[dict[str, Any]]) -> None: ...

    def say(self, text: str) -> None: ...


class PlainProgress(SilentProgress):
    """`web1 | line` for each line of the log, `web1: step …` for each step that ends; no colours."""

    def show(self, event: Event) -> None:
        data = event.data
        if event.kind == "deployment.log":
            for line in _lines(data["text"], colours=False):
                print(f"{data['server']} | {line}")
        elif event.kind == "deployment.step" and data["status"] in ("success", "failed"):
            code = f" (exit code {data['exit_code']})" if data["exit_code"] else ""
            print(
                f"{data['server']}: {shown(data['name'])} {data['status']} {duration(data['duration_seconds'])}{code}"
            )
        elif event.kind == "deployment.status":
            print(f"status: {data['status']}")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        print(text, flush=True)


@dataclass(slots=True)
class _Step:
    name: str
    server: str
    status: str = "pending"
    seconds: float | None = None
    begun: float = field(default_factory=time.monotonic)


class LiveProgress:
    """Repainted in place on a terminal: finished steps are counted, the others listed as far as there is room."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._steps: dict[str, _Step] = {}
        self._spinner = Spinner("dots", style="yellow")
        self._begun = time.monotonic()
        self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        data = event.data
        if event.kind == "deployment.log":
            width = max((len(step.server) for step in self._steps.values()), default=0)
            for line in _lines(data["text"], colours=True):
                self._console.print(
                    Text(f"{data['server']:{width}} │ ", style="bright_black").append_text(Text.from_ansi(line))
                )
        elif event.kind == "deployment.step":
            self._change(data["step"], data)

    def steps(self, steps: Iterable[dict[str, Any]]) -> None:
        for step in steps:
            if step["phase"] != "undo":
                self._steps.setdefault(step["id"], _Step(shown(step["name"]), step["server"]))

    def say(self, text: str) -> None:
        self._console.print(Text(text, style="bright_black"))

    def _change(self, step_id: str, data: dict[str, Any]) -> None:
        step = self._steps.setdefault(step_id, _Step(shown(data["name"]), data["server"]))
        if data["status"] == "running" and step.status != "running":
            step.begun = time.monotonic()
        step.status, step.seconds = data["status"], data["duration_seconds"]
        if step.status == "failed":
            self._console.print(Text(f"✗ {step.server}: {step.name} failed", style="bold red"))

    def _picture(self) -> Group:
        steps = list(self._steps.values())
        open_steps = [step for step in steps if step.status in ("running", "pending")]
        done = [step for step in steps if step not in open_steps]
        room = max(LEAST_STEPS, self._console.height // 2 - 2)
        listed = [*done[-2:], *open_steps][:room]
        table = Table.grid(padding=(0, 1))
        for step in listed:
            table.add_row(self._mark(step), step.server, step.name, Text(self._time(step), style="bright_black"))
        head = Text(
            f"{len(done)} of {len(steps)} steps, {duration(time.monotonic() - self._begun)}", style="bright_black"
        )
        return Group(table, head)

    def _mark(self, step: _Step) -> Spinner | Text:
        return self._spinner if step.status == "running" else Text(*MARKS[step.status])

    def _time(self, step: _Step) -> str:
        return duration(time.monotonic() - step.begun if step.status == "running" else step.seconds)


def _lines(text: str, *, colours: bool) -> list[str]:
    return [log_line(line, colours=colours) for line in text.removesuffix("\n").split("\n")]
