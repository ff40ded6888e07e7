"""devflow-run, run for real on this machine: started once, followed from anywhere, ended for sure."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devflow.core.errors import ConnectError, RemoteError
from devflow.remote import run
from devflow.remote.run import INTERRUPTED, Follower, NotInstalledError
from devflow.remote.transport import LocalConnection

DEPLOYMENT = f"d{os.getpid()}"  # runs are known by name, and other processes run these tests at the same time
RUN = f"{DEPLOYMENT}-s1-1-preflight"


def script(body: str, run_id: str = RUN) -> str:
    """A script as the engine renders it, with the least that devflow-run needs."""
    return f"""\
run=$HOME/.devflow/runs/{run_id}
echo "$$" >"$run/pgid"
cat /proc/sys/kernel/random/boot_id >"$run/boot_id"
export DEVFLOW_RUN={run_id}
ended() {{ echo "$1" >"$run/rc"; exit "$1"; }}
{body}
ended 0
#end
"""


async def read(follower: Follower) -> tuple[bytes, int]:
    try:
        return b"".join([chunk async for chunk in follower.chunks()]), await follower.exit_code()
    finally:
        follower.close()


async def start(connection: LocalConnection, body: str, *, run_id: str = RUN, offset: int = 0) -> tuple[bytes, int]:
    return await read(await run.follow(connection, "here", run_id, offset, script(body, run_id)))


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def folder(home: Path, run_id: str = RUN) -> Path:
    return home / ".devflow" / "runs" / run_id


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def devflow_run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a person types it on the server."""
    program = home / ".devflow" / "bin" / "devflow-run"
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=30, check=False)


def status(home: Path, run_id: str = RUN) -> str:
    return devflow_run(home, "status", run_id).stdout.strip()


# --- starting and following -------------------------------------------------------------------------------------------


async def test_a_run_to_its_end(connection: LocalConnection, home: Path) -> None:
    assert await start(connection, "echo one; echo two >&2; ended 3") == (b"one\ntwo\n", 3)
    assert status(home) == "ended 3"
    assert folder(home).stat().st_mode & 0o077 == 0


async def test_a_second_start_only_follows(connection: LocalConnection, home: Path) -> None:
    body = 'echo once; echo x >>"$HOME/count"'
    assert await start(connection, body) == await start(connection, body) == (b"once\n", 0)
    assert (home / "count").read_text() == "x\n"


async def test_of_many_starts_at_once_one_starts_and_all_follow(connection: LocalConnection, home: Path) -> None:
    body = 'echo begun; echo x >>"$HOME/count"; sleep 0.3; echo done'
    answers = await asyncio.gather(*(start(connection, body) for _ in range(6)))
    assert answers == [(b"begun\ndone\n", 0)] * 6
    assert (home / "count").read_text() == "x\n"
    assert not list((home / ".devflow" / "runs").glob(".new*"))


@pytest.mark.parametrize("offset", [0, 1, 4, 8, 100])
async def test_following_from_any_byte(connection: LocalConnection, offset: int) -> None:
    await start(connection, "echo one; echo two")
    assert await start(connection, "", offset=offset) == (b"one\ntwo\n"[offset:], 0)


async def test_a_run_goes_on_when_nobody_follows(connection: LocalConnection, home: Path) -> None:
    body = 'echo one; until [ -f "$HOME/go" ]; do sleep 0.02; done; echo two'
    follower = await run.follow(connection, "here", RUN, 0, script(body))
    assert await anext(aiter(follower.chunks())) == b"one\n"
    follower.close()
    (home / "go").touch()
    assert await start(connection, body, offset=4) == (b"two\n", 0)


async def test_a_follower_that_breaks_off_does_not_end_the_run(connection: LocalConnection, home: Path) -> None:
    body = 'until [ -f "$HOME/go" ]; do sleep 0.02; done; echo done'
    follower = await run.follow(connection, "here", RUN, 0, script(body))
    await eventually((folder(home) / "boot_id").exists)
    tail = subprocess.run(["pgrep", "-f", f"tail .*{folder(home)}/log"], capture_output=True, text=True, check=False)
    for pid in tail.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    with pytest.raises(ConnectError, match="broke off"):
        await read(follower)
    (home / "go").touch()
    assert await start(connection, body) == (b"done\n", 0)


