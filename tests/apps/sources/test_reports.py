"""What the git provider is told: by a stand-in that takes only what the provider's documents say."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.utils import timezone
from django_scopes import scope
from procrastinate.contrib.django.models import ProcrastinateJob

from devflow.apps.accounts.models import Role
from devflow.apps.projects import services as projects
from devflow.apps.sources import jobs, reports
from devflow.apps.sources.api.base import repository_of
from devflow.apps.sources.models import Report, Source
from devflow.apps.sources.selectors import webhook_url
from devflow.apps.sources.services import webhook_rotate, webhook_set, webhook_steps
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, OutgoingError
from devflow.core.names import uuid7
from tests.support.provider import OPERATIONS, TOKEN, Provider, provider
from tests.support.shop import Shop

COMMIT = "c0ffee" + "0" * 34
PAGE = "https://panel.example.test/deployments/1/"
KINDS = list(OPERATIONS)


@dataclass
class Linked:
    """The shop, with access to a stand-in of its provider."""

    shop: Shop
    source: Source
    stand_in: Provider

    def report(self, state: str, *, deployment: object = None, commit: str = COMMIT) -> Report:
        made = reports.report(
            source=self.source,
            deployment_id=deployment or uuid7(),  # type: ignore[arg-type]
            environment="production",
            commit=commit,
            state=state,
            description=f"{state} of production, " + "x" * 280,
            url=PAGE,
            branch="main",
        )
        assert made is not None
        return made

    def send(self) -> None:
        async_to_sync(jobs.report)(source_id=str(self.source.pk))

    def come_due(self) -> None:
        """The waits are over."""
        with scope(team=self.shop.team):
            Report.objects.filter(status="pending").update(next_attempt_at=timezone.now())

    def now(self, row: Report) -> Report:
        with scope(team=self.shop.team):
            return Report.objects.get(pk=row.pk)

    def states(self) -> list[tuple[str, str]]:
        with scope(team=self.shop.team):
            return list(Report.objects.order_by("created_at").values_list("state", "status"))


def link(shop: Shop, stand_in: Provider) -> Linked:
    actor = shop.actor()
    source = projects.project_source(actor=actor, project=shop.project)
    webhook_set(actor=actor, source=source, provider=stand_in.kind)
    reports.source_update(
        actor=actor, source=source, api_url=f"{stand_in.url}/", access_token=TOKEN, repository="acme/shop"
    )
    with scope(team=shop.team):
        return Linked(shop, Source.objects.select_related("team", "project").get(pk=source.pk), stand_in)


@pytest.fixture(params=KINDS)
def each(request: pytest.FixtureRequest, open_for_many: Shop) -> Iterator[Linked]:
    """For each provider."""
    with provider(request.param) as stand_in:
        yield link(open_for_many, stand_in)
        assert stand_in.complaints == []


@pytest.fixture
def linked(open_for_many: Shop) -> Iterator[Linked]:
    with provider("github") as stand_in:
        yield link(open_for_many, stand_in)
        assert stand_in.complaints == []


WORDS = {
    "github": ("pending", "success", "failure", "error"),
    "gitlab": ("running", "success", "failed", "canceled"),
    "gitea": ("pending", "success", "failure", "error"),
    "bitbucket": ("INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"),
}


def test_every_state_is_told_in_the_providers_words(each: Linked) -> None:
    deployment = uuid7()
    rows = []
    for state in ("pending", "success", "failure"):
        rows.append(each.report(state, deployment=deployment))
        each.send()
    rows.append(each.report("cancelled", deployment=deployment))
    each.send()
    told = each.stand_in.named("status")
    assert tuple(body["state"] for body in told) == WORDS[each.stand_in.kind]
    names = {body.get("context") or body.get("name") for body in told}
    assert names == {"devflow/shop/production"}
    assert {body.get("target_url") or body.get("url") for body in told} == {PAGE}
    assert [(row.status, row.attempts, row.error) for row in map(each.now, rows)] == [("sent", 1, "")] * 4
    assert all(COMMIT in request.path for request in each.stand_in.told if request.operation == "status")


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_deployment_is_made_once_and_its_state_follows(open_for_many: Shop, kind: str) -> None:
    with provider(kind) as stand_in:
        linked = link(open_for_many, stand_in)
        deployment = uuid7()
        for state in ("pending", "success"):
            row = linked.report(state, deployment=deployment)
            linked.send()
        (made,) = stand_in.named("deployment")
        assert made["environment"] == "production"
        assert (made.get("sha") or made["ref"]) == COMMIT
        states = [body.get("state") or body["status"] for body in stand_in.named("deployment status")]
        assert states == (["in_progress", "success"] if kind == "github" else ["running", "success"])
        assert linked.now(row).provider_id
        assert stand_in.complaints == []


def test_the_access_is_tested(each: Linked) -> None:
    assert reports.source_test(actor=each.shop.actor(), source=each.source) == "acme/shop"
    reports.source_update(actor=each.shop.actor(), source=each.source, access_token="another")
    with pytest.raises(OutgoingError, match="answered 401: the access token is not accepted"):
        reports.source_test(actor=each.shop.actor(), source=each.source)


def test_a_success_is_tagged(each: Linked) -> None:
    reports.source_update(
        actor=each.shop.actor(), source=each.source, tag_format="deployed-{environment}-{date}-{number}"
    )
    each.report("failure", commit="a" * 40)
    each.send()
    assert each.stand_in.named("tag") == []
    rows = [each.report("success", commit=commit * 40) for commit in "bc"]
    each.send()
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    names = [f"deployed-production-{today}-{number}" for number in (1, 2)]
    tags = [body.get("tag_name") or body.get("name") or body["ref"] for body in each.stand_in.named("tag")]
    assert [tag.removeprefix("refs/tags/") for tag in tags] == names
    assert [each.now(row).tag for row in rows] == names


TAG_EXISTS = {
    "github": (422, {}, '{"message": "Reference already exists"}'),
    "gitlab": (400, {}, '{"message": "Tag deployed-1 already exists"}'),
    "gitea": (409, {}, '{"message": "tag already exists"}'),
    "bitbucket": (400, {}, '{"error": {"message": "tag \\"deployed-1\\" already exists."}}'),
}


def test_a_tag_that_is_there_is_no_problem(each: Linked) -> None:
    """The answer to the first attempt was lost, for instance."""
    api, access = reports.access_of(each.source)
    each.stand_in.ill = [TAG_EXISTS[each.stand_in.kind]]
    async_to_sync(api.make_tag)(access, "deployed-1", COMMIT, "x")
    each.stand_in.ill = [(422 if each.stand_in.kind == "github" else 400, {}, "{}")]
    with pytest.raises(OutgoingError):
        async_to_sync(api.make_tag)(access, "deployed-1", COMMIT, "x")


def test_a_webhook_is_made(each: Linked) -> None:
    reports.hook_create(actor=each.shop.actor(), source=each.source)
    async_to_sync(jobs.create_hook)(source_id=str(each.source.pk))
    (made,) = each.stand_in.named("hook")
    config = made.get("config", made)
    secret = config.get("secret") or config["token"]
    assert config["url"].endswith(f"/webhooks/{each.stand_in.kind}/{each.source.hook_token}")
    assert secret == each.source.hook_secret
    each.source.refresh_from_db()
    assert each.source.hook_id
    assert each.source.hook_problem == ""


def hook_parts(body: dict[str, Any]) -> tuple[str, str]:
    """The address and the secret."""
    config = body.get("config", body)
    return config["url"], config.get("secret") or config["token"]


def test_a_webhook_is_made_once_whatever_came_before(each: Linked) -> None:
    """Clicked again, or the worker died between making it and writing that down; the secret may be another since."""
    each.stand_in.hooks = {1: OTHER_HOOKS[each.stand_in.kind]}
    url = webhook_url(each.source)
    for _ in range(2):
        reports.hook_create(actor=each.shop.actor(), source=each.source)
        async_to_sync(jobs.create_hook)(source_id=str(each.source.pk))
    rotated = webhook_rotate(actor=each.shop.actor(), source=each.source)
    secret = rotated.secret
    assert (rotated.was_made, rotated.is_renewed) == (True, True)
    assert each.source.hook_id
    async_to_sync(jobs.create_hook)(source_id=str(each.source.pk))
    other, *ours = each.stand_in.hooks.items()
    assert other == (1, OTHER_HOOKS[each.stand_in.kind])
    ((number, made),) = ours
    assert hook_parts(made) == (url, secret)
    each.source.refresh_from_db()
    assert each.source.hook_id in (str(number), f"{{{number}}}")
    assert each.source.hook_problem == ""


def test_a_new_secret_that_the_panel_cannot_give_to_its_webhook_is_told(linked: Linked) -> None:
    reports.hook_create(actor=linked.shop.actor(), source=linked.source)
    async_to_sync(jobs.create_hook)(source_id=str(linked.source.pk))
    reports.source_update(actor=linked.shop.actor(), source=linked.source, access_token="")
    rotated = webhook_rotate(actor=linked.shop.actor(), source=linked.source)
    assert (rotated.was_made, rotated.is_renewed) == (True, False)
    linked.source.refresh_from_db()
    assert linked.source.hook_id
    assert "still has the old secret" in linked.source.hook_problem
    steps = webhook_steps(linked.source, is_secret_shown=False)
    assert steps[0] == linked.source.hook_problem
    assert not any("Add webhook" in step for step in steps)
    webhook_set(actor=linked.shop.actor(), source=linked.source, provider="gitea")
    assert linked.source.hook_id == linked.source.hook_problem == ""


def test_steps_say_where_the_secret_is_and_what_else_it_takes(linked: Linked) -> None:
    shown, later = (" ".join(webhook_steps(linked.source, is_secret_shown=each)) for each in (True, False))
    assert "Secret: the secret above." in shown
    assert "secret above" not in later
    assert "devflow webhooks rotate" in later
    assert "--auto-deploy" in shown


def test_what_waits_is_queued_at_github(linked: Linked) -> None:
    deployment = uuid7()
    for state in ("waiting", "pending"):
        linked.report(state, deployment=deployment)
        linked.send()
    assert [each["state"] for each in linked.stand_in.named("status")] == ["pending", "pending"]
    assert [each["state"] for each in linked.stand_in.named("deployment status")] == ["queued", "in_progress"]


OTHER_HOOKS: dict[str, dict[str, Any]] = {
    "github": {"config": {"url": "https://ci.example.test/hook"}},
    "gitlab": {"url": "https://ci.example.test/hook"},
    "gitea": {"config": {"url": "https://ci.example.test/hook"}},
    "bitbucket": {"url": "https://ci.example.test/hook"},
}


def test_two_clicks_make_the_webhook_one_after_the_other(linked: Linked) -> None:
    for _ in range(2):
        reports.hook_create(actor=linked.shop.actor(), source=linked.source)
    jobs_made = ProcrastinateJob.objects.filter(task_name="sources.create_hook", args__source_id=str(linked.source.pk))
    assert [job.lock for job in jobs_made] == [f"hook:{linked.source.pk}"] * 2


def test_a_webhook_without_access_tells_what_is_missing(linked: Linked) -> None:
    """The token was forgotten after the click."""
    reports.hook_create(actor=linked.shop.actor(), source=linked.source)
    reports.source_update(actor=linked.shop.actor(), source=linked.source, access_token="")
    async_to_sync(jobs.create_hook)(source_id=str(linked.source.pk))
    linked.source.refresh_from_db()
    assert (linked.source.hook_id, linked.source.hook_problem) == ("", "There is no access token yet.")


def test_why_a_webhook_could_not_be_made(linked: Linked) -> None:
    linked.stand_in.ill = [(403, {}, '{"message": "Resource not accessible by personal access token"}')]
    reports.hook_create(actor=linked.shop.actor(), source=linked.source)
    async_to_sync(jobs.create_hook)(source_id=str(linked.source.pk))
    linked.source.refresh_from_db()
    assert linked.source.hook_id == ""
    assert "may not do this" in linked.source.hook_problem


# --- when the provider is ill -----------------------------------------------------------------------------------------


def test_after_errors_of_the_provider_it_is_told_later(linked: Linked) -> None:
    linked.stand_in.ill = [(500, {}, "oh"), (502, {}, "no")]
    row = linked.report("success")
    for attempt, wait in ((1, 10), (2, 30)):
        linked.send()
        now = linked.now(row)
        assert (now.status, now.attempts) == ("pending", attempt)
        assert now.next_attempt_at is not None
        seconds = (now.next_attempt_at - timezone.now()).total_seconds()
        assert wait * 0.7 < seconds <= wait * 1.2
        linked.send()  # not yet
        assert linked.now(row).attempts == attempt
        linked.come_due()
    assert "127.0.0.1 answered 502 Bad Gateway" in linked.now(row).error
    linked.send()
    assert (linked.now(row).status, linked.now(row).error) == ("sent", "")
    assert len(linked.stand_in.named("status")) == 1


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ((429, {"Retry-After": "900"}, ""), 900),
        ((403, {"Retry-After": "900"}, ""), 900),
        ((403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "RESET"}, ""), 600),
        ((503, {"Retry-After": "1000000"}, ""), 6 * 3600),
    ],
)
def test_it_waits_as_long_as_the_provider_asks(
    linked: Linked, answer: tuple[int, dict[str, str], str], seconds: int
) -> None:
    status, headers, body = answer
    reset = str(int(time.time()) + 600)
    linked.stand_in.ill = [(status, {name: value.replace("RESET", reset) for name, value in headers.items()}, body)]
    row = linked.report("success")
    linked.send()
    now = linked.now(row)
    assert now.status == "pending"
    assert now.next_attempt_at is not None
    assert abs((now.next_attempt_at - timezone.now()).total_seconds() - seconds) < 30


@pytest.mark.parametrize(
    ("status", "said"), [(401, "token is not accepted"), (404, "no such repository"), (422, "422"), (301, "redirects")]
)
def test_what_cannot_get_better_is_given_up_at_once_and_shown(linked: Linked, status: int, said: str) -> None:
    linked.stand_in.ill = [(status, {"location": "http://127.0.0.1/"}, f'{{"message": "no, {TOKEN}"}}')]
    row = linked.report("success")
    linked.send()
    now = linked.now(row)
    assert (now.status, now.attempts) == ("failed", 1)
    assert said in now.error
    assert TOKEN not in now.error
    other = linked.report("success", commit="b" * 40)
    linked.send()
    assert linked.now(other).status == "sent"


def test_after_a_day_it_is_given_up(linked: Linked) -> None:
    linked.stand_in.ill = [(500, {}, "oh")] * 20
    row = linked.report("success")
    for _ in range(12):
        linked.send()
        linked.come_due()
    now = linked.now(row)
    assert (now.status, now.attempts) == ("failed", len(jobs.WAITS_SECONDS) + 1)
    assert 20 * 3600 < sum(jobs.WAITS_SECONDS) < 30 * 3600


def test_a_provider_that_is_away(linked: Linked) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api/v3"
        reports.source_update(actor=linked.shop.actor(), source=linked.source, api_url=url, access_token=TOKEN)
        row = linked.report("success")
        linked.send()
    now = linked.now(row)
    assert now.status == "pending"
    assert "cannot be reached" in now.error


def test_a_provider_that_hangs(linked: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devflow.apps.sources.api.base.TIMEOUT_SECONDS", 0.5)
    linked.stand_in.ill = [None]
    row = linked.report("success")
    began = time.monotonic()
    linked.send()
    assert time.monotonic() - began < 10
    now = linked.now(row)
    assert (now.status, now.error) == ("pending", "127.0.0.1 did not answer within 0.5 seconds.")


def test_deployments_that_a_token_may_not_list_do_not_fail_the_status(linked: Linked) -> None:
    """The token may write statuses, and nothing more."""
    row = linked.report("success")
    refused = (403, {}, '{"message": "Resource not accessible by personal access token"}')
    answer = linked.stand_in.answer

    def only_statuses(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], str]:
        return refused if "/deployments" in path else answer(method, path, headers, body)

    linked.stand_in.answer = only_statuses  # type: ignore[method-assign]
    linked.send()
    now = linked.now(row)
    assert now.status == "sent"
    assert "The deployment is not listed" in now.error


def test_a_deployment_is_not_made_twice_when_what_follows_fails(linked: Linked) -> None:
    made: list[str] = []
    answer = linked.stand_in.answer

    def once_ill(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], str]:
        made.append(path)
        if re.search(r"/deployments/\d+/statuses$", path) and len(made) == 3:
            return 500, {}, "oh"
        return answer(method, path, headers, body)

    linked.stand_in.answer = once_ill  # type: ignore[method-assign]
    row = linked.report("success")
    linked.send()
    assert linked.now(row).status == "pending"
    linked.come_due()
    linked.send()
    assert linked.now(row).status == "sent"
    assert len(linked.stand_in.named("deployment")) == 1


def test_gitlab_may_be_in_the_state_already(open_for_many: Shop) -> None:
    with provider("gitlab") as stand_in:
        linked = link(open_for_many, stand_in)
        message = '{"message": "Cannot transition status via :run from :running"}'
        stand_in.ill = [(400, {}, message)]
        row = linked.report("pending")
        linked.send()
        assert linked.now(row).status == "sent"


# --- order ------------------------------------------------------------------------------------------------------------


def test_a_pending_is_never_sent_after_its_success(linked: Linked) -> None:
    linked.stand_in.ill = [(500, {}, "oh")]
    deployment = uuid7()
    linked.report("pending", deployment=deployment)
    linked.send()
    linked.report("success", deployment=deployment)
    linked.send()
    linked.come_due()
    linked.send()
    assert [body["state"] for body in linked.stand_in.named("status")] == ["success"]
    assert linked.states() == [("pending", "skipped"), ("success", "sent")]


def test_a_success_waits_while_its_pending_is_under_way(linked: Linked) -> None:
    """Two workers: the request of one of them hangs."""
    linked.stand_in.ill = [None]
    deployment = uuid7()
    linked.report("pending", deployment=deployment)

    async def both() -> None:
        first = asyncio.ensure_future(jobs.report(source_id=str(linked.source.pk)))
        while linked.stand_in.requests == 0:
            await asyncio.sleep(0.05)
        await sync_to_async(linked.report)("success", deployment=deployment)
        await jobs.report(source_id=str(linked.source.pk))
        assert linked.stand_in.requests == 1
        linked.stand_in.let_go()
        await first

    async_to_sync(both)()
    assert linked.states() == [("pending", "sent"), ("success", "sent")]
    assert [body["state"] for body in linked.stand_in.named("status")][-1] == "success"


def test_what_never_began_and_was_superseded_is_not_told(linked: Linked) -> None:
    deployment = uuid7()
    linked.report("pending", deployment=deployment)
    linked.report("cancelled", deployment=deployment)
    linked.send()
    assert linked.stand_in.told == []
    assert linked.states() == [("pending", "skipped"), ("cancelled", "skipped")]


def test_a_success_is_told_though_another_deployment_of_its_commit_was_cancelled(linked: Linked) -> None:
    """The other one's pending was not sent yet: of it nothing is told."""
    other = uuid7()
    linked.report("success")
    linked.report("pending", deployment=other)
    linked.report("cancelled", deployment=other)
    linked.send()
    assert [body["state"] for body in linked.stand_in.named("status")] == ["success"]
    assert linked.states() == [("success", "sent"), ("pending", "skipped"), ("cancelled", "skipped")]


