"""Site files on servers: what was seen of them, what is adopted or given up, and until when."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.deployments import proxy
from devflow.apps.deployments.models import Deployment, Status
from devflow.apps.deployments.planning import plan_deploy, site_of, site_text_of
from devflow.apps.projects.models import Environment
from devflow.apps.projects.services import environment_update
from devflow.commands import nginx
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError
from tests.support.shop import Shop

PATH = "/etc/nginx/sites-enabled/shop"
BY_HAND = "server { server_name shop.test; location / { proxy_pass http://127.0.0.1:3000; } }\n"
SETTINGS: dict[str, Any] = {"strategy": "blue-green", "proxy": "nginx", "domains": ["shop.test"]}


def edited(text: str) -> dict[str, Any]:
    return {"state": "edited", "sum": sum_of(text), "text": text}


def foreign(*texts: str, **given: Any) -> dict[str, Any]:
    files = [
        {"path": PATH + "-2" * number, "sum": sum_of(text), "text": text, **given} for number, text in enumerate(texts)
    ]
    return {"state": "absent", "sum": "", "text": "", "foreign": files}


def sum_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def environment(shop: Shop) -> Environment:
    with scope(team=shop.team):
        found = Environment.objects.select_related("project", "team").get(pk=shop.environment.pk)
        found.project.recipe = "node"
        found.project.save()
    return environment_update(actor=shop.actor(), environment=found, **SETTINGS)


def see(environment: Environment, **servers: Any) -> None:
    """As a look does."""
    proxy._keep(environment, servers)
    with scope(team=environment.team):
        environment.refresh_from_db()


def accepted(environment: Environment) -> tuple[str, ...]:
    with scope(team=environment.team):
        return site_of(environment).proxy_accepted


def deployed(shop: Shop, environment: Environment, *, at: Any, status: Status = Status.SUCCESS) -> Deployment:
    """A deployment that was requested at that time, and planned and ended now."""
    with scope(team=shop.team):
        plan = plan_deploy(environment=environment, recipe="node", release="r1", commit="")
        made = Deployment.objects.create(
            team=shop.team,
            project=environment.project,
            environment=environment,
            trigger="manual",
            strategy="blue-green",
            release="r1",
            status=status,
            plan=plan.to_json(),
            finished_at=timezone.now(),
        )
        Deployment.objects.filter(pk=made.pk).update(created_at=at)
    return made


def test_adopting_one_servers_edit_leaves_the_others(shop: Shop, environment: Environment) -> None:
    see(environment, web1=edited("one"), web2=edited("two"), web3=edited("one"), web4={"error": "away"})
    proxy.proxy_adopt(actor=shop.actor(), environment=environment, server="web1")
    assert environment.proxy_template == "one"
    assert accepted(environment) == (f"web1 {sum_of('one')}", f"web3 {sum_of('one')}")
    proxy.proxy_replace(actor=shop.actor(), environment=environment)
    assert f"web2 {sum_of('two')}" in accepted(environment)


@pytest.mark.parametrize("is_planned_later", [True, False])
def test_what_was_accepted_is_used_up_by_a_deployment_that_went_well(
    shop: Shop, environment: Environment, is_planned_later: bool
) -> None:
    see(environment, web1=edited("one"))
    before = timezone.now() - timedelta(seconds=5)
    deployed(shop, environment, at=before)
    proxy.proxy_replace(actor=shop.actor(), environment=environment)
    wanted = (f"web1 {sum_of('one')}",)
    assert accepted(environment) == wanted
    deployed(shop, environment, at=timezone.now(), status=Status.FAILED)
    assert accepted(environment) == wanted, "the file is still there"
    deployed(shop, environment, at=before if is_planned_later else timezone.now())
    assert accepted(environment) == ()
    see(environment, web1=edited("one"))
    assert accepted(environment) == (), "the same edit once more is a new one"


def test_what_is_another_now_is_no_longer_accepted(shop: Shop, environment: Environment) -> None:
    see(environment, web1=edited("one"))
    proxy.proxy_replace(actor=shop.actor(), environment=environment)
    see(environment, web1={"error": "away"})
    assert len(accepted(environment)) == 1
    see(environment, web1=edited("two"))
    see(environment, web1=edited("one"))
    assert accepted(environment) == ()


def test_where_the_traffic_goes_is_replaced_and_not_taken_over(shop: Shop, environment: Environment) -> None:
    see(environment, web1={**edited("one"), "upstream": "upstream x { server 127.0.0.1:1; }"})
    with pytest.raises(ConflictError, match="decides anew"):
        proxy.proxy_adopt(actor=shop.actor(), environment=environment, server="web1")
    proxy.proxy_replace(actor=shop.actor(), environment=environment)
    assert len(accepted(environment)) == 1


def test_a_file_that_is_there_already_becomes_the_own_site_file(shop: Shop, environment: Environment) -> None:
    see(environment, web1=foreign(BY_HAND), web2=foreign(BY_HAND + "# another\n"))
    [shown] = proxy.foreign_list(environment, "web1")
    assert (shown["path"], shown["is_accepted"], shown["problem"]) == (PATH, False, "")
    proxy.proxy_adopt(actor=shop.actor(), environment=environment, server="web1", path=PATH)
    template = BY_HAND.replace("127.0.0.1:3000", "@upstream@").replace("shop.test", "@domains@").strip()
    assert environment.proxy_template == shown["template"] == template
    assert accepted(environment) == (f"web1 {sum_of(BY_HAND)} {PATH}",)
    assert [each["is_accepted"] for name in ("web1", "web2") for each in proxy.foreign_list(environment, name)] == [
        True,
        False,
    ]
    deployed(shop, environment, at=timezone.now())
    assert accepted(environment) == ()


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (foreign(), "No file /etc/nginx/sites-enabled/shop that serves this site is known on 'web1'"),
        (foreign(BY_HAND, BY_HAND), "only one file can be adopted"),
        (foreign(BY_HAND.replace("shop.test", "shop.test blog.test")), "serves blog.test too"),
        (foreign(BY_HAND, sum="-", text=""), "cannot be read as a whole"),
        (foreign(BY_HAND[:-9], sum=sum_of(BY_HAND)), "cannot be read as a whole"),
        ({"error": "away"}, "is known on"),
    ],
)
def test_what_cannot_be_adopted(shop: Shop, environment: Environment, found: dict[str, Any], told: str) -> None:
    see(environment, web1=found)
    with pytest.raises(ConflictError, match=told):
        proxy.proxy_adopt(actor=shop.actor(), environment=environment, server="web1", path=PATH)
    assert environment.proxy_template == ""
    assert accepted(environment) == ()


def test_a_file_that_was_adopted_follows_the_domains(shop: Shop, environment: Environment) -> None:
    """Taken over after an edit by hand; then the environment gets another domain."""
    with scope(team=shop.team):
        written = site_text_of(environment)
    there = nginx.filled_as(written, environment.pk.hex, "")
    see(environment, web1=edited(f"# Checksum: 0\n{there}# by hand\n"))
    proxy.proxy_adopt(actor=shop.actor(), environment=environment, server="web1")
    environment_update(actor=shop.actor(), environment=environment, domains=["neu.test", "www.neu.test"])
    assert "    server_name neu.test www.neu.test;" in site_text_of(environment).splitlines()
    assert "shop.test" not in site_text_of(environment)


def test_a_file_for_some_of_the_domains_is_not_adopted(shop: Shop, environment: Environment) -> None:
    environment_update(actor=shop.actor(), environment=environment, domains=["shop.test", "www.shop.test"])
    see(environment, web1=foreign(BY_HAND))
    with pytest.raises(InvalidError, match=r"www\.shop\.test: the own site file"):
        proxy.proxy_adopt(actor=shop.actor(), environment=environment, server="web1", path=PATH)


def test_who_may_not(shop: Shop, environment: Environment) -> None:
    see(environment, web1=foreign(BY_HAND))
    with pytest.raises(ForbiddenError):
        proxy.proxy_adopt(actor=shop.actor(Role.DEVELOPER), environment=environment, server="web1", path=PATH)
