"""What a kind of channel declares and does."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from devflow.apps import outgoing
from devflow.apps.notifications.messages import Message
from devflow.core import names
from devflow.core.errors import InvalidError

Value = str | int | list[str]
SETTING_PREFIX = "settings."
"""Before the name of a setting where it is told what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Field:
    """A setting of a channel. Form, API schema and the command line's options are made from it.

    `type`: text, address (of a web page; kept secret where `is_secret`), number, choice, or emails (a list).
    A secret is never shown again; one that `is_generated` is made by the panel where none is given.
    """

    name: str
    label: str
    type: Literal["text", "address", "number", "choice", "emails"] = "text"
    help: str = ""
    is_required: bool = False
    is_secret: bool = False
    is_generated: bool = False
    default: str | int = ""
    choices: tuple[tuple[str, str], ...] = ()
    placeholder: str = ""

    def clean(self, given: Any) -> Value:
        """The value in its type. Raises ValueError with what is wrong."""
        if self.type == "emails":
            return _emails(given, is_required=self.is_required)
        if self.type == "number":
            return _number(given if given not in (None, "") else self.default)
        text = self._text(given)
        if not text and self.is_generated:
            return secrets.token_urlsafe(32)
        if not text and self.is_required:
            raise ValueError("This is needed.")
        if self.type == "address" and text:
            _check_address(text)
        if self.type == "choice" and text not in dict(self.choices):
            raise ValueError(f"Choose one of: {', '.join(dict(self.choices))}.")
        return text

    def _text(self, given: Any) -> str:
        if given is None or given == "":
            return str(self.default)
        if not isinstance(given, str):
            raise ValueError("Give a text.")
        try:
            return names.single_line(given, self.name, limit=2000) if given.strip() else str(self.default)
        except InvalidError as error:
            raise ValueError("Give at most 2000 characters on one line.") from error


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way: `id` is the same at each attempt, so that a receiver can drop a repeat."""

    id: str
    event: str
    subject: str
    message: Message


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the service answered; `note` says what it did not take."""

    status: int
    note: str = ""


class ChannelKind(ABC):
    """One kind of channel. It keeps nothing: settings come as arguments."""

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    fields: ClassVar[tuple[Field, ...]]

    def clean(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """The settings, checked and in their types. Raises InvalidError with the errors of each field."""
        unknown = [name for name in given if name not in self.field_names]
        errors = {name: f"{self.title} has no such setting: it has {', '.join(self.field_names)}." for name in unknown}
        settings: dict[str, Value] = {}
        for field in self.fields:
            try:
                settings[field.name] = field.clean(given.get(field.name))
            except ValueError as error:
                errors[field.name] = str(error)
        if not errors:
            errors = self.check(settings)
        if errors:
            told = " ".join(f"{name}: {message}" for name, message in errors.items())
            raise InvalidError(
                f"The channel's settings are not valid. {told}",
                {f"{SETTING_PREFIX}{name}": message for name, message in errors.items()},
            )
        return settings

    def check(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong with settings that are right one by one: messages by field."""
        return {}

    @property
    def field_names(self) -> list[str]:
        return [field.name for field in self.fields]

    @abstractmethod
    def address(self, settings: Mapping[str, Any]) -> str:
        """Where it goes to, as may be shown to every member: nothing secret."""

    @abstractmethod
    async def send(self, settings: Mapping[str, Any], delivery: Delivery) -> Receipt:
        """Sends it once. Raises OutgoingError."""


def host_of(url: str) -> str:
    """All of an address that may be shown: the rest is its secret."""
    return urlsplit(url).hostname or ""


def _check_address(text: str) -> None:
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        has_host = False
        parts = urlsplit("")
    if not has_host or parts.scheme not in ("https", "http") or " " in text:
        raise ValueError("Give a full address, like https://example.com/hooks/1.")
    if parts.username or parts.password:
        raise ValueError("Take the user and password out of the address.")
    if problem := outgoing.literal_problem(parts.hostname or ""):
        raise ValueError(problem)


def _number(given: Any) -> int:
    if isinstance(given, bool) or not str(given).isascii() or not str(given).strip().isdecimal():
        raise ValueError("Give a whole number.")
    number = int(given)
    if not 1 <= number <= 65535:
        raise ValueError("Give a number from 1 to 65535.")
    return number


def _emails(given: Any, *, is_required: bool) -> list[str]:
    if isinstance(given, str):
        given = given.replace(",", " ").replace(";", " ").split()
    if given is None:
        given = []
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise ValueError("Give a list of e-mail addresses.")
    found = list(dict.fromkeys(item.strip() for item in given if item.strip()))
    if is_required and not found:
        raise ValueError("Give at least one e-mail address.")
    if len(found) > 50:
        raise ValueError("Give at most 50 e-mail addresses.")
    for item in found:
        check_email(item)
    return found


def check_email(text: str) -> None:
    """Raises ValueError for what is no address of a mailbox."""
    local, _, domain = text.rpartition("@")
    is_plain = text.isascii() and text.isprintable() and not set(text) & set(' ,;:<>()[]"\\')
    if not is_plain or not local or "@" in local or not domain or len(text) > 254 or domain.startswith("."):
        raise ValueError(f"{text[:100]!r} is not an e-mail address.")
