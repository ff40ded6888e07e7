"""Pages of a panel with a replica: who changes something is remembered, and answered as without one."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from devflow.apps import replica
from devflow.apps.accounts.models import Role
from tests.web.world import World


def test_a_form_is_answered_and_its_sender_reads_from_the_primary(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "is_configured", lambda: True)
    owner: Client = world.client(Role.OWNER)
    user = world.people[Role.OWNER]
    began = timezone.now()
    answer = owner.post("/channels/add/", {"kind": "none of these"})
    assert answer.status_code < 500
    user.refresh_from_db()
    assert user.wrote_at is not None
    assert user.wrote_at >= began
    assert Client().post("/accounts/login/", {"login": "nobody", "password": "x"}).status_code == 200
