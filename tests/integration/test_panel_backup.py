"""The panel is backed up, lost with its machine, and made again elsewhere; it goes on deploying."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devflow.embedded import running_url
from tests.support.gitrepo import GitRepository
from tests.support.panel import Panel, wait_until
from tests.support.panel_user import PanelUser
from tests.support.vps import Vps

pytestmark = pytest.mark.timeout(180)

PASSPHRASE = "correct horse battery staple"
CANARY = "canary-5f1c2a"
SITE = "/srv/www/kept"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backup")


@pytest.fixture(scope="module")
def repository(vps: Vps, folder: Path) -> GitRepository:
    repository = GitRepository.on_server(vps, f"/home/{vps.user}/kept.git", folder / "work")
    repository.commit({"index.html": "first"})
    return repository


@pytest.fixture(scope="module")
def panel(folder: Path) -> Iterator[Panel]:
    with Panel(folder / "data") as running:
        running.run("admin", "create-user", "--email", "ada@example.test", "--password-stdin", stdin="lovelace 1815\n")
        yield running


@pytest.fixture(scope="module")
def token(panel: Panel, vps: Vps, repository: GitRepository) -> str:
    """A token of a panel with a site that was deployed twice, and a secret."""
    made = panel.run("admin", "create-token", "--email", "ada@example.test", "--scopes", "read,deploy,admin")
    token = made.stdout.strip()
    user = PanelUser(panel.url, token)
    given = {"host": vps.host, "port": vps.port, "user": vps.user, "host_key": vps.host_key}
    user.post("servers", name="web1", private_key=vps.private_key, **given)
    user.post("projects", slug="kept", name="Kept", repository=repository.path, recipe="static")
    user.post("projects/kept/environments", name="production", branch="main", servers=["web1"], root=SITE)
    user.post("projects/kept/environments/production/variables", values={"SECRET": CANARY})
    for page in ("first", "second"):
        repository.commit({"index.html": page})
        assert user.deploy("kept")["status"] == "success"
    return token


@pytest.fixture(scope="module")
def backup(panel: Panel, token: str, folder: Path) -> Path:
    file = folder / "panel.backup"
    done = panel.run("admin", "backup", str(file), "--passphrase-stdin", stdin=PASSPHRASE + "\n")
    assert done.returncode == 0, done.stderr
    return file


def restored(folder: Path, name: str, file: Path, passphrase: str = PASSPHRASE) -> tuple[Panel, Any]:
    panel = Panel(folder / name / "data")
    (folder / name).mkdir(exist_ok=True)
    return panel, panel.run("admin", "restore", str(file), "--passphrase-stdin", stdin=passphrase + "\n")


def served(vps: Vps) -> str:
    return vps.run(f"cat {SITE}/current/index.html").stdout


def test_the_file_is_private_and_tells_nothing(panel: Panel, backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    content = backup.read_bytes()
    key = (panel.data_dir / "master.key").read_text().split()[-1]
    for secret in (CANARY, key, PASSPHRASE, "ada@example.test", "kept"):
        assert secret.encode() not in content, secret
    with zipfile.ZipFile(backup) as archive:
        assert "devflow admin restore" in archive.read("README.txt").decode()
        assert all(name.endswith(".age") or name == "README.txt" for name in archive.namelist())


def test_the_machine_is_lost_and_the_panel_goes_on_elsewhere(
    panel: Panel, token: str, backup: Path, folder: Path, vps: Vps, repository: GitRepository
) -> None:
    other, done = restored(folder, "elsewhere", backup)
    assert done.returncode == 0, done.stderr
    assert (other.data_dir / "master.key").read_text().split()[-1] in (panel.data_dir / "master.key").read_text()
    with other:
        user = PanelUser(other.url, token)
        assert [each["status"] for each in user.get("projects/kept/environments/production/deployments")["items"]] == [
            "success",
            "success",
        ]
        repository.commit({"index.html": "from elsewhere"})
        assert user.deploy("kept")["status"] == "success"
        assert served(vps) == "from elsewhere"
        assert CANARY in vps.run(f"cat {SITE}/current/.env").stdout, "the secret is opened by the restored key"
        back = user.post("projects/kept/environments/production/rollback")
        assert user.ended(back["id"])["status"] == "success"
        assert served(vps) == "second", "a release of before the backup"
        assert (
            other.run("admin", "backup", str(folder / "again"), "--passphrase-stdin", stdin=PASSPHRASE).returncode == 0
        )


def test_a_deployment_that_ran_while_it_was_backed_up_is_brought_to_its_end(
    panel: Panel, token: str, folder: Path, vps: Vps, repository: GitRepository
) -> None:
    user = PanelUser(panel.url, token)
    repository.commit({"index.html": "under way"})
    hold = {"phase_commands": {"prepare": ["while [ -e ~/hold ]; do sleep 0.1; done"]}}
    user.ask("PATCH", "projects/kept/environments/production", hold)
    vps.run("touch ~/hold")
    asked = user.post("projects/kept/deploy", environment="production")
    wait_until(lambda: user.get(f"deployments/{asked['id']}")["status"] == "running", 20)
    file = folder / "running.backup"
    done = panel.run("admin", "backup", str(file), "--passphrase-stdin", stdin=PASSPHRASE)
    assert done.returncode == 0, done.stderr
    panel.stop()
    vps.run("rm ~/hold")

    other, done = restored(folder, "later", file)
    assert done.returncode == 0, done.stderr
    with other:
        assert PanelUser(other.url, token).ended(asked["id"])["status"] == "success"
        assert served(vps) == "under way"
    panel.start()


def test_what_is_there_is_never_overwritten(panel: Panel, backup: Path, folder: Path) -> None:
    refused = panel.run("admin", "restore", str(backup), "--passphrase-stdin", stdin=PASSPHRASE)
    assert refused.returncode == 1
    assert "running on" in refused.stderr
    panel.stop()
    refused = panel.run("admin", "restore", str(backup), "--passphrase-stdin", stdin=PASSPHRASE)
    panel.start()
    assert refused.returncode == 1
    assert "There is a panel already" in refused.stderr


def test_a_panel_that_does_not_run_is_backed_up_too(panel: Panel, token: str, folder: Path) -> None:
    panel.stop()
    done = panel.run("admin", "backup", str(folder / "cold"), "--passphrase-stdin", stdin=PASSPHRASE)
    assert done.returncode == 0, done.stderr
    panel.start()
    with zipfile.ZipFile(folder / "cold") as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize(
    ("passphrase", "cut", "words"),
    [
        ("another passphrase", 0, "does not open this backup"),
        (PASSPHRASE, 2000, "no backup of the panel, or is cut off"),
    ],
)
def test_a_wrong_passphrase_and_half_a_file(backup: Path, folder: Path, passphrase: str, cut: int, words: str) -> None:
    file = folder / f"half-{cut}"
    content = backup.read_bytes()
    file.write_bytes(content[: len(content) - cut])
    panel, done = restored(folder, f"never-{cut}", file, passphrase)
    assert done.returncode == 1
    assert words in done.stderr
    assert not (panel.data_dir / "postgres").exists()
    assert not (panel.data_dir / "master.key").exists()


def test_a_byte_that_was_changed_is_noticed(backup: Path, folder: Path) -> None:
    file = folder / "changed"
    content = bytearray(backup.read_bytes())
    with zipfile.ZipFile(backup) as archive:
        at = archive.getinfo("database.dump.age").header_offset
    content[at + 5000] ^= 1
    file.write_bytes(content)
    panel, done = restored(folder, "changed-panel", file)
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert not (panel.data_dir / "restoring").exists()
    assert not (panel.data_dir / "postgres").exists()
    assert not (panel.data_dir / "master.key").exists()


def test_killed_in_the_middle_it_may_be_run_again(backup: Path, folder: Path, token: str) -> None:
    home = folder / "killed"
    home.mkdir()
    panel = Panel(home / "data")
    for pause in (0.3, 0.9, 1.5):
        process = subprocess.Popen(
            panel.command("admin", "restore", str(backup), "--passphrase-stdin"),
            env=panel.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(f"{PASSPHRASE}\n".encode())
        process.stdin.close()
        time.sleep(pause)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if not (panel.data_dir / "postgres").exists():
        done = panel.run("admin", "restore", str(backup), "--passphrase-stdin", stdin=PASSPHRASE)
        assert done.returncode == 0, done.stderr
    with panel:
        assert len(PanelUser(panel.url, token).get("projects/kept/environments/production/deployments")["items"]) == 2


def test_into_an_external_database(backup: Path, folder: Path, panel: Panel, token: str) -> None:
    server = running_url(panel.data_dir) or ""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE elsewhere")
    url = server.replace("@/devflow?", "@/elsewhere?")
    (folder / "external").mkdir()
    other = Panel(folder / "external" / "data", DATABASE_URL=url)
    done = other.run("admin", "restore", str(backup), "--passphrase-stdin", stdin=PASSPHRASE)
    assert done.returncode == 0, done.stderr
    again = other.run("admin", "restore", str(backup), "--passphrase-stdin", stdin=PASSPHRASE)
    assert (again.returncode, "not empty" in again.stderr) == (1, True)
    with other:
        assert PanelUser(other.url, token).get("projects/kept")["slug"] == "kept"


def test_without_a_passphrase_or_with_a_short_one(panel: Panel, folder: Path) -> None:
    for given, words in (("", "12 characters"), ("short", "12 characters")):
        done = panel.run("admin", "backup", str(folder / "no"), "--passphrase-stdin", stdin=given)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    done = panel.run("admin", "backup", str(folder / "no"))
    assert (done.returncode, "--passphrase-stdin" in done.stderr) == (1, True)
    assert not (folder / "no").exists()


def test_a_folder_that_cannot_be_written(panel: Panel) -> None:
    done = panel.run("admin", "backup", "/proc/no/panel.backup", "--passphrase-stdin", stdin=PASSPHRASE)
    assert done.returncode == 1
    assert "/proc/no" in done.stderr
    assert done.stderr == "devflow: /proc/no/panel.backup: No such file or directory.\n"


def test_what_is_no_file_is_refused_and_left_as_it_is(panel: Panel, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "no-room").symlink_to("/dev/full")
    for given in ("", str(folder), str(folder / "fifo"), str(folder / "no-room")):
        done = panel.run("admin", "backup", given, "--passphrase-stdin", stdin=PASSPHRASE)
        assert (done.returncode, "Give the name of a file" in done.stderr, done.stderr.count("\n")) == (1, True, 1)
    assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)
    assert (folder / "no-room").is_symlink()


def test_two_backups_to_one_file_leave_a_whole_one(panel: Panel, folder: Path) -> None:
    abandoned, going_on = folder / ".twice.killed.part", folder / ".twice.other.part"
    for part in (abandoned, going_on):
        part.write_bytes(b"x")
    os.utime(abandoned, (0, 0))
    command = panel.command("admin", "backup", str(folder / "twice"), "--passphrase-stdin")
    both = [
        subprocess.Popen(command, env=panel.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdin is not None
        process.stdin.write(f"{PASSPHRASE}\n")
        process.stdin.flush()
    said = [process.communicate(timeout=30)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    with zipfile.ZipFile(folder / "twice") as archive:
        assert archive.testzip() is None
    assert [each.name for each in folder.glob(".twice.*")] == [going_on.name]


def test_the_audit_log_tells_of_it(panel: Panel, backup: Path) -> None:
    with psycopg.connect(running_url(panel.data_dir) or "") as connection:
        found = connection.execute("SELECT target FROM audit_event WHERE action = 'panel.backed_up'").fetchall()
    assert ("panel.backup",) in found


def test_its_key_and_dump_are_read_without_the_panel(backup: Path, folder: Path) -> None:
    """As the README in the file says, with the format's own library in place of its program."""
    import pyrage

    with zipfile.ZipFile(backup) as archive:
        identity = pyrage.passphrase.decrypt(archive.read("identity.age"), PASSPHRASE).decode()
        opened = [pyrage.x25519.Identity.from_str(identity)]
        manifest = json.loads(pyrage.decrypt(archive.read("manifest.json.age"), opened))
        dump = pyrage.decrypt(archive.read("database.dump.age"), opened)
    assert manifest["format"] == 1
    assert dump.startswith(b"PGDMP")
