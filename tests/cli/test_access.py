"""`devflow access`."""

from __future__ import annotations

from tests.cli.conftest import ADMIN, Cli, Shop
from tests.support.panel import Panel

VERA = "vera@example.test"


def test_grants_are_made_listed_and_taken_back(cli: Cli, shop: Shop, panel: Panel) -> None:
    team = cli("whoami", "--json").json["team"]["slug"]
    added = panel.run(
        "admin",
        *("create-user", "--email", VERA, "--team", team, "--role", "viewer", "--password-stdin"),
        stdin="correct horse battery\n",
    )
    assert added.returncode == 0, added.stderr
    granted = cli("access", "grant", shop.slug, VERA, "deploy", "see_secrets", "-e", "production").out
    assert granted == f"{VERA} may deploy, see_secrets in production.\n"
    listed = cli("access", "list", shop.slug).out
    assert "deploy*, see_secrets*" in listed
    assert ADMIN in listed
    document = cli("access", "list", shop.slug, "--json").json
    assert [grant["action"] for grant in document["grants"]] == ["deploy", "see_secrets"]

    assert "no grant to shell" in cli("access", "revoke", shop.slug, VERA, "shell", "-e", "production", status=1).err
    assert "no grant to deploy" in cli("access", "revoke", shop.slug, VERA, "deploy", status=1).err
    cli("access", "revoke", shop.slug, VERA.upper(), "deploy", "see_secrets", "-e", "production")
    assert cli("access", "list", shop.slug, "--json").json["grants"] == []
    assert "No member of this team" in cli("access", "grant", shop.slug, "x@example.test", "deploy", status=2).err


def test_an_environment_is_protected(cli: Cli, shop: Shop) -> None:
    assert cli("access", "protect", shop.slug, "production").out == "production is protected.\n"
    assert "Protected: production" in cli("access", "list", shop.slug).out
    assert cli("access", "protect", shop.slug, "production", "--off", "--json").json["is_protected"] is False
