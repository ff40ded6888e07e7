"""The lock of a site, in real shells."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from importlib.resources import files

import pytest

from devflow.commands import git, lock, releases
from tests.support.gitrepo import GitRepository
from tests.support.machine import ENVIRONMENT_ID, Machine


@pytest.fixture
def locked(machine: Machine) -> Machine:
    machine.run(lock.TAKE, deployment="d1")
    return machine


def holder(machine: Machine) -> str:
    path = machine.root / ".devflow" / "lock"
    return path.read_text() if path.exists() else ""


def test_the_lock_names_its_holder(locked: Machine) -> None:
    assert holder(locked) == f"{ENVIRONMENT_ID} d1 shop production\n"


def test_another_environment_is_refused_with_the_way_out(locked: Machine) -> None:
    ran = locked.run(lock.TAKE, environment_id="0ther")
    assert ran.code == 1
    assert "is locked by another deployment: d1 shop production." in ran.explained
    assert f"~/.devflow/bin/devflow-run unlock {locked.root}" in ran.explained
    assert " d1 " in holder(locked)


def test_a_later_deployment_of_the_environment_takes_it_over(locked: Machine) -> None:
    assert locked.run(lock.TAKE, deployment="d2").code == 0
    assert " d2 " in holder(locked)


def test_only_its_holder_releases_it(locked: Machine) -> None:
    locked.run(lock.RELEASE, deployment="d2")
    assert " d1 " in holder(locked)
    locked.run(lock.RELEASE, deployment="d1")
    assert holder(locked) == ""


def test_logins_to_a_registry_of_a_killed_run_go_with_it(locked: Machine) -> None:
    login = locked.home / ".devflow" / "runs" / "d1-5e5e5e5e-1-forward" / "docker" / "config.json"
    other = locked.home / ".devflow" / "runs" / "d9-5e5e5e5e-1-forward" / "docker" / "config.json"
    for each in (login, other):
        each.parent.mkdir(parents=True)
        each.write_text("{}")
    assert locked.run(lock.RELEASE, deployment="d1").code == 0
    assert (login.parent.exists(), other.exists()) == (False, True)


def test_releasing_twice_is_no_error(locked: Machine) -> None:
    assert [locked.run(lock.RELEASE, deployment="d1").code for _ in range(2)] == [0, 0]


def test_a_folder_that_cannot_be_written_is_explained(machine: Machine) -> None:
    (machine.root / ".devflow").mkdir()
    (machine.root / ".devflow" / "lock.mutex").mkdir()  # as good as forbidden, for root too
    ran = machine.run(lock.TAKE)
    assert ran.code == 1
    assert ran.explained.startswith(f"{machine.root}/.devflow cannot be written on web1")


# --- whose folder it is -----------------------------------------------------------------------------------------------


def owner(machine: Machine) -> str:
    path = machine.root / ".devflow" / "owner"
    return path.read_text() if path.exists() else ""


@pytest.fixture
def owned(machine: Machine) -> Machine:
    """A site that is deployed to, with nothing under way."""
    machine.release("r1")
    assert machine.run(lock.TAKE, releases.ACTIVATE, lock.RELEASE, release="r1", deployment="d1").code == 0
    return machine


def test_the_first_deployment_marks_the_folder_as_its_environments(owned: Machine) -> None:
    assert owner(owned) == f"{ENVIRONMENT_ID}\n"
    assert holder(owned) == ""
    assert owned.run(releases.CHECK, lock.TAKE, lock.RELEASE).code == 0
    assert owner(owned) == f"{ENVIRONMENT_ID}\n"


@pytest.mark.parametrize("command", [releases.CHECK, lock.TAKE])
def test_another_environments_folder_is_refused_with_the_way_out(owned: Machine, command: str) -> None:
    ran = owned.run(command, environment_id="0ther", deployment="d9")
    assert ran.code == 1
    assert f"{owned.root} on web1 is another environment's folder: {ENVIRONMENT_ID}" in ran.explained
    assert f"rm {owned.root}/.devflow/owner" in ran.explained
    owned.run(lock.RELEASE, environment_id="0ther", deployment="d9")  # as taking back does
    assert (owner(owned), holder(owned)) == (f"{ENVIRONMENT_ID}\n", "")
    (owned.root / ".devflow" / "owner").unlink()
    assert owned.run(releases.CHECK, lock.TAKE, environment_id="0ther").code == 0
    assert owner(owned) == "0ther\n"


def test_a_site_of_an_earlier_version_gets_its_mark_at_the_next_deployment(owned: Machine) -> None:
    (owned.root / ".devflow" / "owner").unlink()
    assert owned.run(releases.CHECK, lock.TAKE, lock.RELEASE).code == 0
    assert owner(owned) == f"{ENVIRONMENT_ID}\n"


def test_a_first_deployment_that_fails_keeps_no_folder(locked: Machine) -> None:
    assert owner(locked) == f"{ENVIRONMENT_ID}\n"
    locked.run(lock.RELEASE, deployment="d1")
    assert owner(locked) == ""
    assert locked.run(lock.TAKE, environment_id="0ther").code == 0


def test_a_new_folder_inside_of_anothers_is_refused(owned: Machine) -> None:
    inside = owned.root / "shared" / "blog"
    for command in (releases.CHECK, lock.TAKE):
        ran = owned.run(command, environment_id="0ther", root=str(inside))
        assert ran.code == 1
        assert f"{inside} on web1 lies in {owned.root}, which is another environment's folder" in ran.explained
    assert not (inside / ".devflow" / "owner").exists()


def test_a_site_goes_on_whatever_takes_a_folder_above_it_later(owned: Machine) -> None:
    (owned.root.parent / ".devflow").mkdir()
    (owned.root.parent / ".devflow" / "owner").write_text("0ther\n")
    assert owned.run(releases.CHECK, lock.TAKE, lock.RELEASE).code == 0
    (owned.root / ".devflow" / "owner").unlink()
    assert owned.run(releases.CHECK, lock.TAKE).code == 0, "of an earlier version"


def test_who_only_balances_or_builds_needs_no_folder_of_its_own(machine: Machine) -> None:
    (machine.home / ".devflow").mkdir()
    (machine.home / ".devflow" / "owner").write_text("0ther\n")  # a site in the home folder
    sites = f"{machine.home}/.devflow/sites/{ENVIRONMENT_ID}"
    ran = machine.run(releases.CHECK, lock.TAKE, lock.RELEASE, root=sites)
    assert ran.code == 0, ran.explained


def test_a_broken_mark_is_no_ones(machine: Machine) -> None:
    (machine.root / ".devflow").mkdir()
    (machine.root / ".devflow" / "owner").write_text("")
    assert machine.run(releases.CHECK, lock.TAKE).code == 0
    assert owner(machine) == f"{ENVIRONMENT_ID}\n"


def test_what_was_left_running_of_an_earlier_deployment_is_ended(locked: Machine) -> None:
    """Its server was frozen, and the panel had given it up."""
    runs, program = locked.home / ".devflow" / "runs", locked.home / ".devflow" / "bin" / "devflow-run"
    program.parent.mkdir()
    program.write_bytes(files("devflow.remote").joinpath("devflow-run.sh").read_bytes())
    left = {name: _begin(locked, f"{name}-1eft-1-forward", environment) for name, environment in LEFT.items()}
    _wait_until(lambda: all((runs / f"{name}-1eft-1-forward" / "begun").exists() for name in LEFT))
    ran = locked.run(lock.TAKE, deployment="d2")
    assert (ran.code, ran.lines) == (0, ["Ended what still ran of the deployment d1"])
    assert left["d1"].wait(10) == 0
    assert (runs / "d1-1eft-1-forward" / "ended_by").read_text() == "d2\n"
    assert left["0ther"].poll() is None
    left["0ther"].terminate()
    subprocess.run(["sh", str(program), "kill", "0ther-1eft-1-forward"], env=locked.environment(), check=True)
    left["0ther"].wait(10)


# --- releases that were never finished --------------------------------------------------------------------------------


@pytest.fixture
def origin(machine: Machine) -> GitRepository:
    made = GitRepository.local(machine.folder / "origin.git", machine.folder / "work")
    made.commit({"index.html": "hello"})
    return made


def kept(machine: Machine) -> list[str]:
    return sorted(path.name for path in (machine.root / "releases").iterdir())


@pytest.fixture
def given_up(owned: Machine, origin: GitRepository) -> Machine:
    """r1 serves, and of a second deployment, whose server never answered again, r2 is laid out."""
    assert owned.run(lock.TAKE, git.FETCH, git.CHECKOUT, releases.write_variables(), deployment="d2").code == 0
    assert kept(owned) == ["r1", "r2"]
    return owned


def test_the_next_deployment_removes_what_was_never_finished(given_up: Machine) -> None:
    (given_up.root / "current.next.d2").symlink_to("releases/r2")
    ran = given_up.run(lock.TAKE, deployment="d3", release="r3")
    assert (ran.code, ran.lines) == (0, ["Removed the release r2, which was never finished"])
    assert kept(given_up) == ["r1"]
    assert [path.name for path in given_up.root.rglob("*r2*")] == []
    assert [path.name for path in given_up.root.rglob("*.d2")] == []


@pytest.mark.parametrize("strategy", ["atomic", "colours"])
def test_a_release_that_serves_stays_though_it_was_never_finished(given_up: Machine, strategy: str) -> None:
    """Until another one serves: it could not be taken back, and nobody goes back to it."""
    if strategy == "atomic":
        given_up.run(releases.ACTIVATE, deployment="d2")
    else:
        (given_up.root / ".devflow" / "standby").write_text("green r2\n")
    for deployment in ("d3", "d4"):
        ran = given_up.run(lock.TAKE, deployment=deployment, release="r3")
        assert (ran.code, ran.lines, kept(given_up)) == (0, [], ["r1", "r2"])
        assert [path.name for path in given_up.root.rglob("*.d2")] == ["making.d2"]
    (given_up.root / ".devflow" / "standby").unlink(missing_ok=True)
    given_up.release("r3")
    given_up.run(releases.ACTIVATE, deployment="d4", release="r3")
    ran = given_up.run(lock.TAKE, deployment="d5", release="r5")
    assert ran.lines == ["Removed the release r2, which was never finished"]
    assert (kept(given_up), [path.name for path in given_up.root.rglob("*.d2")]) == (["r1", "r3"], [])


@pytest.mark.parametrize("end", [lock.RELEASE, releases.THROW_AWAY + lock.RELEASE])
def test_what_was_finished_or_taken_back_is_no_concern_of_the_next(given_up: Machine, end: str) -> None:
    assert given_up.run(end, deployment="d2").code == 0
    before = kept(given_up)
    assert [path.name for path in given_up.root.rglob("*.d2")] == []
    assert given_up.run(lock.TAKE, deployment="d3", release="r3").lines == []
    assert kept(given_up) == before


def test_a_mark_never_leads_out_of_the_releases(given_up: Machine) -> None:
    for number, name in enumerate(("../shared", "..", ".", "", "a/../../shared")):
        (given_up.root / ".devflow" / f"making.x{number}").write_text(f"{name}\n")
    assert given_up.run(lock.TAKE, deployment="d3", release="r3").code == 0
    assert (given_up.root / "shared").is_dir()
    assert kept(given_up) == ["r1"]


LEFT = {"d1": ENVIRONMENT_ID, "0ther": "0ther"}
"""Deployments that are under way, and their environments."""


def _begin(machine: Machine, run_id: str, environment: str) -> subprocess.Popen[bytes]:
    """A run that goes on for long, and who follows it."""
    begun = f"""\
run=$HOME/.devflow/runs/{run_id}
echo "$$" >"$run/pgid"
cat /proc/sys/kernel/random/boot_id >"$run/boot_id"
export DEVFLOW_RUN={run_id}
environment={environment}
: >"$run/begun"
sleep 60
#end
"""
    program = str(machine.home / ".devflow" / "bin" / "devflow-run")
    started = subprocess.Popen(
        ["sh", program, "start", run_id, "0"],
        env=machine.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert started.stdin is not None
    with started.stdin as stdin:
        stdin.write(begun.encode())
    return started


def _wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so() and time.monotonic() < until:
        time.sleep(0.02)
    assert is_so()