async def test_much_output_arrives_whole(connection: LocalConnection) -> None:
    journal, code = await start(connection, "seq 1 100000")
    assert (journal, code) == ("".join(f"{number}\n" for number in range(1, 100_001)).encode(), 0)


async def test_what_is_printed_arrives_while_the_run_goes_on(connection: LocalConnection, home: Path) -> None:
    follower = await run.follow(
        connection, "here", RUN, 0, script('echo now; until [ -f "$HOME/go" ]; do sleep 0.02; done')
    )
    assert await anext(aiter(follower.chunks())) == b"now\n"
    assert status(home).startswith("running ")
    (home / "go").touch()
    assert (await read(follower))[1] == 0


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_an_incomplete_script_is_refused(connection: LocalConnection, home: Path) -> None:
    whole = script("echo ran")
    for part in ("", whole[:40], whole[: -len("#end\n")], whole[:-3]):
        with pytest.raises(ConnectError, match="incomplete") as refused:
            await read(await run.follow(connection, "here", RUN, 0, part))
        assert refused.value.transient
    assert status(home) == "absent"
    assert list((home / ".devflow" / "runs").iterdir()) == []
    assert await start(connection, "echo ran") == (b"ran\n", 0)


async def test_what_was_taken_back_is_not_begun_any_more(connection: LocalConnection, home: Path) -> None:
    await start(connection, "echo undone", run_id=f"{DEPLOYMENT}-s1-undo")
    assert await start(connection, "echo ran") == (b"", INTERRUPTED)
    assert not folder(home).exists()
    assert await start(connection, "echo again", run_id=f"{DEPLOYMENT}-s1-undo-again") == (b"again\n", 0)
    assert await start(connection, "echo ran", run_id=f"{DEPLOYMENT}x-s1-1-preflight") == (b"ran\n", 0)


@pytest.mark.parametrize("word", ["../x", "a b", "", "a/b", "$(id)", "a;b", "ä"])
async def test_ids_are_never_paths(connection: LocalConnection, home: Path, word: str) -> None:
    for command in ("start", "status", "kill", "log"):
        done = devflow_run(home, command, word)
        assert (done.returncode, done.stderr) == (97, f"devflow-run: not a run id: {word}\n")


async def test_without_devflow_run_the_panel_is_told_to_install_it(home: Path) -> None:
    with pytest.raises(NotInstalledError):
        await start(LocalConnection(), "echo ran")


async def test_a_home_that_cannot_be_written_is_explained(home: Path) -> None:
    (home / ".devflow").write_text("in the way")
    with pytest.raises(RemoteError, match=r"here did not run the panel's script|cannot be written"):
        await run.install(LocalConnection(), "here")


async def test_a_folder_for_runs_that_cannot_be_written_is_explained(connection: LocalConnection, home: Path) -> None:
    (home / ".devflow" / "runs").rmdir()
    (home / ".devflow" / "runs").write_text("in the way")
    with pytest.raises(RemoteError, match="home folder of the login user on here cannot be written"):
        await start(connection, "echo ran")
    (home / ".devflow" / "runs").unlink()
    (home / ".devflow" / "runs").mkdir()


# --- ending -----------------------------------------------------------------------------------------------------------


async def test_kill_ends_all_processes(connection: LocalConnection, home: Path) -> None:
    body = 'sleep 60 & echo $! >>"$HOME/pids"; setsid sh -c \'echo $$ >>"$HOME/pids"; exec sleep 60\' & sleep 60'
    following = asyncio.create_task(start(connection, body))
    await eventually(lambda: (home / "pids").exists() and len((home / "pids").read_text().split()) == 2)
    leader = int((folder(home) / "pgid").read_text())
    await run.kill(connection, "here", RUN)
    pids = [leader, *map(int, (home / "pids").read_text().split())]
    assert [pid for pid in pids if is_alive(pid)] == []
    assert (await following)[1] == INTERRUPTED
    assert status(home) == "interrupted"
    assert not (folder(home) / "script").exists()


