"""Deliveries of webhooks: which environments they deploy, what is answered, what is remembered."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.deployments import selectors as deployment_selectors
from devflow.apps.deployments import services as deployments
from devflow.apps.deployments.models import Deployment, Status
from devflow.apps.deployments.pushes import deliveries_take, delivery_redeliver
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment
from devflow.apps.servers import services as servers
from devflow.apps.sources import selectors, services
from devflow.apps.sources.models import Delivery, Source
from devflow.apps.sources.services import Answer, Request
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tests.support.payloads import (
    NOTHING,
    bitbucket_push,
    commit_id,
    data_center_push,
    gitea_push,
    github_push,
    gitlab_push,
    sent,
)
from tests.support.shop import Shop, at_once

COMMIT, NEWER = commit_id(0xC0FFEE), commit_id(0xC0FFEF)


@dataclass
class Hook:
    """The webhook of the shop's project; its environment `production` is deployed by pushes to main."""

    shop: Shop
    source: Source
    secret: str

    def send(self, payload: Any, *, source: Source | None = None, **how: Any) -> Answer:
        body, headers = sent(self.source.provider, payload, how.pop("secret", self.secret), **how)
        return self.send_raw(body, headers)

    def send_raw(self, *requests: Any) -> Answer:
        body, headers = requests
        return self.send_all([Request(headers, body)])[0]

    def send_all(self, requests: list[Request]) -> list[Answer]:
        return deliveries_take(provider=self.source.provider, token=self.source.hook_token, requests=requests)

    def request(self, payload: Any, **how: Any) -> Request:
        body, headers = sent(self.source.provider, payload, self.secret, **how)
        return Request(headers, body)

    def use(self, provider: str) -> Hook:
        services.webhook_set(actor=self.shop.actor(), source=self.source, provider=provider)
        return self

    def set(self, environment: Environment | None = None, **settings: Any) -> Environment:
        environment = environment or self.shop.environment
        return projects.environment_update(actor=self.shop.actor(), environment=environment, **settings)

    @property
    def deliveries(self) -> list[Delivery]:
        """The oldest first, whole."""
        with scope(team=self.shop.team):
            return list(Delivery.objects.order_by("received_at", "id"))

    def deployments(self) -> list[Deployment]:
        with scope(team=self.shop.team):
            return list(Deployment.objects.select_related("environment").order_by("id"))


def make_hook(shop: Shop, provider: str = "github") -> Hook:
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    secret = services.webhook_set(actor=shop.actor(), source=source, provider=provider)
    projects.environment_update(actor=shop.actor(), environment=shop.environment, auto_deploy=True)
    return Hook(shop, source, secret)


@pytest.fixture
def hook(shop: Shop) -> Hook:
    return make_hook(shop)


@pytest.fixture
def busy_hook(open_for_many: Shop) -> Hook:
    """The same, committed, for several connections."""
    return make_hook(open_for_many)


def ignored(answer: Answer) -> str:
    assert answer.status == 200, answer
    assert list(answer.document) == ["ignored"]
    return str(answer.document["ignored"])


def jobs() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT args->>'deployment_id' FROM procrastinate_jobs WHERE task_name = 'deployments.advance' ORDER BY id"
        )
        return [row[0] for row in cursor.fetchall()]


