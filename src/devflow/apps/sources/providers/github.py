"""GitHub, on github.com and GitHub Enterprise Server."""

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
    is_nothing,
    is_signature,
    items,
    part,
    paths_of,
    person,
    ref_push,
    text,
)

_CUT = (20, 2048)
"""Lengths at which GitHub Enterprise Server and github.com cut a push's list of commits."""
_CUT_FILES = 3000
"""From so many files on, a commit's lists of them may be cut."""


class GitHub(Provider):
    title = "GitHub"
    hosts = ("github.",)
    event_headers = ("x-github-event",)
    id_headers = ("x-github-delivery",)
    secret_headers = ("x-hub-signature-256", "x-hub-signature")
    steps = (
        "In the repository on GitHub: Settings, Webhooks, Add webhook.",
        "Payload URL: the address above. Content type: application/json. Secret: {secret}.",
        "Leave SSL verification on, and choose “Just the push event”.",
        "Add webhook. GitHub sends a ping at once, which is listed among the deliveries.",
    )

    def is_genuine(self, secret: str, headers: Mapping[str, str], content: Content) -> bool:
        return is_signature(headers.get("x-hub-signature-256", ""), secret, content.body)

    def read(self, event: str, document: Mapping[str, Any]) -> list[Push]:
        if event == "ping":
            return [Push(Kind.PING)]
        if event.startswith("pull_request"):
            return [Push(Kind.CHANGE)]
        return [_push(document)] if event == "push" else [Push(Kind.OTHER)]

    def is_dated(self, document: Mapping[str, Any]) -> bool:
        return bool(part(document, "repository").get("pushed_at"))


def _push(document: Mapping[str, Any]) -> Push:
    ref, after = text(document.get("ref")), text(document.get("after"))
    if not ref:
        raise MalformedError("The payload of this push has no ref.")
    if document.get("deleted") is True:
        return ref_push(ref, "0" * 40)
    head = part(document, "head_commit")
    # the id after the push of an annotated tag is the tag's own; the head commit is what it points to
    is_told = after and not ref.startswith("refs/tags/")
    commit = after if is_told or is_nothing(after) else text(head.get("id")) or after
    return ref_push(
        ref,
        commit,
        message=text(head.get("message"), MESSAGE),
        author=person(part(head, "author")),
        changed_paths=_paths(document),
    )


def _paths(document: Mapping[str, Any]) -> frozenset[str] | None:
    """None where commits were dropped (force), the branch is new, or a list was cut: then not all is told."""
    commits = items(document.get("commits"))
    is_partial = document.get("forced") or document.get("created") or is_nothing(text(document.get("before")))
    if is_partial or not commits or len(commits) in _CUT or len(commits) > _CUT[1]:
        return None
    if any(_files(commit) >= _CUT_FILES for commit in commits):
        return None
    return paths_of(commits)


def _files(commit: Mapping[str, Any]) -> int:
    lists = [commit.get(name) for name in ("added", "modified", "removed")]
    return max(len(each) if isinstance(each, list) else 0 for each in lists)