async def test_kill_ends_what_ignores_it(connection: LocalConnection, home: Path) -> None:
    following = asyncio.create_task(start(connection, "trap '' TERM; echo ready; while :; do sleep 0.1; done"))
    await eventually(lambda: (folder(home) / "log").exists() and (folder(home) / "log").read_text() == "ready\n")
    leader = int((folder(home) / "pgid").read_text())
    await run.kill(connection, "here", RUN)
    assert not is_alive(leader)
    assert (await following)[1] == INTERRUPTED


async def test_a_run_that_was_killed_before_it_began_never_begins(connection: LocalConnection, home: Path) -> None:
    await run.kill(connection, "here", RUN)
    assert await start(connection, 'touch "$HOME/ran"') == (b"", 143)
    assert not (home / "ran").exists()


async def test_kill_leaves_what_a_run_that_ended_started_on_purpose(connection: LocalConnection, home: Path) -> None:
    await start(connection, 'sleep 60 >/dev/null 2>&1 & echo $! >"$HOME/service"')
    service = int((home / "service").read_text())
    try:
        await run.kill(connection, "here", RUN)
        assert is_alive(service)
        assert status(home) == "ended 0"
    finally:
        os.kill(service, signal.SIGKILL)


async def test_killing_twice_and_nothing_is_no_error(connection: LocalConnection) -> None:
    await start(connection, "echo ran")
    for run_id in (RUN, RUN, "never-was"):
        await run.kill(connection, "here", run_id)


async def test_kill_installs_devflow_run_where_it_is_missing(home: Path) -> None:
    await run.kill(LocalConnection(), "here", RUN)
    assert (home / ".devflow" / "bin" / "devflow-run").is_symlink()


async def test_a_run_whose_leader_was_shot_is_interrupted_and_swept(connection: LocalConnection, home: Path) -> None:
    following = asyncio.create_task(start(connection, 'echo begun; sleep 60 & echo $! >"$HOME/child"; wait'))
    await eventually(lambda: (home / "child").exists() and (home / "child").read_text().strip())
    child = int((home / "child").read_text())
    os.kill(int((folder(home) / "pgid").read_text()), signal.SIGKILL)
    assert await following == (b"begun\n", INTERRUPTED)
    assert not is_alive(child)
    assert await start(connection, "echo again") == (b"begun\n", INTERRUPTED)


async def test_a_run_of_another_boot_is_interrupted(connection: LocalConnection, home: Path) -> None:
    following = asyncio.create_task(start(connection, "echo begun; sleep 60"))
    await eventually(lambda: (folder(home) / "boot_id").exists() and (folder(home) / "boot_id").read_text())
    boot = (folder(home) / "boot_id").read_text()
    (folder(home) / "boot_id").write_text("00000000-0000-0000-0000-000000000000\n")
    assert status(home) == "interrupted"
    await run.kill(connection, "here", RUN)  # a process of this number belongs to somebody else by now
    assert is_alive(int((folder(home) / "pgid").read_text()))
    (folder(home) / "boot_id").write_text(boot)
    await run.kill(connection, "here", RUN)
    await following


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process of nobody's run, which leads a group of its own."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("differs", [1, 2])
async def test_who_has_got_the_number_of_a_run_meanwhile_is_let_alone(
    connection: LocalConnection, home: Path, stranger: int, differs: int
) -> None:
    """After a container was restarted (its first process is another), and where the numbers have gone round."""
    following = asyncio.create_task(start(connection, "echo begun; sleep 60"))
    await eventually(lambda: (folder(home) / "log").exists() and (folder(home) / "log").read_text() == "begun\n")
    leader = int((folder(home) / "pgid").read_text())
    os.kill(leader, signal.SIGKILL)
    assert await following == (b"begun\n", INTERRUPTED)
    birth = [(folder(home) / "boot_id").read_text().strip(), begun_at(1), begun_at(stranger)]
    birth[differs] = str(int(birth[differs]) - 1)
    (folder(home) / "birth").write_text(" ".join(birth) + "\n")
    (folder(home) / "pgid").write_text(f"{stranger}\n")
    assert status(home) == "interrupted"
    await run.kill(connection, "here", RUN)
    assert is_alive(stranger)
    async with asyncio.timeout(10):
        assert await start(connection, "") == (b"begun\n", INTERRUPTED)
    assert is_alive(stranger)


