"""The pages of a project's webhook, and what environments are deployed by pushes."""

from __future__ import annotations

import json
import re
import time
import tracemalloc

import pytest
from django.test import Client
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.deployments.pushes import deliveries_take
from devflow.apps.deployments.selectors import deployment_list
from devflow.apps.projects.selectors import environment_get, project_get
from devflow.apps.projects.services import environment_update, project_update
from devflow.apps.sources.models import Source
from devflow.apps.sources.reports import source_update
from devflow.apps.sources.services import Request
from devflow.web.presenters.webhooks import MOST_PARSED_CHARACTERS, SHOWN_CHARACTERS, pretty
from devflow.web.views import webhooks
from tests.support.payloads import github_push, sent
from tests.web.nasty import NASTY
from tests.web.world import World

PAGE = "/projects/shop/webhook/"
COMMIT = "c0ffee" + "0" * 34


def source_of(world: World) -> Source:
    source = project_get(actor=world.actor(), slug="shop").source
    assert source
    return source


def secret_in(page: str) -> str:
    found = re.search(r'id="hook-secret">([^<]+)<', page)
    return found[1] if found else ""


def test_before_it_is_set_up_the_page_says_the_next_step(owner: Client, viewer: Client, world: World) -> None:
    assert "Choose the git provider" in owner.get(PAGE).content.decode()
    page = viewer.get(PAGE).content.decode()
    assert "An owner or admin of Acme can set it up" in page
    assert 'action="/projects/shop/webhook/set/"' not in page


def test_the_secret_is_shown_once_with_address_and_steps(owner: Client, world: World) -> None:
    answer = owner.post(f"{PAGE}set/", {"provider": "gitlab"})
    page = answer.content.decode()
    secret = secret_in(page)
    source = source_of(world)
    assert secret == source.hook_secret
    assert answer["Cache-Control"] == "no-store"
    assert f"/webhooks/gitlab/{source.hook_token}" in page
    assert "Settings, Webhooks, Add new webhook" in page
    again = owner.get(PAGE).content.decode()
    assert secret not in again
    assert f"/webhooks/gitlab/{source.hook_token}" in again


def test_steps_speak_of_the_secret_above_only_where_it_is_shown(owner: Client, world: World) -> None:
    made = owner.post(f"{PAGE}set/", {"provider": "github"}).content.decode()
    assert "Secret: the secret above" in made
    assert "Deploy when the branch is pushed to" in made
    for page in (owner.get(PAGE), owner.post(f"{PAGE}set/", {"provider": "gitea"}, follow=True)):
        assert "secret above" not in page.content.decode()
        assert "make a new one" in page.content.decode()


def test_a_webhook_that_the_panel_made_is_not_made_a_second_time(owner: Client, world: World) -> None:
    owner.post(f"{PAGE}set/", {"provider": "github"})
    with scope(team=world.team):
        Source.objects.filter(pk=source_of(world).pk).update(hook_id="7")
    page = owner.post(f"{PAGE}rotate/").content.decode()
    assert "The webhook that the panel made at GitHub still has the old secret" in page
    assert "Add webhook" not in page
    access = {"access_token": "ghp_0123456789", "repository": "acme/shop"}
    source_update(actor=world.actor(), source=source_of(world), **access)
    page = owner.post(f"{PAGE}rotate/").content.decode()
    assert "The panel gives it to the webhook that it made at GitHub" in page
    assert "Add webhook" not in page


def test_deliveries_say_what_was_pushed_and_older_ones_are_on_further_pages(
    owner: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "PAGE_LENGTH", 2)
    owner.post(f"{PAGE}set/", {"provider": "github"})
    source = source_of(world)
    environment = environment_get(actor=world.actor(), slug="shop", name="production")
    environment_update(actor=world.actor(), environment=environment, auto_deploy=True)
    for number in (1, 2, 3):
        payload = github_push(f"{number}" * 40, message=f"Change number {number}")
        body, headers = sent("github", payload, source.hook_secret)
        deliveries_take(provider="github", token=source.hook_token, requests=[Request(headers, body)])
    deliveries_take(provider="github", token=source.hook_token, requests=[Request({"x-github-event": "ping"}, b"{}")])
    page = owner.get(PAGE).content.decode()
    assert "Change number 3" in page
    assert "main 33333333" in page
    assert page.count(">superseded<") == 1
    assert "Change number 1" not in page
    assert "Refused" in page
    older = re.search(r'href="[^"?]*(\?before=[^"]+)"', page)
    assert older
    assert "Change number 1" in owner.get(PAGE + older[1]).content.decode()


