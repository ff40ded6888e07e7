"""Members, invitations and teams on the command line."""

from __future__ import annotations

from tests.cli.conftest import ADMIN, Cli
from tests.support.panel import Panel

PASSWORD = "a long enough phrase\n"


def test_members_are_listed_changed_and_removed(cli: Cli, panel: Panel) -> None:
    email = "member@example.test"
    panel.run("admin", "create-user", "--email", email, "--team", "team", "--password-stdin", stdin=PASSWORD)
    roles = {each["email"]: each["role"] for each in cli("members", "list", "--json").json}
    assert roles[email] == "developer"
    assert "admin now" in cli("members", "role", email, "admin").out
    assert email in cli("members", "list").out
    assert "removed" in cli("members", "remove", email).out
    assert "is not in the team" in cli("members", "remove", email, status=2).err


def test_an_owner_is_left_to_owners_in_person(cli: Cli) -> None:
    assert "owner" in cli("members", "remove", ADMIN, status=6).err
    assert "above what you may give" in cli("members", "role", ADMIN, "owner", status=6).err


def test_somebody_is_invited_and_uninvited(cli: Cli, panel: Panel) -> None:
    told = cli("members", "invite", "guest@example.test", "--role", "viewer", "--days", "1")
    assert told.out.startswith(f"{panel.url}/join/")
    assert "cannot be shown again" in told.err
    found = cli("members", "invitations", "--json").json
    assert [(each["email"], each["role"]) for each in found] == [("guest@example.test", "viewer")]
    assert "guest@example.test" in cli("members", "invitations").out
    cli("members", "revoke", found[0]["id"])
    assert "Nobody is invited" in cli("members", "invitations").err


def test_one_works_in_several_teams(stranger: Cli, panel: Panel) -> None:
    email = "root@example.test"
    words = ("admin", "create-user", "--email", email, "--password-stdin", "--superuser", "--team", "team")
    assert panel.run(*words, "--role", "owner", stdin=PASSWORD).returncode == 0

    def token(team: str) -> str:
        words = ("admin", "create-token", "--email", email, "--scopes", "admin", "--team", team)
        return panel.run(*words).stdout

    stranger("login", panel.url, stdin=token("team"))
    assert "clients is added" in stranger("teams", "add", "Clients").out
    assert "no token for the team 'clients'" in stranger("teams", "switch", "clients", status=6).err
    stranger("login", panel.url, stdin=token("clients"))
    assert stranger("teams", "list", "--json").json[0]["slug"] == "clients"
    assert "for the team team now" in stranger("teams", "switch", "team").out
    assert stranger("whoami", "--json").json["team"]["slug"] == "team"
    stranger("teams", "switch", "clients")
    assert stranger("whoami", "--json").json["team"]["slug"] == "clients"


def test_others_add_no_teams(cli: Cli) -> None:
    assert "Only the panel's administrators" in cli("teams", "add", "Mine", status=6).err
