"""Servers: added, checked, rested, removed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django_scopes import scopes_disabled

from devflow.apps.accounts.models import Role
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.models import Event
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.services import deployment_request
from devflow.apps.servers import jobs, selectors, services
from devflow.apps.servers.models import Server, ServerStatus
from devflow.apps.servers.reach import ServerReach, address_of
from devflow.core import keys
from devflow.core.errors import (
    ConflictError,
    ConnectError,
    ForbiddenError,
    HostKeyError,
    InvalidError,
    NotFoundError,
    RemoteError,
)
from devflow.remote.pool import Pool
from devflow.remote.transport import Address, Completed, Connection, LocalConnection
from tests.support.shop import Shop


def add(actor: Actor, name: str = "db1", **settings: object) -> Server:
    return services.server_add(actor=actor, name=name, **({"host": "db1.example.test"} | settings))  # type: ignore[arg-type]


def queued(task: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_jobs WHERE task_name = %s AND status = 'todo'", [task])
        return int(cursor.fetchone()[0])


# --- adding -----------------------------------------------------------------------------------------------------------


def test_a_server_without_a_key_gets_one(shop: Shop) -> None:
    server = add(shop.actor())
    assert server.private_key.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert keys.public_of(server.private_key, "devflow-db1") == server.public_key
    assert (server.status, server.address) == (ServerStatus.UNKNOWN, "root@db1.example.test:22")


def test_a_given_key_is_taken_and_sealed(shop: Shop) -> None:
    private = keys.generate()
    server = add(shop.actor(), private_key=f"\n  {private}  ")
    assert server.private_key == private
    with connection.cursor() as cursor:
        cursor.execute("SELECT private_key_sealed FROM servers_server WHERE id = %s", [server.pk])
        sealed = bytes(cursor.fetchone()[0])
    assert b"OPENSSH" not in sealed
    with scopes_disabled():
        assert Server.objects.get(pk=server.pk).private_key == private


def test_a_sealed_key_opens_in_its_own_row_only(shop: Shop) -> None:
    one, other = add(shop.actor(), "db1"), add(shop.actor(), "db2")
    other.private_key_sealed = one.private_key_sealed
    with pytest.raises(Exception, match="cannot be opened"):
        _ = other.private_key


def test_the_host_key_is_pinned_without_its_comment(shop: Shop) -> None:
    line = keys.public_of(keys.generate(), "root@db1")
    assert add(shop.actor(), host_key=f" {line}\n").host_key == " ".join(line.split()[:2])


def test_this_machine_needs_no_key(shop: Shop) -> None:
    server = add(shop.actor(), is_local=True)
    assert (server.private_key, server.host, server.address) == ("", "", "this machine")


def test_only_teams_that_may_use_the_panels_own_machine(shop: Shop) -> None:
    stranger = shop.actor("stranger")
    with pytest.raises(ForbiddenError, match="allow-local --team strangers"):
        add(stranger, is_local=True)
    services.this_machine_allow(team=stranger.team, allowed=True)
    server = add(stranger, is_local=True)
    with pytest.raises(ConflictError, match=f"this machine as {server.name}"):
        services.this_machine_allow(team=stranger.team, allowed=False)
    services.server_remove(actor=stranger, server=server)
    services.this_machine_allow(team=stranger.team, allowed=False)
    with pytest.raises(ForbiddenError):
        add(stranger, is_local=True)


def test_the_panels_administrator_may_in_person_and_not_by_a_token(shop: Shop) -> None:
    person = shop.actor("stranger")
    person.user.is_superuser = True
    by_token = replace(person, scopes=("read", "deploy", "admin"))
    with pytest.raises(ForbiddenError):
        add(by_token, is_local=True)
    assert add(person, is_local=True).is_local


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("name", {"name": "Web 1"}),
        ("name", {"name": "; rm -rf ~"}),
        ("host", {"host": "$(id)"}),
        ("host", {"host": ""}),
        ("host", {"host": "-oProxyCommand=id"}),
        ("port", {"port": 0}),
        ("port", {"port": 65_536}),
        ("user", {"user": "root; id"}),
        ("user", {"user": "-l"}),
        ("private_key", {"private_key": "hello"}),
        ("host_key", {"host_key": "hello"}),
    ],
)
def test_what_is_not_valid_is_refused_by_field(shop: Shop, field: str, settings: dict[str, object]) -> None:
    with pytest.raises(InvalidError) as refused:
        add(shop.actor(), **settings)  # type: ignore[arg-type]
    assert list(refused.value.errors) == [field]


def test_names_are_taken_once_in_a_team(shop: Shop) -> None:
    with pytest.raises(ConflictError, match="There is a server 'web1' in this team already"):
        add(shop.actor(), "web1")
    assert add(shop.actor("stranger"), "web1").name == "web1"


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_who_may_not_manage(shop: Shop, role: str) -> None:
    actor, server = shop.actor(role), shop.server("web2")
    for act in (
        lambda: add(actor),
        lambda: services.server_remove(actor=actor, server=server),
        lambda: services.server_update(actor=actor, server=server, port=23),
        lambda: services.server_maintenance_set(actor=actor, server=server, on=True),
        lambda: services.server_host_key_forget(actor=actor, server=server),
    ):
        with pytest.raises(ForbiddenError):
            act()


def test_another_team_sees_none_of_it(shop: Shop) -> None:
    assert [server.name for server in selectors.server_list(actor=shop.actor(Role.VIEWER))] == ["web1", "web2"]
    assert selectors.server_list(actor=shop.actor("stranger")) == []
    with pytest.raises(NotFoundError):
        selectors.server_get(actor=shop.actor("stranger"), name="web1")


# --- changing ---------------------------------------------------------------------------------------------------------


def test_a_server_that_got_another_address_is_checked_there_and_keeps_its_keys(shop: Shop) -> None:
    line = " ".join(keys.public_of(keys.generate(), "root@db1").split()[:2])
    server = add(shop.actor(), host_key=line)
    private, checks = server.private_key, queued("servers.check")
    services.server_update(actor=shop.actor(), server=server, host="203.0.113.9", port=2222)
    with scopes_disabled():
        server = Server.objects.get(pk=server.pk)
        event = Event.objects.filter(action="server.changed").get()
    assert (server.address, server.host_key, server.private_key) == ("root@203.0.113.9:2222", line, private)
    assert queued("servers.check") == checks + 1
    assert (event.before, event.after) == (
        {"host": "db1.example.test", "port": 22},
        {"host": "203.0.113.9", "port": 2222},
    )


def test_an_address_that_cannot_be_is_refused_by_field(shop: Shop) -> None:
    server = add(shop.actor())
    for given in ({"host": "a b"}, {"port": 0}, {"user": "a;b"}):
        with pytest.raises(InvalidError) as raised:
            services.server_update(actor=shop.actor(), server=server, **given)  # type: ignore[arg-type]
        assert list(raised.value.errors) == list(given)
    with pytest.raises(ConflictError, match="own machine"):
        services.server_update(actor=shop.actor(), server=add(shop.actor(), "here", is_local=True), port=23)


def test_the_address_does_not_change_while_a_deployment_runs(shop: Shop) -> None:
    deployment = deployment_request(actor=shop.actor(), environment=shop.environment)
    services.server_update(actor=shop.actor(), server=shop.server("web1"), port=23)
    with scopes_disabled():
        Deployment.objects.filter(pk=deployment.pk).update(status="running")
    with pytest.raises(ConflictError, match="A deployment to web1 is under way"):
        services.server_update(actor=shop.actor(), server=shop.server("web1"), port=24)


def test_a_server_in_use_is_not_removed(shop: Shop) -> None:
    with pytest.raises(ConflictError, match="web1 is used by: shop production"):
        services.server_remove(actor=shop.actor(), server=shop.server("web1"))
    services.server_remove(actor=shop.actor(), server=shop.server("web2"))
    assert [server.name for server in selectors.server_list(actor=shop.actor())] == ["web1"]


def test_maintenance_and_checks(shop: Shop) -> None:
    server, before = shop.server("web1"), queued("servers.check")
    services.server_maintenance_set(actor=shop.actor(), server=server, on=True)
    assert (shop.server("web1").status, queued("servers.check")) == (ServerStatus.MAINTENANCE, before)
    services.server_maintenance_set(actor=shop.actor(), server=server, on=False)
    assert (shop.server("web1").status, queued("servers.check")) == (ServerStatus.UNKNOWN, before + 1)


def test_forgetting_the_host_key_has_the_server_checked(shop: Shop) -> None:
    server = shop.server("web1")
    before = queued("servers.check")
    services.server_host_key_forget(actor=shop.actor(), server=server)
    assert (shop.server("web1").host_key, queued("servers.check")) == ("", before + 1)


# --- the check --------------------------------------------------------------------------------------------------------


class Answering(LocalConnection):
    """A server that answers the facts and takes devflow-run."""

    host_key = "ssh-ed25519 AAAA"

    async def run(self, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> Completed:
        return Completed(0, "absent\n" if stdin else "begin=devflow\ncpus=2\ntool=git\nend=devflow\n", "")


class Silent(Answering):
    """Lets in, and runs nothing."""

    async def run(self, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> Completed:
        return Completed(1, "This account is not available.\n", "")


class Reach(ServerReach):
    def __init__(self, answer: Connection | RemoteError) -> None:
        super().__init__(Pool())
        self._answer = answer

    async def get(self, server_id: str) -> Connection:
        if isinstance(self._answer, RemoteError):
            raise self._answer
        return self._answer


def check(server: Server, answer: Connection | RemoteError) -> None:
    async_to_sync(jobs.check)(server_id=str(server.pk), reach=Reach(answer))


def test_a_server_that_answers_is_online_and_pinned(shop: Shop) -> None:
    check(shop.server("web1"), Answering())
    server = shop.server("web1")
    assert (server.status, server.status_message, server.host_key) == ("online", "", "ssh-ed25519 AAAA")
    assert (server.facts["cpus"], server.facts["tools"]) == (2, ["git"])
    assert server.checked_at is not None


def test_a_pinned_key_is_not_replaced(shop: Shop) -> None:
    server = add(shop.actor(), host_key=(pinned := keys.public_of(keys.generate(), "").strip()))
    check(server, Answering())
    assert shop.server("db1").host_key == pinned


def test_a_server_that_does_not_answer_is_offline_and_keeps_its_facts(shop: Shop) -> None:
    check(shop.server("web1"), Answering())
    check(shop.server("web1"), ConnectError("web1 refused the login as deploy."))
    server = shop.server("web1")
    assert (server.status, server.status_message) == ("offline", "web1 refused the login as deploy.")
    assert server.facts["cpus"] == 2


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (ConnectError("no answer", transient=True), "reach"),
        (HostKeyError("another key"), "key"),
        (ConnectError("refused the login"), "login"),
    ],
)
def test_a_failed_check_says_where_it_ended(shop: Shop, error: ConnectError, step: str) -> None:
    check(shop.server("web1"), error)
    assert shop.server("web1").check_step == step
    check(shop.server("web1"), Answering())
    assert shop.server("web1").check_step == ""


def test_a_check_that_ends_in_the_shell_says_so(shop: Shop) -> None:
    check(shop.server("web1"), Silent())
    assert (shop.server("web1").status, shop.server("web1").check_step) == ("offline", "shell")


def test_maintenance_is_ended_by_people_only(shop: Shop) -> None:
    services.server_maintenance_set(actor=shop.actor(), server=shop.server("web1"), on=True)
    check(shop.server("web1"), Answering())
    assert shop.server("web1").status == ServerStatus.MAINTENANCE


def test_checking_what_was_removed_does_nothing(shop: Shop) -> None:
    server = shop.server("web2")
    services.server_remove(actor=shop.actor(), server=shop.server("web2"))
    check(server, Answering())
    assert len(selectors.server_list(actor=shop.actor())) == 1


def test_an_address_carries_what_the_transport_needs(shop: Shop) -> None:
    server = shop.server("web1")
    address = address_of(server)
    assert isinstance(address, Address)
    assert (address.name, address.host, address.port, address.user) == ("web1", "web1.example.test", 22, "deploy")
    assert address.private_key == server.private_key


async def test_a_server_that_was_removed_meanwhile_is_said() -> None:
    with pytest.raises(RemoteError, match="was removed from the environment"):
        await ServerReach(Pool()).get("gone")
