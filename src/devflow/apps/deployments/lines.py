"""Lines of a deployment's log, read in windows: a long log is never read, nor sent, as a whole to be looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.db.models import QuerySet
from django_scopes import scope

from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import Deployment, Event, Step
from devflow.core.causes import plain

MOST_LINES = 2000
"""So many are read at once."""
MOST_FOUND = 10_000
_PAGE = 500
_ERROR = re.compile(
    r"\b(?:error|fatal|exception|traceback|panic|failed|failure|denied|not found|cannot|could not)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Line:
    """`number` counts from 1; `step` is the id of the step that printed it, '' where none did."""

    number: int
    server: str
    step: str
    text: str


def line_list(*, actor: Actor, deployment: Deployment, first: int, count: int) -> list[Line]:
    """At most `count` lines (and never more than MOST_LINES) from line `first` on."""
    first, last = max(1, first), first + min(count, MOST_LINES) - 1
    with scope(team=actor.team):
        logs = _logs(deployment)
        found: list[Line] = []
        for event in logs.filter(seq__gte=_seq_of(logs, deployment, first)).iterator(chunk_size=50):
            if event.line > last:
                break
            found.extend(line for line in _lines(event) if first <= line.number <= last)
    return found


def line_tail(*, actor: Actor, deployment: Deployment, step: Step | None, count: int) -> list[Line]:
    """The last lines that this step printed, or the whole deployment."""
    with scope(team=actor.team):
        logs = _logs(deployment)
        if step is not None:
            logs = logs.filter(data__step=str(step.pk))
        found: list[Line] = []
        for event in logs.order_by("-seq")[:count]:
            found = [*_lines(event), *found]
            if len(found) >= count:
                break
    return found[-count:]


def line_find(*, actor: Actor, deployment: Deployment, text: str, server: str = "", first: int = 1) -> list[int]:
    """The numbers of the lines from `first` on that hold `text`, whatever its case, at most MOST_FOUND."""
    wanted = re.compile(re.escape(text), re.IGNORECASE)
    with scope(team=actor.team):
        logs = _logs(deployment)
        begun = logs.filter(seq__gte=_seq_of(logs, deployment, first)) if first > 1 else logs
        lines = (line for event in _every(begun, server) for line in _lines(event) if line.number >= first)
        return list(islice((line.number for line in lines if wanted.search(plain(line.text))), MOST_FOUND))


def line_of_error(*, actor: Actor, deployment: Deployment, step: str = "") -> int:
    """The line to look at first: the first error of that step, else its last line; 0 where there is none."""
    last = 0
    with scope(team=actor.team):
        for event in _every(_logs(deployment)):
            if step and event.data.get("step") != step:
                continue
            for line in _lines(event):
                if _ERROR.search(plain(line.text)):
                    return line.number
                last = line.number if step else 0
    return last


def line_of_step(*, actor: Actor, deployment: Deployment, step: str) -> int:
    """Its first line; 0 where it printed nothing."""
    with scope(team=actor.team):
        return _logs(deployment).filter(data__step=step).values_list("line", flat=True).first() or 0


def line_ranges(*, actor: Actor, deployment: Deployment, server: str) -> list[tuple[int, int]]:
    """Which lines are of this server: first and last of each stretch."""
    ranges: list[tuple[int, int]] = []
    with scope(team=actor.team):
        events = _logs(deployment).filter(data__server=server).values_list("line", "text")
        for first, text in events.iterator(chunk_size=_PAGE):
            last = first + text.count("\n") - 1
            if ranges and ranges[-1][1] + 1 == first:
                ranges[-1] = (ranges[-1][0], last)
            else:
                ranges.append((first, last))
    return ranges


def _logs(deployment: Deployment) -> QuerySet[Event]:
    return Event.objects.filter(deployment=deployment, kind="deployment.log").order_by("seq")


def _every(logs: QuerySet[Event], server: str = "") -> Iterator[Event]:
    found = logs.filter(data__server=server) if server else logs
    return found.iterator(chunk_size=_PAGE)


def _seq_of(logs: QuerySet[Event], deployment: Deployment, number: int) -> int:
    """The event that holds the line; looked for from the end that is nearer."""
    if number * 2 > deployment.log_lines:
        return logs.filter(line__lte=number).order_by("-seq").values_list("seq", flat=True).first() or 0
    after = logs.filter(line__gt=number).values_list("seq", flat=True).first()
    before = logs.filter(seq__lt=after).order_by("-seq") if after else logs.order_by("-seq")
    return before.values_list("seq", flat=True).first() or 0


def _lines(event: Event) -> Iterator[Line]:
    server, step = event.data.get("server", ""), event.data.get("step") or ""
    for number, text in enumerate(event.text.removesuffix("\n").split("\n"), event.line):
        yield Line(number, server, step, text)
