"""Every page by every method as everybody: nobody, an outsider, and each role.

The pages are taken from the addresses. A new one is refused to viewers and developers unless it is named below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from itertools import product

import pytest
from django.db import transaction
from django.test import Client
from pytest_django.plugin import DjangoDbBlocker

from devflow.apps.accounts.models import Role
from tests.support.foreign import MARK
from tests.support.integrity import crossings
from tests.support.undone import told, undone
from tests.web.walk import METHODS, Form, Page, ask, filling, forms_of, names_something, pages
from tests.web.world import World, make_world

PAGES = pages()
NOBODY, OUTSIDER = "nobody", "outsider"
ROLES = (NOBODY, OUTSIDER, Role.VIEWER, Role.DEVELOPER, Role.ADMIN, Role.OWNER)
WALKED_AT_LEAST = 6500
"""Pages x methods x roles."""
FIELDS_AT_LEAST = 200
"""Fields of forms, each of which is sent references to what is another team's."""

FOR_EVERYBODY = {
    "setup": "there is nobody yet who could log in",
    "theme": "light or dark",
    "styleguide": "parts without data; not there unless the panel's environment says so",
    "devflow-schema": "for editors",
    "service-worker": "a script; tells nothing of anybody",
    "offline": "says that there is no network; tells nothing of anybody",
    "join": "whoever has an invitation",
    "join-link": "whoever has an invitation",
}
"""Pages that need no login, and why. Those of allauth tell by themselves whether they do."""
FOR_EVERY_MEMBER = {
    "tokens": "one's own tokens",
    "token-revoke": "one's own tokens",
    "account-keys": "one's own keyboard",
    "account-name": "one's own name",
    "device-add": "one's own browser",
    "device-remove": "one's own browser",
    "device-renew": "one's own browser",
    "device-test": "one's own browser",
    "account-language": "one's own language",
    "session-end": "one's own sessions",
    "sessions-end": "one's own sessions",
    "team-switch": "one's own session",
    "team-leave": "one's own membership",
    "account-delete": "one's own account",
    "account-archive": "one's own data",
    "account-export": "one's own data",
    "data-archive": "one's own archive; that of another member is not there",
    "data-export": "asks for the right to the data itself",
    "team-add": "asks for the panel's administrators itself",
}
"""Pages that change something and are not asked for a role, and why."""
FOR_DEVELOPERS = {
    "container-act",
    "container-logs",
    "cluster-look",
    "delivery-again",
    "deployment-canary",
    "deployment-cancel",
    "environment-deploy",
    "environment-promote",
    "environment-rollback",
    "plan-inspect",
    "proxy-look",
    "server-check",
    "variables-compare-start",
}
"""Pages that change something and that a developer may use."""
FOR_ADMINS = {"prune", "audit", "audit-event", "audit-export", "audit-requests", "audit-verify"}
"""Pages that show what only admins and owners may see."""
FOR_OWNERS = {"team-delete", "team-policy"}
BY_HAND: dict[str, dict[str, str]] = {
    "deployment-canary": {"action": "hold"},
    "deployment-override": {"override_reason": "Fixes the checkout"},
    "cluster-join": {"server": "web-1", "role": "worker"},
    "delivery-retry": {},
    "device-renew": {"endpoint": "https://push.example.com/1", "p256dh": "no key", "auth": "no key"},
    "environment-promote": {"source": "preview-1"},
    "environment-rollback": {"to": "0190aaaa-0000-7000-8000-000000000000"},
    "freeze-lift": {"number": "1"},
    "hook-remove": {"mark": "1-0"},
    "member-role": {"role": "viewer"},
    "plan-inspect": {},
    "prune-start": {"token": "no-token"},
    "project-access-test": {},
    "proxy-adopt": {"server": "web-1"},
    "proxy-look": {},
    "proxy-replace": {},
    "project-access-forget": {},
    "project-access-webhook": {},
    "server-forget-key": {},
    "session-end": {},
    "sessions-end": {},
    "team-switch": {"team": "0190aaaa-0000-7000-8000-000000000000"},
}
"""What pages take whose form is shown only in a state that the world is not in."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
ours = [page for page in PAGES if page.is_ours]


@pytest.fixture(scope="module")
def walked(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """One world for all these tests, with one of everything; each request of them is taken back."""
    with django_db_blocker.unblock(), transaction.atomic():
        world = make_world()
        assert world.foreign
        assert world.grant  # so that a page shows one
        assert filling(world)
        yield world
        transaction.set_rollback(True)


class Browsers:
    """A browser of each role as it is after the log-in: what one request does to its cookies, no other sees."""

    def __init__(self, world: World) -> None:
        self._cookies = {role: world.client(role).cookies for role in ROLES if role != NOBODY}
        self._handler = Client().handler

    def __getitem__(self, role: str) -> Client:
        client = Client(raise_request_exception=False)
        client.handler = self._handler  # making one takes longer than most requests
        client.cookies = copy(self._cookies.get(role, client.cookies))
        return client


@pytest.fixture(scope="module")
def clients(walked: World) -> Browsers:
    return Browsers(walked)


@pytest.fixture(scope="module")
def forms(walked: World, clients: Browsers) -> dict[str, list[Form]]:
    """All forms that the pages show to the owner, by the page that takes them."""
    found: dict[tuple[str, tuple[str, ...]], Form] = {}
    for page in ours:
        if "GET" not in (page.methods or ()):
            continue
        address = page.address(filling(walked))
        with undone():
            answer = ask(clients[Role.OWNER], "GET", address)
        if answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html"):
            for form in forms_of(address, answer.content.decode()):
                found.setdefault((form.name, tuple(form.fields)), form)
    by_name: dict[str, list[Form]] = {
        page.name: [Form("by hand", page.address(filling(walked)), tuple(BY_HAND[page.name].items()))]
        for page in ours
        if page.name in BY_HAND
    }
    for form in found.values():
        by_name.setdefault(form.name, []).append(form)
    return by_name


def expected(page: Page, role: str, method: str) -> set[int]:
    """The answers that are right."""
    if not page.is_ours:
        return {200, 302, 404, 405, 429}
    assert page.methods is not None
    if method not in page.methods and not (method == "HEAD" and "GET" in page.methods):
        return {405}
    shown = {200, 302, 404, 422}
    if page.name in FOR_EVERYBODY:
        return {*shown, 403}
    if role == NOBODY:
        return {302}
    if role == OUTSIDER:
        return {404} if names_something(page) else {*shown, 403} if page.name in FOR_EVERY_MEMBER else {*shown}
    if page.name in FOR_EVERY_MEMBER:
        return {*shown, 403}
    is_write = method == "POST"
    if is_write and role == Role.VIEWER:
        return {403}
    if is_write and role == Role.DEVELOPER and page.name not in FOR_DEVELOPERS:
        return {403}
    if page.name in FOR_OWNERS and role != Role.OWNER:
        return {403}
    if not is_write and role in (Role.VIEWER, Role.DEVELOPER):
        if page.name in FOR_ADMINS:
            return {403}
        return {200, 302, 403} if "POST" in page.methods else {200, 302}
    return {200, 302, 422} if not is_write else shown


@each_page
def test_by_every_method_as_everybody(
    page: Page, walked: World, clients: Browsers, forms: dict[str, list[Form]]
) -> None:
    address = page.address(filling(walked))
    sends = forms[page.name][0].sends if page.name in forms else ()
    wrong = []
    for role, method in product(ROLES, METHODS):
        with undone():
            answer = ask(clients[role], method, address, sends)
        if answer.status_code not in expected(page, role, method):
            wrong.append((role, method, answer.status_code, sorted(expected(page, role, method))))
        if role == NOBODY and page.is_ours and page.name not in FOR_EVERYBODY and answer.status_code == 302:
            assert answer["Location"].startswith("/accounts/login/?next="), method
    assert not wrong


def test_the_walk_is_as_long_as_it_was() -> None:
    """The figure that docs/security.md tells."""
    number = len(PAGES) * len(ROLES) * len(METHODS)
    print(f"pages: {len(PAGES)} x {len(ROLES)} roles x {len(METHODS)} methods = {number}")
    assert number >= WALKED_AT_LEAST


def test_what_is_not_asked_for_a_role_is_there_and_is_said_why() -> None:
    names = {page.name for page in ours}
    assert names >= {*FOR_EVERYBODY, *FOR_EVERY_MEMBER, *FOR_DEVELOPERS, *FOR_ADMINS, *FOR_OWNERS, *BY_HAND}
    assert all({**FOR_EVERYBODY, **FOR_EVERY_MEMBER}.values())


@pytest.mark.parametrize("page", [page for page in ours if page.name not in FOR_EVERYBODY], ids=lambda page: page.name)
def test_a_part_of_a_page_sends_the_whole_page_to_log_in(page: Page, walked: World) -> None:
    answer = Client().generic((page.methods or ())[-1], page.address(filling(walked)), headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer["HX-Redirect"] == "/accounts/login/?next=/"


@pytest.mark.parametrize("page", [page for page in ours if "POST" in (page.methods or ())], ids=lambda page: page.name)
def test_a_form_without_its_token_is_refused(page: Page, walked: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(walked.people[Role.OWNER])
    with undone():
        answer = client.post(page.address(filling(walked)), {})
    assert answer.status_code == 403
    assert "open for too long" in answer.content.decode()


@pytest.mark.parametrize("page", [page for page in ours if len(page.parameters) > 1], ids=lambda page: page.name)
def test_of_several_names_each_must_be_ones_own(page: Page, walked: World, clients: Browsers) -> None:
    """One's own project with another team's environment or delivery, and the other way round."""
    mine, foreign = filling(walked), walked.foreign
    theirs = {
        "projects/<slug>": foreign.names["project"],
        "environments/<name>": foreign.names["environment"],
        "webhook/<delivery_id>": foreign.ids["delivery"],
        "channels/<channel_id>": foreign.ids["channel"],
        "deliveries/<delivery_id>": foreign.ids["notification"],
        "servers/<name>": foreign.names["server"],
        "containers/<container>": foreign.names["container"],
        "container-logs/<follow_id>": foreign.ids["follow"],
    }
    for (_, place), method in product(page.parameters, page.methods or ()):
        assert place in theirs, f"Add {place} to `theirs`."
        with undone():
            answer = ask(clients[Role.OWNER], method, page.address({**mine, place: theirs[place]}))
        assert answer.status_code == 404, (place, method)


def test_every_page_that_takes_a_form_has_one_that_was_tried(forms: dict[str, list[Form]]) -> None:
    takers = {page.name for page in ours if "POST" in (page.methods or ()) and page.name not in FOR_EVERYBODY}
    assert sorted(takers - forms.keys()) == [], "no page shows a form for these: see make_world, or BY_HAND"


def test_an_owner_may_send_every_form(forms: dict[str, list[Form]], clients: Browsers) -> None:
    for name, found in forms.items():
        for form in found:
            with undone():
                answer = ask(clients[Role.OWNER], "POST", form.address, form.sends)
            assert answer.status_code in (200, 302, 404 if name in BY_HAND else 422, 422), (name, form.sends)


@pytest.mark.timeout(600)  # the largest form has a hundred fields, each of which is sent fifty times
@pytest.mark.parametrize("name", sorted(page.name for page in ours if "POST" in (page.methods or ())))
def test_a_form_takes_nothing_of_another_team_and_does_not_tell_that_it_is_there(
    name: str, walked: World, clients: Browsers, forms: dict[str, list[Form]]
) -> None:
    """Each field is sent with the id or name of another team's thing, and with one that nothing has: nobody can tell
    the answers apart, and no row refers to the other team."""
    for form in forms.get(name, ()):
        for field in form.fields:

            def send(reference: str, form: Form = form, field: str = field) -> tuple[int, str]:
                with undone():
                    answer = ask(clients[Role.OWNER], "POST", form.address, form.data(**{field: reference}))
                    if answer.status_code in (200, 302):
                        assert crossings() == [], (field, reference)
                return told(answer, reference)

            for reference, answer, of_twin in walked.foreign.tries(send):
                assert answer[0] < 500, (field, reference)
                assert answer == of_twin, (field, reference)


def test_as_many_fields_were_tried_as_ever(walked: World, forms: dict[str, list[Form]]) -> None:
    """The figure that docs/security.md tells."""
    number = sum(len(form.fields) for found in forms.values() for form in found)
    print(f"fields of forms, each with references to another team: {number}")
    assert number >= FIELDS_AT_LEAST


@pytest.mark.parametrize("page", [page for page in ours if "GET" in (page.methods or ())], ids=lambda page: page.name)
@pytest.mark.parametrize("role", [Role.OWNER, Role.VIEWER])
def test_no_page_shows_anything_of_another_team(page: Page, role: str, walked: World, clients: Browsers) -> None:
    with undone():
        answer = ask(clients[role], "GET", page.address(filling(walked)))
    assert MARK not in answer.content.decode(errors="replace")


def test_an_outsider_sees_nothing_of_the_team_in_lists(walked: World, clients: Browsers) -> None:
    things = (walked.team, walked.server, walked.project, walked.environment, walked.deployment, walked.token)
    mine = ("adas-laptop", "owner@example.test", *(str(thing.pk) for thing in things))
    for page in ours:
        if "GET" in (page.methods or ()) and not names_something(page):
            with undone():
                shown = ask(clients[OUTSIDER], "GET", page.address(filling(walked))).content.decode()
            for secret in mine:
                assert secret not in shown, (page.name, secret)


def test_a_head_request_is_answered_like_a_get(owner: Client) -> None:
    assert owner.head("/").status_code == 200


def test_a_page_that_cannot_be_filled_says_what_to_do(walked: World) -> None:
    page = Page("new", "projects/<str:slug>/things/<uuid:thing_id>/", ("GET",))
    with pytest.raises(pytest.fail.Exception, match=re.escape("things/<thing_id>. Add it to `filling`")):
        page.address(filling(walked))
