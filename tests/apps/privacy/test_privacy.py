"""Archives hold what is somebody's and no secrets; what is deleted is nowhere any more."""

from __future__ import annotations

import inspect
import json
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.models import Membership, Role, Team, User
from devflow.apps.accounts.services import token_create
from devflow.apps.audit import sealing
from devflow.apps.audit.context import request_context
from devflow.apps.audit.models import Event
from devflow.apps.audit.services import audit_record
from devflow.apps.deployments import services as deployments
from devflow.apps.privacy import jobs, services
from devflow.apps.privacy.models import Archive
from devflow.apps.projects import services as projects
from devflow.apps.projects.grants import grants_add
from devflow.apps.servers import services as servers
from devflow.apps.servers.models import Cluster, Server
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, RemoteError
from devflow.remote.transport import Completed
from tests.support.keys import make_key_pair
from tests.support.shop import Shop

CANARY = "canary-9f8e7d6c"
NAME = "Grace Brewster Hopper"


@pytest.fixture(autouse=True)
def _folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture
def developer(shop: Shop) -> User:
    """A developer who has left traces everywhere."""
    user = shop.people[Role.DEVELOPER]
    User.objects.filter(pk=user.pk).update(name=NAME)
    user.refresh_from_db()
    Client().force_login(user)
    actor = shop.actor(Role.DEVELOPER)
    with request_context(address="198.51.100.77", user_agent="Grace's browser"):
        token_create(actor=actor, name="hers", scopes=["read"])
        deployment = deployments.deployment_request(actor=actor, environment=shop.environment)
        deployments.deployment_cancel(actor=actor, deployment=deployment)
        audit_record(team=shop.team, who="panel", action="member.added", target=user.email, target_id=str(user.pk))
    return user