def test_refused_requests_leave_a_bounded_trace(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    body, headers = sent("github", github_push(COMMIT), "wrong")
    told = headers | {"user-agent": "GitHub-Hookshot/\x00abc" + "x" * 500}
    for number in range(services.REFUSED_KEPT + 5):
        at = timezone.now().replace(microsecond=0) + timedelta(seconds=2 * number)
        monkeypatch.setattr(timezone, "now", lambda at=at: at)
        assert hook.send_all([Request(told, body)] * 3)[0].status == 401
    hook.source.refresh_from_db()
    assert len(hook.source.refused) == services.REFUSED_KEPT
    newest, before = hook.source.refused[:2]
    assert (newest["event"], newest["at"] > before["at"]) == ("push", True)
    assert newest["sender"].startswith("GitHub-Hookshot/abc")
    assert len(newest["sender"]) <= 100
    assert COMMIT not in str(hook.source.refused)
    assert hook.deliveries == []


def test_a_flood_of_refused_requests_is_written_once_a_second(hook: Hook) -> None:
    for _ in range(5):
        hook.send_raw(b"{}", {})
    hook.source.refresh_from_db()
    assert 1 <= len(hook.source.refused) <= 2
    assert hook.send_raw(*sent("github", github_push(COMMIT), hook.secret)).status == 202


def test_a_delivery_says_what_was_pushed_and_what_became_of_it(hook: Hook) -> None:
    for commit in (COMMIT, NEWER):
        assert hook.send(github_push(commit, message="Fix the checkout\n\nIn full.")).status == 202
    newest, older = selectors.delivery_list(actor=hook.shop.actor(), source=hook.source)
    assert (newest.ref, newest.commit, newest.message) == ("main", NEWER, "Fix the checkout")
    assert newest.author
    (displaced,) = older.answer["deployments"]
    found = deployment_selectors.deployment_statuses(actor=hook.shop.actor(), deployment_ids=[displaced, "no id"])
    assert found == {displaced: "superseded"}
    (only,) = selectors.delivery_list(actor=hook.shop.actor(), source=hook.source, before=str(newest.pk))
    assert only.pk == older.pk


def test_the_reason_of_a_push_of_many_branches_is_short(hook: Hook) -> None:
    hook.use("bitbucket")
    payload = bitbucket_push(COMMIT)
    (change,) = payload["push"]["changes"]
    payload["push"]["changes"] = [change | {"new": change["new"] | {"name": f"b{number}"}} for number in range(1000)]
    reason = ignored(hook.send(payload))
    assert reason.endswith("push to b2. And 997 more.")
    assert len(reason) < 300


# --- what a push does -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "payload"),
    [
        ("github", github_push(COMMIT)),
        ("gitlab", gitlab_push(COMMIT)),
        ("gitea", gitea_push(COMMIT)),
        ("bitbucket", bitbucket_push(COMMIT)),
    ],
)
def test_a_push_deploys_the_branchs_environment(shop: Shop, provider: str, payload: dict[str, Any]) -> None:
    hook = make_hook(shop, provider)
    answer = hook.send(payload)
    (made,) = hook.deployments()
    assert answer == Answer(202, {"deployment": str(made.pk), "deployments": [str(made.pk)]})
    assert (made.status, made.trigger, made.priority, made.requested_by) == ("queued", "webhook", 0, None)
    assert (made.commit, made.branch, made.commit_message) == (COMMIT, "main", "Change")
    assert made.author == "Ada Example <ada@example.test>"
    assert jobs() == [str(made.pk)]
    (delivery,) = hook.deliveries
    assert made.delivery_id == delivery.pk
    assert (delivery.answer_status, delivery.answer) == (202, answer.document)


@pytest.mark.parametrize(
    ("provider", "payload"), [("github", github_push(COMMIT)), ("gitea", gitea_push(COMMIT))], ids=["github", "gitea"]
)
def test_a_form_is_understood(shop: Shop, provider: str, payload: dict[str, Any]) -> None:
    hook = make_hook(shop, provider)
    assert hook.send(payload | {"note": "ünïcode & = + %"}, is_form=True).status == 202
    assert hook.deployments()[0].commit == COMMIT


def test_bitbucket_data_center(shop: Shop) -> None:
    hook = make_hook(shop, "bitbucket")
    assert hook.send(data_center_push(COMMIT), event="repo:refs_changed").status == 202
    assert (hook.deployments()[0].commit, hook.deployments()[0].author) == (
        COMMIT,
        "Ada Example <ada@example.test>",
    )
    assert "deleted" in ignored(hook.send(data_center_push(NOTHING, kind="DELETE"), event="repo:refs_changed"))
    assert "ping" in ignored(hook.send({"test": True}, event="diagnostics:ping"))


