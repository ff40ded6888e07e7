"""The main screens: figures that filter, environments side by side, a commit picked, a log read in windows."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from django_scopes import scope

from devflow.apps.deployments import events, services
from devflow.apps.deployments.events import NewEvent
from devflow.apps.deployments.models import Deployment, Step
from devflow.apps.deployments.selectors import deployment_list
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment
from devflow.apps.servers.models import Server
from tests.apps.deployments.test_promotion import serve
from tests.web.world import World

HERE = "/projects/shop/environments/production"
COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"


@pytest.fixture
def staging(world: World) -> Environment:
    """It serves COMMIT."""
    made = projects.environment_add(
        actor=world.actor(), project=world.project, name="staging", branch="next", servers=["web-1"]
    )
    serve(world.actor(), made, COMMIT)
    return made


def test_a_project_is_asked_for_again_when_it_changes_itself(viewer: Client, world: World) -> None:
    page = viewer.get("/projects/shop/").content.decode()
    topic = f"project:{world.project.pk}"
    assert re.findall(r'data-live="([^"]*)"', page) == [f"{topic} server", topic]


# --- the dashboard ---


@pytest.mark.parametrize(
    ("status", "fits"),
    [
        ("failed", "failing"),
        ("rolled_back", "failing"),
        ("running", "deploying"),
        ("queued", "deploying"),
        ("waiting", "waiting"),
        ("success", ""),
    ],
)
def test_a_figure_counts_and_filters(viewer: Client, world: World, status: str, fits: str) -> None:
    _change(world, status=status)
    board = viewer.get("/").content.decode()
    for state in ("failing", "deploying", "waiting"):
        assert _figure(board, state) == int(state == fits), state
        shown = "card-shop" in viewer.get(f"/?state={state}").content.decode()
        assert shown == (state == fits), state


def test_what_was_superseded_is_not_the_newest(viewer: Client, world: World) -> None:
    """A push's older commits are written after the newest."""
    _change(world, status="failed")
    with scope(team=world.team):
        Deployment.objects.create(
            team=world.team,
            project=world.project,
            environment=world.environment,
            status="superseded",
            trigger="webhook",
            strategy="atomic",
            release="20261121-101500-older",
        )
    assert _figure(viewer.get("/").content.decode(), "failing") == 1


def test_projects_are_found_by_name_and_page_by_page(owner: Client, world: World) -> None:
    for number in range(20):
        projects.project_add(
            actor=world.actor(), slug=f"app-{number:02}", name=f"Café {number:02}", repository=f"/srv/git/{number}.git"
        )
    first = owner.get("/").content.decode()
    assert first.count("card-head") == 18
    assert owner.get("/?after=app-17").content.decode().count("card-head") == 3
    assert owner.get("/?after=gone").content.decode().count("card-head") == 18, "there is no such project: all"
    assert owner.get("/?q=café 07").content.decode().count("card-head") == 1
    assert "No project fits" in owner.get("/?q=nothing").content.decode()


@pytest.mark.parametrize(
    "query", ["state=bogus", "after=%00", "after=" + "x" * 99, "q=%00", "q=" + "x" * 500, "state=%3Cscript%3E"]
)
def test_nonsense_in_the_address_filters_nothing(viewer: Client, query: str) -> None:
    page = viewer.get(f"/?{query}").content.decode()
    assert "card-shop" in page
    assert "<script>" not in page.replace("<script type", "")


def test_what_runs_is_told_with_its_step(viewer: Client, world: World) -> None:
    _change(world, status="running", started_at=timezone.now())
    _step(world, "composer install", "running")
    board = viewer.get("/board/").content.decode()
    assert "Under way" in board
    assert board.index("Under way") < board.index("composer install") < board.index("card-shop")