def test_what_a_dead_worker_left_is_sent_by_another(linked: Linked) -> None:
    row = linked.report("success")
    assert jobs._claim(str(linked.source.pk)) is not None
    linked.send()
    assert linked.now(row).status == "sending"
    with scope(team=linked.shop.team):
        Report.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    reports.reports_adopt()
    linked.send()
    assert (linked.now(row).status, linked.now(row).attempts) == ("sent", 2)


# --- what is set up ---------------------------------------------------------------------------------------------------


def test_nothing_is_queued_without_access(open_for_many: Shop) -> None:
    shop = open_for_many
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    webhook_set(actor=shop.actor(), source=source, provider="github")
    arguments = {
        "source": source,
        "deployment_id": uuid7(),
        "environment": "production",
        "state": "success",
        "description": "",
        "url": PAGE,
    }
    assert reports.report(**arguments, commit=COMMIT) is None  # type: ignore[arg-type]
    reports.source_update(actor=shop.actor(), source=source, access_token=TOKEN)
    assert reports.report(**arguments, commit="") is None  # type: ignore[arg-type]
    assert reports.report(**arguments, commit=COMMIT) is not None  # type: ignore[arg-type]
    reports.source_update(actor=shop.actor(), source=source, reports=False)
    assert reports.report(**arguments, commit=COMMIT) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("tag_format", ["deployed-{environment}-{date}-{number}", "{environment}/{time}-{commit}"])