def test_a_bitbucket_delivery_may_tell_several_pushes(shop: Shop) -> None:
    hook = make_hook(shop, "bitbucket")
    hook.set(shop.add_environment("staging"), branch="next", auto_deploy=True)
    payload = bitbucket_push(COMMIT)
    payload["push"]["changes"] += bitbucket_push(NEWER, name="next")["push"]["changes"]
    answer = hook.send(payload)
    assert [answer.status, len(answer.document["deployments"])] == [202, 2]
    assert {(made.environment.name, made.commit) for made in hook.deployments()} == {
        ("production", COMMIT),
        ("staging", NEWER),
    }


def test_every_environment_of_the_branch_is_deployed(hook: Hook) -> None:
    for name in ("staging", "off"):
        hook.set(hook.shop.add_environment(name), auto_deploy=name == "staging")
    hook.set(hook.shop.add_environment("other"), branch="other", auto_deploy=True)
    answer = hook.send(github_push(COMMIT))
    assert {made.environment.name for made in hook.deployments()} == {"production", "staging"}
    assert sorted(answer.document["deployments"]) == sorted(str(made.pk) for made in hook.deployments())


def test_unicode_branches(hook: Hook) -> None:
    hook.set(branch="größe/日本-🚀")
    answer = hook.send(github_push(COMMIT, ref="refs/heads/größe/日本-🚀", message="Grüße 🚀\n\nmore"))
    assert answer.status == 202
    assert hook.deployments()[0].commit_message == "Grüße 🚀"


@pytest.mark.parametrize("words", ["[skip deploy]", "[deploy skip]", "[Skip CI]", "[ci skip]"])
def test_a_commit_that_says_so_is_skipped(hook: Hook, words: str) -> None:
    reason = ignored(hook.send(github_push(COMMIT, message=f"Change\n\n{'long ' * 500}{words}")))
    assert words.lower() in reason
    assert hook.deployments() == []


@pytest.mark.parametrize(
    ("event", "payload", "reason"),
    [
        ("push", github_push(NOTHING, deleted=True, head_commit=None, commits=[]), "deleted"),
        ("push", {"ref": "refs/heads/main", "deleted": True}, "deleted"),
        ("push", github_push(COMMIT, ref="refs/heads/nobodys"), "nobodys"),
        ("push", github_push(COMMIT, ref="refs/tags/v1"), "v1"),
        ("push", github_push(COMMIT, ref="refs/notes/commits"), "Only pushes"),
        ("ping", {"zen": "Keep it logically awesome."}, "ping"),
        ("pull_request", {"action": "opened"}, "Pull and merge requests"),
        ("pull_request_review", {}, "Pull and merge requests"),
        ("star", {}, "Only pushes"),
        ("", {}, "Only pushes"),
    ],
)
def test_what_deploys_nothing(hook: Hook, event: str, payload: dict[str, Any], reason: str) -> None:
    body, headers = sent("github", payload, hook.secret, event=event or "x")
    if not event:
        del headers["x-github-event"]
    assert reason in ignored(hook.send_raw(body, headers))
    assert hook.deployments() == []
    assert [delivery.answer_status for delivery in hook.deliveries] == [200]


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("Push Hook", gitlab_push(NOTHING, checkout_sha=None, commits=[], total_commits_count=0)),
        ("Merge Request Hook", {"object_kind": "merge_request"}),
        ("System Hook", {"object_kind": "merge_request"}),
        ("System Hook", {"event_name": "project_create"}),
    ],
)
def test_what_of_gitlab_deploys_nothing(shop: Shop, event: str, payload: dict[str, Any]) -> None:
    assert ignored(make_hook(shop, "gitlab").send(payload, event=event))


def test_a_system_hook_of_gitlab_pushes_too(shop: Shop) -> None:
    assert make_hook(shop, "gitlab").send(gitlab_push(COMMIT), event="System Hook").status == 202


def test_a_deleted_branch_of_gitea_and_bitbucket(shop: Shop) -> None:
    assert "deleted" in ignored(make_hook(shop, "gitea").send({"ref": "main", "ref_type": "branch"}, event="delete"))
    closed = {"push": {"changes": [{"new": None, "old": {"type": "branch", "name": "main"}, "closed": True}]}}
    hook = make_hook(shop, "gitea").use("bitbucket")
    assert "deleted" in ignored(hook.send(closed, secret=hook.source.hook_secret))


