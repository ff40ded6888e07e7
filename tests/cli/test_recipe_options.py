"""`--option NAME=VALUE` and `--strategy-option NAME=VALUE` of `devflow environments`."""

from __future__ import annotations

from tests.cli.conftest import Cli, Shop


def test_options_are_given_joined_and_shown(cli: Cli, shop: Shop) -> None:
    cli("projects", "update", shop.slug, "--recipe", "tenants")
    where = (shop.slug, "options")
    settings = ("--branch", "main", "--server", "local", "--root", "/srv/sites/options")
    command = "tenant_command=php artisan migrate --tenant={tenant} --x=1"
    made = cli("environments", "add", *where, *settings, "--option", command, "--json").json
    assert made["recipe_options"] == {"tenant_command": "php artisan migrate --tenant={tenant} --x=1"}
    cli("environments", "update", *where, "--option", "php_version=8.3", "--option", "unit=shop-worker")
    shown = cli("environments", "show", *where, "--json").json
    both = {"php_version": "8.3", "unit": "shop-worker"}
    assert shown["recipe_options"] == {**made["recipe_options"], **both}
    cli("environments", "update", *where, "--option", "tenant_command=")
    left = cli("environments", "update", *where, "--option", "php_version=", "--option", "unit=w", "--json").json
    assert left["recipe_options"] == {"unit": "w"}
    cli("projects", "update", shop.slug, "--recipe", "static")
    changed = cli("environments", "update", *where, "--option", "output=dist", "--json")
    assert changed.json["recipe_options"] == {"output": "dist"}
    assert "unit=w is dropped: the recipe static does not take it." in changed.err
    assert "is removed" in cli("environments", "remove", *where).out


def test_options_of_the_strategy_join_those_that_are_set(cli: Cli, shop: Shop) -> None:
    where = ("environments", "update", shop.slug, "production", "--json")
    two = ("--strategy-option", "standby_minutes=2", "--strategy-option", "watch_seconds=5")
    cli(*where, "--strategy", "blue-green", *two)
    joined = cli(*where, "--strategy-option", "start_seconds=0").json["strategy_options"]
    assert joined == {"standby_minutes": "2", "watch_seconds": "5", "start_seconds": "0"}
    less = cli(*where, "--strategy-option", "watch_seconds=", "--strategy-option", "start_seconds=9").json
    assert less["strategy_options"] == {"standby_minutes": "2", "start_seconds": "9"}
    other = cli(*where, "--strategy", "recreate", "--strategy-option", "drain_seconds=7")
    assert other.json["strategy_options"] == {"start_seconds": "9", "drain_seconds": "7"}
    assert "standby_minutes=2 is dropped: the strategy recreate does not take it." in other.err
    none = cli(*where, "--strategy", "atomic")
    assert none.json["strategy_options"] == {}
    assert "start_seconds=9 is dropped" in none.err
    assert "drain_seconds=7 is dropped" in none.err
    assert "has no option 'nothing'" in cli(*where, "--strategy-option", "nothing=", status=2).err


def test_wrong_usage(cli: Cli, shop: Shop) -> None:
    cli("projects", "update", shop.slug, "--recipe", "php")
    where = (shop.slug, "production")
    assert "'8.3' is not NAME=VALUE." in cli("environments", "update", *where, "--option", "8.3", status=2).err
    assert (
        "The recipe php has no option 'nothing'"
        in cli("environments", "update", *where, "--option", "nothing=1", status=2).err
    )
