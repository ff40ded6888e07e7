"""Deleting a project or a team with its files: from real servers, and nothing else on them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django_scopes import scopes_disabled

from devflow.apps.accounts import services as accounts
from devflow.apps.accounts.models import Team
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.audit.models import Event
from devflow.apps.privacy import services
from devflow.apps.projects.models import Project
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.panel import wait_until
from tests.support.sites import WEB_ROOT, Estate, Site
from tests.support.vps import Vps

TRACES = "ls -d /srv/www/* ~/.devflow/repos/* ~/.devflow/runs/* 2>/dev/null || true"


@pytest.fixture
def estate(deployer: Deployer, make_vps: Callable[..., Vps], tmp_path: Path) -> Iterator[Estate]:
    """In a team of its own: what a team deletes is all that it has."""
    first = deployer.actor
    team = accounts.team_create(name=f"Leavers {secrets.token_hex(3)}", owner=first.user)
    deployer.actor = actor_get(user=first.user, team=team)
    estate = Estate(deployer, [make_vps()], tmp_path / "work")
    estate.commit("first")
    yield estate
    deployer.actor = first


def deployed(estate: Estate) -> Site:
    site = estate.site(f"gone-{secrets.token_hex(3)}")
    assert site.deploy().status == "success"
    return site


def removals(team: Team) -> list[Event]:
    with scopes_disabled():
        return list(Event.objects.filter(action="files.removed", team_id=team.pk).order_by("at"))


def test_a_project_goes_with_its_files(estate: Estate, worker: WorkerProcess) -> None:
    vps = estate.servers[0]
    before = vps.run(TRACES).stdout
    site = deployed(estate)
    vps.run(f"mkdir -p {WEB_ROOT}/of-somebody-else && mkdir -p ~/.devflow/runs/{'0' * 32}-other-1-forward")
    project = estate.project

    actor = estate.deployer.actor
    services.project_delete(actor=actor, project=project, with_files=True)
    wait_until(lambda: removals(actor.team), 30)

    event = removals(actor.team)[-1]
    assert (event.outcome, event.target) == ("done", f"{site.root} on {site.servers[0].name}")
    left = set(vps.run(TRACES).stdout.split()) - set(before.split())
    home = f"/home/{vps.user}/.devflow/runs"
    assert left == {f"{WEB_ROOT}/of-somebody-else", f"{home}/{'0' * 32}-other-1-forward"}
    with scopes_disabled():
        assert not Project.objects.filter(pk=project.pk).exists()


def test_a_team_stays_until_all_of_its_folders_can_be_removed(estate: Estate, worker: WorkerProcess) -> None:
    vps, actor = estate.servers[0], estate.deployer.actor
    site = deployed(estate)
    vps.run(f"chown root {site.root}/releases && chmod 555 {site.root}/releases", user="root")

    services.team_delete(actor=actor, with_files=True)
    wait_until(lambda: removals(actor.team), 30)
    event = removals(actor.team)[-1]
    assert event.outcome == "failed"
    assert "could not be removed" in str(event.after)
    assert Team.objects.filter(pk=actor.team.pk).exists()

    vps.run(f"chown {vps.user} {site.root}/releases && chmod 755 {site.root}/releases", user="root")
    services.team_delete(actor=actor, with_files=True)
    wait_until(lambda: not Team.objects.filter(pk=actor.team.pk).exists(), 30, what=estate.deployer.output)
    assert vps.run(f"ls -d {site.root} 2>/dev/null || true").stdout == ""