# --- tags, paths ------------------------------------------------------------------------------------------------------


def test_a_tag_deploys_its_commit_where_the_pattern_matches(hook: Hook) -> None:
    hook.set(tag_pattern="v*", auto_deploy=False)
    assert "nightly" in ignored(hook.send(github_push(NEWER, ref="refs/tags/nightly")))
    head = github_push(COMMIT)["head_commit"]
    assert hook.send(github_push(NEWER, ref="refs/tags/v1.2", head_commit=head, commits=[])).status == 202
    (made,) = hook.deployments()
    assert (made.commit, made.branch) == (COMMIT, "v1.2")  # what an annotated tag points to, not the tag's own id


def test_an_annotated_tag_of_gitlab_deploys_what_it_points_to(shop: Shop) -> None:
    hook = make_hook(shop, "gitlab")
    hook.set(tag_pattern="v*")
    payload = gitlab_push(NEWER, ref="refs/tags/v1.2", checkout_sha=COMMIT, object_kind="tag_push", commits=[])
    assert hook.send(payload, event="Tag Push Hook").status == 202
    assert hook.deployments()[0].commit == COMMIT


@pytest.mark.parametrize(
    ("changes", "is_deployed"),
    [
        ({}, False),
        ({"commits": [{"id": COMMIT, "added": ["apps/shop/new.php"], "removed": [], "modified": []}]}, True),
        ({"commits": [{"id": COMMIT, "added": [], "removed": ["apps/shop/old.php"], "modified": []}]}, True),
        ({"commits": [{"id": COMMIT, "added": ["apps/shopping/a"], "removed": [], "modified": []}]}, False),
        ({"forced": True}, True),
        ({"created": True}, True),
        ({"before": NOTHING}, True),
        ({"commits": []}, True),
        ({"commits": None}, True),
        ({"commits": [{"id": COMMIT}]}, True),
        ({"commits": [{"id": COMMIT, "modified": ["README.md"]}] * 20}, True),
        ({"commits": [{"id": COMMIT, "modified": ["README.md"]}] * 19}, False),
        ({"commits": [{"id": COMMIT, "modified": [f"docs/{n}" for n in range(3000)]}]}, True),
    ],
)
def test_watched_paths(hook: Hook, changes: dict[str, Any], is_deployed: bool) -> None:
    """Where the payload does not tell all that changed, it is deployed rather than missed."""
    hook.set(watch_paths=["apps/shop/**"])
    answer = hook.send(github_push(COMMIT, **changes))
    assert (answer.status == 202) is is_deployed
    if not is_deployed:
        assert "watches" in ignored(answer)


@pytest.mark.parametrize(
    ("provider", "payload", "is_deployed"),
    [
        ("gitlab", gitlab_push(COMMIT), False),
        ("gitlab", gitlab_push(COMMIT, total_commits_count=21), True),
        ("gitlab", gitlab_push(COMMIT, before=NOTHING), True),
        ("gitea", gitea_push(COMMIT), False),
        ("gitea", gitea_push(COMMIT, total_commits=9), True),
        ("gitea", {key: value for key, value in gitea_push(COMMIT).items() if key != "total_commits"}, True),
        ("bitbucket", bitbucket_push(COMMIT), True),
    ],
)
def test_watched_paths_of_other_providers(shop: Shop, provider: str, payload: Any, is_deployed: bool) -> None:
    hook = make_hook(shop, provider)
    hook.set(watch_paths=["apps/shop/**"])
    assert (hook.send(payload).status == 202) is is_deployed


