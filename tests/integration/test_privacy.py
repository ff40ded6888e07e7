"""Deleting a project or a team with its files: from real servers, and nothing else on them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from django_scopes import scopes_disabled

from devflow.apps.accounts.models import Team
from devflow.apps.audit.models import Event
from devflow.apps.privacy import services
from devflow.apps.projects.models import Project
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.panel import wait_until
from tests.support.sites import WEB_ROOT, Estate, Site
from tests.support.vps import Vps

TRACES = "ls -d /srv/www/* ~/.devflow/repos/* ~/.devflow/runs/* 2>/dev/null || true"


@pytest.fixture
def estate(deployer: Deployer, make_vps: Callable[..., Vps], tmp_path: Path) -> Estate:
    estate = Estate(deployer, [make_vps()], tmp_path / "work")
    estate.commit("first")
    return estate


def deployed(estate: Estate) -> Site:
    site = estate.site(f"gone-{secrets.token_hex(3)}")
    assert site.deploy().status == "success"
    return site


def removals() -> list[Event]:
    with scopes_disabled():
        return list(Event.objects.filter(action="files.removed").order_by("at"))


def test_a_project_goes_with_its_files(estate: Estate, worker: WorkerProcess) -> None:
    vps = estate.servers[0]
    before = vps.run(TRACES).stdout
    site = deployed(estate)
    vps.run(f"mkdir -p {WEB_ROOT}/of-somebody-else && mkdir -p ~/.devflow/runs/{'0' * 32}-other-1-forward")
    project = estate.project

    services.project_delete(actor=estate.deployer.actor, project=project, with_files=True)
    wait_until(removals, 30)

    event = removals()[-1]
    assert (event.outcome, event.target) == ("done", f"{site.root} on {site.servers[0].name}")
    left = set(vps.run(TRACES).stdout.split()) - set(before.split())
    home = f"/home/{vps.user}/.devflow/runs"
    assert left == {f"{WEB_ROOT}/of-somebody-else", f"{home}/{'0' * 32}-other-1-forward"}
    with scopes_disabled():
        assert not Project.objects.filter(pk=project.pk).exists()


def test_a_team_stays_while_one_of_its_folders_cannot_be_removed(estate: Estate, worker: WorkerProcess) -> None:
    vps = estate.servers[0]
    site = deployed(estate)
    vps.run(f"chown root {site.root}/releases && chmod 555 {site.root}/releases", user="root")
    known = len(removals())

    services.team_delete(actor=estate.deployer.actor, with_files=True)
    wait_until(lambda: len(removals()) > known, 30)

    event = removals()[-1]
    assert event.outcome == "failed"
    assert "could not be removed" in str(event.after)
    with scopes_disabled():
        assert Team.objects.filter(pk=estate.deployer.actor.team.pk).exists()
