"""API tokens and networks on the command line."""

from __future__ import annotations

import re

import httpx

from tests.cli.conftest import ADMIN, Cli
from tests.support.panel import Panel


def test_a_token_of_the_team_for_one_project(cli: Cli) -> None:
    cli("projects", "add", "narrow", "--repository", "https://git.example.test/narrow.git", "--recipe", "static")
    cli("projects", "add", "other", "--repository", "https://git.example.test/other.git", "--recipe", "static")
    try:
        raw = cli("tokens", "create", "ci", "--scopes", "deploy", "--team", "--project", "narrow").out.strip()
        assert re.fullmatch(r"dfp_[0-9A-Za-z]{49}", raw)
        narrow = cli.with_environment(DEVFLOW_TOKEN=raw)
        assert [project["slug"] for project in narrow("projects", "list", "--json").json] == ["narrow"]
        assert "no project" in narrow("projects", "show", "other", status=None).err
        (token,) = [token for token in cli("tokens", "list", "--json").json if token["name"] == "ci"]
        assert (token["user"], token["made_by"], token["projects"]) == (None, ADMIN, ["narrow"])
        assert token["last_used_address"] == "127.0.0.1"
        line = next(line for line in cli("tokens", "list").out.splitlines() if token["id"] in line)
        assert "(the team)" in line
        cli("tokens", "revoke", token["id"])
        assert "not valid" in narrow("projects", "list", status=6).err
    finally:
        for slug in ("narrow", "other"):
            cli("projects", "remove", slug, status=None)


def test_a_project_that_is_not_there_is_wrong_usage(cli: Cli) -> None:
    assert "no project nowhere" in cli("tokens", "create", "x", "--project", "nowhere", status=2).err


def test_networks_are_set_with_care_and_cleared(cli: Cli, panel: Panel) -> None:
    assert "from everywhere" in cli("networks", "show").out
    assert "not in this list" in cli("networks", "set", "192.0.2.0/24", status=2).err
    assert cli("networks", "set", "127.0.0.1", "192.0.2.0/24").out.split() == ["127.0.0.1/32", "192.0.2.0/24"]
    assert "from everywhere" in cli("networks", "clear").out


def test_who_is_locked_out_is_let_in_again_on_the_machine(cli: Cli, panel: Panel) -> None:
    try:
        cli("networks", "set", "192.0.2.0/24", "--confirm")
        assert "certain networks only" in cli("whoami", status=6).err
    finally:
        cleared = panel.run("admin", "clear-networks", "--team", "team")
    assert "from everywhere" in cleared.stdout, cleared.stderr
    assert httpx.get(f"{panel.url}/healthz").status_code == 200
    assert ADMIN in cli("whoami").out