@pytest.mark.parametrize("settings", [{"watch_paths": ["x\ny"]}, {"tag_pattern": "v\x00"}, {"tag_pattern": "a" * 201}])
def test_patterns_that_are_none_are_refused(hook: Hook, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        hook.set(**settings)
    assert list(refused.value.errors) == list(settings)


# --- who may, what is malformed ---------------------------------------------------------------------------------------


def test_an_unknown_address_is_not_found(hook: Hook) -> None:
    request = hook.request(github_push(COMMIT))
    for provider, token in (
        ("github", "wrong"),
        ("gitlab", hook.source.hook_token),
        ("nothing", "x"),
        ("github", "\0"),
    ):
        (answer,) = deliveries_take(provider=provider, token=token, requests=[request])
        assert answer.status == 404
    hook.use("")
    assert deliveries_take(provider="github", token=hook.source.hook_token, requests=[request])[0].status == 404
    assert hook.deployments() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"x-hub-signature-256": ""},
        {"x-hub-signature-256": "sha256=" + "0" * 64},
        {"x-hub-signature-256": "sha256=ünïcode"},
        {"x-hub-signature-256": "sha1=" + "0" * 40},
        {"x-hub-signature-256": "0"},
    ],
)
def test_a_forged_signature_is_refused(hook: Hook, headers: dict[str, str]) -> None:
    body, right = sent("github", github_push(COMMIT), hook.secret)
    assert hook.send_raw(body, right | headers).status == 401
    assert hook.send_raw(body.replace(b"main", b"evil"), right).status == 401
    assert hook.send_raw(body, {}).status == 401
    assert hook.send(github_push(COMMIT), secret="").status == 401
    assert (hook.deployments(), hook.deliveries) == ([], [])


@pytest.mark.parametrize("provider", ["gitlab", "gitea", "bitbucket"])
def test_a_wrong_secret_is_refused_by_every_provider(shop: Shop, provider: str) -> None:
    hook = make_hook(shop, provider)
    for secret in ("wrong", "", hook.secret[:-1], hook.secret + "x"):
        assert hook.send({}, secret=secret).status == 401, secret


def test_the_webhook_of_a_removed_project_is_gone(hook: Hook) -> None:
    projects.project_remove(actor=hook.shop.actor(), project=hook.shop.project)
    assert hook.send(github_push(COMMIT)).status == 404


def test_the_old_secret_is_worth_nothing_after_a_rotation(hook: Hook) -> None:
    new = services.webhook_rotate(actor=hook.shop.actor(), source=hook.source).secret
    assert new != hook.secret
    assert hook.send(github_push(COMMIT)).status == 401
    assert hook.send(github_push(COMMIT), secret=new).status == 202


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"0123456789",
        b'{"ref": 1}',
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b"{" * 10,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"ref": "refs/heads/main"}',
        b'{"ref": "refs/heads/main", "after": "short"}',
        b'{"ref": "refs/heads/main", "after": "; rm -rf ~"}',
        b'{"after": "' + COMMIT.encode() + b'"}',
        b'{"n": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
def test_a_malformed_body_is_refused_and_listed(hook: Hook, body: bytes) -> None:
    answer = hook.send(body)
    assert answer.status == 400
    assert answer.document["error"]
    (delivery,) = hook.deliveries
    assert delivery.answer_status == 400
    assert hook.deployments() == []


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/xml", "image/png"])
def test_an_impossible_content_type_is_refused(hook: Hook, kind: str) -> None:
    body, headers = sent("github", github_push(COMMIT), hook.secret)
    assert hook.send_raw(body, headers | {"content-type": kind}).status == 415


@pytest.mark.parametrize("kind", ["", "application/json; charset=utf-8", "APPLICATION/JSON", "application/cloud+json"])
def test_other_spellings_of_json_are_taken(hook: Hook, kind: str) -> None:
    body, headers = sent("github", github_push(COMMIT), hook.secret)
    assert hook.send_raw(body, headers | {"content-type": kind}).status == 202


def test_a_form_without_payload_is_malformed(hook: Hook) -> None:
    body, headers = sent("github", b"a=1&b=2", hook.secret)
    assert hook.send_raw(body, headers | {"content-type": "application/x-www-form-urlencoded"}).status == 400