def test_with_an_access_token_the_panel_makes_it(owner: Client, world: World) -> None:
    assert "the panel makes the webhook itself" in owner.get(PAGE).content.decode()
    owner.post(f"{PAGE}set/", {"provider": "github"})
    source_update(actor=world.actor(), source=source_of(world), access_token="ghp_0123456789")
    page = owner.get(PAGE).content.decode()
    assert "Make it at GitHub" in page
    assert "ghp_0123456789" not in page


def test_another_provider_keeps_the_secret(owner: Client, world: World) -> None:
    owner.post(f"{PAGE}set/", {"provider": "gitlab"})
    before = source_of(world)
    answer = owner.post(f"{PAGE}set/", {"provider": "gitea"}, follow=True)
    assert "Saved." in answer.content.decode()
    after = source_of(world)
    assert (after.provider, after.hook_secret, after.hook_token) == ("gitea", before.hook_secret, before.hook_token)


def test_a_new_secret_replaces_the_old(owner: Client, world: World) -> None:
    answer = owner.post(f"{PAGE}rotate/", follow=True)
    assert "Choose the git provider first" in answer.content.decode()
    old = secret_in(owner.post(f"{PAGE}set/", {"provider": "github"}).content.decode())
    answer = owner.post(f"{PAGE}rotate/")
    new = secret_in(answer.content.decode())
    assert new not in ("", old)
    assert source_of(world).hook_secret == new
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("provider", [*NASTY.values(), "cvs"])
def test_what_is_no_provider_is_refused(owner: Client, world: World, provider: str) -> None:
    answer = owner.post(f"{PAGE}set/", {"provider": provider})
    assert answer.status_code == 422
    assert 'id="id_provider_error"' in answer.content.decode()


@pytest.mark.parametrize(
    ("repository", "provider"),
    [
        ("git@github.com:acme/shop.git", "github"),
        ("https://gitlab.example.com/acme/shop.git", "gitlab"),
        ("ssh://git@codeberg.org:22/acme/shop.git", "gitea"),
        ("https://bitbucket.org/acme/shop.git", "bitbucket"),
        ("/srv/git/github.com/shop.git", "github"),
    ],
)
def test_the_provider_is_guessed_from_the_repository(
    owner: Client, world: World, repository: str, provider: str
) -> None:
    project_update(actor=world.actor(), project=world.project, repository=repository)
    assert f'<option value="{provider}" selected>' in owner.get(PAGE).content.decode()


def test_deliveries_are_listed_with_their_answers(viewer: Client, world: World) -> None:
    environment_update(actor=world.actor(), environment=world.environment, auto_deploy=True)
    world.deliver(github_push(COMMIT, ref="refs/heads/next"))
    world.deliver(github_push(COMMIT))
    world.deliver(b"{")
    page = viewer.get(PAGE).content.decode()
    (deployment,) = deployment_list(actor=world.actor(), limit=1)
    for shown in ("Ignored", "No environment is deployed by a push to next.", "Deploys", "Malformed", "is not JSON"):
        assert shown in page
    assert f"/deployments/{deployment.pk}/" in page


def test_a_delivery_shows_headers_payload_and_answer(viewer: Client, world: World) -> None:
    payload = github_push(COMMIT, message="<script>alert(1)</script>")
    delivery = world.deliver(payload, delivery="72d3162e-cc78")
    page = viewer.get(f"{PAGE}{delivery.pk}/").content.decode()
    for shown in ("72d3162e-cc78", "x-github-event", COMMIT, "refs/heads/main", "x-hub-signature-256"):
        assert shown in page
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "sha256=" not in page
    assert world.secret not in page
    assert "Redeliver" not in page


