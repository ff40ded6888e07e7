"""`devflow admin`: users, their teams and passwords, run on the panel's own machine."""

from __future__ import annotations

import re

from typer.testing import CliRunner, Result

from devflow.apps.accounts.models import Role, User
from devflow.apps.accounts.second_factor import has_second_factor
from devflow.apps.accounts.selectors import actor_get, user_find
from devflow.apps.accounts.services import team_create
from devflow.cli.admin import app
from devflow.core.errors import DevflowError
from tests.support.second_factor import app_of
from tests.support.shop import Shop

PASSWORD = "a long enough phrase"
EMAIL = "eve@example.test"


def admin(*words: str, stdin: str = "") -> Result:
    """A command that ends well."""
    result = CliRunner().invoke(app, words, input=stdin)
    assert result.exit_code == 0, result.exception or result.output
    return result


def refusal(*words: str, stdin: str = "") -> str:
    """What a command is refused with."""
    result = CliRunner().invoke(app, words, input=stdin)
    assert isinstance(result.exception, DevflowError), result.output
    return str(result.exception)


def person(email: str = EMAIL) -> User:
    found = user_find(email=email)
    assert found is not None
    return found


def test_the_second_user_joins_the_only_team(db: None) -> None:
    admin("create-user", "--email", "ada@example.test")
    made = admin("create-user", "--email", EMAIL)
    assert person().check_password(made.stdout.strip())
    first, second = actor_get(user=person("ada@example.test")), actor_get(user=person())
    assert (first.role, second.role, first.team) == (Role.OWNER, Role.DEVELOPER, second.team)


def test_of_several_teams_one_is_named(shop: Shop) -> None:
    assert "--team (shopkeepers, strangers)" in refusal("create-user", "--email", EMAIL)
    assert "shopkeepers, strangers" in refusal("create-user", "--email", EMAIL, "--team", "gone")
    assert "developer, viewer" in refusal("create-user", "--email", EMAIL, "--team", "strangers", "--role", "king")
    assert user_find(email=EMAIL) is None
    admin("create-user", "--email", EMAIL, "--team", "shopkeepers", "--role", "viewer")
    actor = actor_get(user=person())
    assert (actor.team, actor.role) == (shop.team, Role.VIEWER)


def test_who_exists_joins_the_team_that_is_named(shop: Shop) -> None:
    other = team_create(name="Others", owner=shop.people[Role.OWNER])
    words = ("create-user", "--email", shop.people[Role.VIEWER].email, "--team", "others")
    assert "without a password" in refusal(*words, "--password-stdin", stdin=PASSWORD)
    assert admin(*words, "--role", "admin").stdout == ""
    assert actor_get(user=shop.people[Role.VIEWER], team=other).role == Role.ADMIN
    assert "already, as admin" in refusal(*words)


def test_a_password_is_reset_from_stdin(shop: Shop) -> None:
    user = shop.people[Role.OWNER]
    words = ("reset-password", "--email", user.email)
    assert "too short" in refusal(*words, "--password-stdin", stdin="short\n")
    assert "no user" in refusal("reset-password", "--email", EMAIL, "--password-stdin", stdin=PASSWORD)
    admin(*words, "--password-stdin", stdin="another long phrase\n")
    assert person(user.email).check_password("another long phrase")


def test_unknown_scopes_are_answered_with_those_there_are(shop: Shop) -> None:
    owner = shop.people[Role.OWNER].email
    assert "read, deploy, admin" in refusal("create-token", "--email", owner, "--scopes", "foo")


def test_a_link_to_set_a_password_is_printed(shop: Shop) -> None:
    before = person("owner@example.test").password
    link = admin("reset-password", "--email", "owner@example.test").stdout
    assert re.fullmatch(r"http://\S+/accounts/password/reset/key/\w+-\S+/\n", link)
    assert person("owner@example.test").password == before


def test_a_lost_second_factor_is_taken_away(shop: Shop) -> None:
    app_of(shop.people[Role.OWNER])
    admin("reset-mfa", "--email", "owner@example.test")
    assert not has_second_factor(shop.people[Role.OWNER])
    assert "no second factor" in refusal("reset-mfa", "--email", "owner@example.test")
    assert "no user" in refusal("reset-mfa", "--email", EMAIL)