@pytest.mark.parametrize(
    "odd",
    [
        {"head_commit": None, "commits": None},
        {"head_commit": "text", "commits": {"a": 1}},
        {"head_commit": {"message": 1, "author": []}, "commits": [1, "x", None]},
        {"head_commit": {"message": "a\x00b\ud800", "author": {"name": "\x00", "email": None}}},
        {"unknown": {"deep": [1, 2, {"x": None}]}, "repository": None, "forced": "yes"},
    ],
)
def test_what_is_missing_or_odd_does_no_harm(hook: Hook, odd: dict[str, Any]) -> None:
    payload = github_push(COMMIT) | odd
    assert hook.send(payload).status == 202
    (made,) = hook.deployments()
    assert made.commit == COMMIT
    assert "\x00" not in made.commit_message + made.author


# --- replays ----------------------------------------------------------------------------------------------------------


def test_a_replay_gets_the_first_answer_and_changes_nothing(hook: Hook) -> None:
    request = hook.request(github_push(COMMIT), delivery="1")
    first = hook.send_all([request])[0]
    hook.send(github_push(NEWER))
    assert hook.send_all([request, request]) == [first, first]
    assert len(hook.deliveries) == len(hook.deployments()) == 2
    assert hook.deployments()[-1].status == "queued"


def test_a_replay_of_an_ignored_one_stays_ignored(hook: Hook) -> None:
    request = hook.request(github_push(COMMIT, ref="refs/heads/next"))
    first = hook.send_all([request])[0]
    hook.set(branch="next")
    assert hook.send_all([request]) == [first]


def test_a_signed_body_that_says_when_it_was_made_is_taken_once_whatever_its_id(hook: Hook) -> None:
    payload = github_push(COMMIT, repository={"pushed_at": 1763700000})
    answers = [hook.send(payload, delivery=delivery) for delivery in ("1", "2")]
    assert answers[0] == answers[1]
    assert len(hook.deployments()) == 1


def test_going_back_and_forth_between_commits_is_no_replay(hook: Hook) -> None:
    commits = [COMMIT, NEWER, COMMIT]
    assert [hook.send(github_push(commit)).status for commit in commits] == [202, 202, 202]
    assert [made.commit for made in hook.deployments()] == commits


def test_without_an_id_the_body_is_remembered(shop: Shop) -> None:
    hook = make_hook(shop, "gitlab")
    body, headers = sent("gitlab", gitlab_push(COMMIT), hook.secret)
    del headers["idempotency-key"]
    assert hook.send_raw(body, headers) == hook.send_raw(body, headers)
    assert len(hook.deployments()) == 1


def test_one_events_id_for_two_branches_of_gitlab(shop: Shop) -> None:
    hook = make_hook(shop, "gitlab")
    hook.set(shop.add_environment("staging"), branch="next", auto_deploy=True)
    for ref in ("refs/heads/main", "refs/heads/next"):
        body, headers = sent("gitlab", gitlab_push(COMMIT, ref=ref), hook.secret)
        del headers["idempotency-key"]
        assert hook.send_raw(body, headers | {"x-gitlab-event-uuid": "one"}).status == 202
    assert len(hook.deployments()) == 2


def test_odd_ids_are_remembered_too(hook: Hook) -> None:
    request = hook.request(github_push(COMMIT), delivery="x" * 5000)
    assert hook.send_all([request]) == hook.send_all([request])
    assert len(hook.deliveries) == 1


# --- many -------------------------------------------------------------------------------------------------------------


def test_of_many_that_come_together_the_last_is_queued(hook: Hook) -> None:
    answers = hook.send_all([hook.request(github_push(commit_id(number))) for number in range(1, 31)])
    made = hook.deployments()
    assert [answer.status for answer in answers] == [202] * 30
    assert [made.commit for made in made] == [commit_id(number) for number in range(1, 31)]
    assert [each.status for each in made] == ["superseded"] * 29 + ["queued"]
    assert made[-1].commit[:8] in made[0].error
    assert made[0].is_ended
    assert made[0].finished_at is not None
    assert jobs() == [str(made[-1].pk)]
    assert [answer.document["deployment"] for answer in answers] == [str(each.pk) for each in made]


