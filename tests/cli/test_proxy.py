"""`devflow environments update` for traffic, and `devflow proxy`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli, Shop


def test_settings_of_traffic_and_the_site_file(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    where = (shop.slug, "production")
    assert "not kept by the panel" in cli("proxy", "show", *where).out
    domain = f"{shop.slug}.example.com"
    given = ("--proxy", "nginx", "--domain", domain, "--upload-mb", "7", "--builder", "")
    changed = cli("environments", "update", *where, *given, "--json").json
    assert (changed["proxy"], changed["domains"], changed["upload_mb"], changed["builder"]) == (
        "nginx",
        [domain],
        7,
        "",
    )
    assert f"server_name {domain};" in cli("proxy", "show", *where).out
    template = tmp_path / "site.conf"
    template.write_text("server { listen 81; }\n")
    cli("environments", "update", *where, "--proxy-template", str(template))
    assert cli("proxy", "show", *where, "--json").json["text"] == "server { listen 81; }\n"
    wrong = ("--strategy", "blue-green", "--strategy-option", "drain_seconds=long")
    assert "From 0 to 9999" in cli("environments", "update", *where, *wrong, status=2).err
    cli("environments", "update", *where, "--proxy", "", "--domain", "", "--strategy", "atomic")


def test_the_servers_are_read(cli: Cli, shop: Shop) -> None:
    where = (shop.slug, "production")
    checked = cli("proxy", "check", *where)
    assert "not installed" in checked.err or "not there yet" in checked.out
    assert "No site file that was edited by hand" in cli("proxy", "adopt", *where, "--server", "x", status=1).err
    assert "No site file that was edited by hand" in cli("proxy", "replace", *where, status=1).err
