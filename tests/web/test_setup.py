"""The set-up page."""

from __future__ import annotations

import pytest
from django.test import Client

from devflow.apps.accounts.models import Role, User
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.accounts.services import setup_token_create
from tests.web.world import PASSWORD

TYPED = {"name": "Ada", "email": "ada@example.test", "password": PASSWORD, "team_name": "Acme"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def address() -> str:
    return f"/setup?token={setup_token_create()}"


def test_makes_the_first_user_and_logs_them_in(client: Client, address: str) -> None:
    assert "Welcome" in client.get(address).content.decode()
    answer = client.post(address, TYPED, follow=True)
    assert answer.redirect_chain == [("/", 302)]
    assert "Start with a server" in answer.content.decode()
    actor = actor_get(user=User.objects.get())
    assert (actor.user.email, actor.team.name, actor.role) == ("ada@example.test", "Acme", Role.OWNER)


def test_works_once(client: Client, address: str) -> None:
    client.post(address, TYPED)
    for answer in (Client().get(address), Client().post(address, TYPED | {"email": "eve@example.test"})):
        assert answer.status_code == 403
        assert "not valid" in answer.content.decode()
    assert User.objects.count() == 1


@pytest.mark.parametrize("token", ["", "wrong", "' OR 1=1 --", "x" * 3000, "größe"])
def test_refuses_another_token(client: Client, address: str, token: str) -> None:
    assert client.get("/setup", {"token": token}).status_code == 403


def test_keeps_what_was_typed_and_says_what_is_wrong_where(client: Client, address: str) -> None:
    answer = client.post(address, TYPED | {"email": "no address", "team_name": "Größe & Söhne"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'value="no address"' in page
    assert "Größe &amp; Söhne" in page
    assert 'id="id_email_error"' in page
    assert PASSWORD not in page


def test_refuses_a_weak_password(client: Client, address: str) -> None:
    answer = client.post(address, TYPED | {"password": "short"})
    assert answer.status_code == 422
    assert 'id="id_password_error"' in answer.content.decode()
    assert not User.objects.exists()


def test_refuses_another_method(client: Client, address: str) -> None:
    assert client.put(address).status_code == 405
