"""Webhooks as the git providers send them, made small: payloads, signatures, headers."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from typing import Any
from urllib.parse import urlencode

NOTHING = "0" * 40


def commit_id(number: int) -> str:
    return f"{number:040x}"


def github_push(commit: str, *, ref: str = "refs/heads/main", message: str = "Change", **more: Any) -> dict[str, Any]:
    """A push of one commit that changes README.md, after another one."""
    head = {
        "id": commit,
        "message": message,
        "author": {"name": "Ada Example", "email": "ada@example.test", "username": "ada"},
        "added": [],
        "removed": [],
        "modified": ["README.md"],
    }
    return {
        "ref": ref,
        "before": commit_id(0xBEF0),
        "after": commit,
        "created": False,
        "deleted": False,
        "forced": False,
        "commits": [head],
        "head_commit": head,
        "repository": {"full_name": "acme/shop"},
    } | more


def gitlab_push(commit: str, *, ref: str = "refs/heads/main", message: str = "Change", **more: Any) -> dict[str, Any]:
    author = {"name": "Ada Example", "email": "ada@example.test"}
    head = {"id": commit, "message": message, "author": author, "added": ["a.txt"], "modified": [], "removed": []}
    return {
        "object_kind": "push",
        "ref": ref,
        "before": commit_id(0xBEF0),
        "after": commit,
        "checkout_sha": commit,
        "user_name": "Grace Example",
        "commits": [head],
        "total_commits_count": 1,
    } | more


def gitea_push(commit: str, *, ref: str = "refs/heads/main", message: str = "Change", **more: Any) -> dict[str, Any]:
    author = {"name": "Ada Example", "email": "ada@example.test", "username": "ada"}
    head = {"id": commit, "message": message, "author": author, "added": ["a.txt"], "modified": [], "removed": []}
    return {
        "ref": ref,
        "before": commit_id(0xBEF0),
        "after": commit,
        "commits": [head],
        "total_commits": 1,
        "head_commit": head,
    } | more


def bitbucket_push(commit: str, *, name: str = "main", message: str = "Change", kind: str = "branch") -> dict[str, Any]:
    author = {"raw": "Ada Example <ada@example.test>", "user": {"display_name": "Ada"}}
    new = {"type": kind, "name": name, "target": {"hash": commit, "message": message, "author": author}}
    return {"push": {"changes": [{"new": new, "old": None, "created": False, "closed": False, "forced": False}]}}


def data_center_push(commit: str, *, name: str = "main", kind: str = "UPDATE") -> dict[str, Any]:
    ref = {"id": f"refs/heads/{name}", "displayId": name, "type": "BRANCH"}
    change = {"ref": ref, "refId": ref["id"], "fromHash": commit_id(1), "toHash": commit, "type": kind}
    return {
        "eventKey": "repo:refs_changed",
        "date": "2026-11-21T09:45:32+0000",
        "actor": {"displayName": "Ada Example", "emailAddress": "ada@example.test"},
        "changes": [change],
    }


EVENTS = {"github": "push", "gitlab": "Push Hook", "gitea": "push", "bitbucket": "repo:push"}


def sent(
    provider: str,
    payload: Any,
    secret: str,
    *,
    event: str = "",
    delivery: str = "",
    is_form: bool = False,
) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a delivery; `payload` is an object, or bytes that are sent as they are."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    body = urlencode({"payload": text}).encode() if is_form else text
    headers = {"content-type": "application/x-www-form-urlencoded" if is_form else "application/json"}
    event, delivery = event or EVENTS[provider], delivery or str(uuid.uuid4())
    if provider == "github":
        headers |= {"x-github-event": event, "x-github-delivery": delivery}
        headers["x-hub-signature-256"] = "sha256=" + signature(secret, body)
    elif provider == "gitlab":
        headers |= {"x-gitlab-event": event, "idempotency-key": delivery, "x-gitlab-token": secret}
    elif provider == "gitea":
        headers |= {"x-gitea-event": event, "x-gitea-delivery": delivery, "x-gitea-signature": signature(secret, text)}
    else:
        headers |= {"x-event-key": event, "x-request-uuid": delivery}
        headers["x-hub-signature"] = "sha256=" + signature(secret, body)
    return body, headers


def signature(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
