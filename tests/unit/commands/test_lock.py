"""The lock of a site, in real shells."""

from __future__ import annotations

import pytest

from devflow.commands import lock
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
