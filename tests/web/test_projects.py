"""The pages of projects."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from devflow.apps.deployments.services import deployment_cancel
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Project
from devflow.apps.projects.selectors import project_list
from devflow.core import keys
from tests.web.nasty import NASTY
from tests.web.world import World

TYPED = {
    "slug": "blog",
    "name": "Our blog",
    "repository": "https://git.example.com/blog.git",
    "recipe": "",
    "deploy_key": "",
}


def test_a_project_is_added(owner: Client, world: World) -> None:
    answer = owner.post("/add/project/", TYPED)
    assert answer["Location"] == "/projects/blog/"
    page = owner.get("/projects/blog/").content.decode()
    assert "Our blog" in page
    assert "/projects/blog/add-environment/" in page, "the empty state says the next step"
    assert not _project(world, "blog").deploy_key_public, "https needs no key"


def test_a_repository_over_ssh_gets_a_deploy_key(owner: Client, world: World) -> None:
    owner.post("/add/project/", TYPED | {"repository": "git@git.example.com:blog.git"})
    page = owner.get("/projects/blog/").content.decode()
    project = _project(world, "blog")
    assert project.deploy_key_public in page
    assert "PRIVATE KEY" not in page


@pytest.mark.parametrize("kind", NASTY)
@pytest.mark.parametrize("field", ["slug", "repository", "deploy_key", "recipe"])
def test_what_is_not_allowed_is_refused_at_its_field(owner: Client, world: World, field: str, kind: str) -> None:
    answer = owner.post("/add/project/", TYPED | {field: NASTY[kind]})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in page
    assert "<script>alert" not in page
    assert [project.slug for project in project_list(actor=world.actor())] == ["shop"]


@pytest.mark.parametrize("kind", ["command", "substitution", "quotes", "markup", "unicode"])
def test_a_title_is_only_text(owner: Client, kind: str) -> None:
    owner.post("/add/project/", TYPED | {"name": NASTY[kind]})
    page = owner.get("/projects/blog/").content.decode()
    assert "<script>alert" not in page
    assert kind != "unicode" or NASTY[kind] in page


def test_a_password_in_the_address_is_refused(owner: Client) -> None:
    answer = owner.post("/add/project/", TYPED | {"repository": "https://ada:s3cret@git.example.com/blog.git"})
    assert answer.status_code == 422
    assert "deploy key" in answer.content.decode()


def test_a_name_that_is_taken_is_refused_at_its_field(owner: Client) -> None:
    page = owner.post("/add/project/", TYPED | {"slug": "shop"}).content.decode()
    assert 'id="id_slug_error"' in page


def test_settings_are_changed_and_the_key_is_kept(owner: Client, world: World) -> None:
    before = world.project.deploy_key_public
    page = owner.get("/projects/shop/settings/").content.decode()
    assert "git@git.example.com:shop.git" in page
    owner.post(
        "/projects/shop/settings/",
        TYPED | {"name": "Web shop", "repository": "git@git.example.com:new.git", "recipe": "laravel"},
    )
    project = _project(world, "shop")
    assert (project.name, project.repository, project.recipe) == ("Web shop", "git@git.example.com:new.git", "laravel")
    assert project.deploy_key_public == before


def test_the_deploy_key_is_replaced_and_never_shown(owner: Client, world: World) -> None:
    key = keys.generate()
    owner.post("/projects/shop/settings/", TYPED | {"repository": "git@git.example.com:shop.git", "deploy_key": key})
    assert _project(world, "shop").deploy_key == key
    assert "PRIVATE KEY" not in owner.get("/projects/shop/settings/").content.decode()


def test_a_refused_key_is_not_sent_back_into_the_log(owner: Client) -> None:
    answer = owner.post("/projects/shop/settings/", TYPED | {"deploy_key": "nonsense"})
    assert 'id="id_deploy_key_error"' in answer.content.decode()


def test_a_project_is_not_removed_while_it_is_deployed(owner: Client, world: World) -> None:
    page = owner.post("/projects/shop/remove/", follow=True).content.decode()
    assert "under way" in page
    assert _project(world, "shop")


def test_a_project_is_removed(owner: Client, world: World) -> None:
    deployment_cancel(actor=world.actor(), deployment=world.deployment)
    page = owner.post("/projects/shop/remove/", follow=True).content.decode()
    assert "removed from the panel" in page
    assert project_list(actor=world.actor()) == []


def test_without_projects_list_and_dashboard_say_the_next_step(owner: Client, world: World) -> None:
    deployment_cancel(actor=world.actor(), deployment=world.deployment)
    owner.post("/projects/shop/remove/")
    for address in ("/projects/", "/"):
        assert "/add/project/" in owner.get(address).content.decode()


@pytest.mark.parametrize("slug", ["nothing", "%3B%20rm%20-rf%20~", "%24(id)", "%0A", "%C3%B6", "x" * 300])
def test_a_project_that_is_not_there_is_not_found(owner: Client, slug: str) -> None:
    assert owner.get(f"/projects/{slug}/").status_code == 404


def _project(world: World, slug: str) -> Project:
    return next(project for project in project_list(actor=world.actor()) if project.slug == slug)


@pytest.mark.parametrize(
    ("address", "module", "name"),
    [
        ("/", "devflow.web.views.dashboard", "SHOWN_PROJECTS"),
        ("/board/", "devflow.web.views.dashboard", "SHOWN_PROJECTS"),
        ("/projects/", "devflow.web.views.projects", "PAGE_LENGTH"),
    ],
)
def test_more_projects_than_a_page_shows(
    owner: Client, world: World, monkeypatch: pytest.MonkeyPatch, address: str, module: str, name: str
) -> None:
    for slug in ("bakery", "cafe-1", "zoo"):
        projects.project_add(actor=world.actor(), slug=slug, name=slug, repository="/srv/git/x.git")
    whole = _shown(owner, address)
    assert whole == ["bakery", "cafe-1", "shop", "zoo"]
    monkeypatch.setattr(f"{module}.{name}", 2)
    first, second = _shown(owner, address), _shown(owner, f"{address}?after=cafe-1")
    assert [*first, *second] == whole
    assert "after=cafe-1" in owner.get(address).content.decode()
    if name == "SHOWN_PROJECTS":
        assert "<b>4</b> projects" in owner.get(address).content.decode()
    for odd in ("%00", "zzz", "%27%3B--", "%F0%9F%8D%B0"):
        assert owner.get(f"{address}?after={odd}").status_code == 200


def _shown(client: Client, address: str) -> list[str]:
    """The slugs of the projects, in their order."""
    text = client.get(address).content.decode()
    return list(dict.fromkeys(re.findall(r'href="/projects/([\w-]+)/"', text)))
