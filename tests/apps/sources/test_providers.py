"""What the providers' payloads are read as, down to real ones of GitHub where they are installed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from devflow.apps.sources.providers import PROVIDERS, guess
from devflow.apps.sources.providers.base import Content, Kind, MalformedError, Push
from tests.support.payloads import bitbucket_push, commit_id, gitea_push, github_push, gitlab_push, sent, signature

COMMIT = commit_id(0xC0FFEE)
EXAMPLES = sorted((Path(__file__).parents[3] / "node_modules/@octokit/webhooks-examples").glob("*/index.json"))

each_provider = pytest.mark.parametrize("name", PROVIDERS)


def read(name: str, event: str, document: Any) -> Push:
    (push,) = PROVIDERS[name].read(event, document)
    return push


@each_provider
def test_a_provider_tells_how_it_is_set_up(name: str) -> None:
    provider = PROVIDERS[name]
    assert provider.title
    assert len(provider.steps) >= 3
    assert any("address above" in step for step in provider.steps)
    assert any("{secret}" in step for step in provider.steps)


@each_provider
def test_a_providers_signature(name: str) -> None:
    provider, secret = PROVIDERS[name], "a secret"
    body, headers = sent(name, {"a": 1}, secret)
    content = Content(body, body)
    assert provider.is_genuine(secret, headers, content)
    assert not provider.is_genuine("another", headers, content)
    assert not provider.is_genuine(secret, {}, content)
    for header in provider.secret_headers:
        assert not provider.is_genuine(secret, {header: "x"}, content)
    if name != "gitlab":  # GitLab sends the secret itself and signs nothing
        assert not provider.is_genuine(secret, headers, Content(b"{}", b"{}"))


@pytest.mark.parametrize("header", ["x-gitea-signature", "x-forgejo-signature", "x-gogs-signature"])
def test_giteas_relatives(header: str) -> None:
    provider, body = PROVIDERS["gitea"], b"{}"
    assert provider.is_genuine("s", {header: signature("s", body)}, Content(body, body))
    product = header.split("-")[1]
    assert provider.event({f"x-{product}-event": "push"}, {}) == "push"
    assert provider.delivery_id({f"x-{product}-delivery": "1"}, "digest") == "1"


def test_a_signature_by_sha1_is_not_enough_for_github() -> None:
    body = b"{}"
    headers = {"x-hub-signature": "sha256=" + signature("s", body)}
    assert not PROVIDERS["github"].is_genuine("s", headers, Content(body, body))


@pytest.mark.parametrize(
    ("name", "event", "document"),
    [
        ("github", "push", github_push(COMMIT)),
        ("gitlab", "Push Hook", gitlab_push(COMMIT)),
        ("gitea", "push", gitea_push(COMMIT)),
        ("bitbucket", "repo:push", bitbucket_push(COMMIT)),
    ],
)
def test_a_push(name: str, event: str, document: dict[str, Any]) -> None:
    push = read(name, event, document)
    assert (push.kind, push.name, push.commit, push.message) == (Kind.PUSH, "main", COMMIT, "Change")
    assert push.author == "Ada Example <ada@example.test>"


@each_provider
@pytest.mark.parametrize("document", [{}, {"ref": None}, {"ref": "refs/heads/main"}, {"push": []}, {"changes": [1]}])
def test_a_push_without_what_it_needs_is_malformed(name: str, document: dict[str, Any]) -> None:
    events = {"github": "push", "gitlab": "Push Hook", "gitea": "push", "bitbucket": "repo:push"}
    with pytest.raises(MalformedError):
        PROVIDERS[name].read(events[name], document)


def test_a_commit_is_found_where_only_the_head_names_it() -> None:
    assert read("github", "push", {"ref": "refs/heads/main", "head_commit": {"id": COMMIT}}).commit == COMMIT


def test_sha256_commits() -> None:
    assert read("gitea", "push", gitea_push("ab" * 32)).commit == "ab" * 32


def test_a_bitbucket_tag() -> None:
    push = read("bitbucket", "repo:push", bitbucket_push(COMMIT, name="v1", kind="tag"))
    assert (push.kind, push.name) == (Kind.TAG, "v1")


@pytest.mark.parametrize(
    ("repository", "name"),
    [
        ("git@github.com:acme/shop.git", "github"),
        ("https://github.example.com/acme/shop.git", "github"),
        ("ssh://git@gitlab.com:22/acme/shop.git", "gitlab"),
        ("https://codeberg.org/acme/shop", "gitea"),
        ("https://bitbucket.org/acme/github.git", "bitbucket"),
        ("/srv/git/github.com/shop.git", ""),
        ("https://git.example.com/shop.git", ""),
        ("", ""),
    ],
)
def test_the_provider_is_guessed_by_the_host(repository: str, name: str) -> None:
    assert guess(repository) == name


@pytest.mark.parametrize("name", ["github", "gitea"])
@pytest.mark.parametrize("odd", [None, 1, "text", [], [None], {}, True, [{"id": 1}], "\x00\ud800"])
def test_no_odd_field_makes_more_than_a_malformed_payload(name: str, odd: Any) -> None:
    for field in github_push(COMMIT):
        try:
            (push,) = PROVIDERS[name].read("push", github_push(COMMIT) | {field: odd})
        except MalformedError:
            continue
        assert "\x00" not in push.name + push.message + push.author
        json.dumps(push.name + push.message + push.author).encode()
        (push.name + push.message + push.author).encode()


@pytest.mark.skipif(not EXAMPLES, reason="npm package @octokit/webhooks-examples is not installed")
def test_githubs_real_payloads_are_all_read() -> None:
    provider, kinds = PROVIDERS["github"], Counter[Kind]()
    for file in EXAMPLES:
        for described in json.loads(file.read_text()):
            for example in described["examples"]:
                for push in provider.read(provider.event({"x-github-event": described["name"]}, example), example):
                    kinds[push.kind] += 1
                    if push.kind in (Kind.PUSH, Kind.TAG):
                        assert push.name
                        assert push.message
                        assert len(push.commit) == 40
    assert min(kinds[kind] for kind in Kind) >= 1, kinds