def test_its_own_tags_are_known(shop: Shop, tag_format: str) -> None:
    """Their pushes come in as webhooks, and must not deploy again."""
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    row = Report(source=source, environment="pro-1", commit=COMMIT, created_at=timezone.now())
    source.tag_format = tag_format
    assert not reports.is_own_tag(source, reports.tag_name(source, row, 7))  # without access it makes none
    source.access_token = TOKEN
    assert reports.is_own_tag(source, reports.tag_name(source, row, 7))
    for other in ("v1.2.3", "deployed-pro-1", "", f"{reports.tag_name(source, row, 7)}-x"):
        assert not reports.is_own_tag(source, other)


def test_the_token_is_sealed_and_can_be_forgotten(shop: Shop) -> None:
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    reports.source_update(actor=shop.actor(), source=source, access_token=TOKEN)
    with scope(team=shop.team):
        row = Source.objects.get(pk=source.pk)
    assert TOKEN.encode() not in bytes(row.access_token_sealed)
    assert row.access_token == TOKEN
    reports.source_update(actor=shop.actor(), source=source, access_token="")
    with pytest.raises(ConflictError, match=r"Choose the git provider first|There is no access token yet"):
        reports.source_test(actor=shop.actor(), source=source)


@pytest.mark.parametrize(
    "api_url", ["", "https://git.evil.test", "http://ghe.acme.test/api/v3", "https://ghe.acme.test:8443"]
)
def test_with_an_api_on_another_host_the_token_is_asked_for_again(shop: Shop, api_url: str) -> None:
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    webhook_set(actor=shop.actor(), source=source, provider="github")
    here = "https://ghe.acme.test"
    reports.source_update(actor=shop.actor(), source=source, api_url=here, access_token=TOKEN)
    with pytest.raises(InvalidError, match="another host") as refused:
        reports.source_update(actor=shop.actor(), source=source, api_url=api_url)
    assert list(refused.value.errors) == ["access_token"]
    source.refresh_from_db()
    assert (source.api_url, source.access_token) == (here, TOKEN)
    reports.source_update(actor=shop.actor(), source=source, api_url=f"{here}/api/v3")  # the same host
    reports.source_update(actor=shop.actor(), source=source, api_url=api_url, access_token="another")
    assert (source.api_url, source.access_token) == (api_url, "another")
    reports.source_update(actor=shop.actor(), source=source, api_url=here, access_token="")
    reports.source_update(actor=shop.actor(), source=source, api_url=api_url)  # there is none to send


