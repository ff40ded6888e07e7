"""The pages of servers."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django_scopes import scope
from procrastinate.contrib.django.models import ProcrastinateJob

from devflow.apps.servers.models import Server
from devflow.apps.servers.selectors import server_list
from devflow.core import keys
from tests.web.nasty import NASTY
from tests.web.world import World

TYPED = {"name": "web-2", "place": "remote", "host": "203.0.113.8", "user": "deploy", "port": "22"}
FACTS = {
    "os": "Debian GNU/Linux 13 (trixie)",
    "cpus": 4,
    "memory_kb": 8_148_000,
    "memory_free_kb": 4_000_000,
    "disk_kb": 83_886_080,
    "disk_free_kb": 41_943_040,
    "tools": ["git", "php"],
    "php": "8.4.11",
}


def test_a_server_is_added_with_a_key_that_the_panel_makes(owner: Client, world: World) -> None:
    answer = owner.post("/add/server/", TYPED)
    assert answer["Location"].startswith("/servers/web-2/?since=")
    page = owner.get(answer["Location"]).content.decode()
    server = _server(world, "web-2")
    assert server.public_key in page
    assert "authorized_keys" in page
    assert "Checking…" in page
    assert server.private_key.strip() not in page
    assert _jobs() == {"servers.check": 2}, "the world's server and this one"


def test_a_server_is_added_with_a_given_key(owner: Client, world: World) -> None:
    key = keys.generate()
    owner.post("/add/server/", TYPED | {"private_key": key, "host_key": world.server.public_key})
    server = _server(world, "web-2")
    assert server.private_key == key
    assert server.host_key == " ".join(world.server.public_key.split()[:2])


def test_a_refused_form_does_not_send_the_key_back(owner: Client, world: World) -> None:
    key = keys.generate()
    page = owner.post("/add/server/", TYPED | {"host": "no host", "private_key": key}).content.decode()
    assert "no host" in page
    assert key.splitlines()[1] not in page


def test_this_machine_is_added_without_an_address(owner: Client, world: World) -> None:
    owner.post("/add/server/", {"name": "here", "place": "local"})
    assert _server(world, "here").is_local
    assert "this machine" in owner.get("/servers/here/").content.decode()


def test_this_machine_is_offered_to_teams_that_may_use_it(owner: Client, world: World) -> None:
    outsider = world.client("outsider")
    for browser, is_offered in ((owner, True), (outsider, False)):
        assert ("it is this machine" in browser.get("/add/server/").content.decode()) is is_offered
    page = outsider.post("/add/server/", {"name": "here", "place": "local"}).content.decode()
    assert "local is not one of the available choices" in page


@pytest.mark.parametrize("field", ["name", "host", "user", "port", "private_key", "host_key"])
@pytest.mark.parametrize("kind", NASTY)
def test_what_is_not_allowed_is_refused_at_its_field(owner: Client, world: World, field: str, kind: str) -> None:
    answer = owner.post("/add/server/", TYPED | {field: NASTY[kind]})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in page
    assert "<script>alert" not in page
    assert [server.name for server in server_list(actor=world.actor())] == ["web-1"]


@pytest.mark.parametrize(
    ("field", "value"), [("name", "Web 2"), ("host", ""), ("port", "0"), ("port", "70000"), ("place", "moon")]
)
def test_a_wrong_value_is_refused_and_the_rest_is_kept(owner: Client, field: str, value: str) -> None:
    answer = owner.post("/add/server/", TYPED | {"host": "kept.example.com", field: value})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in page
    assert field == "host" or 'value="kept.example.com"' in page


def test_a_name_that_is_taken_is_refused_at_its_field(owner: Client) -> None:
    page = owner.post("/add/server/", TYPED | {"name": "web-1"}).content.decode()
    assert 'id="id_name_error"' in page
    assert "already" in page


def test_facts_are_shown(owner: Client, world: World) -> None:
    _change(world, status="online", facts=FACTS, checked_at=timezone.now(), host_key=world.server.public_key)
    page = owner.get("/servers/web-1/").content.decode()
    for shown in ("Online", "Debian GNU/Linux 13", "3.8 GB free of 7.8 GB", "php 8.4.11", "no docker", "SHA256:"):
        assert shown in page
    listed = owner.get("/servers/").content.decode()
    for shown in ("Debian GNU/Linux 13", "7.8 GB", "50 %", "51 %"):  # the disk, and the memory
        assert shown in listed


def test_a_failed_check_says_why(owner: Client, world: World) -> None:
    _change(world, status="offline", status_message="web-1: the login was refused.", checked_at=timezone.now())
    assert "the login was refused" in owner.get("/servers/web-1/").content.decode()


def test_the_page_asks_again_until_the_check_is_done(owner: Client, world: World) -> None:
    address = owner.post("/servers/web-1/check/")["Location"]
    state = address.replace("?", "state/?")
    assert 'data-every="1"' in owner.get(state).content.decode()
    _change(world, status="online", facts=FACTS, checked_at=timezone.now())
    assert 'data-every="1"' not in owner.get(state).content.decode()


@pytest.mark.parametrize("since", ["", "x", "1e999", "-5", "²", "9" * 30, "99999999999.5"])
def test_nonsense_in_the_address_is_no_check(owner: Client, since: str) -> None:
    answer = owner.get("/servers/web-1/", {"since": since})
    assert answer.status_code == 200
    assert "Checking…" not in answer.content.decode()


def test_maintenance_is_switched_on_and_off(owner: Client, world: World) -> None:
    owner.post("/servers/web-1/maintenance/", {"on": "yes"})
    assert _server(world).status == "maintenance"
    owner.post("/servers/web-1/maintenance/", {"on": "no"})
    assert _server(world).status == "unknown"


def test_the_host_key_is_forgotten(owner: Client, world: World) -> None:
    _change(world, host_key="ssh-ed25519 AAAA")
    owner.post("/servers/web-1/forget-host-key/")
    assert _server(world).host_key == ""


def test_another_address_is_given_and_checked(owner: Client, world: World) -> None:
    assert "/servers/web-1/edit/" in owner.get("/servers/web-1/").content.decode()
    before = _server(world)
    assert before.host in owner.get("/servers/web-1/edit/").content.decode()
    answer = owner.post("/servers/web-1/edit/", {"host": "203.0.113.9", "user": before.user, "port": "2222"})
    assert answer["Location"].startswith("/servers/web-1/?since=")
    after = _server(world)
    assert (after.host, after.port, after.private_key) == ("203.0.113.9", 2222, before.private_key)


@pytest.mark.usefixtures("contexts")
def test_an_address_that_cannot_be_is_refused_at_its_field(owner: Client, world: World) -> None:
    before = _server(world).address
    answer = owner.post("/servers/web-1/edit/", {"host": "no host", "user": "deploy", "port": "22"})
    assert answer.status_code == 422
    assert answer.context["form"].errors.keys() == {"host"}
    assert _server(world).address == before


def test_a_server_in_use_is_not_removed(owner: Client, world: World) -> None:
    answer = owner.post("/servers/web-1/remove/", follow=True)
    assert "shop production" in answer.content.decode()
    assert _server(world)


def test_a_server_is_removed(owner: Client, world: World) -> None:
    owner.post("/add/server/", TYPED)
    answer = owner.post("/servers/web-2/remove/", follow=True)
    assert "removed from the panel" in answer.content.decode()
    assert [server.name for server in server_list(actor=world.actor())] == ["web-1"]


def test_without_servers_the_list_says_the_next_step(world: World) -> None:
    assert "/add/server/" in world.client("outsider").get("/servers/").content.decode()


def test_a_viewer_sees_no_buttons(viewer: Client) -> None:
    page = viewer.get("/servers/web-1/").content.decode()
    assert "Check now" not in page
    assert "Remove" not in page


@pytest.mark.parametrize("name", ["nothing", "%3B%20rm%20-rf%20~", "%24(id)", "%0A", "%C3%B6", "x" * 300])
def test_a_server_that_is_not_there_is_not_found(owner: Client, name: str) -> None:
    assert owner.get(f"/servers/{name}/").status_code == 404


def _server(world: World, name: str = "web-1") -> Server:
    return next(server for server in server_list(actor=world.actor()) if server.name == name)


def _change(world: World, **values: Any) -> None:
    with scope(team=world.team):
        Server.objects.filter(name="web-1").update(**values)


def _jobs() -> dict[str, int]:
    names = list(ProcrastinateJob.objects.filter(task_name="servers.check").values_list("task_name", flat=True))
    return {name: names.count(name) for name in names}


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        ("reach", "ssh -v -p 22 deploy@203.0.113.7"),
        ("key", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"),
        ("login", "authorized_keys"),
        ("shell", "chsh -s /bin/sh deploy"),
    ],
)
def test_a_failed_check_says_at_which_step_and_what_to_do(owner: Client, world: World, step: str, shown: str) -> None:
    _change(world, status="offline", check_step=step, status_message="It failed: <why>.", checked_at=timezone.now())
    page = owner.get("/servers/web-1/").content.decode()
    checks = page.split('class="checks"')[1].split("</ol>")[0]
    assert checks.count("Failed") == 1
    assert "It failed: &lt;why&gt;." in checks
    assert shown in page


def test_a_server_that_answers_is_looked_at_for_what_deployments_need(owner: Client, world: World) -> None:
    now = timezone.now()
    facts = FACTS | {"disk_free_kb": 100_000, "time": int(now.timestamp()) - 4000}
    _change(world, status="online", facts=facts, checked_at=now)
    page = owner.get("/servers/web-1/").content.decode()
    for text in (
        "Missing: curl, tar, flock, setsid.",
        "apt-get install curl tar util-linux",
        "Nearly full",
        "1 h 06 min",
    ):
        assert text in page
    well = FACTS | {"tools": ["git", "curl", "tar", "flock", "setsid"], "time": int(now.timestamp())}
    _change(world, facts=well)
    assert "All 8 checks went well" in owner.get("/servers/web-1/").content.decode()
