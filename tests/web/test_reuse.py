"""Deploying without reuse from the environment's page, and what the plan's page says of reuse."""

from __future__ import annotations

from django.test import Client
from django_scopes import scope

from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.services import project_update
from tests.web.world import World

HERE = "/projects/shop/environments/production/"


def newest(world: World) -> Deployment:
    with scope(team=world.team):
        return Deployment.objects.order_by("-id")[0]


def test_a_box_asks_for_everything_anew(owner: Client, world: World) -> None:
    shown = owner.get(HERE + "deploy/").content.decode()
    assert "Install and build anew" in shown
    assert 'type="checkbox" name="is_clean"' in shown
    owner.post(HERE + "deploy/", {"commit": "", "is_clean": "on"})
    assert newest(world).is_clean is True
    owner.post(HERE + "deploy/", {"commit": ""})
    assert newest(world).is_clean is False


def test_the_plan_says_while_what_is_unchanged_a_step_is_reused(viewer: Client, world: World) -> None:
    project_update(actor=world.actor(), project=world.project, recipe="laravel")
    shown = viewer.get(HERE + "plan/").content.decode()
    assert "Reused while unchanged: composer.lock, composer.json, PHP and Composer" in shown
