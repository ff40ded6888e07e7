"""Traffic on the pages: settings of an environment, and the page of its proxy."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from django.test import Client
from django.utils import timezone
from django_scopes import scopes_disabled

from devflow.apps.accounts.selectors import actor_get
from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from devflow.apps.projects.services import environment_add, project_add
from tests.web.test_environments import TYPED, _tasks
from tests.web.world import World

HERE = "/projects/shop/environments/production"
EDITED = {"state": "edited", "sum": "ab", "text": "# Checksum: 0\nserver { <listen> 81; }\n"}


def environment() -> Environment:
    with scopes_disabled():
        return Environment.objects.select_related("balancer").get(project__slug="shop", name="production")


def change(**given: Any) -> None:
    with scopes_disabled():
        Environment.objects.filter(pk=environment().pk).update(**given)


def test_settings_that_could_never_be_deployed_are_refused_at_their_field(owner: Client, world: World) -> None:
    page = owner.get(f"{HERE}/settings/").content.decode()
    typed = {**TYPED, **_tasks(page), "strategy": "canary", "strategy_options.steps": "50 25"}
    answer = owner.post(f"{HERE}/settings/", typed)
    assert answer.status_code == 422
    assert 'id="id_strategy_options.steps_error"' in answer.content.decode()
    assert "must rise" in answer.content.decode()
    assert owner.post(f"{HERE}/settings/", {**typed, "strategy_options.steps": "25 50"}).status_code == 302


def test_options_of_the_strategy_are_shown_checked_and_kept(owner: Client, world: World) -> None:
    page = owner.get(f"{HERE}/settings/").content.decode()
    assert "strategy_options." not in page
    typed = {**TYPED, **_tasks(page), "strategy": "blue-green", "proxy": "nginx", "domains": "shop.example.com\r\n"}
    assert owner.post(f"{HERE}/settings/", typed).status_code == 302
    page = owner.get(f"{HERE}/settings/").content.decode()
    assert "Options of Blue-green" in page
    assert re.search(r'name="port" value="21000"', page)
    answer = owner.post(f"{HERE}/settings/", {**typed, "strategy_options.drain_seconds": "long"})
    assert answer.status_code == 422
    assert 'id="id_strategy_options.drain_seconds_error"' in answer.content.decode()
    owner.post(f"{HERE}/settings/", {**typed, "strategy_options.drain_seconds": "60", "balancer": "web-1"})
    kept = environment()
    assert kept.strategy_options == {"drain_seconds": "60"}
    assert kept.balancer
    assert kept.balancer.name == "web-1"
    assert 'value="60"' in owner.get(f"{HERE}/settings/").content.decode()


def test_a_domain_of_another_environment_is_refused_at_its_field(owner: Client, world: World) -> None:
    actor = actor_get(user=world.people["owner"])
    blog = project_add(actor=actor, slug="second-blog", repository="https://git.example.com/blog.git")
    given: dict[str, Any] = {"branch": "main", "servers": ["web-1"], "domains": ["shop.example.com"]}
    environment_add(actor=actor, project=blog, name="production", **given)
    page = owner.get(f"{HERE}/settings/").content.decode()
    answer = owner.post(f"{HERE}/settings/", {**TYPED, **_tasks(page), "domains": "shop.example.com"})
    assert answer.status_code == 422
    assert 'id="id_domains_error"' in answer.content.decode()
    assert "is served by" in answer.content.decode()


def test_the_page_of_the_proxy(owner: Client, world: World) -> None:
    page = owner.get(f"{HERE}/proxy/").content.decode()
    assert "nginx is not kept by the panel here" in page
    change(proxy="nginx", domains=["shop.example.com"])
    page = owner.get(f"{HERE}/proxy/").content.decode()
    assert "server_name shop.example.com;" in page
    assert "Not read yet" in page
    address = owner.post(f"{HERE}/proxy/look/")["Location"]
    assert "Reading the servers" in owner.get(address).content.decode()
    change(proxy_state={"at": "2026-11-21T10:00:00+00:00", "servers": {"web-1": EDITED, "web-2": {"error": "away"}}})
    page = owner.get(f"{HERE}/proxy/").content.decode()
    assert "It was edited by hand." in page
    assert "+server { &lt;listen&gt; 81; }" in page
    assert "away" in page
    assert owner.post(f"{HERE}/proxy/adopt/", {"server": "web-1"}, follow=True).status_code == 200
    assert environment().proxy_template == "server { <listen> 81; }"
    [accepted] = environment().proxy_state["accepted"]
    assert (accepted["server"], accepted["sum"], accepted["path"]) == ("web-1", "ab", "")
    assert "The next deployment replaces it." in owner.get(f"{HERE}/proxy/").content.decode()
    with scopes_disabled():
        latest = Deployment.objects.filter(environment=environment()).latest("created_at")
        Deployment.objects.filter(pk=latest.pk).update(finished_at=timezone.now())
    page = owner.get(f"{HERE}/proxy/").content.decode()
    assert "A deployment has ended since" in page
    assert "edited by hand" not in page, "it may not be, any more"


def test_a_file_that_is_there_already_is_shown_and_adopted(owner: Client, world: World) -> None:
    text = "server { listen 80; server_name shop.example.com; root /var/www/<shop>; }\n"
    file = {"path": "/etc/nginx/conf.d/shop.conf", "sum": hashlib.sha256(text.encode()).hexdigest(), "text": text}
    found = {"state": "absent", "sum": "", "text": "", "foreign": [file]}
    change(proxy="nginx", domains=["shop.example.com"])
    change(proxy_state={"at": "2026-11-21T10:00:00+00:00", "servers": {"web-1": found}})
    page = owner.get(f"{HERE}/proxy/").content.decode()
    assert "the panel did not write it" in page
    assert "root /var/www/&lt;shop&gt;;" in page
    assert "became" in page, "the note about the root"
    given = {"server": "web-1", "path": file["path"]}
    answer = owner.post(f"{HERE}/proxy/adopt/", given, follow=True).content.decode()
    assert "is adopted: the next deployment takes its place" in answer
    assert "root /var/www" not in environment().proxy_template


def test_what_nobody_edited_is_not_replaced(owner: Client, world: World) -> None:
    answer = owner.post(f"{HERE}/proxy/replace/", follow=True)
    assert "No site file that was edited by hand is known" in answer.content.decode()
    assert environment().proxy_state == {}
