"""Bitbucket, in the cloud and as Data Center. Its payloads name no files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devflow.apps.sources.providers.base import (
    MESSAGE,
    Content,
    Kind,
    MalformedError,
    Provider,
    Push,
    is_signature,
    items,
    part,
    person,
    ref_push,
    text,
)


class Bitbucket(Provider):
    title = "Bitbucket"
    hosts = ("bitbucket",)
    event_headers = ("x-event-key",)
    id_headers = ("x-request-uuid", "x-request-id")
    secret_headers = ("x-hub-signature",)
    steps = (
        "In the repository on Bitbucket: Repository settings, Webhooks, Add webhook.",
        "URL: the address above. Secret: {secret}. Status: active.",
        "Triggers: Repository push.",
        "Save. Push a commit, or use “Test connection” of Data Center; either is listed among the deliveries.",
    )

    def is_genuine(self, secret: str, headers: Mapping[str, str], content: Content) -> bool:
        return is_signature(headers.get("x-hub-signature", ""), secret, content.body)

    def read(self, event: str, document: Mapping[str, Any]) -> list[Push]:
        if event == "diagnostics:ping":
            return [Push(Kind.PING)]
        if event.startswith(("pullrequest:", "pr:")):
            return [Push(Kind.CHANGE)]
        if event == "repo:push":
            return [_cloud(change) for change in _changes(part(document, "push").get("changes"))]
        if event == "repo:refs_changed":
            return [_data_center(change, document) for change in _changes(document.get("changes"))]
        return [Push(Kind.OTHER)]

    def is_dated(self, document: Mapping[str, Any]) -> bool:
        return bool(document.get("date"))


def _changes(value: Any) -> list[Mapping[str, Any]]:
    changes = items(value)
    if not changes:
        raise MalformedError("The payload of this push has no changes.")
    return changes


def _cloud(change: Mapping[str, Any]) -> Push:
    new = part(change, "new")
    if not new:
        return Push(Kind.DELETE, text(part(change, "old").get("name"), 200))
    folder = "refs/tags/" if new.get("type") == "tag" else "refs/heads/"
    target = part(new, "target")
    author = part(target, "author")
    return ref_push(
        folder + text(new.get("name")),
        text(target.get("hash")),
        message=text(target.get("message"), MESSAGE),
        author=text(author.get("raw"), 300) or text(part(author, "user").get("display_name"), 300),
    )


def _data_center(change: Mapping[str, Any], document: Mapping[str, Any]) -> Push:
    head = part(document, "toCommit")
    is_head = head.get("id") == change.get("toHash")
    author = person(part(head, "author")) if is_head else ""
    return ref_push(
        text(part(change, "ref").get("id")) or text(change.get("refId")),
        text(change.get("toHash")),
        message=text(head.get("message"), MESSAGE) if is_head else "",
        author=author or person(part(document, "actor")),
    )
