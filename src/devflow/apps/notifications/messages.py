"""What a team is told, as a plain value; each channel gives it the form that its service shows best.

Titles, commit messages, branches, names and errors come from outside: a channel escapes and cuts them for its service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from django.utils.translation import gettext as _

from devflow.apps.told import told

_UNWANTED = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours of a terminal
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"  # controls, also of the text's direction
)
_LONGEST, _LONGEST_OF_OURS = 20_000, 300

Tone = Literal["neutral", "good", "warning", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing that happened. `text` is a sentence in addition to the title, `url` the page that shows it in full.

    Errors are masked before they come here. Times are in ISO 8601. It is stored in English, and put into the reader's
    language when it is sent.
    """

    title: str
    tone: Tone = "neutral"
    text: str = ""
    url: str = ""
    occurred_at: str = ""
    team: str = ""
    project: str = ""
    environment: str = ""
    server: str = ""
    status: str = ""
    deployment: str = ""
    trigger: str = ""
    branch: str = ""
    commit: str = ""
    commit_message: str = ""
    author: str = ""
    requested_by: str = ""
    duration_seconds: float | None = None
    failed_step: str = ""
    failed_server: str = ""
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is stored: in texts nothing is left that cannot be stored, or that terminals and mails would obey."""
        return {name: _plain(value) if isinstance(value, str) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Message:
        """Reads what `to_json` wrote, also an older version of the panel's."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in document.items() if name in known})

    def in_language(self) -> Message:
        """What people read of it in the language of now; commit messages, names and what machines read stay."""
        text = told(self.text, names=self._names)
        return replace(self, title=self.title_in_language(), text=text, error=self._error_in_language())

    def title_in_language(self) -> str:
        return told(self.title, names=self._names)

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.project, self.environment, self.server, self.team, self.requested_by, self.failed_server)

    def _error_in_language(self) -> str:
        """What is longer than our own sentences is what a program printed: not looked for in them."""
        return told(self.error) if len(self.error) <= _LONGEST_OF_OURS else self.error

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What is known, as short labels in the language of now and values, in the order in which to show them."""
        place = _("%(step)s on %(server)s") % {"step": self.failed_step, "server": self.failed_server}
        failed = place if self.failed_server else self.failed_step
        found = [
            (_("Project"), self.project),
            (_("Environment"), self.environment),
            (_("Server"), self.server),
            (_("Branch"), self.branch),
            (_("Commit"), self.commit[:10]),
            (_("Author"), self.author),
            (_("Requested by"), self.requested_by),
            (_("Duration"), duration(self.duration_seconds)),
            (_("Failed step"), failed),
        ]
        return [(label, value) for label, value in found if value]


def duration(seconds: float | None) -> str:
    """`42 s`, `3 min 5 s`, `1 h 2 min`; '' for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def cut(text: str, limit: int) -> str:
    """The text in at most `limit` characters, counted as chat services count (UTF-16); a cut one ends with `…`."""
    if _units(text) <= limit:
        return text
    kept = text.encode("utf-16-le", "replace")[: 2 * (limit - 1)].decode("utf-16-le", "ignore")
    return kept.rstrip() + "…"


def one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    return _UNWANTED.sub("", text)[:_LONGEST]


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2
