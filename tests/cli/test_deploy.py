"""Deploying, rolling back, cancelling and following by the command line, for real, on this machine."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Shop
from tests.support.panel import Panel, kill_hard, wait_until

pytestmark = pytest.mark.timeout(120)


def slow_down(cli: Cli, shop: Shop, lines: int = 40) -> None:
    """Deployments of the shop take `lines` / 10 seconds, and print a line each tenth."""
    command = f"prepare=for n in $(seq {lines}); do echo line $n; sleep 0.1; done"
    cli("environments", "update", shop.slug, "production", "--command", command)


def start_deployment(cli: Cli, shop: Shop) -> str:
    """The id of a deployment that has printed its first line."""
    deployment: str = cli("deploy", shop.slug, "production", "--no-follow", "--json").json["id"]
    wait_until(lambda: "line 1\n" in cli("deployments", "log", deployment).out or None, 20)
    return deployment


def test_deploy_again_and_roll_back(cli: Cli, shop: Shop) -> None:
    first = cli("deploy", shop.slug, "production")
    assert first.out.splitlines()[-1].startswith("success in ")
    assert "local: activate success" in first.out
    assert "\x1b" not in first.out
    assert shop.page() == "first"

    commit = shop.repository.commit({"index.html": "second"})
    second = cli("deploy", shop.slug, "production", "--json").json
    assert (second["status"], second["commit"], second["trigger"]) == ("success", commit, "api")
    assert {step["status"] for step in second["steps"]} <= {"success", "skipped"}
    assert shop.page() == "second"

    releases = cli("environments", "releases", shop.slug, "production", "--json").json
    assert [release["is_current"] for release in releases] == [True, False]
    back = cli("rollback", shop.slug, "production", "--json").json
    assert (back["status"], back["trigger"]) == ("success", "rollback")
    assert shop.page() == "first"
    cli("rollback", shop.slug, "production", "--to", second["id"])
    assert shop.page() == "second"
    assert "current one already" in cli("rollback", shop.slug, "production", "--to", second["id"], status=1).err


def test_what_serves_is_promoted(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    where = ("--branch", "main", "--server", "local", "--root", str(tmp_path / "live"))
    cli("environments", "add", shop.slug, "live", *where)
    assert "serves no commit yet" in cli("promote", shop.slug, "production", "live", status=1).err
    served = cli("deploy", shop.slug, "production", "--json").json["commit"]
    shop.repository.commit({"index.html": "not tried yet"})
    made = cli("promote", shop.slug, "production", "live", "--json").json
    assert (made["status"], made["trigger"], made["commit"]) == ("success", "promotion", served)
    assert (tmp_path / "live/current/index.html").read_text() == "first"
    assert "already" in cli("promote", shop.slug, "production", "live", status=1).err


def test_an_older_commit_is_deployed_by_its_id(cli: Cli, shop: Shop) -> None:
    older = shop.repository.commit({"index.html": "older"})
    shop.repository.commit({"index.html": "newer"})
    assert cli("deploy", shop.slug, "production", "--commit", older, "--json").json["commit"] == older
    assert shop.page() == "older"
    assert "commit" in cli("deploy", shop.slug, "production", "--commit", "HEAD~1", status=2).err


def test_another_branch_is_deployed_for_once(cli: Cli, shop: Shop) -> None:
    head = shop.repository.commit({"index.html": "main"})
    other = shop.repository.commit({"index.html": "try"}, branch="feature/try")
    deployed = cli("deploy", shop.slug, "production", "--branch", "feature/try", "--json").json
    assert (deployed["commit"], deployed["branch"]) == (other, "feature/try")
    assert shop.page() == "try"
    assert cli("deploy", shop.slug, "production", "--json").json["commit"] == head
    assert shop.page() == "main"
    assert "no branch 'gone'" in cli("deploy", shop.slug, "production", "--branch", "gone", status=1).out
    assert "not both" in cli("deploy", shop.slug, "production", "--branch", "x", "--commit", head, status=2).err


def test_a_failed_deployment_is_status_1(cli: Cli, shop: Shop) -> None:
    cli("environments", "update", shop.slug, "production", "--command", "prepare=echo on purpose; exit 9")
    result = cli("deploy", shop.slug, "production", status=1)
    assert "local | on purpose" in result.out
    assert "failed" in result.out.splitlines()[-1]
    assert "/deployments/" in result.err
    document = cli("deploy", shop.slug, "production", "--json", status=1).json
    assert document["error"]
    assert [step["exit_code"] for step in document["steps"] if step["status"] == "failed"] == [9]


def test_a_failed_health_check_is_status_3(cli: Cli, shop: Shop) -> None:
    cli("deploy", shop.slug, "production")
    shop.repository.commit({"index.html": "sick"})
    url = "http://127.0.0.1:9/nobody-listens"
    cli("environments", "update", shop.slug, "production", "--health-url", url, "--health-retries", "0")
    result = cli("deploy", shop.slug, "production", status=3)
    assert "rolled back" in result.out.splitlines()[-1]
    assert shop.page() == "first"


def test_a_cancelled_deployment_is_status_4(cli: Cli, shop: Shop) -> None:
    slow_down(cli, shop, lines=300)
    deployment = start_deployment(cli, shop)
    with cli.start("deployments", "log", "--follow", deployment) as follower:
        assert "taken back" in cli("deployments", "cancel", deployment).out
        out, _ = follower.communicate(timeout=30)
    assert follower.returncode == 4
    assert "cancelled" in out.splitlines()[-1]
    assert not (shop.root / "current").exists()
    assert "ended already" in cli("deployments", "cancel", deployment, status=1).err


def test_a_superseded_deployment_is_status_4(cli: Cli, shop: Shop) -> None:
    slow_down(cli, shop, lines=150)
    start_deployment(cli, shop)
    with cli.start("deploy", shop.slug, "production") as waiting:
        wait_until(lambda: len(cli("deployments", "list", shop.slug, "--json").json) == 2 or None, 20)
        cli("deploy", shop.slug, "production", "--no-follow")
        waiting.communicate(timeout=30)
    assert waiting.returncode == 4


def test_a_stream_goes_on_after_the_web_process_was_killed(cli: Cli, shop: Shop, panel: Panel) -> None:
    slow_down(cli, shop, lines=100)
    with cli.start("deploy", shop.slug, "production") as process:
        assert process.stdout is not None
        seen = [next(process.stdout) for _ in range(8)]
        kill_hard(panel.child("web"))
        out = process.stdout.read()  # communicate() would lose what was read ahead
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    lines = [line for line in "".join([*seen, out]).splitlines() if "| line " in line]
    assert lines == [f"local | line {number}" for number in range(1, 101)]


def test_ctrl_c_leaves_the_deployment_alone(cli: Cli, shop: Shop) -> None:
    slow_down(cli, shop, lines=100)
    with cli.start("deploy", shop.slug, "production") as process:
        assert process.stdout is not None
        next(process.stdout)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "goes on" in err
    assert "Traceback" not in err
    [deployment] = cli("deployments", "list", shop.slug, "--json").json
    assert cli("deployments", "log", "-f", deployment["id"], "--json").json["status"] == "success"


def test_on_a_terminal_steps_are_painted(cli: Cli, shop: Shop, tmp_path: Path) -> None:
    cli(
        "environments",
        "update",
        shop.slug,
        "production",
        "--command",
        r"prepare=printf '\033[32mgreen\033[0m\033]0;x\007\n'",
    )
    typescript = tmp_path / "typescript"
    deploy = [sys.executable, "-P", "-m", "devflow.cli.main", "deploy", shop.slug, "production"]
    with typescript.open("wb") as screen:
        status = run_on_terminal(deploy, {**cli.all_variables(), "TERM": "xterm-256color"}, screen.fileno())
    painted = typescript.read_text()
    assert status == 0, painted
    assert "✓" in painted
    assert "\x1b[32mgreen" in painted
    assert "\x1b]0;" not in painted
    assert "success in" in painted.splitlines()[-1]


def run_on_terminal(command: list[str], environment: dict[str, str], screen: int) -> int:
    """Runs the command on a pseudo-terminal of its own, what it paints goes to `screen`; returns its exit status."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(command, env=environment, stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        while True:
            try:
                painted = os.read(controller, 65536)
            except OSError:  # all ends of the terminal are closed
                break
            os.write(screen, painted)
    os.close(controller)
    return process.returncode


