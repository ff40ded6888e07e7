"""Gitea, and its relatives Forgejo (as on codeberg.org) and Gogs."""

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
    is_signature,
    items,
    part,
    paths_of,
    person,
    ref_push,
    text,
)


class Gitea(Provider):
    title = "Gitea, Forgejo or Gogs"
    hosts = ("gitea", "forgejo", "codeberg.", "gogs")
    event_headers = ("x-gitea-event", "x-forgejo-event", "x-gogs-event")
    id_headers = ("x-gitea-delivery", "x-forgejo-delivery", "x-gogs-delivery")
    secret_headers = (
        *("x-gitea-signature", "x-forgejo-signature", "x-gogs-signature"),
        *("x-hub-signature-256", "x-hub-signature"),
    )
    steps = (
        "In the repository: Settings, Webhooks, Add webhook, and there Gitea (or Forgejo, or Gogs).",
        "Target URL: the address above. Method POST, content type application/json. Secret: {secret}.",
        "Trigger on: push events. Where tags are deployed these are enough, too.",
        "Add webhook. “Test delivery” on its page sends the newest commit, as a push would.",
    )

    def is_genuine(self, secret: str, headers: Mapping[str, str], content: Content) -> bool:
        """Of a form, Gitea signs the JSON text in it, and not the body."""
        given = first(headers, self.secret_headers[:4])
        checked = [is_signature(given, secret, signed) for signed in (content.body, content.text)]
        return any(checked)

    def read(self, event: str, document: Mapping[str, Any]) -> list[Push]:
        if event.startswith("pull_request"):
            return [Push(Kind.CHANGE)]
        if event == "delete":
            return [Push(Kind.DELETE, text(document.get("ref"), 200))]
        return [_push(document)] if event == "push" else [Push(Kind.OTHER)]

    def is_dated(self, document: Mapping[str, Any]) -> bool:
        return bool(part(document, "repository").get("updated_at"))


def _push(document: Mapping[str, Any]) -> Push:
    ref, after = text(document.get("ref")), text(document.get("after"))
    if not ref:
        raise MalformedError("The payload of this push has no ref.")
    commits = items(document.get("commits"))
    head = part(document, "head_commit") or next((each for each in commits if each.get("id") == after), {})
    commit = text(head.get("id")) if ref.startswith("refs/tags/") and not is_nothing(after) else ""
    return ref_push(
        ref,
        commit or after,
        message=text(head.get("message"), MESSAGE),
        author=person(part(head, "author")),
        changed_paths=_paths(document, commits),
    )


def _paths(document: Mapping[str, Any], commits: list[Mapping[str, Any]]) -> frozenset[str] | None:
    """None where the branch is new, or not all commits are listed; Gogs does not say whether they are."""
    if not commits or document.get("total_commits") != len(commits) or is_nothing(text(document.get("before"))):
        return None
    return paths_of(commits)
