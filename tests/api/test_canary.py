"""A canary by the API."""

from __future__ import annotations

from django_scopes import scope

from devflow.apps.deployments.models import Deployment
from tests.api.conftest import Caller, World
from tests.api.test_routes import assert_problem


def test_figures_and_steering(admin: Caller, world: World) -> None:
    address = f"deployments/{world.deployment.pk}/canary"
    assert admin.get(address).json() == []
    assert_problem(admin.post(address, {"action": "hold"}), 409)
    with scope(team=world.owner.team):
        Deployment.objects.filter(pk=world.deployment.pk).update(
            strategy="canary",
            status="running",
            observed={"canary": {"5": "held 60 3 12 1000 0 10 8 1795255200 1795341600 5"}},
        )
    assert admin.get(address).json() == [
        {
            "percent": 5,
            "state": "held",
            "seconds": 8,
            "held_since": "2026-11-21T10:00:00Z",
            "held_until": "2026-11-22T10:00:00Z",
            "new": {"requests": 60, "failed": 3, "error_percent": 5.0, "p95_ms": 12},
            "stable": {"requests": 1000, "failed": 0, "error_percent": 0.0, "p95_ms": 10},
        }
    ]
    assert admin.post(address, {"action": "hold"}).status_code == 202
    assert_problem(admin.post(address, {"action": "stop"}), 422)