@pytest.mark.parametrize(
    ("repository", "is_kept"),
    [
        ("git@ghe.acme.test:acme/other.git", True),
        ("https://ghe.acme.test/acme/shop.git", True),
        ("git@git.evil.test:acme/shop.git", False),
        ("https://ghe.acme.test.evil.test/acme/shop.git", False),
        ("/srv/git/shop.git", False),
    ],
)
def test_a_repository_on_another_host_does_not_take_the_token_along(shop: Shop, repository: str, is_kept: bool) -> None:
    projects.project_update(actor=shop.actor(), project=shop.project, repository="git@ghe.acme.test:acme/shop.git")
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    webhook_set(actor=shop.actor(), source=source, provider="github")
    reports.source_update(actor=shop.actor(), source=source, access_token=TOKEN)
    updated = projects.project_update(actor=shop.actor(), project=shop.project, repository=repository)
    source.refresh_from_db()
    assert source.access_token == (TOKEN if is_kept else "")
    assert updated.source.access_token == source.access_token
    assert updated.repository == repository


def test_an_api_that_is_named_stays_the_tokens_home_wherever_the_repository_is(shop: Shop) -> None:
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    webhook_set(actor=shop.actor(), source=source, provider="github")
    reports.source_update(actor=shop.actor(), source=source, api_url="https://ghe.acme.test", access_token=TOKEN)
    projects.project_update(actor=shop.actor(), project=shop.project, repository="git@git.other.test:acme/shop.git")
    source.refresh_from_db()
    assert source.access_token == TOKEN
    assert reports.access_of(source)[1].url.startswith("https://ghe.acme.test/")


