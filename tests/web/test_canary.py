"""A canary on the page of its deployment."""

from __future__ import annotations

from typing import Any

from django.test import Client
from django_scopes import scope

from devflow.apps.deployments.models import Deployment
from tests.web.world import World


def _change(world: World, **values: Any) -> str:
    with scope(team=world.team):
        Deployment.objects.filter(pk=world.deployment.pk).update(**values)
    return f"/deployments/{world.deployment.pk}/"


def _running(world: World, **values: Any) -> str:
    figures = {"canary": {"5": "good 60 3 12 1000 0 10 8 5"}}
    return _change(world, strategy="canary", status="running", observed=figures, **values)


def test_figures_and_buttons_while_it_runs(owner: Client, viewer: Client, world: World) -> None:
    page = _running(world)
    shown = owner.get(page).content.decode()
    assert "60 requests, 5.0 % failed, p95 12 ms" in shown
    assert all(f'value="{action}"' in shown for action in ("hold", "promote", "abort"))
    looked_at = viewer.get(page).content.decode()
    assert "60 requests" in looked_at
    assert 'value="promote"' not in looked_at, "a viewer only looks"


def test_held_by_its_button_and_going_on(owner: Client, world: World) -> None:
    page = _running(world)
    owner.post(f"{page}canary/", {"action": "hold"})
    assert 'value="resume"' in owner.get(page).content.decode()
    owner.post(f"{page}canary/", {"action": "promote"})
    shown = owner.get(page).content.decode()
    assert "Told to promote" in shown
    assert 'value="abort"' not in shown


def test_held_says_since_when_and_until_when(owner: Client, world: World) -> None:
    page = _running(world)
    _change(world, observed={"canary": {"5": "held 60 3 12 1000 0 10 8 1795255200 1795341600 5"}})
    shown = owner.get(page).content.decode()
    assert "held since Nov 21, 10:00 UTC; taken back on Nov 22, 10:00 UTC unless you say how to go on" in shown


def test_figures_stay_when_it_has_ended(owner: Client, world: World) -> None:
    page = _running(world, finished_at=None)
    _change(world, status="success")
    shown = owner.get(page).content.decode()
    assert "60 requests" in shown
    assert 'value="hold"' not in shown


def test_nothing_of_it_for_others(owner: Client, world: World) -> None:
    assert "Canary" not in owner.get(_change(world, status="running")).content.decode()