def test_servers_are_shown_with_what_is_in_use(viewer: Client, world: World) -> None:
    facts = {"cpus": 4, "load": "3.0", "memory_kb": 1000, "memory_free_kb": 80, "disk_kb": 1000, "disk_free_kb": 750}
    with scope(team=world.team):
        Server.objects.update(status="offline", facts=facts)
    board = viewer.get("/").content.decode()
    assert [int(found) for found in re.findall(r'<b class="num">(\d+) %</b>', board)] == [75, 92, 25]
    assert "/servers/?status=offline" in board
    listed = viewer.get("/servers/?status=offline").content.decode()
    assert 'href="/servers/web-1/"' in listed
    assert 'href="/servers/web-1/"' in viewer.get("/servers/?status=bogus").content.decode()
    with scope(team=world.team):
        Server.objects.update(status="online", facts={"load": "?"})
    assert "No server is in this state." in viewer.get("/servers/?status=offline").content.decode()


def test_the_dashboard_asks_as_much_for_many_projects_as_for_one(
    owner: Client, world: World, django_assert_max_num_queries: Any
) -> None:
    for number in range(6):
        project = projects.project_add(actor=world.actor(), slug=f"app-{number}", repository=f"/srv/git/{number}.git")
        environment = projects.environment_add(
            actor=world.actor(), project=project, name="live", branch="main", servers=["web-1"]
        )
        serve(world.actor(), environment, COMMIT)
    owner.get("/")
    with django_assert_max_num_queries(24):
        owner.get("/")


# --- a project ---


def test_a_project_shows_what_serves_where(viewer: Client, world: World, staging: Environment) -> None:
    page = viewer.get("/projects/shop/").content.decode()
    column = page[page.index('id="env-staging"') :]
    assert COMMIT[:8] in column
    assert "Show prices" in column
    assert "Nothing serves yet" in page[page.index('id="env-production"') : page.index('id="env-staging"')]
    assert "Latest deployments" in page
    assert "/promote/" not in page, "a viewer only looks"


def test_promotes_what_serves_elsewhere(owner: Client, world: World, staging: Environment) -> None:
    page = owner.get("/projects/shop/").content.decode()
    assert f"{HERE}/promote/" in page
    assert "environments/staging/promote/" not in page, "production serves nothing that staging could have"
    answer = owner.post(f"{HERE}/promote/", {"source": "staging"})
    newest = deployment_list(actor=world.actor(), limit=1)[0]
    assert answer["Location"] == f"/deployments/{newest.pk}/"
    assert (newest.trigger, newest.commit) == ("promotion", COMMIT)


@pytest.mark.parametrize("source", ["", "nowhere", "\x00", "production/..", "<b>"])
def test_what_is_no_environment_is_not_promoted_from(owner: Client, world: World, source: str) -> None:
    assert owner.post(f"{HERE}/promote/", {"source": source}).status_code == 404
    assert deployment_list(actor=world.actor(), limit=1)[0].pk == world.deployment.pk


def test_why_it_cannot_be_promoted_is_said(owner: Client, world: World) -> None:
    page = owner.post(f"{HERE}/promote/", {"source": "production"}, follow=True).content.decode()
    assert "Choose two environments of shop" in page


# --- deploying ---


def test_known_commits_are_offered(owner: Client, world: World, staging: Environment) -> None:
    page = owner.get(f"{HERE}/deploy/").content.decode()
    assert f'value="{COMMIT}"' in page
    assert "Show prices" in page
    answer = owner.post(f"{HERE}/deploy/", {"pick": COMMIT, "commit": ""})
    assert answer.status_code == 302
    assert deployment_list(actor=world.actor(), limit=1)[0].commit == COMMIT


@pytest.mark.parametrize(
    ("given", "commit"),
    [
        ({"pick": "head"}, ""),
        ({"pick": "head", "commit": OTHER}, OTHER),
        ({"commit": OTHER}, OTHER),
        ({"pick": OTHER, "commit": OTHER}, OTHER),
    ],
)
def test_which_commit_is_deployed(owner: Client, world: World, given: dict[str, str], commit: str) -> None:
    assert owner.post(f"{HERE}/deploy/", given).status_code == 302
    assert deployment_list(actor=world.actor(), limit=1)[0].commit == commit