@pytest.mark.parametrize("repository", ["/srv/git/shop.git", "git@github.com:acme/shop.git"])
def test_another_provider_on_another_host_does_not_get_the_token(shop: Shop, repository: str) -> None:
    projects.project_update(actor=shop.actor(), project=shop.project, repository=repository)
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    webhook_set(actor=shop.actor(), source=source, provider="github")
    reports.source_update(actor=shop.actor(), source=source, repository="acme/shop", access_token=TOKEN)
    webhook_set(actor=shop.actor(), source=source, provider="gitlab")
    source.refresh_from_db()
    assert source.access_token == ""


def test_a_webhook_that_is_switched_off_and_on_keeps_the_token(shop: Shop) -> None:
    projects.project_update(actor=shop.actor(), project=shop.project, repository="git@git.acme.test:acme/shop.git")
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    for each in ("gitea", "", "gitea"):
        webhook_set(actor=shop.actor(), source=source, provider=each)
        if not source.access_token_sealed:
            reports.source_update(actor=shop.actor(), source=source, access_token=TOKEN)
    source.refresh_from_db()
    assert source.access_token == TOKEN


def test_who_may_not_set_it_up(shop: Shop) -> None:
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    actor = shop.actor(Role.DEVELOPER)
    for service in (reports.source_update, reports.source_test, reports.hook_create):
        with pytest.raises(ForbiddenError):
            service(actor=actor, source=source)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("api_url", "ftp://git.example.test"),
        ("api_url", "git.example.test"),
        ("api_url", "https://me:secret@git.example.test"),
        ("api_url", "https://git.example.test/?token=x"),
        ("api_url", "https://git.example.test/a b"),
        ("api_url", "https://[::1"),
        ("access_token", "two words"),
        ("access_token", "tökén"),
        ("access_token", "x" * 1001),
        ("repository", "shop"),
        ("repository", "acme/../etc"),
        ("repository", "acme/shop?x=1"),
        ("tag_format", "deployed"),
        ("tag_format", "deployed-{environment}"),
        ("tag_format", "{number.__class__}"),
        ("tag_format", "{user}-{number}"),
        ("tag_format", "a b {number}"),
        ("tag_format", "-{number}"),
    ],
)
def test_wrong_settings_are_refused(shop: Shop, field: str, value: str) -> None:
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    with pytest.raises(InvalidError) as refused:
        reports.source_update(actor=shop.actor(), source=source, **{field: value})
    assert list(refused.value.errors) == [field]