def test_a_push_supersedes_what_is_queued_and_never_what_runs(hook: Hook) -> None:
    manual = deployments.deployment_request(actor=hook.shop.actor(), environment=hook.shop.environment)
    hook.send(github_push(COMMIT))
    first = hook.deployments()[-1]
    assert hook.shop.deployment(manual).status == "superseded"
    assert f"a push of {COMMIT[:8]} to main" in hook.shop.deployment(manual).error
    with scope(team=hook.shop.team):
        Deployment.objects.filter(pk=first.pk).update(status=Status.RUNNING)
    hook.send(github_push(NEWER))
    assert [made.status for made in hook.deployments()] == ["superseded", "running", "queued"]


def test_a_bad_one_among_many_harms_no_other(hook: Hook) -> None:
    good, forged = hook.request(github_push(COMMIT)), Request({}, b"{}")
    broken = hook.request(b"[" * 100_000)
    assert [answer.status for answer in hook.send_all([forged, good, broken])] == [401, 202, 400]


def test_an_environment_that_cannot_be_deployed_is_named(hook: Hook) -> None:
    servers.server_maintenance_set(actor=hook.shop.actor(), server=hook.shop.server("web1"), on=True)
    assert "In maintenance: web1" in ignored(hook.send(github_push(COMMIT)))


def test_the_same_delivery_at_once_is_taken_once(busy_hook: Hook) -> None:
    request = busy_hook.request(github_push(COMMIT))
    answers = at_once(6, lambda _: busy_hook.send_all([request])[0])
    assert {str(answer) for answer in answers} == {str(answers[0])}
    assert isinstance(answers[0], Answer)
    assert len(busy_hook.deployments()) == 1


def test_pushes_at_once_leave_one_queued(busy_hook: Hook) -> None:
    answers = at_once(8, lambda number: busy_hook.send(github_push(commit_id(number + 1))))
    assert [getattr(answer, "status", answer) for answer in answers] == [202] * 8
    assert sorted(made.status for made in busy_hook.deployments()) == ["queued"] + ["superseded"] * 7


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_secrets_and_signatures_are_masked(shop: Shop) -> None:
    hook = make_hook(shop, "gitea")
    body, headers = sent("gitea", gitea_push(COMMIT) | {"secret": hook.secret}, hook.secret)
    hook.send_raw(body, headers | {"authorization": "Basic eDp5", "user-agent": "Go"})
    (delivery,) = hook.deliveries
    assert (delivery.headers["x-gitea-signature"], delivery.headers["authorization"]) == ("***", "***")
    assert delivery.headers["user-agent"] == "Go"
    assert hook.secret not in selectors.payload(delivery)
    assert COMMIT in selectors.payload(delivery)
    gitlab = hook.use("gitlab")
    gitlab.send(gitlab_push(NEWER))
    assert gitlab.secret not in str(gitlab.deliveries[-1].headers)


def test_payloads_of_the_last_ones_are_kept_and_ids_for_longer(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "KEPT", 3)
    requests = [hook.request({}, event="ping", delivery=str(number)) for number in range(6)]
    for request in requests:
        hook.send_all([request])
        services.deliveries_trim(hook.source.provider, hook.source.hook_token)
    assert [bool(delivery.body) for delivery in hook.deliveries] == [False] * 3 + [True] * 3
    source = hook.source
    assert len(selectors.delivery_list(actor=hook.shop.actor(), source=source)) == 6
    assert len(selectors.delivery_list(actor=hook.shop.actor(), source=source, limit=3)) == 3
    hook.send_all([requests[0]])
    assert len(hook.deliveries) == 6
    with scope(team=hook.shop.team):
        Delivery.objects.filter(key="0").update(received_at=timezone.now() - services.REMEMBERED * 2)
    services.deliveries_clean()
    assert [delivery.key for delivery in hook.deliveries] == ["1", "2", "3", "4", "5"]
    with pytest.raises(ConflictError, match="not kept any more"):
        delivery_redeliver(actor=hook.shop.actor(), delivery=hook.deliveries[0])


