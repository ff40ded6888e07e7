"""`devflow containers` and the streams of logs: the whole panel, as a person uses it, with a server that has Docker."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.cli.conftest import ADMIN, Cli
from tests.support.panel import Panel, wait_until
from tests.support.vps import Vps

TALK = """\
import time
print("the token is s3cret-mail-word", flush=True)
for n in range(9999):
    print("line", n, flush=True)
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def cli(vps_docker: Vps, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The administrator of a panel with the server `box` and an environment there, whose container `talker` runs; that
    called `foreign` is somebody else's."""
    folder = tmp_path_factory.mktemp("containers")
    (folder / "home").mkdir()
    (folder / "key").write_text(vps_docker.private_key)
    with Panel(folder / "data") as panel:
        panel.run("admin", "create-user", "--email", ADMIN, "--password-stdin", stdin="correct horse battery\n")
        token = panel.run("admin", "create-token", "--email", ADMIN, "--scopes", "admin").stdout.strip()
        made = Cli(folder / "home", {"DEVFLOW_URL": panel.url, "DEVFLOW_TOKEN": token})
        where = ("--host", vps_docker.host, "--port", str(vps_docker.port), "--user", vps_docker.user)
        made("servers", "add", "box", *where, "--key-file", str(folder / "key"))
        made("projects", "add", "shop", "--repository", "/srv/git/none.git", "--recipe", "static")
        root = f"/home/{vps_docker.user}/shop"
        made("environments", "add", "shop", "production", "--branch", "main", "--server", "box", "--root", root)
        made("variables", "set", "shop", "production", "MAIL_PASSWORD", stdin="s3cret-mail-word")
        environment = UUID(made("environments", "show", "shop", "production", "--json").json["id"]).hex
        vps_docker.put(TALK, "/tmp/talk.py")
        label = f"--label devflow.environment={environment}"
        mount = "-v /tmp/talk.py:/talk.py devflow-base python3 /talk.py"
        vps_docker.run(f"docker run -d --init --name talker {label} -e WORD=s3cret-mail-word -e MODE=live {mount}")
        vps_docker.run("docker run -d --init --name foreign devflow-base sleep 9999")
        try:
            yield made
        finally:
            vps_docker.run("docker ps -aq | xargs -r docker rm -f >/dev/null")


def test_containers_are_listed_and_inspected(cli: Cli) -> None:
    rows = {row["name"]: row for row in cli("containers", "list", "box", "--json").json}
    assert rows["talker"]["owner"]["words"] == "shop production"
    assert rows["talker"]["role"] == "live"
    assert rows["foreign"]["owner"]["words"] == "not ours"
    table = cli("containers", "list", "box").out
    assert "talker" in table
    assert "shop production" in table
    shown = cli("containers", "inspect", "box", "talker").out
    assert "WORD=***" in shown
    assert "MODE=live" in shown
    assert "s3cret" not in shown
    assert "There is no container" in cli("containers", "inspect", "box", "nothing", status=1).err


def test_the_last_lines_of_a_log_are_printed(cli: Cli) -> None:
    out = cli("containers", "logs", "box", "talker", "--tail", "2000").out
    assert "the token is ***" in out
    assert "line 1\n" in out
    assert "s3cret" not in out
    document = cli("containers", "logs", "box", "talker", "--tail", "3", "--json").json
    assert document["container"] == "talker"
    assert document["log"].count("\n") == 3
    assert "leave one out" in cli("containers", "logs", "box", "talker", "-f", "--json", status=2).err


def test_a_log_is_followed_live_and_ends_with_the_one_who_looks(cli: Cli, vps_docker: Vps) -> None:
    with cli.start("containers", "logs", "box", "talker", "--follow", "--tail", "1") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(30)]
        numbers = [int(line.removeprefix("line ")) for line in lines[-20:]]
        assert numbers == list(range(numbers[0], numbers[0] + 20)), "no line twice, none missing"
        assert vps_docker.run("pgrep -cf 'docker logs'").stdout.strip() != "0"
    wait_until(
        lambda: vps_docker.run("pgrep -f 'docker logs'", check=False).returncode != 0, 40, what=lambda: "follows"
    )


def test_what_serves_is_stopped_only_when_that_is_confirmed(cli: Cli) -> None:
    assert "It is running." in cli("containers", "restart", "box", "talker").out
    assert "Confirm that it is to be stopped" in cli("containers", "stop", "box", "talker", status=1).err
    assert "It is exited" in cli("containers", "stop", "box", "talker", "--yes").out
    assert cli("containers", "start", "box", "talker", "--json").json["state"] == "done"


def test_images_volumes_and_networks_are_listed(cli: Cli) -> None:
    images = cli("containers", "images", "box", "--json").json
    assert any("devflow-base:latest" in each["tags"] for each in images)
    assert "not ours" in cli("containers", "images", "box").out
    cli("containers", "volumes", "box")
    assert "bridge" in cli("containers", "networks", "box").out


def test_a_clean_up_shows_first_and_leaves_what_is_not_ours(cli: Cli, vps_docker: Vps) -> None:
    vps_docker.run("docker create --name ended devflow-base true")
    assert "nothing to remove" in cli("containers", "prune", "box", "--yes").err
    assert cli("containers", "prune", "box", "--dry-run", "--json").json["items"] == []
    vps_docker.run("docker rm ended")


def test_a_budget_is_set_and_shown(cli: Cli) -> None:
    assert "of 1 MB" in cli("containers", "disk", "shop", "--budget", "1").out
    assert cli("containers", "disk", "shop", "--budget", "0", "--json").json["is_over"] is False


def test_a_stream_is_for_who_may_see_it(cli: Cli, tmp_path: Path) -> None:
    panel = cli.environment["DEVFLOW_URL"]
    request = urllib.request.Request(f"{panel}/api/v1/container-logs/{'0' * 8}-0000-7000-8000-{'0' * 12}/events")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 401
    assert json.loads(refused.value.read())["status"] == 401
    refused.value.close()
    request.add_header("Authorization", f"Bearer {cli.environment['DEVFLOW_TOKEN']}")
    with pytest.raises(urllib.error.HTTPError) as missing:
        urllib.request.urlopen(request)
    assert missing.value.code == 404
    missing.value.close()