@pytest.mark.parametrize(
    ("address", "provider_name", "base", "repository"),
    [
        ("git@github.com:acme/shop.git", "github", "https://api.github.com", "acme/shop"),
        ("https://github.com/acme/shop", "github", "https://api.github.com", "acme/shop"),
        ("ssh://git@gitlab.com/acme/web/shop.git", "gitlab", "https://gitlab.com/api/v4", "acme/web/shop"),
        ("git@gitlab.acme.test:acme/shop.git", "gitlab", "https://gitlab.acme.test/api/v4", "acme/shop"),
        ("ssh://git@gitea.acme.test:2222/acme/shop.git", "gitea", "https://gitea.acme.test/api/v1", "acme/shop"),
        ("https://bitbucket.org/acme/shop.git", "bitbucket", "https://api.bitbucket.org/2.0", "acme/shop"),
    ],
)
def test_the_repositorys_address_tells_where_its_api_is(
    shop: Shop, address: str, provider_name: str, base: str, repository: str
) -> None:
    projects.project_update(actor=shop.actor(), project=shop.project, repository=address)
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    reports.source_update(actor=shop.actor(), source=source, access_token=TOKEN)
    with scope(team=shop.team):
        api, access = reports.access_of(Source.objects.select_related("project").get(pk=source.pk))
    assert (reports.provider_of(source), access.url, access.repository) == (provider_name, base, repository)
    assert api.title


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://ghe.acme.test", "https://ghe.acme.test/api/v3"),
        ("https://ghe.acme.test/own/path/", "https://ghe.acme.test/own/path"),
        ("https://api.github.com", "https://api.github.com"),
        ("https://github.com/", "https://api.github.com"),
    ],
)
def test_the_base_of_an_api_that_is_given(given: str, base: str) -> None:
    from devflow.apps.sources.api import APIS

    assert APIS["github"].base_url(given, "git@github.com:acme/shop.git") == base


@pytest.mark.parametrize(
    "address", ["/srv/git/shop.git", "file:///srv/git/shop.git", "https://git.example.test/shop.git"]
)
def test_addresses_without_a_repositorys_name(address: str) -> None:
    assert repository_of(address) in ("", "shop")


def test_private_addresses_are_refused_unless_allowed(linked: Linked, settings: object) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = ()  # type: ignore[attr-defined]
    row = linked.report("success")
    linked.send()
    now = linked.now(row)
    assert (now.status, linked.stand_in.requests) == ("failed", 0)
    assert "not a public address" in now.error


def test_a_token_of_another_master_key_is_told_as_that(linked: Linked) -> None:
    row = linked.report("success")
    with scope(team=linked.shop.team):
        Source.objects.filter(pk=linked.source.pk).update(access_token_sealed=b"\x01" + b"x" * 60)
    linked.send()
    now = linked.now(row)
    assert (now.status, linked.stand_in.requests) == ("failed", 0)
    assert "key" in now.error