def test_what_was_not_emptied_in_time_is_emptied_by_a_worker(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the newest of each webhook, in several goes."""
    monkeypatch.setattr(services, "KEPT", 2)
    monkeypatch.setattr(services, "_TRIMMED_AT_ONCE", 2)
    for number in range(7):
        hook.send_all([hook.request({}, event="ping", delivery=str(number))])
    with scope(team=hook.shop.team):
        Delivery.objects.filter(key="4").update(body=b"", headers={})
    services.deliveries_clean()
    assert [bool(delivery.body) for delivery in hook.deliveries] == [False] * 5 + [True] * 2
    assert [bool(delivery.headers) for delivery in hook.deliveries] == [False] * 5 + [True] * 2
    services.deliveries_trim("github", "no\x00such")  # an address is whatever came


# --- once more --------------------------------------------------------------------------------------------------------


def test_redelivering_takes_the_payload_again_by_the_settings_of_now(hook: Hook) -> None:
    hook.set(auto_deploy=False)
    hook.send(github_push(COMMIT))
    hook.set(auto_deploy=True)
    (delivery,) = hook.deliveries
    found = selectors.delivery_get(actor=hook.shop.actor(), source=hook.source, delivery_id=str(delivery.pk))
    again = delivery_redeliver(actor=hook.shop.actor(Role.DEVELOPER), delivery=found)
    assert (again.answer_status, again.redelivery_of_id) == (202, delivery.pk)
    (made,) = hook.deployments()
    assert (made.commit, made.trigger, made.requested_by) == (COMMIT, "webhook", None)
    assert delivery_redeliver(actor=hook.shop.actor(), delivery=found).pk != again.pk
    assert len(hook.deployments()) == 2


def test_who_may_redeliver_rotate_and_set(hook: Hook) -> None:
    hook.send(github_push(COMMIT))
    viewer, developer = hook.shop.actor(Role.VIEWER), hook.shop.actor(Role.DEVELOPER)
    with pytest.raises(ForbiddenError):
        delivery_redeliver(actor=viewer, delivery=hook.deliveries[0])
    for change in (
        lambda: services.webhook_rotate(actor=developer, source=hook.source),
        lambda: services.webhook_set(actor=developer, source=hook.source, provider="gitlab"),
        lambda: projects.project_source(actor=developer, project=hook.shop.project),
    ):
        with pytest.raises(ForbiddenError):
            change()
    with pytest.raises(NotFoundError):
        selectors.delivery_get(
            actor=hook.shop.actor("stranger"), source=hook.source, delivery_id=str(hook.deliveries[0].pk)
        )


def test_a_provider_that_is_none_is_refused(hook: Hook) -> None:
    with pytest.raises(InvalidError):
        services.webhook_set(actor=hook.shop.actor(), source=hook.source, provider="cvs")


def test_switching_off_and_on_keeps_address_and_secret(hook: Hook) -> None:
    assert services.webhook_set(actor=hook.shop.actor(), source=hook.source, provider="") == ""
    assert selectors.webhook_url(hook.source) == ""
    with pytest.raises(ConflictError):
        services.webhook_rotate(actor=hook.shop.actor(), source=hook.source)
    assert services.webhook_set(actor=hook.shop.actor(), source=hook.source, provider="github") == ""
    assert hook.send(github_push(COMMIT)).status == 202
    assert projects.project_source(actor=hook.shop.actor(), project=hook.shop.project).pk == hook.source.pk


def test_a_push_waits_for_a_worker_that_begins_and_does_not_lock_it_out(busy_hook: Hook) -> None:
    """A commit checks foreign keys of rows that were written twice: it must not wait for the turnstile."""
    busy_hook.send(github_push(COMMIT))
    (queued,) = busy_hook.deployments()
    has_begun = threading.Event()

    def begin() -> None:
        with transaction.atomic(), scope(team=busy_hook.shop.team):
            Deployment.objects.filter(pk=queued.pk).update(status=Status.RUNNING)
            Deployment.objects.filter(pk=queued.pk).update(last_seq=1)
            has_begun.set()
            time.sleep(0.5)  # until the push waits for this row

    def push() -> Answer:
        has_begun.wait(10)
        return busy_hook.send(github_push(NEWER))

    begun, answer = at_once(2, lambda number: push() if number else begin())
    assert begun is None
    assert isinstance(answer, Answer)
    assert answer.status == 202
    assert [made.status for made in busy_hook.deployments()] == ["running", "queued"]