def everything() -> Iterator[tuple[str, str]]:
    """Every row of every table as text, but what is bound to be there."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{table}" t')
            yield from ((table, row[0]) for row in cursor.fetchall())


def read(archive: Archive) -> dict[str, Any]:
    jobs.export(str(archive.pk))
    with scopes_disabled():
        archive.refresh_from_db()
    assert archive.error == ""
    with zipfile.ZipFile(services.archive_path(archive)) as file:
        return {name: file.read(name).decode() for name in file.namelist()}


class TestArchives:
    def test_one_of_a_team_holds_its_data_and_no_secrets(self, shop: Shop) -> None:
        projects.variables_set(actor=shop.actor(), environment=shop.environment, values={"APP_KEY": CANARY})
        _, raw = token_create(actor=shop.actor(), name="ci", scopes=["read"])
        files = read(services.archive_request(actor=shop.actor(), kind="team"))
        assert [row["slug"] for row in json.loads(files["tables/projects_project.json"])] == ["shop"]
        assert [row["key"] for row in json.loads(files["tables/projects_variable.json"])] == ["APP_KEY"]
        assert "tables/django_session.json" not in files
        text = "\n".join(files.values())
        assert CANARY not in text
        assert raw not in text
        assert "stranger@example.test" not in text
        assert "PRIVATE KEY" not in text

    def test_one_of_a_team_holds_the_whole_chain(self, shop: Shop) -> None:
        from devflow.apps.audit import chain

        lines = read(services.archive_request(actor=shop.actor(), kind="team"))["audit.jsonl"].splitlines()
        verdict = chain.verify(json.loads(line) for line in lines)
        assert verdict.problems == []
        assert verdict.events == len(lines) > 0

    def test_one_of_a_project_holds_its_logs(self, shop: Shop) -> None:
        other = projects.project_add(actor=shop.actor(), slug="other", repository="/srv/git/other.git")
        deployment = deployments.deployment_request(actor=shop.actor(), environment=shop.environment)
        files = read(services.archive_request(actor=shop.actor(), kind="project", project=shop.project))
        assert [row["slug"] for row in json.loads(files["tables/projects_project.json"])] == ["shop"]
        assert f"logs/{deployment.pk}.txt" in files
        assert str(other.pk) not in "\n".join(files.values())

    def test_one_of_a_person_holds_what_they_did(self, shop: Shop, developer: User) -> None:
        actor = shop.actor(Role.DEVELOPER)
        files = read(services.archive_request(actor=actor, kind="user"))
        assert [row["email"] for row in json.loads(files["tables/accounts_user.json"])] == [developer.email]
        assert "password" not in json.loads(files["tables/accounts_user.json"])[0]
        assert [row["name"] for row in json.loads(files["tables/accounts_apitoken.json"])] == ["hers"]
        assert "deployment.requested" in files["audit.jsonl"]
        assert "owner@example.test" not in "\n".join(text for name, text in files.items() if name != "audit.jsonl")

    def test_one_of_a_person_tells_nothing_of_who_did_something_to_them(self, shop: Shop, developer: User) -> None:
        about = {"target": developer.email, "target_id": str(developer.pk)}
        with request_context(address="198.51.100.99", user_agent="Olga's browser", session="olgas"):
            audit_record(team=shop.team, actor=shop.actor(), action="grant.added", **about)
        files = read(services.archive_request(actor=shop.actor(Role.DEVELOPER), kind="user"))
        events = [json.loads(line) for line in files["audit.jsonl"].splitlines()]
        granted = next(event for event in events if event["action"] == "grant.added")
        assert (granted["who"], granted["address"], granted["user_agent"]) == ("owner@example.test", "", "")
        assert "198.51.100.99" not in files["audit.jsonl"]
        assert "olgas" not in files["audit.jsonl"]
        assert "198.51.100.77" in files["audit.jsonl"]  # their own

    def test_one_of_a_project_holds_its_log_for_who_may_read_it(self, shop: Shop) -> None:
        person = shop.people[Role.DEVELOPER]
        grants_add(actor=shop.actor(), project=shop.project, email=person.email, actions=["manage"])
        for role, has_log in ((Role.OWNER, True), (Role.DEVELOPER, False)):
            files = read(services.archive_request(actor=shop.actor(role), kind="project", project=shop.project))
            assert ("audit.jsonl" in files) is has_log
            assert "tables/projects_project.json" in files

    def test_it_is_readable_by_the_panel_alone_and_only_whole(self, shop: Shop, tmp_path: Path) -> None:
        archive = services.archive_request(actor=shop.actor(), kind="team")
        read(archive)
        path = services.archive_path(archive)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert [each.suffix for each in path.parent.iterdir()] == [".zip"]

    @pytest.mark.parametrize("role", [Role.ADMIN, Role.DEVELOPER, Role.VIEWER])
    def test_a_teams_is_for_owners(self, shop: Shop, role: str) -> None:
        with pytest.raises(ForbiddenError):
            services.archive_request(actor=shop.actor(role), kind="team")

    def test_who_asked_for_it_fetches_it_while_they_may(self, shop: Shop) -> None:
        archive = services.archive_request(actor=shop.actor(), kind="team")
        with pytest.raises(NotFoundError):
            services.archive_open(actor=shop.actor(), archive_id=str(archive.pk))
        read(archive)
        assert services.archive_open(actor=shop.actor(), archive_id=str(archive.pk))[1].exists()
        for role in (Role.ADMIN, "stranger"):
            with pytest.raises(NotFoundError):
                services.archive_open(actor=shop.actor(role), archive_id=str(archive.pk))
        with scope(team=shop.team):
            Membership.objects.filter(user=shop.people[Role.OWNER]).update(role=Role.ADMIN)
        with pytest.raises(ForbiddenError):
            services.archive_open(actor=shop.actor(), archive_id=str(archive.pk))

    def test_no_token_asks_for_one(self, shop: Shop) -> None:
        with pytest.raises(ForbiddenError):
            services.archive_request(actor=shop.actor(scopes=("admin",)), kind="user")

    def test_one_at_a_time(self, shop: Shop) -> None:
        services.archive_request(actor=shop.actor(), kind="team")
        with pytest.raises(ConflictError):
            services.archive_request(actor=shop.actor(), kind="team")
        with pytest.raises(InvalidError):
            services.archive_request(actor=shop.actor(), kind="everything")

    def test_it_goes_after_seven_days(self, shop: Shop) -> None:
        archive = services.archive_request(actor=shop.actor(), kind="team")
        read(archive)
        path = services.archive_path(archive)
        with scopes_disabled():
            Archive.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert services.archive_list(user=shop.people[Role.OWNER], team=shop.team) == []
        services.archives_clean()
        assert not path.exists()


class TestPeople:
    def test_a_deleted_person_is_nowhere(self, shop: Shop, developer: User) -> None:
        archive = services.archive_request(actor=shop.actor(Role.DEVELOPER), kind="user")
        read(archive)
        sealing.seal_all()
        traces = (developer.email, NAME, "198.51.100.77", "Grace's browser")
        assert any(trace in row for _, row in everything() for trace in traces)
        path = services.archive_path(archive)
        services.user_delete(user=developer, is_own=True)
        found = [(table, row) for table, row in everything() if any(trace in row for trace in traces)]
        assert found == []
        assert [table for table, row in everything() if str(developer.pk) in row and table != "audit_event"] == []
        assert path.exists(), "files go when it is committed"
        assert sealing.verify(shop.team.pk).problems == []

    def test_a_stub_stays_of_what_they_did(self, shop: Shop, developer: User) -> None:
        pk = developer.pk
        services.user_delete(user=developer)
        with scopes_disabled():
            stubs = Event.objects.filter(team=shop.team, user_id=pk)
            assert {event.who for event in stubs} == {""}
            assert "deployment.requested" in {event.action for event in stubs}
            assert Event.objects.filter(team=shop.team, action="account.deleted", target_id=str(pk)).exists()

    def test_the_last_owner_hands_over_first(self, shop: Shop) -> None:
        owner = shop.people[Role.OWNER]
        with pytest.raises(ConflictError, match="Shopkeepers"):
            services.user_delete(user=owner)
        with scope(team=shop.team):
            Membership.objects.filter(user=shop.people[Role.ADMIN]).update(role=Role.OWNER)
        services.user_delete(user=owner)
        assert not User.objects.filter(email="owner@example.test").exists()


class TestTeams:
    def test_a_deleted_team_is_nowhere(self, shop: Shop) -> None:
        projects.variables_set(actor=shop.actor(), environment=shop.environment, values={"APP_KEY": CANARY})
        token_create(actor=shop.actor(), name="ci", scopes=["read"])
        pk, project_id = shop.team.pk, shop.project.pk
        assert services.team_delete(actor=shop.actor()) is True
        assert not Team.objects.filter(pk=pk).exists()
        left = {table for table, row in everything() if str(pk) in row or str(project_id) in row}
        assert left <= {"audit_event", "audit_chain"}
        with scopes_disabled():
            stubs = Event.objects.filter(team_id=pk)
            assert {(event.who, event.address) for event in stubs.exclude(action="data.erased")} == {("", "")}
            assert {event.target for event in stubs} == {""}
            assert Event.objects.filter(team=None, action="team.deleted", target_id=str(pk)).exists()
        assert sealing.verify(pk).problems == []
        assert User.objects.filter(email="owner@example.test").exists(), "people stay"

    def test_only_owners_and_not_while_deploying(self, shop: Shop) -> None:
        with pytest.raises(ForbiddenError):
            services.team_delete(actor=shop.actor(Role.ADMIN))
        deployments.deployment_request(actor=shop.actor(), environment=shop.environment)
        with pytest.raises(ConflictError):
            services.team_delete(actor=shop.actor())

    def test_its_folders_first_where_so_wanted(self, shop: Shop) -> None:
        assert services.team_delete(actor=shop.actor(), with_files=True) is False
        assert Team.objects.filter(pk=shop.team.pk).exists()
        folders = services.team_folders(shop.team)
        assert {folder["root"] for folder in folders} == {shop.environment.root}


class Reach:
    """A server on which every script ends so."""

    def __init__(self, done: Completed) -> None:
        self.done = done

    def remember(self, servers: object) -> None: ...

    async def get(self, server: str) -> Reach:
        return self

    async def run(self, *command: object, **given: object) -> Completed:
        return self.done


DATA = "volume data; volume more"


class TestFolders:
    @pytest.fixture
    def site(self, tmp_path: Path) -> Path:
        root = tmp_path / "srv" / "a site's folder"
        (root / ".devflow").mkdir(parents=True)
        (root / "releases" / "1").mkdir(parents=True)
        return root

    def remove(self, root: Path, home: Path) -> int:
        script = jobs.remove_script(str(root), ["shop-0123456789ab"])
        return subprocess.run(
            ["sh", "-s"], input=script.encode(), env={"HOME": str(home), "PATH": "/usr/bin:/bin"}
        ).returncode

    def test_a_site_and_its_mirrors_go_and_nothing_else(self, site: Path, tmp_path: Path) -> None:
        home = tmp_path / "home"
        repos = home / ".devflow/repos"
        ours, *others = (repos / f"shop-{end}.git" for end in ("0123456789ab", "next-0123456789ab", "aaaaaaaaaaaa"))
        for folder in (ours, *others):
            folder.mkdir(parents=True)
        assert self.remove(site, home) == 0
        assert not site.exists()
        assert not ours.exists()
        assert all(other.exists() for other in others), "another team's or panel's"
        assert self.remove(site, home) == 0, "again does no harm"

    def test_what_is_no_site_of_ours_stays(self, site: Path, tmp_path: Path) -> None:
        (site / ".devflow").rmdir()
        assert self.remove(site, tmp_path) == jobs.NOT_OURS
        assert site.exists()

    @pytest.mark.parametrize("root", ["/", "/srv", "/etc/nginx", "/home/deploy", "/srv/../etc/x", "relative/x"])
    def test_no_folder_of_the_system_is_ever_named(self, root: str) -> None:
        with pytest.raises(InvalidError):
            jobs.remove_script(root, [])

    def test_deleting_a_project_asks_for_them(self, shop: Shop) -> None:
        services.project_delete(actor=shop.actor(), project=shop.project, with_files=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT args ->> 'root' FROM procrastinate_jobs WHERE task_name = 'privacy.remove_files'")
            assert {row[0] for row in cursor.fetchall()} == {shop.environment.root}

    def test_and_for_all_servers_that_have_something_of_it(self, shop: Shop) -> None:
        for name in ("balancer", "builder", "manager"):
            servers.server_add(
                actor=shop.actor(), name=name, host=f"{name}.test", user="deploy", private_key=make_key_pair()[0]
            )
        projects.environment_update(
            actor=shop.actor(), environment=shop.environment, balancer="balancer", builder="builder"
        )
        with scope(team=shop.team):
            cluster = Cluster.objects.create(team=shop.team, name="swarm")
            Server.objects.filter(name="web1").update(cluster=cluster, cluster_role="worker")
            Server.objects.filter(name="manager").update(cluster=cluster, cluster_role="manager")
        folders = services.team_folders(shop.team)
        ours = [folder for folder in folders if folder["environment"] == shop.environment.pk.hex]
        with scope(team=shop.team):
            found = [(Server.objects.get(pk=each["server_id"]).name, each["serves"]) for each in ours]
        serving = [name for name, serves in found if serves]
        assert "web1" in serving
        assert found == [
            ("balancer", False),
            ("manager", False),
            *((name, True) for name in serving),
            ("builder", False),
        ]

    def test_jobs_of_an_earlier_version_remove_the_folder_as_before(self, site: Path, tmp_path: Path) -> None:
        assert "docker" not in jobs.remove_script(str(site), [])
        job = inspect.signature(jobs.remove_files).parameters
        assert (job["environment"].default, job["serves"].default) == ("", True)

    def test_a_server_that_only_balances_keeps_the_folder_of_that_name(self, site: Path, tmp_path: Path) -> None:
        script = jobs.remove_script(str(site), [], environment="0" * 32, serves=False)
        own = tmp_path / "home/.devflow/sites" / ("0" * 32) / ".devflow"
        own.mkdir(parents=True)
        done = subprocess.run(
            ["sh", "-s"], input=script.encode(), env={"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
        )
        assert done.returncode == 0
        assert site.exists()
        assert not own.exists()

    @pytest.mark.parametrize(
        ("done", "outcome", "told"),
        [
            (Completed(0, "stays volume data\nany words\nstays volume more\n", ""), "done", {"stays": DATA}),
            (Completed(0, "", ""), "done", None),
            (Completed(1, "stays volume data\nstays volume more\n", "no"), "failed", {"stays": DATA, "problem": "no"}),
        ],
    )
    def test_the_log_names_what_stays(
        self, shop: Shop, done: Completed, outcome: str, told: dict[str, str] | None
    ) -> None:
        folder = services.team_folders(shop.team)[0]
        with suppress(RemoteError):
            async_to_sync(jobs.remove_files)(team_id=str(shop.team.pk), reach=Reach(done), **folder)  # type: ignore[arg-type]
        with scopes_disabled():
            event = Event.objects.filter(action="files.removed", team_id=shop.team.pk).latest("at")
        assert event.outcome == outcome
        found = dict(event.after or {})
        if told and "problem" in told:
            assert found.pop("problem").endswith(f"could not be removed: {told.pop('problem')}")
        assert found == (told or {})
