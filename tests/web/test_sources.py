"""The page of a project's access to its git provider, and what a deployment's page says of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django_scopes import scope

from devflow.apps.projects.selectors import project_get
from devflow.apps.projects.services import project_source
from devflow.apps.sources.models import Report, Source
from devflow.apps.sources.reports import source_update
from devflow.apps.sources.services import webhook_set
from tests.support.provider import TOKEN, Provider, provider
from tests.web.world import World

HERE = "/projects/shop/access/"


@pytest.fixture
def stand_in() -> Iterator[Provider]:
    with provider("github") as found:
        yield found
        assert found.complaints == []


@pytest.fixture
def source(world: World, stand_in: Provider) -> Source:
    """The shop's, with access to the stand-in."""
    made = project_source(actor=world.actor(), project=project_get(actor=world.actor(), slug="shop"))
    webhook_set(actor=world.actor(), source=made, provider="github")
    return source_update(
        actor=world.actor(), source=made, access_token=TOKEN, api_url=stand_in.url, repository="acme/shop"
    )


def now(world: World) -> Source:
    found = project_get(actor=world.actor(), slug="shop").source
    assert found is not None
    return found


def page(client: Client, path: str = HERE) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_access_is_set_up_and_the_token_never_shown(owner: Client, world: World) -> None:
    assert "Choose the provider</a> first" in page(owner)
    typed = {
        "access_token": TOKEN,
        "api_url": "https://git.acme.test",
        "repository": "acme/shop.git",
        "reports": "on",
        "tag_format": "deployed-{environment}-{number}",
    }
    assert owner.post(HERE, typed)["Location"] == HERE
    made = now(world)
    assert (made.access_token, made.repository, made.reports) == (TOKEN, "acme/shop", True)
    assert TOKEN not in page(owner)
    owner.post(HERE, {**typed, "access_token": "", "reports": ""})
    made = now(world)
    assert (made.access_token, made.reports) == (TOKEN, False)
    owner.post(HERE + "forget/")
    assert now(world).access_token == ""


@pytest.mark.parametrize(
    ("field", "value"), [("api_url", "nonsense"), ("repository", "shop"), ("tag_format", "x"), ("access_token", "a b")]
)
def test_what_is_refused_is_shown_at_its_field(owner: Client, world: World, field: str, value: str) -> None:
    answer = owner.post(HERE, {field: value})
    assert answer.status_code == 422
    assert "Not saved yet: 1 field needs another look." in answer.content.decode()


def test_the_access_is_tested(owner: Client, source: Source, stand_in: Provider) -> None:
    assert "The token opens acme/shop." in owner.post(HERE + "test/", follow=True).content.decode()
    stand_in.ill = [(401, {}, TOKEN)]
    told = owner.post(HERE + "test/", follow=True).content.decode()
    assert "the access token is not accepted" in told
    assert TOKEN not in told


def test_the_webhook_is_asked_for_and_its_problem_shown(owner: Client, world: World, source: Source) -> None:
    assert "is being made" in owner.post(HERE + "webhook/", follow=True).content.decode()
    with scope(team=world.team):
        Source.objects.update(hook_problem="127.0.0.1 answered 404: <nothing>")
    assert "127.0.0.1 answered 404: &lt;nothing&gt;" in page(owner)
    with scope(team=world.team):
        Source.objects.update(hook_problem="", hook_id="7")
    assert "Made by the panel" in page(owner)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": "sent", "tag": "deployed-1"}, "The git provider was told: success, tagged"),
        ({"status": "failed", "error": "it answered <401>"}, "The git provider was not told: it answered &lt;401&gt;"),
        ({"status": "pending", "error": "away"}, "The git provider is told later: away"),
        ({"status": "pending"}, "The git provider is being told: success."),
    ],
)
def test_a_deployment_says_in_one_line_what_the_provider_was_told(
    world: World, source: Source, fields: dict[str, str], said: str
) -> None:
    viewer, path = world.client("viewer"), f"/deployments/{world.deployment.pk}/"
    assert 'id="report"' not in page(viewer, path)
    with scope(team=world.team):
        Report.objects.create(
            team=world.team,
            source=source,
            deployment_id=world.deployment.pk,
            commit="a" * 40,
            state="success",
            **fields,
        )
    shown = page(viewer, path)
    assert said in shown
    assert said in page(viewer, path + "head/")


def test_one_is_told_that_the_token_does_not_move_to_another_host(owner: Client, world: World) -> None:
    made = project_source(actor=world.actor(), project=project_get(actor=world.actor(), slug="shop"))
    source_update(actor=world.actor(), source=made, access_token=TOKEN)
    moved = {"name": "Shop", "repository": "git@git.elsewhere.test:shop.git", "recipe": "php"}
    answer = owner.post("/projects/shop/settings/", moved, follow=True)
    assert "The access token is forgotten" in answer.content.decode()
    assert now(world).access_token == ""
