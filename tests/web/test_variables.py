"""Variables on the pages: an environment's, a project's, compared, restored, and hidden."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django_scopes import scope

from devflow.apps.deployments.models import Release
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment, Variable, VariableChange
from devflow.apps.projects.variables import variable_values, variables_set
from tests.web.nasty import NASTY
from tests.web.world import World

HERE = "/projects/shop/environments/production/variables/"
BASE = "/projects/shop/variables/"


def test_they_are_listed_without_their_values(viewer: Client) -> None:
    page = viewer.get(HERE).content.decode()
    assert "APP_KEY" in page
    assert "s3cret-value" not in page
    for word in ("mail.example.com", "Set variable", "Export in clear", "Show<"):
        assert word not in page


def test_every_icon_of_the_page_is_drawn_in_it(owner: Client) -> None:
    page = owner.get(HERE).content.decode()
    used = set(re.findall(r'href="#i-([^"]*)"', page))
    assert used
    assert used <= set(re.findall(r'id="i-([^"]*)"', page))


def test_where_each_is_from(owner: Client, world: World) -> None:
    assert _rows(owner.get(HERE)) == {"APP_KEY": "this environment", "MAIL_HOST": "base"}
    owner.post(f"{HERE}set/", {"key": "MAIL_HOST", "value": "other.example.com"})
    assert _rows(owner.get(HERE))["MAIL_HOST"] == "this environment, instead of base"
    assert _rows(owner.get(BASE)) == {"MAIL_HOST": "production"}
    owner.post(f"{HERE}remove/", {"key": "MAIL_HOST"})
    assert _rows(owner.get(HERE))["MAIL_HOST"] == "base"


@pytest.mark.parametrize("kind", NASTY)
def test_a_value_is_kept_as_it_was_typed_and_never_shown(owner: Client, world: World, kind: str) -> None:
    answer = owner.post(f"{HERE}set/", {"key": "TRICKY", "value": NASTY[kind]}, follow=True)
    assert NASTY[kind] not in answer.content.decode()
    assert _own(world)["TRICKY"] == NASTY[kind]


@pytest.mark.parametrize("kind", ["secret", "multiline", "file"])
def test_a_secret_is_not_revealed(owner: Client, kind: str) -> None:
    owner.post(f"{HERE}set/", {"key": "APP_KEY", "value": "s3cret-value", "kind": kind})
    answer = owner.post(f"{HERE}reveal/", {"key": "APP_KEY"}, follow=True)
    assert "never shown here" in answer.content.decode()
    assert "s3cret-value" not in answer.content.decode()


def test_plain_text_is_revealed_to_those_who_may_change_it(owner: Client) -> None:
    assert "mail.example.com" not in owner.get(HERE).content.decode()
    answer = owner.post(f"{HERE}reveal/", {"key": "MAIL_HOST"})
    assert "mail.example.com" in answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
    assert "mail.example.com" in owner.post(f"{BASE}reveal/", {"key": "MAIL_HOST"}).content.decode()
    assert owner.post(f"{HERE}reveal/", {"key": "GONE"}).status_code == 404


def test_a_file_in_clear_is_downloaded_on_demand(owner: Client) -> None:
    answer = owner.post(f"{HERE}export/")
    assert answer.content == b"APP_KEY=s3cret-value\nMAIL_HOST=mail.example.com # devflow: text\n"
    assert answer["Content-Disposition"] == 'attachment; filename="shop-production.env"'
    assert answer["Cache-Control"] == "no-store"


def test_a_variable_is_replaced(owner: Client, world: World) -> None:
    owner.post(f"{HERE}set/", {"key": "APP_KEY", "value": ""})
    assert _own(world) == {"APP_KEY": ""}


@pytest.mark.parametrize(
    "key", ["", "1A", "A B", "A=B", "PATH", "LD_PRELOAD", *(NASTY[kind] for kind in NASTY if kind != "long"), "K" * 256]
)
def test_a_name_that_is_none_is_refused_at_its_field(owner: Client, world: World, key: str) -> None:
    answer = owner.post(f"{HERE}set/", {"key": key, "value": "top-s3cret"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'id="id_key_error"' in page
    assert list(_own(world)) == ["APP_KEY"]


def test_several_lines_are_refused_for_plain_text(owner: Client, world: World) -> None:
    answer = owner.post(f"{HERE}set/", {"key": "NOTE", "value": "a\r\nb", "kind": "text"})
    assert (answer.status_code, "several lines" in answer.content.decode()) == (422, True)
    owner.post(f"{HERE}set/", {"key": "NOTE", "value": "a\r\nb"})
    assert _own(world)["NOTE"] == "a\nb"
    assert '<span class="chip">multiline</span>' in owner.get(HERE).content.decode()


def test_a_file_of_variables_is_imported(owner: Client, world: World) -> None:
    answer = owner.post(f"{HERE}import/", {"text": "# comment\r\nA=1\r\nB='two words'\r\n"}, follow=True)
    assert "2 set: A, B." in answer.content.decode()
    assert _own(world) == {"APP_KEY": "s3cret-value", "A": "1", "B": "two words"}


@pytest.mark.parametrize("text", ["", "not a line", "1A=b", "A='open", "PATH=/bin"])
def test_a_file_that_is_none_is_refused(owner: Client, world: World, text: str) -> None:
    answer = owner.post(f"{HERE}import/", {"text": text})
    assert answer.status_code == 422
    assert "note-error" in answer.content.decode()
    assert list(_own(world)) == ["APP_KEY"]


def test_a_variable_is_removed(owner: Client, world: World) -> None:
    owner.post(f"{HERE}remove/", {"key": "APP_KEY"})
    owner.post(f"{BASE}remove/", {"key": "MAIL_HOST"})
    assert variable_values(actor=world.actor(), environment=world.environment) == {}
    assert "No variables yet" in owner.get(HERE).content.decode()
    assert "No base variables yet" in owner.get(BASE).content.decode()
    assert owner.post(f"{HERE}remove/", {"key": "APP_KEY"}).status_code == 404


def test_an_old_value_is_restored(owner: Client, world: World) -> None:
    with scope(team=world.team):
        first = VariableChange.objects.get(key="APP_KEY")
    owner.post(f"{HERE}set/", {"key": "APP_KEY", "value": "wrong"})
    owner.post(f"{HERE}remove/", {"key": "APP_KEY"})
    page = owner.get(f"{HERE}history/").content.decode()
    assert re.findall(r'data-label="What">(\w+)', page) == ["removed", "set", "set"]
    assert page.count("Owner") >= 3 or page.count("owner@example.test") >= 3
    assert "s3cret-value" not in page
    done = owner.post(f"{HERE}restore/", {"change": str(first.pk)}, follow=True).content.decode()
    assert "APP_KEY has the value of" in done
    assert _own(world) == {"APP_KEY": "s3cret-value"}
    for change in ("nonsense", "00000000-0000-7000-8000-000000000000", ""):
        assert owner.post(f"{HERE}restore/", {"change": change}).status_code == 404
    assert owner.post(f"{BASE}restore/", {"change": str(first.pk)}).status_code == 404  # of another place


def test_the_history_of_one(owner: Client) -> None:
    owner.post(f"{HERE}set/", {"key": "OTHER", "value": "1"}, follow=True)
    page = owner.get(f"{HERE}history/?key=APP_KEY").content.decode()
    assert "APP_KEY" in page
    assert "OTHER" not in page
    assert "No changes" in owner.get(f"{HERE}history/?key=%00").content.decode()


def test_changes_offer_to_deploy(owner: Client, viewer: Client, world: World) -> None:
    overview = HERE.removesuffix("variables/")
    with scope(team=world.team):
        world.deployment.started_at = timezone.now()
        world.deployment.save()
        Release.objects.create(
            team=world.team, environment=world.environment, deployment=world.deployment, name="r1", is_current=True
        )
    for address in (HERE, overview, BASE):
        assert "Changed since" not in owner.get(address).content.decode()
    owner.post(f"{BASE}set/", {"key": "MAIL_PORT", "value": "25"})
    for address in (HERE, overview):
        page = owner.get(address).content.decode()
        assert "Changed since the release that serves was deployed" in page
        assert "MAIL_PORT" in page
        assert "Deploy with it" in page
        assert "Deploy with" not in viewer.get(address).content.decode()
    assert "Changed since they were last deployed to" in owner.get(BASE).content.decode()
    with scope(team=world.team):
        world.deployment.started_at = timezone.now() + timedelta(seconds=1)
        world.deployment.save()
    assert "Changed since" not in owner.get(HERE).content.decode()


def test_what_is_required_and_missing_is_named(owner: Client, world: World) -> None:
    _change(world, detected={"recipe": "php", "commit": "", "required": ["APP_KEY", "DB_PASSWORD", "MAIL_HOST"]})
    page = owner.get(HERE).content.decode()
    assert f'href="{HERE}?key=DB_PASSWORD#set"' in page
    assert "?key=APP_KEY#set" not in page
    assert "goes on without" in page
    assert 'value="DB_PASSWORD"' in owner.get(f"{HERE}?key=DB_PASSWORD").content.decode()
    assert (
        "Required by .env.example and not set: DB_PASSWORD."
        in owner.get(HERE.replace("variables", "plan")).content.decode()
    )
    owner.post(f"{HERE}require/", {"requires_variables": "on"})
    assert "fails before it changes anything" in owner.get(HERE).content.decode()
    owner.post(f"{HERE}require/", {})
    assert "goes on without" in owner.get(HERE).content.decode()


def test_two_environments_are_compared_by_name(owner: Client, world: World) -> None:
    assert "There is no other" in owner.get(f"{HERE}compare/").content.decode()
    staging = projects.environment_add(
        actor=world.actor(), project=world.project, name="staging", branch="main", servers=["web-1"]
    )
    variables_set(actor=world.actor(), environment=staging, values={"APP_KEY": "another", "DEBUG": "1"})
    page = owner.get(f"{HERE}compare/?other=staging").content.decode()
    assert re.findall(r'data-label="Difference">([^<]*)', page) == ["another value", "only in staging"]
    assert "MAIL_HOST" not in page
    assert "s3cret-value" not in page
    assert "the same variables" not in owner.get(f"{HERE}compare/?other=nowhere").content.decode()
    same = owner.get(f"{HERE}compare/?other=production").content.decode()
    assert "have the same variables" in same


def test_the_servers_are_read_by_a_worker(owner: Client, world: World) -> None:
    assert "Not read yet" in owner.get(f"{HERE}compare/").content.decode()
    address = owner.post(f"{HERE}compare/start/")["Location"]
    state = address.replace("compare/?", "compare/state/?")
    assert "every 1s" in owner.get(address).content.decode()
    assert "every 1s" in owner.get(state).content.decode()
    found: dict[str, Any] = {"changed": ["APP_KEY"], "only here": [], "only there": ["OLD"], "by_hand": True}
    servers = {"web-1": found, "web-2": {"error": "web-2 cannot be reached"}}
    _change(world, compared={"at": timezone.now().isoformat(), "servers": servers})
    page = owner.get(state).content.decode()
    assert re.findall(r'data-label="Difference">([^<]*)', page) == ["another value there", "only there"]
    assert "written by hand" in page
    assert "web-2 cannot be reached" in page
    assert "every 1s" not in page


def _rows(answer: Any) -> dict[str, str]:
    """The names in the table, with what is said of where they are from (or overridden in)."""
    page = answer.content.decode()
    found = re.findall(
        r'<td class="lead"><span class="mono break-all">(\w+)</span>.*?data-label="(?:From|Instead of it)">(.*?)</td>',
        page,
        re.DOTALL,
    )
    return {key: re.sub(r"<[^>]*>", "", text).strip() for key, text in found}


def _own(world: World) -> dict[str, str]:
    with scope(team=world.team):
        return {variable.key: variable.value for variable in Variable.objects.filter(environment=world.environment)}


def _change(world: World, **values: Any) -> None:
    with scope(team=world.team):
        Environment.objects.update(**values)