@pytest.mark.parametrize("body", [b"", b"not json", b"[" * 50_000, b"\xff\xfe\x00\x00"])
def test_a_malformed_delivery_is_shown_too(owner: Client, world: World, body: bytes) -> None:
    delivery = world.deliver(body)
    assert owner.get(f"{PAGE}{delivery.pk}/").status_code == 200


def test_redelivering_deploys_by_the_settings_of_now(world: World) -> None:
    delivery = world.deliver(github_push(COMMIT))
    environment_update(actor=world.actor(), environment=world.environment, auto_deploy=True)
    answer = world.client(Role.DEVELOPER).post(f"{PAGE}{delivery.pk}/again/", follow=True)
    page = answer.content.decode()
    assert "what came first" in page
    (deployment,) = deployment_list(actor=world.actor(), limit=1)
    assert f"/deployments/{deployment.pk}/" in page
    assert deployment.commit == COMMIT


def test_redelivering_while_the_webhook_is_off_says_so(owner: Client, world: World) -> None:
    delivery = world.deliver(github_push(COMMIT))
    owner.post(f"{PAGE}set/", {"provider": ""})
    answer = owner.post(f"{PAGE}{delivery.pk}/again/", follow=True)
    assert "switched off" in answer.content.decode()


def test_a_delivery_of_nobody_is_not_found(owner: Client, world: World) -> None:
    assert owner.get(f"{PAGE}00000000-0000-7000-8000-000000000000/").status_code == 404


@pytest.mark.usefixtures("contexts")
def test_what_pushes_deploy_is_set_in_the_environments_settings(owner: Client, world: World) -> None:
    address = "/projects/shop/environments/production/settings/"
    form = owner.get(address).context["form"]
    typed = {name: field.value() for name, field in ((each.name, each) for each in form) if field.value() is not None}
    typed |= {"auto_deploy": "on", "watch_paths": "apps/shop/**\n\ncomposer.lock", "tag_pattern": "v*"}
    answer = owner.post(address, typed)
    assert answer.status_code == 302, answer.context["form"].errors
    environment = environment_get(actor=world.actor(), slug="shop", name="production")
    assert (environment.auto_deploy, environment.watch_paths, environment.tag_pattern) == (
        True,
        ["apps/shop/**", "composer.lock"],
        "v*",
    )
    page = owner.get(PAGE).content.decode()
    assert "apps/shop/**, composer.lock" in page
    page = owner.get(address).content.decode()
    assert "apps/shop/**\ncomposer.lock" in page
    assert "checked" in page
    for name in ("watch_paths", "tag_pattern"):
        refused = owner.post(address, typed | {name: "a" * 250})
        assert refused.status_code == 422
        assert f'id="id_{name}_error"' in refused.content.decode()


def test_a_payload_is_shown_with_lines() -> None:
    assert pretty('{"a":[1,"\\u00e4"]}') == ('{\n  "a": [\n    1,\n    "ä"\n  ]\n}', False)
    assert pretty("a=1&b=[") == ("a=1&b=[", False)
    assert pretty("[" * 90_000) == ("[" * 90_000, False)
    long = json.dumps(list(range(40_000)))
    assert pretty(long) == (json.dumps(json.loads(long), indent=2)[:SHOWN_CHARACTERS], True)


@pytest.mark.parametrize("numbers", [4_000, 400_000])
def test_a_payload_of_nested_lists_takes_no_time_and_memory(numbers: int) -> None:
    """With its indents this would have 8 MB, or 800."""
    payload = "[" * 900 + "0," * numbers + "0" + "]" * 900
    tracemalloc.start()
    began = time.monotonic()
    text, is_cut = pretty(payload)
    took, (_, most) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(text), is_cut) == (SHOWN_CHARACTERS, True)
    assert took < 5
    assert most < 8_000_000


def test_a_payload_that_is_very_long_is_shown_as_it_came() -> None:
    payload = "[" + "0," * (MOST_PARSED_CHARACTERS // 2) + "0]"
    assert pretty(payload) == (payload[:SHOWN_CHARACTERS], True)
