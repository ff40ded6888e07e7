"""The audit log on the command line, and an account exported and deleted on the panel's machine."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

from tests.cli.conftest import Cli
from tests.support.panel import Panel


def test_what_was_done_is_listed(cli: Cli) -> None:
    name = f"token-{os.urandom(3).hex()}"
    cli("tokens", "create", name)
    (event,) = cli("audit", "list", "--action", "token", "--text", name, "--json").json
    assert (event["action"], event["target"], event["address"]) == ("token.created", name, "127.0.0.1")
    assert event["user_agent"].startswith("devflow/")
    assert name in cli("audit", "list", "--text", name).out
    assert "No event" in cli("audit", "list", "--text", "nothing-like-this").err
    assert cli("audit", "list", "--since", "yesterday", status=2).err


def test_an_export_is_verified_without_the_panel(cli: Cli, stranger: Cli, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    cli("audit", "export", "-o", str(file))
    assert "The chain is whole" in cli("audit", "verify").out
    assert stranger("audit", "verify", str(file), "--json").json["is_whole"]
    lines = file.read_text().splitlines()
    changed = json.loads(lines[0]) | {"who": "mallory@example.test"}
    file.write_text("\n".join([json.dumps(changed), *lines[1:]]))
    assert "who did it is not what was recorded" in stranger("audit", "verify", str(file), status=1).out
    file.write_text("\n".join(lines[1:]))
    assert "something was removed" in stranger("audit", "verify", str(file), status=1).out
    file.write_text("no json")
    assert "line 1 is no event" in stranger("audit", "verify", str(file), status=2).err
    assert "cannot be read" in stranger("audit", "verify", str(tmp_path / "none"), status=2).err


def test_csv_is_printed(cli: Cli) -> None:
    head, *rows = cli("audit", "export", "--format", "csv", "--action", "token").out.splitlines()
    assert head.startswith("seq,at,who")
    assert rows


def test_an_account_is_exported_and_deleted(panel: Panel, tmp_path: Path) -> None:
    email = f"grace-{os.urandom(3).hex()}@example.test"
    made = panel.run(
        "admin", "create-user", "--email", email, "--team", "team", "--password-stdin", stdin="long enough phrase\n"
    )
    assert made.returncode == 0, made.stderr
    file = tmp_path / "grace.zip"
    exported = panel.run("admin", "export-user", email, "-o", str(file))
    assert exported.returncode == 0, exported.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as archive:
        assert email in archive.read("tables/accounts_user.json").decode()
    deleted = panel.run("admin", "delete-user", email, "--yes")
    assert deleted.returncode == 0, deleted.stderr
    again = panel.run("admin", "delete-user", email, "--yes")
    assert again.returncode != 0
    assert "no user" in again.stderr.lower()


def test_the_only_owner_of_a_team_stays(panel: Panel, cli: Cli) -> None:
    mark = os.urandom(3).hex()
    email = f"owner-{mark}@example.test"
    person = ("admin", "create-user", "--email", email, "--superuser", "--role", "owner", "--team", "team")
    assert panel.run(*person, "--password-stdin", stdin="long enough phrase\n").returncode == 0
    token = ("admin", "create-token", "--email", email, "--scopes", "read,deploy,admin", "--team", "team")
    theirs = cli.with_environment(DEVFLOW_TOKEN=panel.run(*token).stdout.split()[-1])
    theirs("teams", "add", f"Sole {mark}")
    refused = panel.run("admin", "delete-user", email, "--yes")
    assert refused.returncode != 0
    assert "only owner" in refused.stderr
