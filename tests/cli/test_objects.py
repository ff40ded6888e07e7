"""Servers, projects, environments and tokens by the command line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Shop
from tests.support.keys import make_key_pair
from tests.support.panel import free_port


def fresh(prefix: str) -> str:
    """A name that no other test takes: all of them share a panel."""
    return f"{prefix}-{os.urandom(3).hex()}"


# --- servers ----------------------------------------------------------------------------------------------------------


def test_a_server_with_a_key_of_the_panel(cli: Cli) -> None:
    name = fresh("web")
    told = cli("servers", "add", name, "--host", "web.invalid", "--user", "deploy", "--generate-key").out
    shown = cli("servers", "show", name, "--json").json
    assert f"echo '{shown['public_key']}' >> ~/.ssh/authorized_keys" in told
    assert (shown["host"], shown["port"], shown["user"]) == ("web.invalid", 22, "deploy")
    assert name in cli("servers", "list").out
    assert f"{name} is reached at deploy@192.0.2.7:22 now." in cli("servers", "update", name, "--host", "192.0.2.7").out
    assert cli("servers", "update", name, "--port", "2222", "--json").json["address"] == "deploy@192.0.2.7:2222"
    assert "Nothing to change" in cli("servers", "update", name, status=2).err
    assert "is removed" in cli("servers", "remove", name).out
    assert "There is no server" in cli("servers", "show", name, status=1).err


def test_a_server_with_a_key_of_ones_own(cli: Cli, tmp_path: Path) -> None:
    private, public = make_key_pair()
    file = tmp_path / "id"
    file.write_text(private)
    for name, source, stdin in ((fresh("file"), str(file), ""), (fresh("stdin"), "-", private)):
        added = cli("servers", "add", name, "--host", "web.invalid", "--key-file", source, "--json", stdin=stdin)
        assert added.json["public_key"].split()[:2] == public.split()[:2]
        assert private.splitlines()[1] not in added.out + added.err


def test_a_server_that_does_not_answer_fails_its_check(cli: Cli) -> None:
    name = fresh("away")
    cli("servers", "add", name, "--host", "127.0.0.1", "--port", str(free_port()), "--generate-key")
    result = cli("servers", "check", name, "--json", status=1)
    assert result.json["status"] == "offline"
    assert result.json["status_message"]


def test_what_a_check_reads_is_for_people(cli: Cli, shop: Shop) -> None:
    told = cli("servers", "show", "local").out
    assert re.search(r"^disk free +\d+\.\d GiB$", told, re.MULTILINE), told
    assert re.search(r"^up for +\d+ d \d+ h \d+ min$", told, re.MULTILINE), told
    assert re.search(r"^clock +20\d\d-\d\d-\d\d \d\d:\d\d$", told, re.MULTILINE), told
    assert " kb " not in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--host HOST or --local"),
        (("--host", "h.invalid"), "--key-file FILE or --generate-key"),
        (("--host", "h.invalid", "--local"), "--host HOST or --local"),
        (("--host", "h.invalid", "--generate-key", "--key-file", "x"), "--key-file FILE or --generate-key"),
        (("--host", "h.invalid", "--key-file", "/does/not/exist"), "cannot be read"),
        (("--host", "; rm -rf ~", "--generate-key"), "host"),
        (("--host", "h.invalid", "--generate-key", "--port", "0"), "port"),
        (("--host", "h.invalid", "--generate-key", "--host-key", "nonsense"), "public key"),
    ],
)
def test_a_server_that_is_not_described_well_is_wrong_usage(cli: Cli, arguments: tuple[str, ...], told: str) -> None:
    assert told in cli("servers", "add", fresh("web"), *arguments, status=2).err


def test_maintenance_and_host_key(cli: Cli) -> None:
    name = fresh("web")
    cli("servers", "add", name, "--local")
    assert "is on" in cli("servers", "maintenance", name, "on").out
    assert cli("servers", "show", name, "--json").json["status"] == "maintenance"
    assert "is off" in cli("servers", "maintenance", name, "off").out
    cli("servers", "maintenance", name, "perhaps", status=2)
    assert cli("servers", "forget-host-key", name, "--json").json["host_key"] == ""


# --- projects and environments ----------------------------------------------------------------------------------------


def test_a_project_lives(cli: Cli) -> None:
    slug = fresh("blog")
    told = cli("projects", "add", slug, "--repository", "git@git.invalid:acme/blog.git", "--recipe", "laravel").out
    shown = cli("projects", "show", slug, "--json").json
    assert shown["deploy_key_public"] in told
    assert cli("projects", "update", slug, "--name", "Our blog", "--recipe", "", "--json").json["recipe"] == ""
    assert "Our blog" in cli("projects", "show", slug).out
    assert "Nothing to change" in cli("projects", "update", slug, status=2).err
    assert slug in cli("projects", "list").out
    cli("projects", "add", slug, "--repository", "/srv/git/x.git", status=1)
    cli("projects", "remove", slug)
    cli("projects", "show", slug, status=1)


@pytest.mark.parametrize(
    "repository", ["; rm -rf ~", "$(id)", "https://user:secret@git.invalid/x.git", "ext::sh -c id", ""]
)
def test_a_repository_that_is_none_is_refused(cli: Cli, repository: str) -> None:
    assert "repository" in cli("projects", "add", fresh("blog"), "--repository", repository, status=2).err


def test_an_environment_keeps_every_setting(cli: Cli, shop: Shop) -> None:
    settings = {
        "--branch": "next",
        "--server": "local",
        "--root": "/srv/sites/preview",
        "--strategy": "atomic",
        "--keep": "3",
        "--health-url": "/up",
        "--health-status": "204",
        "--health-text": "ok",
        "--health-timeout": "4",
        "--health-retries": "2",
        "--shared-file": "config/local.php",
        "--shared-folder": "uploads",
        "--task": "npm ci=",
        "--command": "reload=sudo systemctl reload shop",
    }
    options = [word for pair in settings.items() for word in pair]
    made = cli("environments", "add", shop.slug, "preview", *options, "--auto-deploy", "--json").json
    assert (
        made.items()
        >= {
            "branch": "next",
            "servers": ["local"],
            "root": "/srv/sites/preview",
            "keep": 3,
            "auto_deploy": True,
            "health_url": "/up",
            "health_status": 204,
            "health_text": "ok",
            "health_timeout_seconds": 4,
            "health_retries": 2,
            "shared_files": ["config/local.php"],
            "shared_folders": ["uploads"],
            "task_commands": {"npm ci": ""},
            "phase_commands": {"reload": ["sudo systemctl reload shop"]},
        }.items()
    )
    changed = cli("environments", "update", shop.slug, "preview", "--keep", "9", "--no-auto-deploy", "--json").json
    assert changed == {**made, "keep": 9, "auto_deploy": False}
    assert "preview" in cli("environments", "list", shop.slug).out
    assert "/srv/sites/preview" in cli("environments", "show", shop.slug, "preview").out
    assert "is removed" in cli("environments", "remove", shop.slug, "preview").out


def test_several_servers_are_named_in_a_row_or_one_by_one(cli: Cli, shop: Shop) -> None:
    more = fresh("more")
    cli("servers", "add", more, "--host", f"{more}.example.test", "--generate-key")
    for name, servers in (("one", ["--server", "local", "--server", more]), ("two", ["--server", "local", more])):
        made = cli("environments", "add", shop.slug, name, "--branch", "main", *servers, "--json").json
        assert sorted(made["servers"]) == sorted(["local", more])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--branch", "--force", "--server", "local"], "branch"),
        (["--branch", "main", "--server", "nowhere"], "nowhere"),
        (["--branch", "main", "--server", "local", "--command", "nonsense"], "NAME=COMMAND"),
        (["--branch", "main", "--server", "local", "--command", "undo=id"], "phase"),
        (["--branch", "main", "--server", "local", "--root", "/"], "root"),
        (["--branch", "main"], "--server"),
    ],
)
def test_an_environment_that_is_not_described_well_is_wrong_usage(
    cli: Cli, shop: Shop, options: list[str], told: str
) -> None:
    assert told in cli("environments", "add", shop.slug, "preview", *options, status=2).err


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_is_printed_alone_and_works_until_it_is_revoked(cli: Cli) -> None:
    made = cli("tokens", "create", "ci", "--scopes", "read,deploy", "--expires-days", "30")
    token = made.out.strip()
    assert token.startswith("dfp_")
    other = cli.with_environment(DEVFLOW_TOKEN=token)
    assert other("whoami", "--json").json["scopes"] == ["deploy", "read"]
    listed = cli("tokens", "list", "--json").json
    [mine] = [each for each in listed if token.startswith(each["prefix"]) and each["name"] == "ci"]
    assert mine["expires_at"]
    cli("tokens", "revoke", mine["id"])
    other("whoami", status=6)
    assert "scopes" in cli("tokens", "create", "ci", "--scopes", "everything", status=2).err


@pytest.mark.parametrize(("days", "bound"), [("0", "1"), ("3651", "3650"), ("99999999", "3650")])
def test_the_days_of_a_token_are_bounded(cli: Cli, days: str, bound: str) -> None:
    framed = cli("tokens", "create", "ci", "--expires-days", days, status=2).err
    told = " ".join(framed.replace("│", " ").split())
    assert "--expires-days" in told
    assert re.search(rf"equal to {bound}\b", told)


def test_teams(cli: Cli) -> None:
    assert [team["is_current"] for team in cli("teams", "list", "--json").json] == [True]
    assert "team" in cli("teams", "list").out
