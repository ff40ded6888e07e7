"""A browser's session instead of a token."""

from __future__ import annotations

import pytest
from django.middleware.csrf import _get_new_csrf_string
from django.test import Client

from tests.api.conftest import Caller, World
from tests.api.test_routes import assert_problem

PRODUCTION = "projects/shop/environments/production"


@pytest.fixture
def session(world: World) -> Caller:
    """The owner, logged in with a browser that checks CSRF tokens."""
    caller = Caller(http=Client(enforce_csrf_checks=True, raise_request_exception=False))
    caller.http.force_login(world.owner.user, "allauth.account.auth_backends.AuthenticationBackend")
    return caller


def test_a_session_reads_and_needs_a_csrf_token_to_write(session: Caller) -> None:
    who = session.get("whoami").json()
    assert (who["email"], who["scopes"]) == ("ada@example.test", None)
    assert "CSRF" in assert_problem(session.post(f"{PRODUCTION}/deployments", {}), 403)["detail"]


def test_a_session_writes_with_a_csrf_token(session: Caller) -> None:
    secret = _get_new_csrf_string()
    session.http.cookies["csrftoken"] = secret
    deployed = session.post(f"{PRODUCTION}/deployments", {}, **{"X-CSRFToken": secret})
    assert deployed.json()["trigger"] == "manual"


def test_a_wrong_token_does_not_fall_back_to_the_session(session: Caller) -> None:
    assert_problem(session.get("whoami", Authorization="Bearer dfp_wrong"), 401)