def test_plan_shows_and_does_nothing(cli: Cli, shop: Shop) -> None:
    cli("variables", "set", shop.slug, "production", "SECRET", stdin="hunter2-hunter2")
    shown = cli("plan", shop.slug, "production").out
    assert "activate on local" in shown
    assert "SECRET" in shown
    assert "hunter2" not in shown
    assert cli("plan", shop.slug, "production", "--json").json["recipe"] == "static"
    assert not shop.root.exists()


def test_plan_detects_the_framework_first(cli: Cli, shop: Shop) -> None:
    shop.repository.commit({"package.json": "{}", "index.html": None})
    cli("projects", "update", shop.slug, "--recipe", "")
    assert cli("plan", shop.slug, "production", "--json").json["recipe"] == "node"


def test_deployments_are_listed_shown_and_read(cli: Cli, shop: Shop) -> None:
    slow_down(cli, shop, lines=3)
    deployment = cli("deploy", shop.slug, "production", "--json").json
    listed = cli("deployments", "list", shop.slug, "production").out
    assert deployment["id"] in listed
    assert cli("deployments", "list", "--status", "failed", "--limit", "1", "--json").status == 0
    shown = cli("deployments", "show", deployment["id"]).out
    assert "activate" in shown
    assert "success" in shown
    log = cli("deployments", "log", deployment["id"])
    assert log.out.count("line ") == 3
    assert cli("deployments", "log", deployment["id"], "--json").json["log"] == log.out
    assert "no deployment" in cli("deployments", "show", "nonsense", status=1).err
