"""What the webhooks of all git providers have in common: a signature, an event, and a payload that tells of pushes."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
MESSAGE = 10_000
"""How much of a commit's message is read: enough to find what is said at its end."""
_LONGEST = 200  # of a branch's name, as environments have it


class MalformedError(Exception):
    """The payload is not what the provider sends for this event; the message says what is wrong with it."""


class Kind(StrEnum):
    """What happened. `change` is of a pull or merge request, `other` anything that deployments do not depend on."""

    PUSH = "push"
    TAG = "tag"
    DELETE = "delete"
    PING = "ping"
    CHANGE = "change"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Push:
    """What a delivery tells, alike for all providers; one delivery may tell several.

    `name` is of the branch or tag. `changed_paths` is None where the payload does not tell all of them.
    """

    kind: Kind
    name: str = ""
    commit: str = ""
    message: str = ""
    author: str = ""
    changed_paths: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """A body as it came, and the JSON text in it; they differ where it was sent as a form."""

    body: bytes
    text: bytes


class Provider:
    """A git provider. Headers are given with their names in lower case; payloads may lack anything or have more.

    `event_headers` name the event, `id_headers` the delivery, `secret_headers` are those that nobody may read later;
    `hosts` are parts of addresses by which it is guessed. `steps` say how a webhook is set up by hand.
    """

    title: ClassVar[str]
    hosts: ClassVar[tuple[str, ...]] = ()
    event_headers: ClassVar[tuple[str, ...]]
    id_headers: ClassVar[tuple[str, ...]]
    secret_headers: ClassVar[tuple[str, ...]]
    steps: ClassVar[tuple[str, ...]]

    def is_genuine(self, secret: str, headers: Mapping[str, str], content: Content) -> bool:
        """Whether who sent it knows the secret; takes as long for a wrong signature as for the right one."""
        raise NotImplementedError

    def event(self, headers: Mapping[str, str], document: Mapping[str, Any]) -> str:
        return first(headers, self.event_headers)

    def delivery_id(self, headers: Mapping[str, str], digest: str) -> str:
        """The provider's id of the delivery; the digest of its body where it gives none."""
        return first(headers, self.id_headers) or digest

    def read(self, event: str, document: Mapping[str, Any]) -> list[Push]:
        """What the payload of the event tells. Raises MalformedError."""
        raise NotImplementedError

    def is_dated(self, document: Mapping[str, Any]) -> bool:
        """Whether the payload says when it happened, so that no other delivery ever has the same body."""
        return False


def first(headers: Mapping[str, str], names: Iterable[str]) -> str:
    return next((headers[name] for name in names if headers.get(name)), "")


def is_signature(given: str, secret: str, signed: bytes) -> bool:
    """Whether it is the HMAC-SHA256 of what was signed, in hexadecimal, with or without `sha256=` before it."""
    right = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(given.removeprefix("sha256=").encode(), right.encode())


def is_same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def ref_push(ref: str, commit: str, **more: Any) -> Push:
    """A push to `refs/heads/…` or `refs/tags/…`; to no commit (zeros), it is a deletion. Raises MalformedError."""
    kind, name = _split(ref)
    if is_nothing(commit):
        return Push(Kind.DELETE, name)
    if not _COMMIT.fullmatch(commit):
        raise MalformedError("The payload does not name the commit that was pushed.")
    if not name:
        return Push(Kind.OTHER, ref[:_LONGEST])
    return Push(kind, name, commit, **more)


def is_nothing(commit: str) -> bool:
    """Whether it stands for no commit: a branch before its first push, or after its end."""
    return bool(commit) and not commit.strip("0")


def text(value: Any, limit: int = 500) -> str:
    """A text that can be stored, without what PostgreSQL does not take; '' where it is none."""
    return _UNSTORABLE.sub("", value)[:limit] if isinstance(value, str) else ""


def part(value: Any, *names: str) -> Mapping[str, Any]:
    """An object in an object; an empty one where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def person(value: Mapping[str, Any]) -> str:
    """`Ada Example <ada@example.org>`, as git has it."""
    name = text(value.get("name")) or text(value.get("displayName")) or text(value.get("username"))
    email = text(value.get("email")) or text(value.get("emailAddress"))
    return (f"{name} <{email}>" if email else name)[:300]


def items(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def paths_of(commits: Iterable[Mapping[str, Any]]) -> frozenset[str] | None:
    """All paths that the commits added, changed or removed; None where one of them does not say."""
    found: set[str] = set()
    for commit in commits:
        lists = [commit.get(name) for name in ("added", "modified", "removed")]
        if not any(isinstance(each, list) for each in lists):
            return None
        found |= {path for each in lists if isinstance(each, list) for path in each if isinstance(path, str)}
    return frozenset(found) or None


def _split(ref: str) -> tuple[Kind, str]:
    for prefix, kind in (("refs/heads/", Kind.PUSH), ("refs/tags/", Kind.TAG)):
        if ref.startswith(prefix):
            return kind, text(ref.removeprefix(prefix), _LONGEST)
    return Kind.OTHER, ""
