"""`--option NAME=VALUE` of `devflow environments`."""

from __future__ import annotations

from tests.cli.conftest import Cli, Shop


def test_options_are_given_replaced_and_shown(cli: Cli, shop: Shop) -> None:
    cli("projects", "update", shop.slug, "--recipe", "tenants")
    where = (shop.slug, "options")
    settings = ("--branch", "main", "--server", "local", "--root", "/srv/sites/options")
    command = "tenant_command=php artisan migrate --tenant={tenant} --x=1"
    made = cli("environments", "add", *where, *settings, "--option", command, "--json").json
    assert made["recipe_options"] == {"tenant_command": "php artisan migrate --tenant={tenant} --x=1"}
    cli("environments", "update", *where, "--option", "php_version=8.3", "--option", "unit=shop-worker")
    shown = cli("environments", "show", *where, "--json").json
    assert shown["recipe_options"] == {"php_version": "8.3", "unit": "shop-worker"}
    assert cli("environments", "update", *where, "--option", "php_version=", "--json").json["recipe_options"] == {}
    assert "is removed" in cli("environments", "remove", *where).out


def test_wrong_usage(cli: Cli, shop: Shop) -> None:
    cli("projects", "update", shop.slug, "--recipe", "php")
    where = (shop.slug, "production")
    assert "'8.3' is not NAME=VALUE." in cli("environments", "update", *where, "--option", "8.3", status=2).err
    assert (
        "The recipe php has no option 'nothing'"
        in cli("environments", "update", *where, "--option", "nothing=1", status=2).err
    )