def begun_at(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


async def test_what_is_left_of_a_run_whose_leader_is_gone_is_its_own(connection: LocalConnection, home: Path) -> None:
    """Nobody gets the number of the leader as long as anybody is in its group."""
    following = asyncio.create_task(start(connection, 'env -i sleep 60 & echo $! >"$HOME/child"; wait'))
    await eventually(lambda: (home / "child").exists() and (home / "child").read_text().strip())
    child = int((home / "child").read_text())
    os.kill(int((folder(home) / "pgid").read_text()), signal.SIGKILL)
    await following
    assert not is_alive(child)


async def test_a_start_that_was_killed_leaves_no_script(connection: LocalConnection, home: Path, stranger: int) -> None:
    runs = home / ".devflow" / "runs"
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = {name: runs / f".new.{name}-s1-1-forward.{pid}" for name, pid in {"d1": gone.pid, "d2": stranger}.items()}
    old = runs / f".new.d3-s1-1-forward.{stranger}"
    for each in (*left.values(), old):
        each.mkdir()
        (each / "script").write_text("KEY=secret\n")
    os.utime(old, (0, 0))
    assert await start(connection, "echo ran") == (b"ran\n", 0)
    assert [path.name for path in runs.glob(".new.*")] == [left["d2"].name], "that of a live writer stays"


async def test_what_the_next_deployment_has_ended_is_told(connection: LocalConnection, home: Path) -> None:
    following = asyncio.create_task(start(connection, "printf begun; sleep 60"))
    await eventually(lambda: status(home).startswith("running"))
    await eventually(lambda: (folder(home) / "log").read_text() == "begun")
    assert devflow_run(home, "kill", RUN, "d2").returncode == 0
    assert devflow_run(home, "kill", RUN, "d3").returncode == 0
    assert status(home) == "interrupted by d2"
    assert devflow_run(home, "list").stdout == f"{RUN}  interrupted by d2\n"
    told = "begun\nInterrupted: the deployment d2 came after it, and ended what was left of it.\n"
    assert devflow_run(home, "log", RUN).stdout == told
    assert (await following)[1] == INTERRUPTED
    assert await start(connection, "") == (told.encode(), INTERRUPTED)


# --- what is left behind ---------------------------------------------------------------------------------------------


@pytest.fixture
def old_runs(connection: LocalConnection, home: Path) -> Iterator[list[Path]]:
    """260 runs that ended two days ago, a second between them, the oldest first."""
    ended = time.time() - 2 * 86400
    made = [folder(home, f"old-{number}-s1-1-forward") for number in range(260)]
    for number, one in enumerate(made):
        one.mkdir()
        (one / "log").write_text("x\n")
        (one / "rc").write_text("0\n")
        os.utime(one, (ended + number, ended + number))
    yield made
    for one in made:
        shutil.rmtree(one, ignore_errors=True)


async def test_of_many_runs_the_newest_are_kept(connection: LocalConnection, home: Path, old_runs: list[Path]) -> None:
    (old_runs[3] / "script").touch()  # it goes on, or has to be ended
    of_today = time.time() - 3600
    os.utime(old_runs[3], (of_today - 3 * 86400,) * 2)
    for one in old_runs[10:15]:
        os.utime(one, (of_today, of_today))
    assert await start(connection, "echo one") == (b"one\n", 0)
    newest = [*old_runs[10:15], *old_runs[-194:]]  # with the run itself 200
    await eventually(lambda: not old_runs[0].exists() and not old_runs[-195].exists())
    await eventually(lambda: [one for one in old_runs if one.exists()] == [old_runs[3], *newest])
    assert status(home) == "ended 0"


async def test_runs_of_the_last_day_are_kept_however_many_they_are(
    connection: LocalConnection, home: Path, old_runs: list[Path]
) -> None:
    for one in old_runs:
        os.utime(one)
    await start(connection, "echo one")
    assert devflow_run(home, "tidy").returncode == 0
    assert all(one.exists() for one in old_runs)


@pytest.fixture
def mirror(home: Path) -> Path:
    """A bare repository of one pack, with 3,000 single objects, and a commit that no branch has any more."""
    made = home / ".devflow" / "repos" / "shop.git"
    git("init", "-q", "--bare", str(made))
    in_mirror = ["--git-dir", str(made)]
    tree = git(*in_mirror, "mktree", given="")
    commit = ["-c", "user.name=Ada", "-c", "user.email=ada@example.test", *in_mirror, "commit-tree", tree, "-m"]
    git(*in_mirror, "update-ref", "refs/devflow/main", git(*commit, "of main"))
    git(*in_mirror, "repack", "-a", "-d", "-q")
    files = home / "files"
    files.mkdir()
    for number in range(3000):
        (files / str(number)).write_text(f"{number}\n")
    git(*in_mirror, "hash-object", "-w", "--stdin-paths", given="\n".join(map(str, files.iterdir())))
    (made / "lost").write_text(git(*commit, "of nobody"))
    return made


def git(*words: str, given: str | None = None) -> str:
    return subprocess.run(["git", *words], input=given, capture_output=True, text=True, check=True).stdout.strip()


def loose(mirror: Path) -> int:
    return int(git("--git-dir", str(mirror), "count-objects").split()[0])


async def test_many_objects_of_a_mirror_become_one_pack(connection: LocalConnection, mirror: Path) -> None:
    pack = mirror / "objects" / "pack"
    for name, days in (("tmp_pack_left", 2), ("tmp_pack_now", 0)):
        (pack / name).write_text("half")
        os.utime(pack / name, (time.time() - days * 86400,) * 2)
    assert loose(mirror) > 3000
    await start(connection, "echo one")
    await eventually(lambda: loose(mirror) == 0 and list(pack.glob("*.pack")))
    assert len(list(pack.glob("*.pack"))) == 1
    assert (pack / "tmp_pack_now").exists()
    assert not (pack / "tmp_pack_left").exists()
    in_mirror = ["--git-dir", str(mirror)]
    assert git(*in_mirror, "fsck", "--full", "--no-dangling") == ""
    assert git(*in_mirror, "cat-file", "-t", (mirror / "lost").read_text()) == "commit"
    assert git(*in_mirror, "log", "-1", "--format=%s", "refs/devflow/main") == "of main"


async def test_a_mirror_is_packed_only_where_there_is_room(
    connection: LocalConnection, home: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """df says what a nearly full disk would."""
    tools = home / "tools"
    tools.mkdir()
    (tools / "df").write_text("#!/bin/sh\necho Filesystem 1024-blocks Used Available; echo disk 9000 8000 1000 89% /\n")
    (tools / "df").chmod(0o755)
    before = loose(mirror)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        devflow_run(home, "tidy")
    assert loose(mirror) == before
    devflow_run(home, "tidy")
    assert loose(mirror) == 0


async def test_two_who_tidy_at_once(
    connection: LocalConnection, home: Path, mirror: Path, old_runs: list[Path]
) -> None:
    await asyncio.gather(*(asyncio.to_thread(devflow_run, home, "tidy") for _ in range(4)))
    assert loose(mirror) == 0
    assert git("--git-dir", str(mirror), "fsck", "--full", "--no-dangling") == ""
    assert [one for one in old_runs if one.exists()] == old_runs[-200:]


# --- by hand, on the server -------------------------------------------------------------------------------------------


async def test_list_log_and_status(connection: LocalConnection, home: Path) -> None:
    await start(connection, "echo one", run_id="first")
    await start(connection, "echo two; ended 4", run_id="second")
    assert sorted(devflow_run(home, "list").stdout.splitlines()) == ["first  ended 0", "second  ended 4"]
    assert devflow_run(home, "log", "second").stdout == "two\n"
    assert devflow_run(home, "status", "third").stdout == "absent\n"


async def test_help(connection: LocalConnection, home: Path) -> None:
    done = devflow_run(home)
    assert done.returncode == 97
    assert "rollback SITE" in done.stderr
    assert "set -u" not in done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site with three releases, of which the newest serves."""
    site = tmp_path / "srv" / "it's a shop"
    (site / ".devflow").mkdir(parents=True)
    (site / "shared" / ".env.d").mkdir(parents=True)
    for name in ("r1", "r2", "r3"):
        (site / "releases" / name).mkdir(parents=True)
        (site / "shared" / ".env.d" / name).write_text(f"RELEASE={name}\n")
    (site / "current").symlink_to("releases/r3")
    (site / "shared" / ".env").symlink_to(".env.d/r3")
    return site


async def test_rollback_by_hand(connection: LocalConnection, home: Path, site: Path) -> None:
    (site / ".devflow" / "reload").write_text('pwd >"$HOME/reloaded"\n')
    done = devflow_run(home, "rollback", str(site))
    assert (done.returncode, done.stdout) == (0, "Release r2 serves now (before: r3).\n")
    assert str((site / "current").readlink()) == "releases/r2"
    assert (site / "shared" / ".env").read_text() == "RELEASE=r2\n"
    assert (home / "reloaded").read_text() == f"{site}/releases/r2\n"
    devflow_run(home, "rollback", str(site), "r3")
    assert str((site / "current").readlink()) == "releases/r3"


async def test_a_rollback_by_hand_passes_over_what_was_never_finished(
    connection: LocalConnection, home: Path, site: Path
) -> None:
    (site / ".devflow" / "making.d9").write_text("r2\n")
    assert devflow_run(home, "rollback", str(site)).stdout == "Release r1 serves now (before: r3).\n"


async def test_no_rollback_between_colours(connection: LocalConnection, home: Path, site: Path) -> None:
    await run.install(connection, "here")
    (site / ".devflow" / "live").write_text("blue r2\n")
    said = devflow_run(home, "rollback", str(site)).stderr
    assert "which only the panel switches. What serves: blue r2. On standby: nothing." in said
    assert said.strip().endswith("devflow rollback PROJECT ENVIRONMENT")
    (site / ".devflow" / "standby").write_text("green r1\n")
    assert "On standby: green r1." in devflow_run(home, "rollback", str(site)).stderr


async def test_rollback_to_a_time_before_the_panels_variables(
    connection: LocalConnection, home: Path, site: Path
) -> None:
    (site / "shared" / ".env.d" / "r2").unlink()
    (site / "shared" / ".env.before-devflow").write_text("BY=hand\n")
    assert devflow_run(home, "rollback", str(site)).returncode == 0
    assert (site / "shared" / ".env").read_text() == "BY=hand\n"


@pytest.mark.parametrize(
    ("to", "code", "message"),
    [
        (["r9"], 1, "there is no release before r3"),
        (["r9", "x"], 1, "there is no release before r3"),
    ],
)
async def test_no_rollback_to_what_is_not_there(
    connection: LocalConnection, home: Path, site: Path, to: list[str], code: int, message: str
) -> None:
    done = devflow_run(home, "rollback", str(site), *to)
    assert (done.returncode, message in done.stderr) == (code, True)
    assert str((site / "current").readlink()) == "releases/r3"


async def test_no_rollback_while_a_panel_deploys(connection: LocalConnection, home: Path, site: Path) -> None:
    (site / ".devflow" / "lock").write_text("env d9 shop production\n")
    done = devflow_run(home, "rollback", str(site))
    assert (done.returncode, "is locked by: env d9 shop production" in done.stderr) == (1, True)
    assert devflow_run(home, "unlock", str(site)).returncode == 0
    assert devflow_run(home, "rollback", str(site)).returncode == 0


async def test_unlock_where_nothing_was_ever_deployed(connection: LocalConnection, home: Path, tmp_path: Path) -> None:
    (tmp_path / "new" / ".devflow").mkdir(parents=True)
    (tmp_path / "new" / ".devflow" / "lock").write_text("env d9 shop production\n")
    assert devflow_run(home, "unlock", str(tmp_path / "new")).returncode == 0
    assert not (tmp_path / "new" / ".devflow" / "lock").exists()


@pytest.mark.parametrize("site_name", ["relative", "", "/nowhere", "/tmp"])
async def test_folders_that_no_panel_deploys_to(connection: LocalConnection, home: Path, site_name: str) -> None:
    for command in ("rollback", "unlock"):
        assert devflow_run(home, command, site_name).returncode in (1, 2)