@pytest.mark.parametrize(
    "given", [{"pick": "x"}, {"pick": COMMIT, "commit": OTHER}, {"pick": "head", "commit": "main"}, {"pick": "\x00"}]
)
def test_a_mistake_keeps_what_was_typed(owner: Client, world: World, given: dict[str, str]) -> None:
    answer = owner.post(f"{HERE}/deploy/", {**given, "is_clean": "on"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'name="is_clean"' in page
    assert re.search(r'name="is_clean"[^>]*checked', page)
    if given.get("commit"):
        assert f'value="{given["commit"]}"' in page
    assert deployment_list(actor=world.actor(), limit=1)[0].pk == world.deployment.pk


def test_who_may_not_deploy_is_not_asked_which_commit(viewer: Client, world: World) -> None:
    assert viewer.get(f"{HERE}/deploy/").status_code == 403
    assert world.client("outsider").get(f"{HERE}/deploy/").status_code == 404


# --- a deployment ---


def test_a_failure_tells_its_likely_cause_and_its_last_lines(viewer: Client, world: World) -> None:
    _change(world, status="failed", error="web-1: step 'npm ci' failed with exit code 137: reify:lodash")
    step = _step(world, "npm ci", "failed", exit_code=137)
    _log(world, [f"line {number}" for number in range(1, 41)], step=str(step.pk))
    page = viewer.get(_address(world)).content.decode()
    card = page[page.index('role="alert"') : page.index('role="log"')]
    assert "ran out of memory" in card
    assert "more memory or swap" in card
    assert "exit code 137" in card
    assert "line 29<" in card
    assert "line 40<" in card
    assert "line 28<" not in card


def test_steps_are_told_beside_how_long_they_usually_take(viewer: Client, world: World) -> None:
    now = timezone.now()
    for seconds in (2.0, 4.0, 30.0):
        made = services.deployment_request(actor=world.actor(), environment=world.environment)
        with scope(team=world.team):
            Deployment.objects.filter(pk=made.pk).update(
                status="success", started_at=now, finished_at=now + timedelta(seconds=seconds), created_at=now
            )
        _step(world, "npm ci", "success", of=made, duration_seconds=seconds)
    latest = services.deployment_request(actor=world.actor(), environment=world.environment)
    with scope(team=world.team):
        ended = now + timedelta(seconds=20)
        Deployment.objects.filter(pk=latest.pk).update(
            status="success", started_at=now, finished_at=ended, created_at=now + timedelta(seconds=1)
        )
    _step(world, "npm ci", "success", of=latest, duration_seconds=20.0)
    page = viewer.get(f"/deployments/{latest.pk}/").content.decode()
    assert page.count("usually 4.0 s") == 2, "of the whole, and of the step: the median"
    assert "is-slow" in page
    rollback_free = viewer.get(_address(world)).content.decode()
    assert "usually" not in rollback_free, "it came before all of them"


def test_deployments_are_found_by_commit_and_by_whom(owner: Client, world: World) -> None:
    mine = f"/deployments/{world.deployment.pk}/"
    _change(world, commit=COMMIT, author="Grace Hopper")
    for query in (f"commit={COMMIT[:7]}", f"commit={COMMIT[:7].upper()}", "by=grace", "by=owner@", "by=Owner"):
        assert mine in owner.get(f"/deployments/?{query}").content.decode(), query
    for query in ("commit=fff", "by=nobody", "by=%25"):
        assert mine not in owner.get(f"/deployments/?{query}").content.decode(), query
    assert owner.get("/deployments/?by=%00").status_code == 422


# --- the log in windows ---


@pytest.fixture
def logged(world: World) -> World:
    """A log of 1,000 lines in pieces of different length, on two servers by turns, with one error."""
    number = 0
    for piece in range(40):
        lines = []
        for _ in range((piece % 4 + 1) * 10):
            number += 1
            lines.append("\x1b[31mfatal\x1b[0m: no" if number == 777 else f"Line {number}")
        _log(world, lines, server=f"web-{piece % 2 + 1}", step="s" if piece > 30 else "r")
    world.deployment.refresh_from_db()
    assert world.deployment.log_lines == number == 1000
    return world


@pytest.mark.parametrize(
    ("first", "count"), [(1, 1), (1, 500), (10, 3), (95, 20), (499, 4), (990, 500), (1000, 1), (1001, 5), (1, 2000)]
)
def test_any_window_of_the_log_is_whole(viewer: Client, logged: World, first: int, count: int) -> None:
    found = _ask(viewer, logged, first=first, count=count)["lines"]
    assert [line[0] for line in found] == list(range(first, min(1000, first + count - 1) + 1))
    for number, server, _, text in found:
        assert text == ("\x1b[31mfatal\x1b[0m: no" if number == 777 else f"Line {number}")
        assert server in ("web-1", "web-2")


def test_the_log_is_searched_where_it_is(viewer: Client, logged: World) -> None:
    assert _ask(viewer, logged, find="line 99")["found"] == [99, *range(990, 1000)]
    assert _ask(viewer, logged, find="line 99", first=995)["found"] == [995, 996, 997, 998, 999]
    assert _ask(viewer, logged, find="fatal: no")["found"] == [777], "whatever its colours"
    assert _ask(viewer, logged, find="(")["found"] == []
    ranges = _ask(viewer, logged, ranges="web-2")["ranges"]
    assert ranges[0] == [11, 30]
    mine = [number for first, last in ranges for number in range(first, last + 1)]
    assert _ask(viewer, logged, find="Line", server="web-2")["found"] == [each for each in mine if each != 777]
    assert _ask(viewer, logged, error="yes")["line"] == 777
    assert _ask(viewer, logged, step="r")["line"] == 1
    assert _ask(viewer, logged, step="nothing")["line"] == 0
    assert _ask(viewer, logged, error="yes", step="nothing")["line"] == 0


def test_without_a_script_the_end_of_the_log_is_a_page(viewer: Client, logged: World) -> None:
    page = viewer.get(f"{_address(logged)}lines/").content.decode()
    assert "Lines 501 to 1000 of 1000" in page
    assert 'id="L777"' in page
    assert "?first=1" in page
    assert "\x1b" not in page
    assert "?first=501" in viewer.get(f"{_address(logged)}lines/?first=1").content.decode()


@pytest.mark.parametrize("query", ["first=0", "first=-1", "first=x", "count=100000", "count=0", "find=" + "x" * 501])
def test_what_is_no_window_is_refused(viewer: Client, logged: World, query: str) -> None:
    assert viewer.get(f"{_address(logged)}lines/?{query}").status_code == 422


def test_the_page_does_not_hold_the_log(viewer: Client, logged: World) -> None:
    page = viewer.get(_address(logged)).content.decode()
    assert 'data-total="1000"' in page
    assert "Line 500" not in page
    assert 'role="log"' in page


# --- variables ---


def test_an_import_is_shown_before_it_is_saved(owner: Client, world: World) -> None:
    lines = "APP_KEY=an0ther-value\nMAIL_FROM=shop@example.com\n"
    answer = owner.post(f"{HERE}/variables/import/", {"text": lines, "preview": "yes"})
    page = answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
    assert re.findall(r'mono">(\w+)</span><span class="status [\w-]+">.*?</svg>(\w+)<', page, re.DOTALL) == [
        ("APP_KEY", "Changed"),
        ("MAIL_FROM", "Added"),
    ]
    assert "an0ther-value" not in page
    assert _own(world) == {"APP_KEY": "s3cret-value"}
    draft = re.search(r'name="draft" value="([^"]+)"', page)
    assert draft
    owner.post(f"{HERE}/variables/import/", {"draft": draft[1]})
    assert _own(world) == {"APP_KEY": "an0ther-value", "MAIL_FROM": "shop@example.com"}
    elsewhere = owner.post("/projects/shop/variables/import/", {"draft": draft[1]})
    assert elsewhere.status_code == 422, "a draft is for the place that it was made for"
    assert owner.post(f"{HERE}/variables/import/", {"draft": "nonsense"}).status_code == 422


def test_the_whole_text_keeps_what_is_dotted_and_removes_what_is_gone(owner: Client, world: World) -> None:
    owner.post(f"{HERE}/variables/set/", {"key": "OLD", "value": "1"})
    page = owner.get(f"{HERE}/variables/?view=env").content.decode()
    assert "APP_KEY=••••••••\nOLD=••••••••" in page
    assert "s3cret-value" not in page
    given = {"text": "APP_KEY=••••••••\nNEW=2\n", "whole": "on", "preview": "yes"}
    page = owner.post(f"{HERE}/variables/import/", given).content.decode()
    assert [word in page for word in ("Stays as it is", "Added", "Removed")] == [True] * 3
    draft = re.search(r'name="draft" value="([^"]+)"', page)
    assert draft
    owner.post(f"{HERE}/variables/import/", {"draft": draft[1], "whole": "on"})
    assert _own(world) == {"APP_KEY": "s3cret-value", "NEW": "2"}


def test_the_whole_text_removes_only_what_was_told(owner: Client, world: World) -> None:
    given = {"text": "NEW=2\n", "whole": "on", "preview": "yes"}
    draft = re.search(r'name="draft" value="([^"]+)"', owner.post(f"{HERE}/variables/import/", given).content.decode())
    assert draft
    owner.post(f"{HERE}/variables/set/", {"key": "OF_ANOTHER", "value": "1"})
    owner.post(f"{HERE}/variables/import/", {"draft": draft[1], "whole": "on"})
    assert _own(world) == {"NEW": "2", "OF_ANOTHER": "1"}


def test_a_whole_text_that_is_refused_says_so_where_it_was_typed(owner: Client) -> None:
    given = {"text": "TYPED=s3cret\nno line", "whole": "on", "preview": "yes"}
    answer = owner.post(f"{HERE}/variables/import/", given)
    page = answer.content.decode()
    assert answer.status_code == 422
    typed = page.split('id="whole-text"')[1].split("</form>")[0]
    assert "autofocus" in typed.split(">")[0]
    assert "Line 2 is not KEY=value" in typed
    assert page.count("Line 2 is not KEY=value") == 1
    assert "TYPED" not in page, "what may be secret is not sent back"


def test_dots_for_what_has_no_value_are_refused(owner: Client, world: World) -> None:
    answer = owner.post(f"{HERE}/variables/import/", {"text": "NEW=••••••••", "preview": "yes"})
    assert answer.status_code == 422
    assert "no value yet" in answer.content.decode()


def test_a_viewer_gets_no_text_to_change(viewer: Client) -> None:
    assert "<textarea" not in viewer.get(f"{HERE}/variables/?view=env").content.decode()


def _own(world: World) -> dict[str, str]:
    from devflow.apps.projects.variables import variable_list

    rows = variable_list(actor=world.actor(), environment=world.environment)
    return {row.key: row.variable.value for row in rows if row.origin != "base"}


def _figure(board: str, state: str) -> int:
    found = re.search(rf'\?state={state}".*?class="value[^"]*">(\d+)<', board, re.DOTALL)
    assert found
    return int(found[1])


def _address(world: World) -> str:
    return f"/deployments/{world.deployment.pk}/"


def _ask(client: Client, world: World, **query: Any) -> Any:
    answer = client.get(f"{_address(world)}lines/", query, headers={"Accept": "application/json"})
    assert answer.status_code == 200
    return answer.json()


def _change(world: World, **values: Any) -> None:
    with scope(team=world.team):
        Deployment.objects.filter(pk=world.deployment.pk).update(**values)


def _step(world: World, name: str, status: str, *, of: Deployment | None = None, **values: Any) -> Step:
    with scope(team=world.team):
        return Step.objects.create(
            team=world.team,
            deployment=of or world.deployment,
            server_name="web-1",
            phase="prepare",
            name=name,
            position=1,
            status=status,
            started_at=timezone.now(),
            **values,
        )


def _log(world: World, lines: list[str], *, server: str = "web-1", step: str = "") -> None:
    text = "".join(f"{line}\n" for line in lines)
    event = NewEvent("deployment.log", {"server": server, "step": step or None}, text, len(lines))
    with transaction.atomic():
        events.append(team_id=world.team.pk, deployment_id=world.deployment.pk, events=[event])
