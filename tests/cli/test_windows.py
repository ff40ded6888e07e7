"""`devflow windows`, and deploying outside of them."""

from __future__ import annotations

from tests.cli.conftest import Cli, Shop


def test_windows_are_set_and_shown(cli: Cli, shop: Shop) -> None:
    assert "open at any time" in cli("windows", "show", shop.slug, "production").out
    where = (shop.slug, "production")
    shown = cli("windows", "set", *where, "--window", "mon-thu 08:00-16:00", "--time-zone", "Europe/Berlin").out
    assert "mon-thu 08:00-16:00" in shown
    assert "Europe/Berlin" in shown
    document = cli("windows", "show", *where, "--json").json
    assert document["windows"] == [{"days": ["mon", "tue", "wed", "thu"], "from": "08:00", "to": "16:00"}]
    assert cli("windows", "set", *where, "--always", "--json").json["is_open"] is True


def test_wrong_usage(cli: Cli, shop: Shop) -> None:
    where = (shop.slug, "production")
    assert "Nothing to change" in cli("windows", "set", *where, status=2).err
    assert "not both" in cli("windows", "set", *where, "--always", "--window", "mon 08:00-09:00", status=2).err
    assert "is not like mon-fri" in cli("windows", "set", *where, "--window", "now", status=2).err
    assert "There is no time zone" in cli("windows", "set", *where, "--time-zone", "Atlantis", status=2).err
    assert "no freeze in force" in cli("windows", "unfreeze", *where, status=1).err


def test_a_deployment_in_a_freeze_waits_and_is_told(cli: Cli, shop: Shop, tokens: dict[str, str]) -> None:
    where = (shop.slug, "production")
    assert "closed: Frozen: Fair" in cli("windows", "freeze", *where, "--reason", "Fair").out
    for how in ([], ["--no-follow"]):
        waits = cli("deploy", *where, *how, status=5)
        assert "is waiting." in waits.out
        assert (waits.out + waits.err).count("Frozen: Fair. It waits until that is lifted.") == 1
    document = cli("deploy", *where, "--json", status=5).json
    assert (document["status"], document["waiting_reason"], document["due_at"]) == ("waiting", "Frozen: Fair", None)
    assert "Frozen: Fair" in cli("deployments", "show", document["id"]).out
    developer = cli.with_environment(DEVFLOW_TOKEN=tokens["deploy"])
    assert "scopes" in developer("deploy", *where, "--override", "I want to", status=6).err
    assert "override_reason" in cli("deploy", *where, "--override", "", status=2).err
    done = cli("deploy", *where, "--override", "Checkout is broken")
    assert "Checkout is broken" in done.out
    assert "success" in done.out
    assert shop.page() == "first"


def test_when_it_begins_is_told_once_and_in_the_zone_of_the_environment(cli: Cli, shop: Shop) -> None:
    where = (shop.slug, "production")
    cli("windows", "set", *where, "--time-zone", "Asia/Tokyo")
    cli("windows", "freeze", *where, "--reason", "Fair", "--until", "2199-12-20 18:00")
    waits = cli("deploy", *where, status=5)
    told = waits.out + waits.err
    assert told.count("It begins ") == 1
    assert "It begins on Fri 2199-12-20 18:00 JST." in told
    assert "commit -" not in told
    waiting = cli("deployments", "list", *where, "--json").json[0]["id"]
    shown = cli("deployments", "show", waiting)
    assert "Fri 2199-12-20 18:00 JST" in shown.out
    assert "No steps yet" in shown.err
    cli("deployments", "cancel", waiting)
    assert "It ended before there was a plan." in cli("deployments", "show", waiting).err
    followed = cli("deployments", "log", "-f", waiting, status=4)
    assert "commit -" not in followed.out


def test_what_waited_goes_on_when_the_freeze_is_lifted(cli: Cli, shop: Shop) -> None:
    where = (shop.slug, "production")
    cli("windows", "freeze", *where, "--reason", "Fair")
    document = cli("deploy", *where, "--json", status=5).json
    assert cli("windows", "unfreeze", *where, "--number", "1", "--json").json["is_open"] is True
    followed = cli("deployments", "log", "-f", document["id"])
    assert "Its window is open." in followed.out
    assert shop.page() == "first"
