"""GitLab, on gitlab.com and on one's own server."""

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
    first,
    is_nothing,
    is_same,
    items,
    part,
    paths_of,
    person,
    ref_push,
    text,
)

_PUSHES = ("push", "tag_push", "push hook", "tag push hook")
_CHANGES = ("merge_request", "merge request hook")


class GitLab(Provider):
    title = "GitLab"
    hosts = ("gitlab.",)
    event_headers = ("x-gitlab-event",)
    id_headers = ("idempotency-key", "webhook-id")
    secret_headers = ("x-gitlab-token", "webhook-signature")
    steps = (
        "In the project on GitLab: Settings, Webhooks, Add new webhook.",
        "URL: the address above. Secret token: {secret}.",
        "Trigger: Push events; also Tag push events, where tags are deployed. Leave SSL verification on.",
        "Add webhook. “Test, Push events” sends the newest commit, as a push would.",
    )

    def is_genuine(self, secret: str, headers: Mapping[str, str], content: Content) -> bool:
        """GitLab sends the secret itself."""
        return is_same(headers.get("x-gitlab-token", ""), secret)

    def delivery_id(self, headers: Mapping[str, str], digest: str) -> str:
        """The event's id may be the same for several branches that were pushed together."""
        return first(headers, self.id_headers) or f"{headers.get('x-gitlab-event-uuid', '')}:{digest}"

    def event(self, headers: Mapping[str, str], document: Mapping[str, Any]) -> str:
        """System hooks have one header for all events: there the payload tells."""
        named = headers.get("x-gitlab-event", "")
        told = text(document.get("object_kind"), 100) or text(document.get("event_name"), 100)
        return told if told and named in ("", "System Hook") else named

    def read(self, event: str, document: Mapping[str, Any]) -> list[Push]:
        if event.lower() in _CHANGES:
            return [Push(Kind.CHANGE)]
        return [_push(document)] if event.lower() in _PUSHES else [Push(Kind.OTHER)]


def _push(document: Mapping[str, Any]) -> Push:
    ref, after = text(document.get("ref")), text(document.get("after"))
    if not ref:
        raise MalformedError("The payload of this push has no ref.")
    # for an annotated tag `after` is the tag's own id
    commit = after if is_nothing(after) else text(document.get("checkout_sha")) or after
    commits = items(document.get("commits"))
    head = next((each for each in commits if each.get("id") == commit), commits[-1] if commits else {})
    return ref_push(
        ref,
        commit,
        message=text(head.get("message"), MESSAGE) or text(document.get("message"), MESSAGE),
        author=person(part(head, "author")) or text(document.get("user_name"), 300),
        changed_paths=_paths(document, commits),
    )


def _paths(document: Mapping[str, Any], commits: list[Mapping[str, Any]]) -> frozenset[str] | None:
    """None where the branch is new, or not all commits are listed (20 are at most)."""
    total = document.get("total_commits_count")
    if not commits or total != len(commits) or is_nothing(text(document.get("before"))):
        return None
    return paths_of(commits)
